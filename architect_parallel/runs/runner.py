"""The dispatcher: starts what may start, receives every event, holds the run-wide limits, ends the run.

One thread (the caller's, which is also the one that gets signals) takes events from one queue. The journal hears them
first, in batches: an event is durable before anything is done about it, and a journal that fails ends the run. The end
of an attempt is recorded together with what follows from it (another attempt, or the worker's end), so that a launcher
killed in between leaves no doubt. What may start and whether there is another attempt is asked of `planning.dispatch`.
Listeners (the live table, a report) come after; one that fails is dropped with a warning.

A stop has two steps. The first (Ctrl-C, SIGTERM, a cancel request, a limit) starts nothing more, stops the agents
politely and still collects their work; the second kills what is left at once and still records it.

Before the first worker the checks run on the base commit, unless an earlier launch recorded that. A check that cannot
be started there ends the run before anything of it was made, and a run that had made nothing before leaves no trace.
"""

from __future__ import annotations

import contextlib
import logging
import math
import queue
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from signal import Signals
from typing import NoReturn

from architect_parallel.checks.checker import BaselineOrder
from architect_parallel.domain import (
    Attempt,
    CheckResult,
    Isolation,
    Reason,
    RunPlan,
    RunResult,
    RunStatus,
    Status,
    WorkerSpec,
)
from architect_parallel.errors import ArchitectParallelError, EnvironmentProblem, ExitCode
from architect_parallel.events import (
    AttemptEnded,
    BaselineFinished,
    CheckFinished,
    DebuggerEnded,
    Event,
    RateLimited,
    Recorded,
    RunFinished,
    RunResumed,
    UsageReported,
    Warned,
    WorkerFinished,
    WorkerStarting,
)
from architect_parallel.hosts.base import BASELINE, Emit, Host
from architect_parallel.journal import Journal
from architect_parallel.journal.requests import cancel_requested
from architect_parallel.scheduling import check_policy
from architect_parallel.scheduling.admission import FreeResources, Rules
from architect_parallel.scheduling.budget import Spending
from architect_parallel.scheduling.recovery import briefing as briefing_of
from architect_parallel.scheduling.recovery import debugger_words
from architect_parallel.scheduling.scheduler import Dispatch
from architect_parallel.scheduling.verdict import run_outcome
from architect_parallel.system import signals
from architect_parallel.system.clock import monotonic_s, now
from architect_parallel.text.quantities import quoted

LOOK_S = 0.5
"""How often the dispatcher looks for cancel requests, and for room where there was none."""
STARVED_S = 10.0
"""How long workers wait for memory or disk before the user is told."""

_FAILED = (Status.FAILED, Status.PARTIAL, Status.TIMEOUT)

Listener = Callable[[Recorded], None]
_BEGUN = (RunResumed, WorkerStarting, WorkerFinished)
"""Events of a run that has more than its plan."""

_log = logging.getLogger(__name__)


