"""How many workers there are, how many run at a time, and which task and model each gets.

Pure. Invariant: nothing that was asked for is dropped: every task and every model stands in the result (in `cross`
every pair of them), whatever the number of workers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

DEFAULT_WORKERS = 3
"""Workers for a single task, and how many run at a time, where nobody said."""


class Assign(StrEnum):
    """How tasks and models meet workers."""

    FILL = "fill"
    ROUND_ROBIN = "round-robin"
    CROSS = "cross"


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """What one worker gets."""

    task_index: int
    """From 0 into the tasks as given."""
    model: str | None
    """`None`: the backend's default model."""


def worker_count(
    *, tasks: int, models: int, requested: int | None, ceiling: int = 10, assign: Assign = Assign.FILL
) -> int:
    """How many workers a run has.

    Args:
        tasks: At least 1.
        models: 0 when none was named.
        requested: From flag or configuration, within `ceiling`; `None`: not given.
        ceiling: Bounds the default; what tasks and models need is never bounded.

    >>> worker_count(tasks=1, models=0, requested=None)
    3
    >>> worker_count(tasks=1, models=1, requested=None)
    1
    >>> worker_count(tasks=5, models=2, requested=2)
    5
    >>> worker_count(tasks=2, models=3, requested=None, assign=Assign.CROSS)
    6
    """
    needed = tasks * max(models, 1) if assign is Assign.CROSS else max(tasks, models)
    if requested is not None:
        return max(requested, needed)
    return needed if needed >= 2 or models else max(needed, min(DEFAULT_WORKERS, ceiling))


def parallel_count(*, max_parallel: int | None, workers: int | None, ceiling: int = 10) -> int:
    """How many workers run at the same time: as asked, else as many as the workers asked for, else 3.

    >>> parallel_count(max_parallel=None, workers=5), parallel_count(max_parallel=None, workers=None)
    (5, 3)
    """
    if max_parallel is not None:
        return max_parallel
    return workers if workers is not None else min(DEFAULT_WORKERS, ceiling)


def assign_workers(*, tasks: int, models: Sequence[str], workers: int, assign: Assign) -> tuple[Assignment, ...]:
    """Task and model of each worker, in the order of the workers.

    `workers` comes from `worker_count`. Beyond the tasks, `fill` repeats the first task, and beyond the models it
    leaves the choice to the backend; `round-robin` and `cross` begin again from the front.

    >>> [(a.task_index, a.model) for a in assign_workers(tasks=2, models=["m"], workers=3, assign=Assign.FILL)]
    [(0, 'm'), (1, None), (0, None)]
    """
    choices: Sequence[str | None] = models or [None]
    match assign:
        case Assign.FILL:
            pairs = [(i if i < tasks else 0, models[i] if i < len(models) else None) for i in range(workers)]
        case Assign.ROUND_ROBIN:
            pairs = [(i % tasks, choices[i % len(choices)]) for i in range(workers)]
        case Assign.CROSS:
            every = [(task, model) for task in range(tasks) for model in choices]
            pairs = [every[i % len(every)] for i in range(workers)]
    return tuple(Assignment(task_index=task, model=model) for task, model in pairs)
