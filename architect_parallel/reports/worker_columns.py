"""The columns of the workers of a run, for screens of any width. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from rich.cells import cell_len, set_cell_size

from architect_parallel.journal.worker_view import WorkerView
from architect_parallel.reports import progress_words as words
from architect_parallel.text.sanitize import one_line

WIDE = 110
"""From this width on, every column is shown. On a narrower screen those that differ between workers are."""
LEAST_ACTIVITY = 24
"""The least cells for the words about what a worker does now."""
ENOUGH_ACTIVITY = 48
"""Cells for these words from which on the task gets more room."""
GAP = 2
"""Cells between two columns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerColumn:
    """A column of the table: its cells are as wide as their contents, within bounds."""

    heading: str
    most: int
    cell: Callable[[WorkerView, datetime], str]
    is_right: bool = False
    least: int = 0


NUMBER = WorkerColumn(heading="#", most=6, cell=lambda worker, now: str(worker.spec.worker_id), is_right=True)
TASK = WorkerColumn(heading="TASK", most=24, cell=lambda worker, now: words.label(worker))
BACKEND = WorkerColumn(heading="BACKEND", most=12, cell=lambda worker, now: one_line(worker.spec.backend))
MODEL = WorkerColumn(heading="MODEL", most=20, cell=lambda worker, now: one_line(words.model_name(worker)))
STATE = WorkerColumn(heading="STATE", most=11, least=8, cell=lambda worker, now: words.state_word(worker))
CHANGES = WorkerColumn(heading="CHANGES", most=13, cell=lambda worker, now: words.changes(worker), is_right=True)
CHECKS = WorkerColumn(heading="CHECKS", most=6, cell=lambda worker, now: words.checks_passed(worker), is_right=True)
STEPS = WorkerColumn(
    heading="STEPS", most=6, cell=lambda worker, now: str((worker.result or worker).steps or ""), is_right=True
)
COST = WorkerColumn(heading="COST", most=9, least=7, cell=lambda worker, now: words.cost_so_far(worker), is_right=True)
TIME = WorkerColumn(heading="TIME", most=8, least=5, cell=words.time_so_far, is_right=True)


def columns_for(workers: Sequence[WorkerView], width: int) -> list[WorkerColumn]:
    """The columns for this width. A narrow screen leaves out what is the same for all workers."""
    specs = [worker.spec for worker in workers]
    differing = {
        TASK.heading: len(specs) == 1 or len({(spec.prompt, _own_name(spec.name)) for spec in specs}) > 1,
        BACKEND.heading: len({spec.backend for spec in specs}) > 1,
        MODEL.heading: len({spec.model for spec in specs}) > 1,
    }
    has_checks = any(spec.checks for spec in specs)
    narrow = [NUMBER, *(column for column in (TASK, BACKEND, MODEL) if differing[column.heading]), STATE, COST, TIME]
    checks = [CHECKS] if has_checks else []
    return narrow if width < WIDE else [NUMBER, TASK, BACKEND, MODEL, STATE, CHANGES, *checks, STEPS, COST, TIME]


def _own_name(name: str) -> str:
    return "" if name.startswith("worker-") else name


def sizes_of(columns: Sequence[WorkerColumn], workers: Sequence[WorkerView], now: datetime, width: int) -> list[int]:
    """The widths of the columns in cells, for these workers.

    The task gives way first: what a worker does now is why people look. Where that has enough room, the task grows.
    """
    sizes = [
        max(
            column.least,
            len(column.heading),
            *(min(column.most, cell_len(column.cell(worker, now))) for worker in workers),
        )
        for column in columns
    ]
    room = width - sum(sizes) - GAP * len(sizes)
    if TASK in columns:
        place = list(columns).index(TASK)
        if room < LEAST_ACTIVITY:
            sizes[place] = max(8, sizes[place] + room - LEAST_ACTIVITY)
        elif room > ENOUGH_ACTIVITY:
            longest = max((cell_len(TASK.cell(worker, now)) for worker in workers), default=0)
            sizes[place] = max(sizes[place], min(longest, sizes[place] + room - ENOUGH_ACTIVITY))
    return sizes


def cut(line: str, width: int) -> str:
    """The line in at most `width` cells, with an ellipsis if it was cut."""
    return line if cell_len(line) <= width else set_cell_size(line, max(0, width - 1)) + "…"[: max(0, width)]


def padded(column: WorkerColumn, cell: str, size: int) -> str:
    """The cell in exactly `size` cells."""
    fitted = cut(cell, size)
    blank = " " * (size - cell_len(fitted))
    return blank + fitted if column.is_right else fitted + blank