class Runner:
    """Executes a plan. One instance runs once."""

    def __init__(
        self,
        plan: RunPlan,
        journal: Journal,
        make_host: Callable[[Emit], Host],
        *,
        todo: Sequence[WorkerSpec] | None = None,
        first_event: Event | None = None,
        earlier: Mapping[int, Sequence[Attempt]] | None = None,
        standing: Mapping[int, WorkerFinished] | None = None,
        rules: Rules | None = None,
        room: Callable[[], FreeResources] = FreeResources,
        listeners: Sequence[Listener] = (),
        debugger: WorkerSpec | None = None,
    ) -> None:
        """Args:
        todo: The workers to run; `None`: all of the plan (a resumed run gives those that did not succeed).
        first_event: Recorded before anything else (`RunResumed`); `None`: the caller recorded `RunStarted` itself.
        earlier: Attempts of earlier launches of the run, by worker id.
        standing: Ends of earlier launches that stand, by worker id; none of them is in `todo`.
        rules: What holds for starts; `None`: nothing but the plan's `max_parallel`.
        room: What the machine has left; asked before each start.
        debugger: Who is asked when several tasks of a group fail; `None`: nobody is.
        """
        self._plan = plan
        self._journal = journal
        self._queue: queue.SimpleQueue[tuple[int | None, Event] | Signals] = queue.SimpleQueue()
        self._host = make_host(lambda worker_id, event: self._queue.put((worker_id, event)))
        self._rules = rules or Rules()
        self._room = room
        self._standing = dict(standing or {})
        """What they mean for others has not been seen to yet."""
        self._dispatch = Dispatch(
            [*(plan.workers if todo is None else todo), *(w for w in plan.workers if w.worker_id in self._standing)],
            self._rules,
            max_parallel=plan.max_parallel,
            random=random.random,
            earlier=earlier,
            standing=standing,
            debugger=debugger,
        )
        self._next_start_s = -math.inf
        self._starved_s: float | None = None
        self._first_event = first_event
        self._listeners = list(listeners)
        self._warnings: list[str] = []
        """Beside the plan's."""
        self._told: set[str] = set()
        self._spending = Spending(plan.budget_usd)
        self._baseline: list[CheckResult] = []
        """The checks on the base commit; empty: nothing is compared."""
        self._checking_base = False
        self._in_place = frozenset(spec.worker_id for spec in plan.workers if spec.isolation is Isolation.NONE)
        self._uncritical = frozenset(spec.worker_id for spec in plan.workers if not spec.critical)
        self._stopped_by: Reason | None = None
        self._signal: Signals | None = None
        self._signals_seen = 0
        self._canceled: set[int | None] = set()
        """Whose end was asked for; `None`: the run's."""
        self._next_look_s = -math.inf
        self._deadline_s = math.inf if plan.timeout_s is None else monotonic_s() + plan.timeout_s

    def run(self) -> RunResult:
        """Runs everything to its end and returns the result as replayed from the journal.

        Raises:
            UsageError: A check cannot be started on the base commit; no worker was.
            EnvironmentProblem: There is no tree to run the checks of the base commit in; no worker was started.
            ArchitectParallelError: When the journal cannot be written; all agents have been stopped by then.
        """
        self.work()
        return self.finish()

    def add(self, specs: Sequence[WorkerSpec], *, at_once: int | None = None) -> None:
        """Takes further workers that the plan does not know yet; the caller has recorded them.

        Args:
            at_once: How many of them run at the same time. `None` means as many as the plan allows.
        """
        self._dispatch.add(specs, at_once=at_once)

    def work(self, follow: Callable[[], None] = lambda: None) -> None:
        """Runs what waits to its end; may be called again.

        Args:
            follow: Called first, and after everything that was recorded until the run is stopped; it may `add`.

        Raises:
            ArchitectParallelError: As `run`.
        """
        with signals.forwarded(self._queue.put), self._abandoning():
            if self._first_event is not None:
                self.record([(None, self._first_event)])
                self._first_event = None
            standing, self._standing = self._standing, {}
            for worker_id, end in sorted(standing.items()):
                self._follow(worker_id, end.result.status)
            if self._stopped_by is not None:
                self._drop(self._stopped_by)
            else:
                follow()
            self._check_base()
            while self._dispatch.unfinished or self._checking_base:
                self._start_what_may_start()
                self._take_events()
                self._hold_deadline()
                if self._stopped_by is None:
                    follow()

    def idle(self, seconds: float) -> None:
        """Waits with nothing running; a signal, a request to cancel and the run's time limit end it: `stopped_by`."""
        until_s = monotonic_s() + seconds
        with signals.forwarded(self._queue.put), self._abandoning():
            while self._stopped_by is None and monotonic_s() < until_s:
                self._next_start_s = until_s
                self._take_events()
                self._hold_deadline()

    def finish(self, ended: tuple[RunStatus, int] | None = None) -> RunResult:
        """Ends the run: nothing of it is left running, and its end is recorded.

        Args:
            ended: Status and exit code where the results of its workers do not decide them; a signal decides the code.
        """
        with signals.forwarded(self._queue.put), self._abandoning():
            self._host.close()
            return self._finish(ended)

    @property
    def stopped_by(self) -> Reason | None:
        """Why nothing more starts; `None`: it may."""
        return self._stopped_by

    @contextlib.contextmanager
    def _abandoning(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self._abandon()
            raise

    def _check_base(self) -> None:
        """Begins the checks of the base commit where they are wanted and not known."""
        specs = [each for each in self._dispatch.specs if each.worker_id not in self._in_place]
        commands = check_policy.of_base(specs) if self._plan.baseline else ()
        if not commands:
            return
        self._baseline = self._journal.result(self._plan.run_id).baseline
        if {each.command for each in self._baseline}.issuperset(commands):
            return
        self._checking_base = True
        self._host.check_base(
            BaselineOrder(
                run_id=self._plan.run_id,
                base_commit=self._plan.base_commit,
                commands=commands,
                limits=specs[0].limits,
                check_timeout_s=max(spec.check_timeout_s for spec in specs),
                backend=specs[0].backend,
            )
        )

    def _take_baseline(self, ended: BaselineFinished) -> None:
        """Records the checks of the base commit, or ends the run that cannot go on without them."""
        self._checking_base = False
        if self._stopped_by is not None:
            return  # by half they would pass for the whole
        problem: ArchitectParallelError | None = check_policy.refusal(ended.checks)
        if ended.error is not None:
            problem = EnvironmentProblem(f"the checks cannot be run on the base commit: {ended.error}")
        if problem is not None:
            self._give_up(problem)
        self._baseline = list(ended.checks)
        self.record([(None, ended)])
        for each in check_policy.failing(ended.checks):
            self.warn(f"a check fails on the base commit already: {check_policy.words(each)}")

    def _give_up(self, problem: ArchitectParallelError) -> NoReturn:
        """End the launch before a worker was started, and raise `problem`.

        A run of which nothing was made is removed, so that it is no failed run and not the newest one. What an earlier
        launch or a flow recorded stays, and the end of this launch with it.
        """
        began = any(isinstance(each.event, _BEGUN) for each in self._journal.recorded(self._plan.run_id))
        if not began and self._plan.flow is None:
            self._journal.forget(self._plan.run_id)
            raise problem
        ended = [
            (result.worker_id, WorkerFinished(result=replace(result, finished_at=now())))
            for result in self._dispatch.fail_all(f"not started: {problem.message}")
        ]
        finished = RunFinished(status=RunStatus.FAILED, exit_code=problem.exit_code, warnings=(problem.message,))
        run_id = self._plan.run_id
        self._journal.append([*((run_id, *each) for each in ended), (run_id, None, finished)])
        raise problem

    def _start_what_may_start(self) -> None:
        self._next_start_s = math.inf
        while not self._checking_base and self._dispatch.waiting and self._stopped_by is None:
            now_s = monotonic_s()
            found = self._dispatch.next(now_s)
            if found.index is None:
                self._next_start_s = found.at_s
                return
            if not self._has_room(found.index, now_s):
                self._next_start_s = now_s + LOOK_S
                if self._dispatch.running:
                    return
                continue
            spec = self._dispatch.begin(found.index, now_s)
            self._host.start(self._spending.limited(spec))

    def _has_room(self, index: int, now_s: float) -> bool:
        """Whether the machine has room for one more worker.

        With nothing running nobody would make room: then a worker starts in spite of little memory, with a warning,
        and fails for want of disk, because its work could not be kept.
        """
        shortage = self._room().shortage(self._rules)
        if shortage is None:
            self._starved_s = None
            return True
        if self._dispatch.running:
            self._starved_s = now_s if self._starved_s is None else self._starved_s
            if now_s - self._starved_s >= STARVED_S:
                self.warn(f"workers wait for room on this machine: {shortage.text}")
            return False
        if shortage.of_disk:
            worker_id = self._dispatch.waiting[index].spec.worker_id
            result = self._dispatch.fail(index, f"not started: {shortage.text}")
            if not self._dispatch.is_debugger(worker_id):
                self.record([(worker_id, WorkerFinished(result=replace(result, finished_at=now())))])
            self._follow(worker_id, result.status)
            return False
        self.warn(f"started although there is little room: {shortage.text}")
        return True

    def warn(self, message: str) -> None:
        """Once per run, at once for those who watch; at the run's end it stands in the result."""
        if message not in self._warnings:
            self._warnings.append(message)
            self._told.add(message)
            self.record([(None, Warned(message=message))])

    def _take_events(self) -> None:
        batch = self._next_batch()
        events = [self._judged(*item) for item in batch if not isinstance(item, Signals) and item[0] != BASELINE]
        own = [item for item in events if item[0] is None or not self._dispatch.is_debugger(item[0])]
        if own:
            self.record(own)
        for worker_id, event in events:
            if worker_id is not None:
                self._decide(worker_id, event)
            elif isinstance(event, Warned):
                self._warnings.append(event.message)
                self._told.add(event.message)
        for item in batch:
            if isinstance(item, Signals):
                self._take_signal(item)
            elif isinstance(item[1], BaselineFinished):
                self._take_baseline(item[1])
        self._look_for_requests()

    def _next_batch(self) -> list[tuple[int | None, Event] | Signals]:
        until_s = min(self._next_start_s, self._deadline_s)
        wait_s = max(0.0, min(LOOK_S, until_s - monotonic_s()))
        batch: list[tuple[int | None, Event] | Signals] = []
        try:
            batch.append(self._queue.get(timeout=wait_s))
            while len(batch) < 1000:
                batch.append(self._queue.get_nowait())
        except queue.Empty:
            pass
        return batch

    def _judged(self, worker_id: int | None, event: Event) -> tuple[int | None, Event]:
        """The event as it is recorded: a check is compared with the base, and the end of an attempt becomes what
        follows from it."""
        if worker_id is not None and worker_id not in self._in_place:
            if isinstance(event, CheckFinished):
                event = CheckFinished(check=check_policy.compared([event.check], self._baseline)[0])
            elif isinstance(event, WorkerFinished):
                found = check_policy.compared(event.result.checks, self._baseline)
                event = replace(event, result=replace(event.result, checks=found))
        if worker_id is None or not isinstance(event, WorkerFinished):
            return worker_id, event
        stopping = self._stopped_by is not None
        return worker_id, self._dispatch.ended(worker_id, event, monotonic_s(), stopping=stopping)

    def record(self, events: Sequence[tuple[int | None, Event]]) -> None:
        """Puts events (worker id or `None`, event) into the journal, then before the listeners."""
        recorded = self._journal.append([(self._plan.run_id, worker_id, event) for worker_id, event in events])
        for each in recorded:
            for listener in tuple(self._listeners):
                try:
                    listener(each)
                except Exception as error:  # a display must not end a run
                    self._listeners.remove(listener)
                    self._warnings.append(f"a report stopped working and was dropped: {error}")
                    _log.warning("listener dropped", exc_info=True)

    def _decide(self, worker_id: int, event: Event) -> None:
        match event:
            case WorkerFinished(result=result):
                self._close_account(worker_id, result.attempt_history[-1])
                if self._dispatch.is_debugger(worker_id):
                    self.record([(None, DebuggerEnded(cost=result.cost))])
                    self.warn(debugger_words(result))
                self._follow(worker_id, result.status)
            case AttemptEnded(attempt=attempt):
                self._close_account(worker_id, attempt)
                self._settle(worker_id)
            case UsageReported(cost=cost) if cost is not None:
                self._spending.seen(worker_id, cost)
                self._hold_budget()
            case RateLimited():
                self._dispatch.throttled(worker_id, monotonic_s())
            case _:
                pass

    def _settle(self, worker_id: int) -> None:
        """Records who ended because this worker did: what depends on it, or its group that failed alike."""
        at = now()
        ends = [replace(each, result=replace(each.result, finished_at=at)) for each in self._dispatch.settle(worker_id)]
        if ends:
            self.record([(each.result.worker_id, each) for each in ends])

    def _follow(self, worker_id: int, status: Status) -> None:
        """What follows from the end of a worker: for those that wait for it, and for all."""
        self._settle(worker_id)
        if status is Status.SUCCESS or self._dispatch.is_debugger(worker_id) or worker_id in self._uncritical:
            return
        if self._plan.fail_fast:
            self._stop_all(Reason.FAIL_FAST, f"worker {worker_id} ended as {status}")

    def _close_account(self, worker_id: int, attempt: Attempt) -> None:
        self._spending.ended(worker_id, attempt)
        self._hold_budget()

    def _hold_budget(self) -> None:
        exhausted = self._spending.exhausted
        if exhausted is not None:
            self._stop_all(Reason.RUN_BUDGET, exhausted)

    def _hold_deadline(self) -> None:
        if monotonic_s() >= self._deadline_s:
            self._deadline_s = math.inf
            self._stop_all(Reason.RUN_TIMEOUT, f"the run took longer than {self._plan.timeout_s:g} s")

    def _take_signal(self, received: Signals) -> None:
        self._signals_seen += 1
        self._signal = self._signal or received
        if self._signals_seen == 1:
            self._stop_all(Reason.INTERRUPTED, received.name)
        else:
            for worker_id in self._what_runs():
                self._host.kill(worker_id)

    def _look_for_requests(self) -> None:
        if monotonic_s() < self._next_look_s:
            return
        self._next_look_s = monotonic_s() + LOOK_S
        run_dir = self._journal.run_dir(self._plan.run_id)
        waiting = self._dispatch.idle
        for each in (None, *self._dispatch.running, *waiting):
            if each in self._canceled or not cancel_requested(run_dir, each):
                continue
            self._canceled.add(each)
            if each is None:
                self._stop_all(Reason.CANCELED, "canceled on request")
            elif each in waiting:
                self._drop(Reason.CANCELED, each)
                self._settle(each)
            else:
                self._host.stop(each, Reason.CANCELED, "canceled on request")

    def _stop_all(self, reason: Reason, detail: str) -> None:
        """Starts nothing more and stops what runs; what waits is recorded as ended for the same reason."""
        if self._stopped_by is None:
            self._stopped_by = reason
        for worker_id in self._what_runs():
            self._host.stop(worker_id, reason, detail)
        self._drop(reason)

    def _what_runs(self) -> list[int]:
        return [*self._dispatch.running, *([BASELINE] if self._checking_base else [])]

    def _drop(self, reason: Reason, only: int | None = None) -> None:
        ended = now()
        dropped = self._dispatch.drop(reason, only)
        if dropped:
            ends = [(each.worker_id, WorkerFinished(result=replace(each, finished_at=ended))) for each in dropped]
            self.record([each for each in ends if not self._dispatch.is_debugger(each[0])])

    def _finish(self, ended: tuple[RunStatus, int] | None) -> RunResult:
        if self._spending.overshoot is not None:
            self.warn(self._spending.overshoot)
        for result in self._journal.result(self._plan.run_id).results if self._uncritical else ():
            if result.worker_id in self._uncritical and result.status in _FAILED:
                why = str(result.reason or result.status).replace("_", " ")
                self.warn(f"{quoted(result.name)} failed ({why}), which is not critical")
        unsaid = [each for each in self._warnings if each not in self._told]
        self.record([(None, Warned(message=each)) for each in unsaid])
        so_far = self._journal.result(self._plan.run_id)
        status, exit_code = run_outcome(
            so_far.results,
            allow_partial=self._plan.allow_partial,
            uncritical=self._uncritical,
            interrupted_by=None if self._signal is None else ExitCode(128 + self._signal),
            escalated=bool(self._dispatch.given_up),
        )
        briefing = self._briefing(status)
        code = int(exit_code)
        if ended is not None:
            status, briefing = ended[0], None
            code = ended[1] if self._signal is None else code
        end = RunFinished(status=status, exit_code=code, warnings=tuple(self._warnings), briefing=briefing)
        self.record([(None, end)])
        late = self._warnings[len(end.warnings) :]  # of a listener that did not take this last event
        self.record([(None, Warned(message=each)) for each in late])
        return self._journal.result(self._plan.run_id)

    def _briefing(self, status: RunStatus) -> str | None:
        if status is not RunStatus.ESCALATED:
            return None
        left = {each.worker_id for each in self._dispatch.given_up}
        specs = [spec for spec in self._plan.workers if spec.worker_id in left]
        return briefing_of(specs, self._dispatch.given_up, self._plan.run_id, self._dispatch.answers)

    def _abandon(self) -> None:
        """Our own failure: end every agent before the error travels on."""
        self._dispatch.drop(Reason.INTERRUPTED)
        for worker_id in self._what_runs():
            self._host.stop(worker_id, Reason.INTERRUPTED, "the launcher failed")
        self._host.close()
