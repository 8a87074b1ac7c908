"""The dispatcher with a host that does as it is told: what starts when, what stops what, and what the journal hears."""

from __future__ import annotations

import dataclasses
import os
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from support.runners import make_runner

from architect_parallel.checks.checker import BaselineOrder
from architect_parallel.domain import (
    AgentProfile,
    CheckResult,
    Reason,
    RunPlan,
    RunResult,
    RunStatus,
    Status,
    Usage,
    WorkerResult,
    WorkerSpec,
)
from architect_parallel.errors import EnvironmentProblem, UsageError
from architect_parallel.events import (
    AttemptEnded,
    BaselineFinished,
    Event,
    Recorded,
    RunFinished,
    RunStarted,
    UsageReported,
    WorkerFinished,
    WorkerPlaced,
    WorkerStarting,
)
from architect_parallel.hosts.base import Emit, Target
from architect_parallel.hosts.local import LocalHost
from architect_parallel.journal import Journal
from architect_parallel.runs.runner import Runner
from architect_parallel.scheduling.admission import FreeResources, Rules
from architect_parallel.supervision.monitor import Sampler
from architect_parallel.supervision.stop import StopToken
from architect_parallel.system.git import Repository
from architect_parallel.workers.context import WorkerContext
from architect_parallel.workers.worker import run_worker

RUN = "20260101-000000-test"
Behaviour = Callable[[WorkerSpec, Emit, threading.Event], Status]


def plan(workers: int, **more: object) -> RunPlan:
    specs = tuple(
        WorkerSpec(
            run_id=RUN,
            worker_id=number,
            index=number - 1,
            number=number,
            name=f"worker-{number}",
            prompt="do",
            backend="fake",
            model=None,
            agent=AgentProfile(name="build"),
            branch=f"architect/parallel-{number}",
            worktree_path=f"/nowhere/{number}",
            base_commit="0" * 40,
        )
        for number in range(1, workers + 1)
    )
    decided = RunPlan(
        run_id=RUN, repository="/nowhere", base_commit="0" * 40, base_ref="HEAD", workers=specs, max_parallel=2
    )
    return dataclasses.replace(decided, **more)  # type: ignore[arg-type]  # test data


def result_of(spec: WorkerSpec, status: Status, reason: Reason) -> WorkerResult:
    return WorkerResult(
        worker_id=spec.worker_id,
        branch=spec.branch,
        model="default",
        status=status,
        steps=0,
        cost=None,
        duration=0.0,
        files_modified=[],
        worktree_path=spec.worktree_path,
        reason=reason,
    )


class FakeHost:
    """Runs a behaviour per worker in a thread; remembers who was running with whom."""

    def __init__(self, emit: Emit, behave: Behaviour) -> None:
        self._emit = emit
        self._behave = behave
        self._stops: dict[int, threading.Event] = {}
        self._reasons: dict[int, Reason] = {}
        self._threads: list[threading.Thread] = []
        self.started: list[int] = []
        self.killed: list[int] = []
        self.most_at_once = 0
        self._now = 0
        self.reason = Reason.COMPLETED
        """Of every end that is not a stop."""

    def start(self, spec: WorkerSpec) -> None:
        self.started.append(spec.worker_id)
        self._stops[spec.worker_id] = threading.Event()
        self._now += 1
        self.most_at_once = max(self.most_at_once, self._now)
        thread = threading.Thread(target=self._run, args=(spec,))
        self._threads.append(thread)
        thread.start()

    def _run(self, spec: WorkerSpec) -> None:
        status = self._behave(spec, self._emit, self._stops[spec.worker_id])
        reason = self._reasons.get(spec.worker_id)
        if reason is not None:
            status = Status.CANCELED
        self._now -= 1
        self._emit(spec.worker_id, WorkerFinished(result=result_of(spec, status, reason or self.reason)))

    def placed(self, worker_id: int, event: WorkerPlaced) -> None: ...

    def attached(self) -> Sequence[int]:
        return ()

    def check_base(self, order: BaselineOrder) -> None:
        raise AssertionError("no worker here has checks")

    def stop(self, target: Target, reason: Reason, detail: str = "") -> None:
        assert isinstance(target, int)
        self._reasons.setdefault(target, reason)
        self._stops[target].set()

    def kill(self, target: Target) -> None:
        assert isinstance(target, int)
        self.killed.append(target)
        self._stops[target].set()

    def close(self) -> None:
        for thread in self._threads:
            thread.join()


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal.open(tmp_path / "state") as opened:
        yield opened


