"""The limit that a worker has exceeded. Pure: others read the clock and take the samples."""

from __future__ import annotations

from dataclasses import dataclass

from architect_parallel.domain import Limits, Reason
from architect_parallel.text.quantities import show_count


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """The measurements of a running worker at one moment. `None` means unknown, which exceeds no limit."""

    elapsed_s: float = 0.0
    """Seconds since the agent started."""
    idle_s: float = 0.0
    """Seconds since its last output."""
    memory_bytes: int | None = None
    """The memory of the whole process tree."""
    processes: int = 0
    output_bytes: int = 0
    steps: int = 0
    cost_usd: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Excess:
    """An exceeded limit, with the numbers for the user."""

    reason: Reason
    detail: str


def exceeded(limits: Limits, seen: Observation) -> Excess | None:
    """The first limit that is exceeded, or `None`.

    Time and money end when the limit is reached, because the next reply would exceed it. Steps, output and memory may
    be used up to the limit. Time is compared first: a worker that is late *and* over its budget is a timeout in every
    run, whichever was measured first.

    >>> exceeded(Limits(max_steps=3), Observation(steps=4))
    Excess(reason=<Reason.MAX_STEPS: 'max_steps'>, detail='4 steps, limit 3')
    """
    if limits.timeout_s is not None and seen.elapsed_s >= limits.timeout_s:
        return Excess(reason=Reason.WORKER_TIMEOUT, detail=f"{seen.elapsed_s:.1f} s, limit {limits.timeout_s:g} s")
    if limits.idle_timeout_s is not None and seen.idle_s >= limits.idle_timeout_s:
        detail = f"no output for {seen.idle_s:.1f} s, limit {limits.idle_timeout_s:g} s"
        return Excess(reason=Reason.IDLE_TIMEOUT, detail=detail)
    if limits.budget_usd is not None and seen.cost_usd is not None and seen.cost_usd >= limits.budget_usd:
        return Excess(reason=Reason.BUDGET, detail=f"${seen.cost_usd:.4f}, limit ${limits.budget_usd:.4f}")
    if limits.max_steps is not None and seen.steps > limits.max_steps:
        return Excess(reason=Reason.MAX_STEPS, detail=f"{show_count(seen.steps, 'step')}, limit {limits.max_steps}")
    if limits.output_bytes is not None and seen.output_bytes > limits.output_bytes:
        return Excess(reason=Reason.OUTPUT_LIMIT, detail=f"{seen.output_bytes} bytes, limit {limits.output_bytes}")
    if limits.memory_bytes is not None and seen.memory_bytes is not None and seen.memory_bytes > limits.memory_bytes:
        detail = f"{seen.memory_bytes // 2**20} MiB, limit {limits.memory_bytes // 2**20} MiB"
        return Excess(reason=Reason.MEMORY, detail=detail)
    if limits.processes is not None and seen.processes > limits.processes:
        detail = f"{seen.processes} processes, limit {limits.processes}"
        return Excess(reason=Reason.PROCESSES, detail=detail)
    return None
