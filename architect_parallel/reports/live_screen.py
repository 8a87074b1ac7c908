"""The screen of a run that goes on in this process: its lines for a terminal of a given size. Pure.

Workers that are at work come first. What does not fit is counted in one line, so the screen is never taller than the
terminal, and no line is wider.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from architect_parallel.domain import Reason, Status
from architect_parallel.journal.view import RunView
from architect_parallel.journal.worker_view import Phase, WorkerView
from architect_parallel.reports import progress_words as words
from architect_parallel.text.sanitize import one_line

WIDE = 96
"""From this width on, every column is shown. On a narrower screen those that differ between workers are."""
LEAST_ACTIVITY = 24
"""The least cells for the words about what a worker does now."""
MOST_WAITING = 5
"""The most waiting workers that have a line each."""
FOOTER = "Ctrl-C stops the agents and keeps their work   logs and diffs: architect watch"
STOPPING_FOOTER = "stopping, the work is saved   Ctrl-C again kills the agents at once"


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of the table: its cells are as wide as their contents, within bounds."""

    heading: str
    most: int
    cell: Callable[[WorkerView, datetime], str]
    is_right: bool = False
    least: int = 0


NUMBER = Column(heading="#", most=6, cell=lambda worker, now: str(worker.spec.worker_id), is_right=True)
TASK = Column(heading="TASK", most=24, cell=lambda worker, now: words.label(worker))
BACKEND = Column(heading="BACKEND", most=12, cell=lambda worker, now: one_line(worker.spec.backend))
MODEL = Column(heading="MODEL", most=20, cell=lambda worker, now: one_line(words.model_name(worker)))
STATE = Column(heading="STATE", most=11, least=8, cell=lambda worker, now: words.state_word(worker))
STEPS = Column(
    heading="STEPS", most=6, cell=lambda worker, now: str((worker.result or worker).steps or ""), is_right=True
)
COST = Column(heading="COST", most=9, least=7, cell=lambda worker, now: words.cost_so_far(worker), is_right=True)
TIME = Column(heading="TIME", most=8, least=5, cell=words.time_so_far, is_right=True)


def frame(
    run: RunView, *, now: datetime, width: int, height: int, started_at: datetime, checking_base: bool = False
) -> list[Text]:
    """Draw the screen, line by line: at most `height` lines of at most `width` cells.

    Args:
        started_at: The start of this launch.
        checking_base: The checks run on the base commit, before the first worker.
    """
    workers = sorted(run.workers.values(), key=_rank)
    head = [_head(run, now, width, started_at)]
    foot = [_fitted(_footer(workers), width, "dim")]
    room = height - len(head) - len(foot)
    if room < 2 or not workers:
        return [*head, *foot][: max(1, height)]
    return [*head, *_table(workers, now, width, room, checking_base=checking_base), *foot]


def _rank(worker: WorkerView) -> tuple[int, int]:
    if words.is_active(worker):
        rank = 0
    elif worker.phase is Phase.WAITING:
        rank = 2
    else:
        rank = 3 if worker.state == Status.SUCCESS.value else 1
    return rank, worker.spec.worker_id


def _head(run: RunView, now: datetime, width: int, started_at: datetime) -> Text:
    line = Text(no_wrap=True, overflow="crop")
    line.append(run.run_id, style="bold")
    line.append(f"  {words.clock_text((now - started_at).total_seconds())}  {words.totals(run)}")
    line.truncate(width, overflow="ellipsis")
    return line


def _footer(workers: Sequence[WorkerView]) -> str:
    is_stopping = any(
        worker.stopping is not None and worker.stopping.reason is Reason.INTERRUPTED for worker in workers
    )
    return STOPPING_FOOTER if is_stopping else FOOTER


def _table(workers: Sequence[WorkerView], now: datetime, width: int, room: int, *, checking_base: bool) -> list[Text]:
    waiting = [worker for worker in workers if worker.phase is Phase.WAITING]
    hidden = {worker.spec.worker_id for worker in waiting[MOST_WAITING:]}
    shown = [worker for worker in workers if worker.spec.worker_id not in hidden]
    if len(shown) + bool(hidden) >= room:
        shown = shown[: max(1, room - 2)]
    rows = [(column, [column.cell(worker, now) for worker in shown]) for column in _columns(workers, width)]
    sizes = {
        column.heading: max(column.least, len(column.heading), min(column.most, max(map(cell_len, cells))))
        for column, cells in rows
    }
    # The task gives way first: what a worker does now is why people look.
    spare = width - sum(sizes.values()) - 2 * len(sizes) - LEAST_ACTIVITY
    if spare < 0 and "TASK" in sizes:
        sizes["TASK"] = max(8, sizes["TASK"] + spare)
    headings = [_padded(column, column.heading, sizes) for column, _ in rows]
    lines = [_fitted("  ".join([*headings, "NOW"]), width, "bold")]
    for place, worker in enumerate(shown):
        line = Text(no_wrap=True, overflow="crop")
        for column, cells in rows:
            style = words.STYLES.get(worker.state, "") if column is STATE else ""
            line.append(_padded(column, cells[place], sizes) + "  ", style=style)
        doing = words.activity(worker, now, line=worker.line, checking_base=checking_base)
        line.append(_cut(doing, width - cell_len(line.plain)), style="dim" if worker.over else "")
        line.truncate(width)
        lines.append(line)
    ids = {worker.spec.worker_id for worker in shown}
    rest = [worker for worker in workers if worker.spec.worker_id not in ids]
    return [*lines, _fitted(_more(rest), width, "dim")] if rest and len(lines) < room else lines


def _more(rest: Sequence[WorkerView]) -> str:
    waiting = sum(worker.phase is Phase.WAITING for worker in rest)
    running = sum(map(words.is_active, rest))
    counts = ((running, "running"), (waiting, "waiting"), (len(rest) - waiting - running, "ended"))
    return "… and " + ", ".join(f"{number} {state}" for number, state in counts if number)


def _columns(workers: Sequence[WorkerView], width: int) -> list[Column]:
    """The columns for this width. A narrow screen leaves out what is the same for all workers."""
    specs = [worker.spec for worker in workers]
    differing = {
        TASK.heading: len(specs) == 1 or len({(spec.prompt, _own_name(spec.name)) for spec in specs}) > 1,
        BACKEND.heading: len({spec.backend for spec in specs}) > 1,
        MODEL.heading: len({spec.model for spec in specs}) > 1,
    }
    is_wide = width >= WIDE
    all_columns = (NUMBER, TASK, BACKEND, MODEL, STATE, STEPS, COST, TIME)
    return [column for column in all_columns if is_wide or differing.get(column.heading, column is not STEPS)]


def _own_name(name: str) -> str:
    return "" if name.startswith("worker-") else name


def _padded(column: Column, cell: str, sizes: dict[str, int]) -> str:
    size = sizes[column.heading]
    fitted = _cut(cell, size)
    blank = " " * (size - cell_len(fitted))
    return blank + fitted if column.is_right else fitted + blank


def _fitted(line: str, width: int, style: str = "") -> Text:
    return Text(_cut(line, width), style=style, no_wrap=True, overflow="crop")


def _cut(line: str, width: int) -> str:
    return line if cell_len(line) <= width else set_cell_size(line, max(0, width - 1)) + "…"[: max(0, width)]