class Started:
    """A runner over a fake host, its plan recorded."""

    def __init__(
        self, journal: Journal, decided: RunPlan, behave: Behaviour, earlier: Sequence[WorkerStarting] = ()
    ) -> None:
        journal.append([(RUN, None, RunStarted(plan=decided, launcher_pid=os.getpid()))])
        journal.append([(RUN, 1, event) for event in earlier])
        self.hosts: list[FakeHost] = []
        self.heard: list[Recorded] = []
        self.runner = make_runner(decided, journal, self._make_host(behave), listeners=[self.heard.append])

    def _make_host(self, behave: Behaviour) -> Callable[[Emit], FakeHost]:
        def make(emit: Emit) -> FakeHost:
            self.hosts.append(FakeHost(emit, behave))
            return self.hosts[0]

        return make


def finish_at_once(spec: WorkerSpec, emit: Emit, stop: threading.Event) -> Status:
    return Status.SUCCESS


def until_stopped(spec: WorkerSpec, emit: Emit, stop: threading.Event) -> Status:
    assert stop.wait(30)
    return Status.FAILED


@pytest.mark.parametrize("earlier", [False, True], ids=["a new run", "a worker had begun"])
def test_a_run_that_cannot_begin_is_no_failed_run(journal: Journal, earlier: bool) -> None:
    """The control: what an earlier launch recorded stays, with the end of this one."""
    decided = plan(1)
    decided = dataclasses.replace(
        decided, workers=tuple(dataclasses.replace(spec, checks=("gone",)) for spec in decided.workers)
    )
    before = [WorkerStarting(attempt=1)] if earlier else []
    started = Started(journal, decided, finish_at_once, before)
    (journal.run_dir(RUN) / "logs").mkdir(parents=True)
    answer = CheckResult(command="gone", passed=False, exit_code=127, duration_seconds=0.0)
    host = started.hosts[0]
    host.check_base = lambda order: host._emit(None, BaselineFinished(checks=(answer,)))  # type: ignore[method-assign]

    with pytest.raises(UsageError, match="'gone' cannot be started on the base commit"):
        started.runner.run()

    assert journal.run_ids() == ([RUN] if earlier else [])
    assert journal.run_dir(RUN).exists() is earlier
    assert journal.recorded(RUN)[-1:] == [each for each in journal.recorded(RUN) if isinstance(each.event, RunFinished)]


def test_never_more_than_the_cap_run_at_once_and_all_run(journal: Journal) -> None:
    started = Started(journal, plan(9), finish_at_once)

    result = started.runner.run()

    assert (result.status, result.exit_code) == (RunStatus.SUCCESS, 0)
    assert started.hosts[0].started == list(range(1, 10))
    assert started.hosts[0].most_at_once <= 2


def test_the_journal_hears_everything_before_the_listeners(journal: Journal) -> None:
    started = Started(journal, plan(3), finish_at_once)
    seen: list[bool] = []

    def hear(recorded: Recorded) -> None:
        seen.append(recorded.seq in [known.seq for known in journal.recorded(RUN)])

    started.runner._recorder._listeners.insert(0, hear)

    started.runner.run()

    assert len(seen) >= 4
    assert all(seen)


def test_a_run_budget_is_shared_and_stops_the_rest(journal: Journal) -> None:
    def spend(spec: WorkerSpec, emit: Emit, stop: threading.Event) -> Status:
        emit(spec.worker_id, UsageReported(usage=Usage(), cost=0.6))
        return until_stopped(spec, emit, stop)

    started = Started(journal, plan(4, budget_usd=1.0), spend)

    result = started.runner.run()

    assert [each.reason for each in result.results] == [Reason.RUN_BUDGET] * 4
    assert started.hosts[0].started == [1, 2]


def test_a_run_timeout_stops_what_runs_and_what_waits(journal: Journal) -> None:
    result = Started(journal, plan(3, timeout_s=0.1), until_stopped).runner.run()

    assert [each.reason for each in result.results] == [Reason.RUN_TIMEOUT] * 3


def test_fail_fast_starts_nothing_after_the_first_failure(journal: Journal) -> None:
    def behave(spec: WorkerSpec, emit: Emit, stop: threading.Event) -> Status:
        return Status.FAILED if spec.worker_id == 1 else until_stopped(spec, emit, stop)

    started = Started(journal, plan(5, fail_fast=True), behave)

    result = started.runner.run()

    assert [each.reason for each in result.results][1:] == [Reason.FAIL_FAST] * 4
    assert started.hosts[0].started == [1, 2]


def test_a_listener_that_fails_is_dropped_with_a_warning(journal: Journal) -> None:
    started = Started(journal, plan(3), finish_at_once)
    calls: list[Recorded] = []

    def broken(each: Recorded) -> None:
        calls.append(each)
        raise RuntimeError("no such terminal")

    started.runner._recorder._listeners.insert(0, broken)

    result = started.runner.run()

    assert result.status is RunStatus.SUCCESS
    assert len(calls) == 1
    assert any("no such terminal" in warning for warning in result.warnings)
    assert isinstance(started.heard[-1].event, RunFinished)


