"""The full-screen view of `architect watch`: the lines on the screen for the state of a run.

`frame` returns exactly as many lines as the screen has, none of them wider. It decides nothing and reads nothing. The
keys typed so far are in a `View`, and the output of agents comes as lines without control sequences.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from architect_parallel.domain import RunStatus, Status
from architect_parallel.journal.view import RunView
from architect_parallel.journal.worker_view import STOPPING, Phase, WorkerView
from architect_parallel.reports import text
from architect_parallel.text.quantities import show_count
from architect_parallel.text.sanitize import one_line

MODES = ("list", "log", "help")
KEYS = (
    ("↑ ↓  k j", "select a worker; in the log: scroll"),
    ("PgUp PgDn  g G", "a page; the first, the last"),
    ("Enter  l", "the log of the selected worker"),
    ("Esc  ←", "back to the list"),
    ("c", "cancel the selected worker (asks first); its work is kept"),
    ("?", "this help"),
    ("q", "leave; the run goes on"),
)
_STYLES = {
    Status.SUCCESS.value: "green",
    Status.PARTIAL.value: "yellow",
    Status.CANCELED.value: "yellow",
    Status.FAILED.value: "red",
    Status.TIMEOUT.value: "red",
    Status.SKIPPED.value: "dim",
    Phase.WAITING.value: "dim",
    STOPPING: "yellow",
    Phase.RETRYING.value: "yellow",
    Phase.COLLECTING.value: "cyan",
    Phase.INTERRUPTED.value: "red",
}
_RUN_STYLES = {RunStatus.SUCCESS: "green", RunStatus.RUNNING: "cyan", RunStatus.PARTIAL: "yellow"}
_TAIL_FROM_HEIGHT = 16
"""The least height of a screen that shows the end of the log below the list."""


@dataclass(slots=True, kw_only=True)
class View:
    """The part of the run that the user looks at."""

    mode: str = "list"
    """One of `MODES`."""
    selected: int = 1
    """A worker's id."""
    up: int = 0
    """Lines the log is scrolled up from its end."""
    asks_cancel: bool = False
    """The screen asks about a cancellation."""
    message: str = ""
    """Shown in the last line instead of the keys. Empty means no message."""


def frame(
    view: View,
    run: RunView,
    *,
    now: datetime,
    width: int,
    height: int,
    lines: Mapping[int, Sequence[str]],
) -> list[Text]:
    """Draw the screen, line by line.

    Args:
        lines: Worker id → the end of its agent's output as readable lines, oldest first.
    """
    head = [_head(run, now, width), Text("")]
    foot = [_foot(view, run, width)]
    room = max(1, height - len(head) - len(foot))
    match view.mode:
        case "help":
            body = [_fitted(f"  {keys:<16} {what}", width) for keys, what in KEYS]
        case "log":
            body = _log(view, run, lines.get(view.selected, ()), width, room)
        case _:
            body = _list(view, run, now, width, room, lines)
    body = body[:room] + [Text("")] * (room - len(body))
    return [*head, *body, *foot][-height:] if height < 4 else [*head, *body, *foot]


def _fitted(words: str, width: int, style: str = "") -> Text:
    return Text(_cut(words, width), style=style, no_wrap=True, overflow="crop")


def _cut(words: str, width: int) -> str:
    return words if cell_len(words) <= width else set_cell_size(words, max(0, width - 1)) + "…"


def _rule(words: str, width: int, style: str) -> Text:
    return Text(set_cell_size(f"── {words} " + "─" * width, width), style=style, no_wrap=True, overflow="crop")


def _head(run: RunView, now: datetime, width: int) -> Text:
    ended = [worker for worker in run.workers.values() if worker.over]
    good = sum(worker.state == Status.SUCCESS.value for worker in ended)
    running = sum(worker.running_since is not None and not worker.over for worker in run.workers.values())
    parts = [] if run.started_at is None else [_clock((run.last_at if run.over else now) or now, run.started_at)]
    parts.append(f"{good} of {len(run.workers)} OK")
    parts += [f"{len(ended) - good} not"] if len(ended) > good else []
    parts += [f"{running} running"] if running else []
    money, budget_usd = text.cost_text(run.spent), run.plan.budget_usd if run.plan else None
    parts.append(money if budget_usd is None else f"{money} of ${budget_usd:.2f}")
    line = Text(f"{run.run_id} ", no_wrap=True, overflow="crop")
    line.append(run.status.value, style=f"bold {_RUN_STYLES.get(run.status, 'red')}")
    line.append("  " + "  ".join(parts))
    line.truncate(width, overflow="ellipsis")
    return line


