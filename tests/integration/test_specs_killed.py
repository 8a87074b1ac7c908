"""A launcher killed after any event: resuming gives the same ends, and what had succeeded does not run again."""

from __future__ import annotations

import dataclasses
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest
from dispatching import ended, spec

from architect_parallel.api import running
from architect_parallel.domain import OnPartial, Reason, Recovery, Retry, RunPlan, RunResult, Status, WorkerSpec
from architect_parallel.events import Event, RunResumed, RunStarted, WorkerFinished, WorkerStarting
from architect_parallel.hosts.base import Emit
from architect_parallel.journal import Journal
from architect_parallel.runner import Runner
from architect_parallel.workers.checking import BaselineOrder

RUN = "20260101-000000-test"


class InstantHost:
    """Each worker ends at once, always in the same way."""

    def __init__(self, emit: Emit, failing: frozenset[int], starts: list[int]) -> None:
        self._emit = emit
        self._failing = failing
        self._starts = starts

    def start(self, each: WorkerSpec) -> None:
        self._starts.append(each.worker_id)
        self._emit(each.worker_id, WorkerStarting(attempt=each.attempt))
        fails = each.worker_id in self._failing
        end = ended(each, Reason.AGENT_ERROR if fails else Reason.COMPLETED, Status.FAILED if fails else Status.SUCCESS)
        self._emit(each.worker_id, end)

    def stop(self, worker_id: int, reason: Reason, detail: str = "") -> None: ...

    def kill(self, worker_id: int) -> None: ...

    def check_base(self, order: BaselineOrder) -> None: ...

    def close(self) -> None: ...


def plan(needs: Mapping[int, tuple[int, ...]], recovery: Recovery | None) -> RunPlan:
    specs = tuple(
        spec(
            worker_id,
            run_id=RUN,
            dependencies=needed,
            retry=Retry(max_attempts=2, initial_delay_s=0.0),
            recovery=recovery,
            on_partial=OnPartial.CONTINUE if worker_id == 5 else OnPartial.SKIP,
        )
        for worker_id, needed in needs.items()
    )
    return RunPlan(
        run_id=RUN, repository="/nowhere", base_commit="0" * 40, base_ref="HEAD", workers=specs, max_parallel=2
    )


def execute(journal: Journal, decided: RunPlan, failing: frozenset[int], starts: list[int]) -> RunResult:
    """A launch: the first, or what `resume` makes of what the journal holds."""
    todo, earlier, event = list(decided.workers), None, None
    if len(journal.recorded(RUN)) > 1:
        decided, todo, earlier = running._unfinished(journal, RUN)
        event = RunResumed(launcher_pid=os.getpid(), worker_ids=tuple(each.worker_id for each in todo))
    make = lambda emit: InstantHost(emit, failing, starts)  # noqa: E731
    return Runner(decided, journal, make, todo=todo, earlier=earlier, first_event=event).run()


def ends(result: RunResult) -> dict[int, tuple[Status, Reason | None]]:
    return {each.worker_id: (each.status, each.reason) for each in result.results}


def begin(place: Path, decided: RunPlan) -> Journal:
    journal = Journal.open(place)
    journal.append([(RUN, None, RunStarted(plan=decided, launcher_pid=1))])
    return journal


@pytest.mark.parametrize(
    ("needs", "failing", "recovery"),
    [
        ({1: (), 2: (1,), 3: (1,), 4: (2, 3), 5: (3,)}, frozenset({3}), None),
        ({1: (), 2: (), 3: (1, 2)}, frozenset({1, 2}), Recovery()),
        ({1: (3,), 2: (3,), 3: ()}, frozenset({2}), Recovery()),
    ],
    ids=["diamond", "escalated", "recovered"],
)
def test_a_launcher_killed_after_any_event(
    tmp_path: Path, needs: Mapping[int, tuple[int, ...]], failing: frozenset[int], recovery: Recovery | None
) -> None:
    decided = plan(needs, recovery)
    with begin(tmp_path / "whole", decided) as journal:
        whole = execute(journal, decided, failing, [])
        recorded = journal.recorded(RUN)
    assert len(whole.results) == len(needs) == sum(Counter(each.status for each in whole.results).values())

    for kept in range(1, len(recorded)):
        events: list[tuple[str, int | None, Event]] = [(RUN, each.worker_id, each.event) for each in recorded[1:kept]]
        done = {
            each.worker_id
            for each in recorded[:kept]
            if isinstance(each.event, WorkerFinished) and each.event.result.status is Status.SUCCESS
        }
        if len(done) == len(needs):
            continue
        starts: list[int] = []
        with begin(tmp_path / str(kept), decided) as journal:
            if events:
                journal.append(events)
            result = execute(journal, decided, failing, starts)
        assert ends(result) == ends(whole), f"killed after event {kept}"
        assert not done.intersection(starts), f"killed after event {kept}"
        assert dataclasses.replace(result).total_tasks == len(result.results)
