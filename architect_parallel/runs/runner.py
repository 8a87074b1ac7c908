"""The loop of a run: it starts workers, receives their events, and ends the run.

One thread (the caller's, which also gets the signals) takes events from one queue. The journal gets them first, in
batches: an event is durable before the runner acts on it, and a journal that fails ends the run. The end of an attempt
is recorded together with its consequence (another attempt, or the worker's end), so that a launcher killed in between
leaves no doubt. The scheduler decides what starts, and whether there is another attempt.

A stop has two steps. The first (Ctrl-C, SIGTERM, a cancel request, a limit) starts nothing more, stops the agents
politely and still collects their work. The second kills the remaining processes at once and still records them.

The checks run on the base commit before the first worker, unless an earlier launch recorded them. A check that cannot
be started there ends the run before anything was made. A run that had made nothing before leaves no trace.
"""

from __future__ import annotations

import contextlib
import math
import queue
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from signal import Signals
from typing import NoReturn

from architect_parallel.domain import Isolation, Reason, Role, RunPlan, RunResult, RunStatus, WorkerSpec
from architect_parallel.errors import ArchitectParallelError
from architect_parallel.events import (
    BaselineFinished,
    CheckFinished,
    Entry,
    Event,
    RateLimited,
    RunFinished,
    UsageReported,
    WorkerFinished,
    WorkerPlaced,
)
from architect_parallel.hosts.base import Emit, Host, Target
from architect_parallel.runs.baseline import baseline_order, baseline_problem
from architect_parallel.runs.recorder import Recorder, Reported
from architect_parallel.runs.resource_gate import Admission, ResourceGate
from architect_parallel.runs.run_end import run_end, uncritical_failures
from architect_parallel.runs.stop_control import LOOK_S, StopControl
from architect_parallel.scheduling import check_policy
from architect_parallel.scheduling.scheduler import Scheduler
from architect_parallel.system import signals
from architect_parallel.system.clock import monotonic_s

_MOST_AT_ONCE = 1000
"""The most events that are recorded in one transaction."""