def _clock(until: datetime, since: datetime) -> str:
    seconds = max(0, int((until - since).total_seconds()))
    hours, rest = divmod(seconds, 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}" if hours else f"{rest // 60}:{rest % 60:02}"


def _foot(view: View, run: RunView, width: int) -> Text:
    if view.asks_cancel:
        name = one_line(run.workers[view.selected].spec.name, 40) if view.selected in run.workers else ""
        return _fitted(
            f"cancel worker {view.selected} ({name})? its work is kept    y yes   n no", width, "bold yellow"
        )
    if view.message:
        return _fitted(one_line(view.message), width, "yellow")
    if view.mode != "list":
        return _fitted("Esc back   ↑ ↓ scroll   ? help   q quit", width, "dim")
    ended = {True: "the run has ended   ", False: ""}[run.over]
    return _fitted(f"{ended}↑ ↓ select   Enter log   c cancel   ? help   q quit", width, "dim")


_COLUMNS: tuple[tuple[str, int, bool], ...] = (
    ("#", 3, True),
    ("NAME", 14, False),
    ("BACKEND", 9, False),
    ("MODEL", 16, False),
    ("STATE", 10, False),
    ("STEPS", 5, True),
    ("COST", 9, True),
    ("TIME", 7, True),
)
"""Heading, width, right-aligned. The rest of the line shows the last output."""
_NARROW = frozenset({"#", "NAME", "STATE", "COST", "TIME"})
"""The columns on a screen narrower than 100."""


def _list(
    view: View, run: RunView, now: datetime, width: int, room: int, lines: Mapping[int, Sequence[str]]
) -> list[Text]:
    columns = [column for column in _COLUMNS if width >= 100 or column[0] in _NARROW]
    ids = sorted(run.workers)
    tail = lines.get(view.selected, ()) if room >= _TAIL_FROM_HEIGHT else ()
    shown = min(len(ids), max(3, room - 1 - (min(len(tail), room // 2) + 2 if tail else 0)))
    place = ids.index(view.selected) if view.selected in ids else 0
    first = max(0, min(place - shown // 2, len(ids) - shown))
    body = [_fitted("  " + _row([heading for heading, _, _ in columns], columns) + " LAST", width, "bold")]
    for worker_id in ids[first : first + shown]:
        worker = run.workers[worker_id]
        chosen = worker_id == view.selected
        row = _row([_cell(worker, heading, now) for heading, _, _ in columns], columns)
        last = worker.note or _last_words(worker, lines.get(worker_id, ()))
        line = _fitted(f"{'>' if chosen else ' '} {row} {one_line(last, width)}", width, "reverse" if chosen else "")
        _paint(line, worker, columns)
        body.append(line)
    rest = room - len(body) - 1
    if tail and rest > 1:
        body.append(_rule(f"worker {view.selected}", width, "dim"))
        body += [_fitted(f" {line}", width) for line in tail[-rest:]]
    return body


def _row(cells: Sequence[str], columns: Sequence[tuple[str, int, bool]]) -> str:
    parts = []
    for cell, (_, size, right) in zip(cells, columns, strict=True):
        fitted = _cut(one_line(cell), size)
        blank = " " * max(0, size - cell_len(fitted))
        parts.append(blank + fitted if right else fitted + blank)
    return " ".join(parts)


def _cell(worker: WorkerView, heading: str, now: datetime) -> str:
    result = worker.result
    match heading:
        case "#":
            return str(worker.spec.worker_id)
        case "NAME":
            return worker.spec.name
        case "BACKEND":
            return worker.spec.backend
        case "MODEL":
            return worker.spec.model or worker.model or "default"
        case "STATE":
            return text.STATUS_WORDS[result.status] if result else worker.state
        case "STEPS":
            steps = result.steps if result else worker.steps
            return str(steps) if steps else ""
        case "COST":
            return "" if worker.spent is None and result is None else text.cost_text(worker.spent)
        case _:
            if result is not None:
                return f"{result.duration:.1f}s"
            since = worker.running_since
            return _clock(worker.interrupted_at or now, since) if since else ""


def _last_words(worker: WorkerView, printed: Sequence[str]) -> str:
    if worker.result is not None:
        return worker.result.error or worker.result.output or text.reason_words(worker.result)
    return printed[-1] if printed else worker.spec.prompt


def _paint(line: Text, worker: WorkerView, columns: Sequence[tuple[str, int, bool]]) -> None:
    start = 2
    for heading, size, _ in columns:
        if heading == "STATE":
            # Counted in characters: where wide ones come before, a little less of the state is coloured.
            line.stylize(_STYLES.get(worker.state, ""), start, start + size)
        start += size + 1


def _log(view: View, run: RunView, printed: Sequence[str], width: int, room: int) -> list[Text]:
    worker = run.workers.get(view.selected)
    state = f"{one_line(worker.spec.name, 40)}: {worker.state}" if worker else ""
    attempt = f", attempt {worker.attempt}" if worker and worker.attempt > 1 else ""
    view.up = max(0, min(view.up, len(printed) - (room - 1)))
    end = len(printed) - view.up
    where = f"  ({show_count(view.up, 'line')} further down)" if view.up else ""
    body = [_rule(f"worker {view.selected} {state}{attempt}{where}", width, "bold")]
    body += [_fitted(f" {line}", width) for line in printed[max(0, end - (room - 1)) : end]]
    return body if printed else [*body, _fitted(" nothing was printed yet", width, "dim")]
