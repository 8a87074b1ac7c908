"""The number of workers, the number that run at a time, and the task and model of each. Pure.

No task and no model is dropped: whatever the number of workers, each occurs in the result (with `cross`, each pair).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

DEFAULT_WORKERS = 3
"""The default number of workers for a single task, and of workers that run at a time."""


class Assign(StrEnum):
    """The way in which tasks and models are assigned to workers."""

    FILL = "fill"
    ROUND_ROBIN = "round-robin"
    CROSS = "cross"


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """The task, the model and perhaps the backend of one worker."""

    task_index: int
    """The position among the given tasks, from 0."""
    model: str | None
    """`None` means the backend's default model."""
    backend: str | None = None
    """`None` means that the task or the configuration names it."""


def worker_count(
    *, tasks: int, models: int, requested: int | None, ceiling: int = 10, assign: Assign = Assign.FILL
) -> int:
    """The number of workers of a run.

    Args:
        tasks: At least 1.
        models: 0 when none was named.
        requested: From flag or configuration, within `ceiling`. `None` means not given.
        ceiling: Bounds the default. What tasks and models need is never bounded.

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
    """The number of workers that run at the same time: the requested one, else the requested workers, else 3.

    >>> parallel_count(max_parallel=None, workers=5), parallel_count(max_parallel=None, workers=None)
    (5, 3)
    """
    if max_parallel is not None:
        return max_parallel
    return workers if workers is not None else min(DEFAULT_WORKERS, ceiling)


def assign_workers(*, tasks: int, models: Sequence[str], workers: int, assign: Assign) -> tuple[Assignment, ...]:
    """The task and the model of each worker, in the order of the workers.

    `workers` is the result of `worker_count`. After the last task, `fill` repeats the first one, and after the last
    model it leaves the choice to the backend. `round-robin` and `cross` start again with the first.

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


def with_agents(
    pairs: Sequence[Assignment], agents: Sequence[tuple[str, str | None]], attempts: int
) -> tuple[Assignment, ...]:
    """Every assignment once for each agent, and all of them `attempts` times.

    Everything runs once before anything runs again, so that a run that is cut short stays fair.

    Args:
        agents: Backends, each with its model. An empty one leaves the assignments as they are.

    >>> pair = Assignment(task_index=0, model=None)
    >>> [(a.backend, a.model) for a in with_agents([pair], [("claude", None), ("codex", "m")], 2)]
    [('claude', None), ('codex', 'm'), ('claude', None), ('codex', 'm')]
    """
    if agents:
        pairs = [replace(pair, backend=backend, model=model) for pair in pairs for backend, model in agents]
    return tuple(pairs) * attempts
