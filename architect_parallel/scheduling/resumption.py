"""What stands of a run when it is gone on with, so that it is not done again. Pure.

A launcher that died was about to act on what it had recorded: on a failure (skip what depends on it, take the flow
another way) as on a success. Both stand then, and the run ends as it would have. A run that *ended* with a failure has
acted on it; whoever goes on with it wants that failure done again.
"""

from __future__ import annotations

from collections.abc import Iterable

from architect_parallel.domain import Reason, Status, WorkerResult
from architect_parallel.events import Recorded, RunFinished, RunResumed, WorkerFinished

_OWN_TIMEOUTS = (Reason.WORKER_TIMEOUT, Reason.IDLE_TIMEOUT)


def ends_that_hold(recorded: Iterable[Recorded], *, failures: bool = True) -> dict[int, WorkerFinished]:
    """The ends that stand, by worker id.

    Args:
        recorded: All events of the run, in order.
        failures: Whether failures of a launch that died stand: where others wait for what comes of them.
    """
    found: dict[int, WorkerFinished] = {}
    for each in recorded:
        match each.event:
            case WorkerFinished(result=result) if result.status is Status.SUCCESS or (failures and _failed(result)):
                found[result.worker_id] = each.event
            case WorkerFinished(result=result):
                found.pop(result.worker_id, None)
            case RunResumed(worker_ids=again):
                for worker_id in again:
                    found.pop(worker_id, None)
            case RunFinished():
                found = {key: end for key, end in found.items() if end.result.status is Status.SUCCESS}
            case _:
                pass
    return found


def _failed(result: WorkerResult) -> bool:
    """Whether a worker failed by itself: not stopped with its run, and not skipped, which others decide anew."""
    return result.status in (Status.FAILED, Status.PARTIAL) or result.reason in _OWN_TIMEOUTS
