"""The screen of a run that goes on in this process: its lines for a terminal of a given size. Pure.

Workers that are at work come first. What does not fit is counted in one line, so the screen is never taller than the
terminal, and no line is wider.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from rich.cells import cell_len
from rich.text import Text

from architect_parallel.domain import Reason, Status
from architect_parallel.journal.view import RunView
from architect_parallel.journal.worker_view import Phase, WorkerView
from architect_parallel.reports import progress_words as words
from architect_parallel.reports.worker_columns import GAP, STATE, columns_for, cut, padded, sizes_of

MOST_WAITING = 5
"""The most waiting workers that have a line each."""
FOOTER = "Ctrl-C stops the agents and keeps their work   logs and diffs: architect watch"
STOPPING_FOOTER = "stopping, the work is saved   Ctrl-C again kills the agents at once"


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
    line.append(f"  {words.clock_text((now - started_at).total_seconds())}  {words.totals(run, now)}")
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
    columns = columns_for(workers, width)
    sizes = sizes_of(columns, shown, now, width)
    gap = " " * GAP
    headings = [padded(column, column.heading, size) for column, size in zip(columns, sizes, strict=True)]
    lines = [_fitted(gap.join([*headings, "NOW"]), width, "bold")]
    for worker in shown:
        line = Text(no_wrap=True, overflow="crop")
        for column, size in zip(columns, sizes, strict=True):
            style = words.STYLES.get(worker.state, "") if column is STATE else ""
            line.append(padded(column, column.cell(worker, now), size) + gap, style=style)
        doing = words.activity(worker, now, line=worker.line, checking_base=checking_base)
        line.append(cut(doing, width - cell_len(line.plain)), style="dim" if worker.over else "")
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


def _fitted(line: str, width: int, style: str = "") -> Text:
    return Text(cut(line, width), style=style, no_wrap=True, overflow="crop")
