"""The end of a run: its status, its exit code, and the briefing of an escalated one. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from signal import Signals

from architect_parallel.domain import RunPlan, RunStatus, Status, WorkerResult
from architect_parallel.errors import ExitCode
from architect_parallel.events import RunFinished
from architect_parallel.scheduling.recovery import briefing
from architect_parallel.scheduling.scheduler import Scheduler
from architect_parallel.scheduling.verdict import run_outcome
from architect_parallel.text.quantities import quoted

_FAILED = (Status.FAILED, Status.PARTIAL, Status.TIMEOUT)


def run_end(
    plan: RunPlan,
    results: Sequence[WorkerResult],
    scheduler: Scheduler,
    signal: Signals | None,
    ended: tuple[RunStatus, int] | None,
) -> RunFinished:
    """Decide how the run ends. The caller adds the warnings.

    Args:
        results: The results of all workers of the run.
        signal: The signal that stopped the run. It decides the exit code. `None` means that none did.
        ended: Status and exit code. `None` means that the results decide.
    """
    status, exit_code = run_outcome(
        results,
        allow_partial=plan.allow_partial,
        uncritical=_uncritical(plan),
        interrupted_by=None if signal is None else ExitCode(128 + signal),
        escalated=bool(scheduler.given_up),
    )
    if ended is not None:
        return RunFinished(status=ended[0], exit_code=ended[1] if signal is None else int(exit_code))
    text = None
    if status is RunStatus.ESCALATED:
        ids = {result.worker_id for result in scheduler.given_up}
        specs = [spec for spec in plan.workers if spec.worker_id in ids]
        text = briefing(specs, scheduler.given_up, plan.run_id, scheduler.answers)
    return RunFinished(status=status, exit_code=int(exit_code), briefing=text)


def uncritical_failures(plan: RunPlan, results: Sequence[WorkerResult]) -> Iterator[str]:
    """Warnings about failed workers that do not count for the exit code."""
    uncritical = _uncritical(plan)
    for result in results:
        if result.worker_id in uncritical and result.status in _FAILED:
            reason = str(result.reason or result.status).replace("_", " ")
            yield f"{quoted(result.name)} failed ({reason}), which is not critical"


def _uncritical(plan: RunPlan) -> frozenset[int]:
    return frozenset(spec.worker_id for spec in plan.workers if not spec.critical)