def test_a_listener_that_fails_at_the_very_end_is_told_as_well(journal: Journal) -> None:
    started = Started(journal, plan(1), finish_at_once)

    def broken(each: Recorded) -> None:
        if isinstance(each.event, RunFinished):
            raise OSError("no space for the summary")

    started.runner._recorder._listeners.append(broken)

    result = started.runner.run()

    assert result.status is RunStatus.SUCCESS
    assert any("no space for the summary" in warning for warning in result.warnings)


def test_a_journal_that_fails_ends_the_run_and_stops_every_worker(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def behave(spec: WorkerSpec, emit: Emit, stop: threading.Event) -> Status:
        if spec.worker_id == 2:
            emit(2, UsageReported(usage=Usage(), cost=0.1))
        return until_stopped(spec, emit, stop)

    started = Started(journal, plan(4), behave)
    append = journal.append

    def full(entries: list[tuple[str, int | None, Event]], sources: object = ()) -> list[Recorded]:
        if any(isinstance(event, UsageReported) for _, _, event in entries):
            raise EnvironmentProblem("the disk is full")
        return append(entries)

    # The one fault that cannot be made on a healthy disk.
    monkeypatch.setattr(journal, "append", full)

    with pytest.raises(EnvironmentProblem, match="disk is full"):
        started.runner.run()

    assert started.hosts[0].started == [1, 2]
    assert all(not thread.is_alive() for thread in started.hosts[0]._threads)


class Spending(Runner):
    """Tells an agent when the launcher has acted on its last reply: a model takes longer for the next one than that.
    Nothing else is assumed of time."""

    sees_replies = True

    def __init__(self, *args: Any, acted: Callable[[int], None], **more: Any) -> None:
        super().__init__(*args, **more)
        self._acted = acted

    def _decide(self, worker_id: int, event: Event) -> None:
        if self.sees_replies or not isinstance(event, UsageReported):
            super()._decide(worker_id, event)
        if isinstance(event, UsageReported):
            self._acted(worker_id)


class Blind(Spending):
    """The control: a dispatcher that looks at money only when a worker ends."""

    sees_replies = False


def spend(kind: type[Spending], journal: Journal, seed: int) -> tuple[float, float, RunResult]:
    """One run of agents that spend and spend: USD over the budget, one reply of each worker at a time, the result."""
    dice = random.Random(seed)
    count, at_once = dice.randint(1, 6), dice.randint(1, 4)
    price = {worker_id: dice.uniform(0.01, 0.2) for worker_id in range(1, count + 1)}
    budget = dice.uniform(0.05, 1.5)
    decided = plan(count, run_id=f"20260101-000000-{seed:04d}", max_parallel=at_once, budget_usd=budget)
    acted = {worker_id: threading.Semaphore(0) for worker_id in price}
    spent: dict[int, float] = {}

    def reply(spec: WorkerSpec, emit: Emit, stop: threading.Event) -> Status:
        for number in range(1, 21):
            spent[spec.worker_id] = number * price[spec.worker_id]
            emit(spec.worker_id, UsageReported(usage=Usage(), cost=spent[spec.worker_id]))
            acted[spec.worker_id].acquire()
            if stop.is_set():
                return Status.CANCELED
        return Status.SUCCESS

    journal.append([(decided.run_id, None, RunStarted(plan=decided, launcher_pid=os.getpid()))])
    made = partial(kind, acted=lambda worker_id: acted[worker_id].release())
    runner = make_runner(decided, journal, lambda emit: FakeHost(emit, reply), kind=made)
    result = runner.run()
    one_each = sum(sorted((price[worker_id] for worker_id in spent), reverse=True)[:at_once])
    return sum(spent.values()) - budget, one_each, result


def test_a_hundred_runs_spend_at_most_one_reply_per_running_worker_too_much(journal: Journal) -> None:
    reached = 0
    for seed in range(100):
        over, one_each, result = spend(Spending, journal, seed)
        assert over <= one_each + 1e-9
        assert any("over its budget" in warning for warning in result.warnings) == (over > 0)
        if over >= 0:
            reached += 1
            assert Reason.RUN_BUDGET in [each.reason for each in result.results] or len(result.results) == 1
    assert reached > 50


def test_looking_at_money_only_at_the_end_spends_far_more(journal: Journal) -> None:
    found = [spend(Blind, journal, seed)[:2] for seed in range(15)]
    assert max(over - one_each for over, one_each in found) > 0


def test_every_attempt_counts_towards_the_runs_budget(journal: Journal) -> None:
    attempts: list[int] = []

    def fail(spec: WorkerSpec, emit: Emit, stop: threading.Event) -> Status:
        attempts.append(spec.attempt)
        emit(spec.worker_id, UsageReported(usage=Usage(), cost=0.4))
        return Status.FAILED

    workers = tuple(dataclasses.replace(spec, retries=9) for spec in plan(1).workers)
    started = Started(journal, dataclasses.replace(plan(1, budget_usd=1.0), workers=workers), fail)
    started.hosts[0].reason = Reason.CHECK_FAILED

    (result,) = started.runner.run().results

    assert attempts == [1, 2, 3]
    assert len(result.attempt_history) == 3
    assert result.status is not Status.SUCCESS


def test_a_stop_between_two_attempts_ends_the_worker_at_once(journal: Journal) -> None:
    def refused(spec: WorkerSpec, emit: Emit, stop: threading.Event) -> Status:
        return Status.FAILED

    started = Started(journal, plan(1, timeout_s=0.2), refused)
    started.hosts[0].reason = Reason.RATE_LIMITED

    (result,) = started.runner.run().results

    assert (result.status, result.reason) == (Status.TIMEOUT, Reason.RUN_TIMEOUT)
    assert [each.reason for each in result.attempt_history] == [Reason.RATE_LIMITED] * len(result.attempt_history)
    assert any(isinstance(each.event, AttemptEnded) for each in started.heard)


def test_workers_wait_while_the_machine_lacks_room_and_go_on_when_it_has_some(journal: Journal) -> None:
    asked = 0
    first_ended = threading.Event()

    def behave(spec: WorkerSpec, emit: Emit, stop: threading.Event) -> Status:
        if spec.worker_id == 1:
            deadline = time.monotonic() + 30
            while asked < 3 and time.monotonic() < deadline:
                time.sleep(0.01)
            first_ended.set()
        else:
            assert first_ended.is_set()
        return Status.SUCCESS

    def room() -> FreeResources:
        nonlocal asked
        asked += 1
        return FreeResources() if asked == 1 or first_ended.is_set() else FreeResources(memory_bytes=0)

    decided = plan(3)
    journal.append([(RUN, None, RunStarted(plan=decided, launcher_pid=os.getpid()))])
    rules = Rules(min_free_memory_bytes=1)
    result = make_runner(decided, journal, lambda emit: FakeHost(emit, behave), rules=rules, room=room).run()

    assert result.status is RunStatus.SUCCESS


def test_a_bug_before_a_worker_begins_ends_the_worker_and_not_the_patience(
    tmp_path: Path, repository: Repository
) -> None:
    place = WorkerContext(repository=repository, run_dir=tmp_path, backends={}, environ={})
    with pytest.raises(KeyError):  # the control: a thread that ends so tells nobody
        run_worker(plan(1).workers[0], place, Sampler(), StopToken(), lambda event: None)
    plain = plan(2)
    checked = dataclasses.replace(
        plain, workers=tuple(dataclasses.replace(each, checks=("true",)) for each in plain.workers)
    )
    for decided in (plain, checked):
        with Journal.open(tmp_path / f"state-{len(decided.workers[0].checks)}") as journal:
            journal.append([(RUN, None, RunStarted(plan=decided, launcher_pid=1))])
            runner = make_runner(decided, journal, lambda emit: LocalHost(place, emit))
            with pytest.raises(EnvironmentProblem, match="internal error") if decided is checked else nullcontext():
                runner.run()
            if decided is checked:
                assert journal.run_ids() == [], "no worker was started"
                continue
            result = journal.result(RUN)
        assert [each.status for each in result.results] == [Status.FAILED, Status.FAILED]
        assert all("internal error: KeyError: 'fake'" in str(each.error) for each in result.results)


def test_what_was_seen_of_a_worker_that_broke_stays_spent(
    tmp_path: Path, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    left: list[float | None] = []

    def breaks(
        spec: WorkerSpec, _place: object, _sampler: object, _switch: object, emit: Callable[[Event], None]
    ) -> None:
        left.append(spec.limits.run_budget_usd)
        emit(UsageReported(usage=Usage(), cost=0.75))
        raise RuntimeError("a bug")

    monkeypatch.setattr("architect_parallel.hosts.local.run_worker", breaks)  # no bug of its own breaks it so late
    place = WorkerContext(repository=repository, run_dir=tmp_path, backends={}, environ={})
    decided = plan(2, max_parallel=1, budget_usd=1.0)
    with Journal.open(tmp_path / "state") as journal:
        journal.append([(RUN, None, RunStarted(plan=decided, launcher_pid=1))])
        make_runner(decided, journal, lambda emit: LocalHost(place, emit)).run()
    assert left == [1.0, 0.25]
