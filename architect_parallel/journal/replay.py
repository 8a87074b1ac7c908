"""From a run's events to its result: pure, total, and the only way a `RunResult` comes about.

The same events give the same result. The one thing that events cannot tell is an argument: whether the launcher still
lives. Once a run is over, every planned worker has exactly one result, so that the counts of the envelope add up.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace

from architect_parallel.domain import RunResult, WorkerSpec
from architect_parallel.events import Judged, Recorded, RunExtended, RunStarted
from architect_parallel.journal.view import RunView


def replay(recorded: Iterable[Recorded], *, live: bool) -> RunResult:
    """Compute the result of one run.

    Args:
        recorded: The events of one run in order of `seq`. Those with `seq` 0 change nothing.
        live: Whether the run's launcher still lives.

    Returns:
        The result: of a live run only with the workers that ended, else with every planned worker.

    Raises:
        InternalError: When the events do not begin with `RunStarted`.
    """
    return RunView.of("", recorded).result(live=live)


def of_workers(recorded: Iterable[Recorded], worker_ids: Collection[int]) -> list[Recorded]:
    """The events of a run as if it had only these workers."""

    def chosen(specs: Iterable[WorkerSpec]) -> tuple[WorkerSpec, ...]:
        return tuple(
            replace(spec, dependencies=tuple(name for name in spec.dependencies if name in worker_ids))
            for spec in specs
            if spec.worker_id in worker_ids
        )

    kept = []
    for entry in recorded:
        match entry.event:
            case RunStarted(plan=plan) as started:
                kept.append(replace(entry, event=replace(started, plan=replace(plan, workers=chosen(plan.workers)))))
            case RunExtended(workers=specs) as extended:
                kept.append(replace(entry, event=replace(extended, workers=chosen(specs))))
            case Judged(judgement=judgement) if not {judgement.a, judgement.b} <= set(worker_ids):
                pass
            case _ if entry.worker_id is None or entry.worker_id in worker_ids:
                kept.append(entry)
            case _:
                pass
    return kept
