"""The results that a resumed run keeps instead of running their workers again. Pure.

A launcher that died was about to act on the results it had recorded, failures (skip the dependents, take another way
through the flow) as well as successes. Both are kept then, and the run ends as it would have ended. A run that *ended*
with a failure has acted on it already: who resumes it wants the failed worker to run again.
"""

from __future__ import annotations

from collections.abc import Iterable

from architect_parallel.domain import Reason, Status, WorkerResult
from architect_parallel.events import Recorded, RunFinished, RunResumed, WorkerFinished

_OWN_TIMEOUTS = (Reason.WORKER_TIMEOUT, Reason.IDLE_TIMEOUT)


def ends_that_hold(recorded: Iterable[Recorded], *, failures: bool = True) -> dict[int, WorkerFinished]:
    """The ends that are kept, by worker id.

    Args:
        recorded: All events of the run, in order.
        failures: Whether failures of a launch that died are kept, as in a task graph, where others depend on them.
    """
    kept: dict[int, WorkerFinished] = {}
    for entry in recorded:
        match entry.event:
            case WorkerFinished(result=result) if result.status is Status.SUCCESS or (failures and _failed(result)):
                kept[result.worker_id] = entry.event
            case WorkerFinished(result=result):
                kept.pop(result.worker_id, None)
            case RunResumed(worker_ids=again):
                for worker_id in again:
                    kept.pop(worker_id, None)
            case RunFinished():
                kept = {key: end for key, end in kept.items() if end.result.status is Status.SUCCESS}
            case _:
                pass
    return kept


def _failed(result: WorkerResult) -> bool:
    """Return whether a worker failed by itself. It was neither stopped with its run nor skipped for another worker."""
    return result.status in (Status.FAILED, Status.PARTIAL) or result.reason in _OWN_TIMEOUTS
