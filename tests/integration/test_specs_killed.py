"""A launcher killed after any event: resuming gives the same ends, and what had finished does not run again."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.dispatching import ended, graphs, spec
from support.runners import make_runner

from architect_parallel.api.local_launch import EarlierLaunches
from architect_parallel.api.resume import unfinished
from architect_parallel.checks.checker import BaselineOrder
from architect_parallel.domain import (
    OnPartial,
    Reason,
    Recovery,
    Retry,
    RunPlan,
    RunResult,
    Status,
    WorkerSpec,
)
from architect_parallel.events import Recorded, RunResumed, RunStarted, WorkerFinished, WorkerPlaced, WorkerStarting
from architect_parallel.hosts.base import Emit, Target
from architect_parallel.journal import Journal

RUN = "20260101-000000-test"
ERRORS = Mapping[int, str]
"""Worker id → the error it ends with, every time; those that are not in it succeed."""


class InstantHost:
    """Each worker ends at once, always in the same way."""

    def __init__(self, emit: Emit, errors: ERRORS, starts: list[int]) -> None:
        self._emit = emit
        self._errors = errors
        self._starts = starts

    def start(self, each: WorkerSpec) -> None:
        self._starts.append(each.worker_id)
        self._emit(each.worker_id, WorkerStarting(attempt=each.attempt))
        error = self._errors.get(each.worker_id)
        end = ended(each, Reason.AGENT_ERROR if error else Reason.COMPLETED, Status.FAILED if error else Status.SUCCESS)
        said = each.prompt if each.name == "debugger" else ""
        self._emit(each.worker_id, replace(end, result=replace(end.result, error=error, output=said)))

    def stop(self, target: Target, reason: Reason, detail: str = "") -> None: ...

    def kill(self, target: Target) -> None: ...

    def placed(self, worker_id: int, event: WorkerPlaced) -> None: ...

    def attached(self) -> Sequence[int]:
        return ()

    def check_base(self, order: BaselineOrder) -> None: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class Told:
    """A launch, and what the journal holds after it."""

    result: RunResult
    recorded: Sequence[Recorded]
    starts: Sequence[int]


def plan(specs: Sequence[WorkerSpec], *, fail_fast: bool = False, fills: bool = True) -> RunPlan:
    return RunPlan(
        run_id=RUN, repository="/nowhere", base_commit="0" * 40, base_ref="HEAD", max_parallel=2, fail_fast=fail_fast,
        workers=tuple(replace(each, run_id=RUN, fills=fills) for each in specs),
    )  # fmt: skip


def launch(decided: RunPlan, errors: ERRORS, before: Sequence[Recorded] = (), debugger: str | None = None) -> Told:
    """The run from its start, or what `resume` makes of what was recorded `before` its launcher was killed."""
    starts: list[int] = []
    with tempfile.TemporaryDirectory() as place, Journal.open(Path(place)) as journal:
        journal.append([(RUN, None, RunStarted(plan=decided, launcher_pid=1))])
        todo, so_far = list(decided.workers), EarlierLaunches(standing={}, attempts={}, begun=(), ended=False)
        if before[1:]:
            journal.append([(RUN, each.worker_id, each.event) for each in before[1:]])
            decided, todo, so_far = unfinished(journal, RUN)
            ids = tuple(each.worker_id for each in todo)
            journal.append([(RUN, None, RunResumed(launcher_pid=os.getpid(), worker_ids=ids))])
        runner = make_runner(
            decided,
            journal,
            lambda emit: InstantHost(emit, errors, starts),
            todo=todo,
            earlier=so_far.attempts,
            standing=so_far.standing,
            debugger=None if debugger is None else spec(99, run_id=RUN, name="debugger", prompt=debugger),
        )
        return Told(result=runner.run(), recorded=journal.recorded(RUN), starts=starts)


def ends(result: RunResult) -> dict[int, tuple[Status, Reason | None, str | None]]:
    """How each ended. Which of several failures a skip names is a matter of which ended first."""
    return {
        each.worker_id: (each.status, each.reason, None if each.status is Status.SKIPPED else each.error)
        for each in result.results
    }


def require_same(whole: Told, again: Told, kept: Sequence[Recorded]) -> None:
    done = {
        each.worker_id
        for each in kept
        if isinstance(each.event, WorkerFinished) and each.event.result.status in (Status.SUCCESS, Status.FAILED)
    }
    assert not done.intersection(again.starts), "what had finished ran again"
    assert ends(again.result) == ends(whole.result)
    assert (again.result.status, again.result.exit_code) == (whole.result.status, whole.result.exit_code)
    assert again.result.briefing == whole.result.briefing


@pytest.mark.parametrize(
    ("needs", "failing", "recovery", "fail_fast"),
    [
        ({1: (), 2: (1,), 3: (1,), 4: (2, 3), 5: (3,)}, {3}, None, False),
        ({1: (), 2: (), 3: (1, 2)}, {1, 2}, Recovery(), False),
        ({1: (3,), 2: (3,), 3: ()}, {2}, Recovery(), False),
        ({1: (), 2: (), 3: (), 4: (1,)}, {2, 3}, Recovery(), False),
        ({1: (), 2: (), 3: (), 4: (1,)}, {1}, None, True),
    ],
    ids=["diamond", "escalated", "recovered", "not all of a group", "fail fast"],
)
def test_a_launcher_killed_after_any_event(
    needs: Mapping[int, tuple[int, ...]], failing: set[int], recovery: Recovery | None, fail_fast: bool
) -> None:
    specs = [
        spec(
            worker_id, name=f"t{worker_id}", dependencies=needed, retry=Retry(max_attempts=2, initial_delay_s=0.0),
            recovery=recovery, on_partial=OnPartial.CONTINUE if worker_id == 5 else OnPartial.SKIP,
        )
        for worker_id, needed in needs.items()
    ]  # fmt: skip
    decided, errors = plan(specs, fail_fast=fail_fast), dict.fromkeys(failing, "no login")
    whole = launch(decided, errors)
    assert len(whole.result.results) == len(needs)
    for kept in range(1, len(whole.recorded)):
        again = launch(decided, errors, whole.recorded[:kept])
        if whole.result.briefing is None:
            require_same(whole, again, whole.recorded[:kept])
            continue
        # The briefing counts every attempt, those of the launch that was killed, too.
        assert again.result.briefing is not None
        without = replace(again.result, briefing=whole.result.briefing)
        require_same(whole, replace(again, result=without), whole.recorded[:kept])


@settings(max_examples=60, deadline=None)
@given(
    specs=graphs(most=7, delay_s=0.0),
    errors=st.dictionaries(st.integers(1, 7), st.sampled_from(["no login", "no disk"]), max_size=7),
    debugger=st.sampled_from([None, "RELATED: yes", "RELATED: no"]),
    kills=st.lists(st.integers(0, 200), min_size=1, max_size=3),
)
def test_any_graph_killed_again_and_again(
    specs: list[WorkerSpec], errors: ERRORS, debugger: str | None, kills: list[int]
) -> None:
    decided = plan(specs)
    whole = last = launch(decided, errors, debugger=debugger)
    assert sorted(ends(whole.result)) == [each.worker_id for each in specs]
    counted = Counter(each.status for each in whole.result.results)
    assert counted.total() == whole.result.total_tasks == len(specs)
    kept = 1
    for kill in kills:  # each after the one before, so that every launch but the first goes on from a resumed run
        kept = min(kept + kill % max(1, len(last.recorded) - kept), len(last.recorded) - 1)
        before = last.recorded[:kept]
        last = launch(decided, errors, before, debugger)
        escalated = whole.result.briefing is not None and last.result.briefing is not None
        said = whole.result.briefing if escalated else last.result.briefing
        require_same(whole, replace(last, result=replace(last.result, briefing=said)), before)


def test_of_a_run_without_dependencies_everything_that_failed_is_run_again() -> None:
    for fills in (False, True):  # the second is the control: of a graph the failure stands
        decided = plan([spec(1, name="t1"), spec(2, name="t2")], fills=fills)
        whole = launch(decided, {1: "no login"})
        again = launch(decided, {}, whole.recorded[:-1])
        assert again.starts == ([] if fills else [1])
        assert again.result.results[0].status is (Status.FAILED if fills else Status.SUCCESS)
        ended_before = launch(decided, {}, whole.recorded)
        assert ended_before.starts == [1], "what a run ended with is done again"
