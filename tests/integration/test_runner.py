"""The dispatcher with a host that does as it is told: what starts when, what stops what, and what the journal hears."""

from __future__ import annotations

import dataclasses
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from architect_parallel.domain import AgentProfile, Reason, RunPlan, RunStatus, Status, Usage, WorkerResult, WorkerSpec
from architect_parallel.errors import EnvironmentProblem
from architect_parallel.events import Event, Recorded, RunFinished, RunStarted, UsageReported, WorkerFinished
from architect_parallel.hosts.base import Emit
from architect_parallel.journal import Journal
from architect_parallel.runner import Runner

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
        self._emit(spec.worker_id, WorkerFinished(result=result_of(spec, status, reason or Reason.COMPLETED)))

    def stop(self, worker_id: int, reason: Reason, detail: str = "") -> None:
        self._reasons.setdefault(worker_id, reason)
        self._stops[worker_id].set()

    def kill(self, worker_id: int) -> None:
        self.killed.append(worker_id)
        self._stops[worker_id].set()

    def close(self) -> None:
        for thread in self._threads:
            thread.join()


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal.open(tmp_path / "state") as opened:
        yield opened


class Started:
    """A runner over a fake host, its plan recorded."""

    def __init__(self, journal: Journal, decided: RunPlan, behave: Behaviour) -> None:
        journal.append([(RUN, None, RunStarted(plan=decided, launcher_pid=os.getpid()))])
        self.hosts: list[FakeHost] = []
        self.heard: list[Recorded] = []
        self.runner = Runner(decided, journal, self._make_host(behave), listeners=[self.heard.append])

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


def test_never_more_than_the_cap_run_at_once_and_all_run(journal: Journal) -> None:
    started = Started(journal, plan(9), finish_at_once)

    result = started.runner.run()

    assert (result.status, result.exit_code) == (RunStatus.SUCCESS, 0)
    assert started.hosts[0].started == list(range(1, 10))
    assert started.hosts[0].most_at_once <= 2


def test_the_journal_hears_everything_before_the_listeners(journal: Journal) -> None:
    started = Started(journal, plan(3), finish_at_once)
    seen: list[bool] = []
    started.runner._listeners.insert(0, lambda each: seen.append(each in journal.recorded(RUN)))

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

    started.runner._listeners.insert(0, broken)

    result = started.runner.run()

    assert result.status is RunStatus.SUCCESS
    assert len(calls) == 1
    assert any("no such terminal" in warning for warning in result.warnings)
    assert isinstance(started.heard[-1].event, RunFinished)


def test_a_journal_that_fails_ends_the_run_and_stops_every_worker(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def behave(spec: WorkerSpec, emit: Emit, stop: threading.Event) -> Status:
        if spec.worker_id == 2:
            emit(2, UsageReported(usage=Usage(), cost=0.1))
        return until_stopped(spec, emit, stop)

    started = Started(journal, plan(4), behave)
    append = journal.append

    def full(entries: list[tuple[str, int | None, Event]]) -> list[Recorded]:
        if any(isinstance(event, UsageReported) for _, _, event in entries):
            raise EnvironmentProblem("the disk is full")
        return append(entries)

    # The one fault that cannot be made on a healthy disk.
    monkeypatch.setattr(journal, "append", full)

    with pytest.raises(EnvironmentProblem, match="disk is full"):
        started.runner.run()

    assert started.hosts[0].started == [1, 2]
    assert all(not thread.is_alive() for thread in started.hosts[0]._threads)