class Runner:
    """Executes a plan. One instance runs once."""

    def __init__(
        self,
        plan: RunPlan,
        recorder: Recorder,
        make_host: Callable[[Emit], Host],
        scheduler: Scheduler,
        stops: StopControl,
        gate: ResourceGate,
        *,
        first_event: Event | None = None,
    ) -> None:
        """Args:
        first_event: Recorded before anything else (`RunResumed`). `None` means that the caller recorded `RunStarted`.
        """
        self._plan = plan
        self._recorder = recorder
        self._scheduler = scheduler
        self._stops = stops
        self._gate = gate
        self._first_event = first_event
        self._queue: queue.SimpleQueue[Reported | Signals] = queue.SimpleQueue()
        self._host = make_host(lambda worker_id, event, source=None: self._queue.put((worker_id, event, source)))
        self._is_begun = False
        self._checking_base = False
        self._failed_fast = False
        self._next_start_s = -math.inf
        self._in_place = frozenset(spec.worker_id for spec in plan.workers if spec.isolation is Isolation.NONE)

    def run(self) -> RunResult:
        """Run everything to its end and return the result.

        Raises:
            UsageError: A check cannot be started on the base commit. No worker was started.
            EnvironmentProblem: There is no tree to run the checks of the base commit in. No worker was started.
            ArchitectParallelError: When the journal cannot be written. All agents have been stopped by then.
        """
        self.work()
        return self.finish()

    def add(self, specs: Sequence[WorkerSpec], *, at_once: int | None = None) -> None:
        """Add workers that the plan does not have. The caller has recorded them.

        Args:
            at_once: How many of them run at the same time. `None` means as many as the plan allows.
        """
        self._scheduler.add(specs, at_once=at_once)

    def work(self, follow: Callable[[], None] = lambda: None) -> None:
        """Run all waiting workers to their end. It may be called again.

        Args:
            follow: Called first, and after each batch of events until the run is stopped. It may `add`.

        Raises:
            ArchitectParallelError: As `run`.
        """
        with self._guarded():
            self._begin()
            if self.stopped_by is not None:
                self.record(self._scheduler.drop(self.stopped_by))
            else:
                follow()
            self._check_base()
            while self._scheduler.unfinished or self._checking_base:
                self._start_workers()
                self._take_events()
                if self.stopped_by is None:
                    follow()

    def idle(self, seconds: float) -> None:
        """Wait with nothing running. A signal, a cancel request and the run's time limit end the wait: `stopped_by`."""
        until_s = monotonic_s() + seconds
        with self._guarded():
            while self.stopped_by is None and monotonic_s() < until_s:
                self._next_start_s = until_s
                self._take_events()

    def finish(self, ended: tuple[RunStatus, int] | None = None) -> RunResult:
        """Record the end of the run. When it returns, no process of the run is left.

        Args:
            ended: Status and exit code. `None` means that the results decide. A signal decides the exit code always.
        """
        with self._guarded():
            self._host.close()
            return self._finish(ended)

    @property
    def stopped_by(self) -> Reason | None:
        """The reason why nothing more starts. `None` means that workers may start."""
        return self._stops.stopped_by

    def record(self, events: Sequence[Entry]) -> None:
        """Record events (worker id or `None`, event) and show them to the listeners."""
        self._recorder.record(events)

    def warn(self, message: str) -> None:
        """Warn of the run as a whole. See `Recorder.warn`."""
        self._recorder.warn(message)

    @contextlib.contextmanager
    def _guarded(self) -> Iterator[None]:
        """Take signals as events, and stop every agent before an error of ours leaves the block."""
        with signals.forwarded(self._queue.put):
            try:
                yield
            except BaseException:
                self._scheduler.drop(Reason.INTERRUPTED)
                for target in self._running():
                    self._host.stop(target, Reason.INTERRUPTED, "the launcher failed")
                self._host.close()
                self._recorder.save_left(self._queue)
                self._recorder.journal.ballast.drop()
                raise

    def _begin(self) -> None:
        if self._is_begun:
            return
        self._is_begun = True
        self._recorder.journal.ballast.take()
        if self._first_event is not None:
            self.record([(None, self._first_event)])
        self.record(self._scheduler.take_up())
        for spec in self._scheduler.begin_again(self._host.attached(), monotonic_s()):
            self._host.start(spec)
        self._stop_if_due()

    # The base commit

    def _check_base(self) -> None:
        """Start the checks of the base commit, unless their results are known."""
        order = baseline_order(self._plan, self._scheduler.specs, self._recorder.view.baseline)
        if order is not None:
            self._checking_base = True
            self._host.check_base(order)

    def _take_baseline(self, ended: BaselineFinished) -> None:
        """Record the checks of the base commit, or end a run that cannot begin."""
        self._checking_base = False
        if self.stopped_by is not None:
            return  # a stopped baseline is incomplete: do not record it as if it were the whole
        problem = baseline_problem(ended)
        if problem is not None:
            self._give_up(problem)
        self.record([(None, ended)])
        for check in check_policy.failing(ended.checks):
            self.warn(f"check already fails on the base commit: {check_policy.words(check)}")

    def _give_up(self, problem: ArchitectParallelError) -> NoReturn:
        """Abort the launch before any worker starts, and raise `problem`.

        A run that has made nothing is removed: it must not become a failed run, nor the newest one. A run with an
        earlier launch, and a flow, stay and get their end.
        """
        journal, run_id = self._recorder.journal, self._plan.run_id
        if not self._recorder.view.has_begun and self._plan.flow is None:
            journal.forget(run_id)
            raise problem
        self._recorder.record_silently(
            [
                *self._scheduler.fail_all(f"not started: {problem.message}"),
                (None, RunFinished(status=RunStatus.FAILED, exit_code=problem.exit_code, warnings=(problem.message,))),
            ]
        )
        raise problem

    # Starts

    def _start_workers(self) -> None:
        """Start every worker that may start now, and note when to look again."""
        self._next_start_s = math.inf
        while not self._checking_base and self._scheduler.waiting and self.stopped_by is None:
            now_s = monotonic_s()
            start = self._scheduler.next(now_s)
            if start.index is None:
                self._next_start_s = start.at_s
                return
            admission, shortage = self._gate.check(now_s, is_idle=not self._scheduler.running)
            match admission:
                case Admission.START:
                    spec = self._scheduler.begin(start.index, now_s)
                    self._host.start(self._stops.spending.limited(spec))
                case Admission.WAIT:
                    self._next_start_s = now_s + LOOK_S
                    return
                case Admission.FAIL:
                    self._next_start_s = now_s + LOOK_S
                    self.record(self._scheduler.fail(start.index, f"not started: {shortage}"))
                    self._stop_if_due()

    # Events

    def _take_events(self) -> None:
        batch = self._next_batch()
        events = [item for item in batch if not isinstance(item, Signals)]
        entries = [entry for worker_id, event, _ in events for entry in self._entries(worker_id, event)]
        self._recorder.record(entries, [source for _, _, source in events if source is not None])
        for worker_id, event, _ in events:
            if worker_id is not None:
                self._decide(worker_id, event)
            elif isinstance(event, BaselineFinished):
                self._take_baseline(event)
        for item in batch:
            if isinstance(item, Signals) and self._stops.receive(item):
                for target in self._running():
                    self._host.kill(target)
        self._cancel_workers()
        self._stop_if_due()

    def _next_batch(self) -> list[Reported | Signals]:
        until_s = min(self._next_start_s, self._stops.deadline_s)
        wait_s = max(0.0, min(LOOK_S, until_s - monotonic_s()))
        batch: list[Reported | Signals] = []
        try:
            batch.append(self._queue.get(timeout=wait_s))
            while len(batch) < _MOST_AT_ONCE:
                batch.append(self._queue.get_nowait())
        except queue.Empty:
            pass
        return batch

    def _entries(self, worker_id: int | None, event: Event) -> list[Entry]:
        """The entries to record for an event of the host: a check is compared with the base, and the end of an attempt
        becomes its consequences."""
        if worker_id is None:
            return [] if isinstance(event, BaselineFinished) else [(None, event)]
        baseline = () if worker_id in self._in_place else self._recorder.view.baseline
        match event:
            case WorkerFinished(result=result):
                checks = check_policy.compared(result.checks, baseline)
                end = replace(event, result=replace(result, checks=checks))
                return self._scheduler.ended(worker_id, end, monotonic_s(), stopping=self.stopped_by is not None)
            case _ if self._scheduler.role_of(worker_id) is Role.DEBUGGER:
                return []
            case CheckFinished(check=check):
                return [(worker_id, CheckFinished(check=check_policy.compared([check], baseline)[0]))]
            case _:
                return [(worker_id, event)]

    def _decide(self, worker_id: int, event: Event) -> None:
        """Act on an event of a worker that has been recorded."""
        match event:
            case WorkerFinished(result=result):
                self._stops.spending.ended(worker_id, result.cost)
                self._stop_if_due()
            case UsageReported(cost=cost) if cost is not None:
                self._stops.spending.seen(worker_id, cost)
                self._stop_if_due()
            case WorkerPlaced():
                self._host.placed(worker_id, event)
            case RateLimited():
                self._scheduler.throttled(worker_id, monotonic_s())
            case _:
                pass

    # Stops

    def _cancel_workers(self) -> None:
        for worker_id in self._stops.look_for_requests((*self._scheduler.running, *self._scheduler.idle)):
            if worker_id in self._scheduler.running:
                self._host.stop(worker_id, Reason.CANCELED, "canceled on request")
            else:
                self.record(self._scheduler.cancel(worker_id))

    def _stop_if_due(self) -> None:
        """Where there is a reason to stop the run: start nothing more, stop what runs, and end what waits."""
        failure = self._scheduler.failure
        if failure is not None and not self._failed_fast:
            self._failed_fast = True
            self._stops.add(Reason.FAIL_FAST, f"worker {failure.worker_id} ended as {failure.status}")
        while (order := self._stops.next_reason()) is not None:
            for target in self._running():
                self._host.stop(target, order.reason, order.detail)
            self.record(self._scheduler.drop(order.reason))

    def _running(self) -> list[Target]:
        return [*self._scheduler.running, *([Role.BASELINE] if self._checking_base else [])]

    # The end

    def _finish(self, ended: tuple[RunStatus, int] | None) -> RunResult:
        overshoot = self._stops.spending.overshoot
        if overshoot is not None:
            self.warn(overshoot)
        results = self._recorder.result().results
        for warning in uncritical_failures(self._plan, results):
            self.warn(warning)
        self._recorder.record_warnings()
        end = run_end(self._plan, results, self._scheduler, self._stops.signal, ended)
        self.record([(None, replace(end, warnings=tuple(self._recorder.warnings)))])
        self._recorder.journal.ballast.drop()
        self._recorder.record_warnings()  # of a listener that failed on this last event
        return self._recorder.journal.with_landing(self._recorder.result())
