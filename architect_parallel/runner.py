"""The dispatcher: starts what may start, receives every event, holds the run-wide limits, ends the run.

One thread (the caller's, which is also the one that gets signals) takes events from one queue. The journal hears them
first, in batches: an event is durable before anything is decided on it, and a journal that fails ends the run.
Listeners (the live table, a report) come after; one that fails is dropped with a warning.

A stop has two steps. The first (Ctrl-C, SIGTERM, a cancel request, a limit) starts nothing more, stops the agents
politely and still collects their work; the second kills what is left at once and still records it.
"""

from __future__ import annotations

import logging
import queue
from collections import deque
from collections.abc import Callable, Sequence
from signal import Signals

from architect_parallel.domain import Reason, RunPlan, RunResult, Status, WorkerResult, WorkerSpec
from architect_parallel.errors import ExitCode
from architect_parallel.events import (
    Event,
    Recorded,
    RunFinished,
    UsageReported,
    Warned,
    WorkerFinished,
)
from architect_parallel.hosts.base import Emit, Host
from architect_parallel.journal import Journal
from architect_parallel.planning.verdict import run_outcome
from architect_parallel.system import signals
from architect_parallel.system.clock import monotonic_s, now

CANCEL_FILE = "cancel"
"""A request to end a live run, put into its run directory by another process; `cancel-<worker_id>` for one worker."""
LOOK_S = 0.5
"""How often the dispatcher looks for cancel requests."""

Listener = Callable[[Recorded], None]

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
        listeners: Sequence[Listener] = (),
    ) -> None:
        """Args:
        todo: The workers to run; `None`: all of the plan (a resumed run gives those that did not succeed).
        first_event: Recorded before anything else (`RunResumed`); `None`: the caller recorded `RunStarted` itself.
        """
        self._plan = plan
        self._journal = journal
        self._queue: queue.SimpleQueue[tuple[int | None, Event] | Signals] = queue.SimpleQueue()
        self._host = make_host(lambda worker_id, event: self._queue.put((worker_id, event)))
        self._pending = deque(plan.workers if todo is None else todo)
        self._running: dict[int, WorkerSpec] = {}
        self._first_event = first_event
        self._listeners = list(listeners)
        self._warnings = list(plan.warnings)
        self._costs: dict[int, float] = {}
        self._uncritical = frozenset(spec.worker_id for spec in plan.workers if not spec.critical)
        self._stopped_by: Reason | None = None
        self._signal: Signals | None = None
        self._signals_seen = 0
        self._requests_seen: set[str] = set()

    def run(self) -> RunResult:
        """Runs everything to its end and returns the result as replayed from the journal.

        Raises:
            ArchitectParallelError: When the journal cannot be written; all agents have been stopped by then.
        """
        started_s = monotonic_s()
        deadline_s = None if self._plan.timeout_s is None else started_s + self._plan.timeout_s
        with signals.forwarded(self._queue.put):
            try:
                if self._first_event is not None:
                    self._record([(None, self._first_event)])
                while self._pending or self._running:
                    self._start_what_may_start()
                    self._take_events(deadline_s)
                    if deadline_s is not None and monotonic_s() >= deadline_s:
                        deadline_s = None
                        self._stop_all(Reason.RUN_TIMEOUT, f"the run took longer than {self._plan.timeout_s:g} s")
                self._host.close()
                return self._finish()
            except BaseException:
                self._abandon()
                raise

    def _start_what_may_start(self) -> None:
        while self._pending and self._stopped_by is None and len(self._running) < self._plan.max_parallel:
            spec = self._pending.popleft()
            self._running[spec.worker_id] = spec
            self._host.start(spec)

    def _take_events(self, deadline_s: float | None) -> None:
        batch = self._next_batch(deadline_s)
        events = [item for item in batch if not isinstance(item, Signals)]
        if events:
            self._record(events)
        for worker_id, event in events:
            if worker_id is not None:
                self._decide(worker_id, event)
        for item in batch:
            if isinstance(item, Signals):
                self._take_signal(item)
        self._look_for_requests()

    def _next_batch(self, deadline_s: float | None) -> list[tuple[int | None, Event] | Signals]:
        wait_s = LOOK_S if deadline_s is None else max(0.0, min(LOOK_S, deadline_s - monotonic_s()))
        batch: list[tuple[int | None, Event] | Signals] = []
        try:
            batch.append(self._queue.get(timeout=wait_s))
            while len(batch) < 1000:
                batch.append(self._queue.get_nowait())
        except queue.Empty:
            pass
        return batch

    def _record(self, events: Sequence[tuple[int | None, Event]]) -> None:
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
                self._running.pop(worker_id, None)
                if result.cost is not None:
                    self._count_cost(worker_id, result.cost)
                counts = worker_id not in self._uncritical
                if self._plan.fail_fast and counts and result.status is not Status.SUCCESS:
                    self._stop_all(Reason.FAIL_FAST, f"worker {worker_id} ended as {result.status}")
            case UsageReported(cost=cost) if cost is not None:
                self._count_cost(worker_id, cost)
            case _:
                pass

    def _count_cost(self, worker_id: int, cost: float) -> None:
        self._costs[worker_id] = cost
        budget, spent = self._plan.budget_usd, sum(self._costs.values())
        if budget is not None and spent >= budget:
            self._stop_all(Reason.RUN_BUDGET, f"${spent:.4f} of the run's ${budget:.4f} spent")

    def _take_signal(self, received: Signals) -> None:
        self._signals_seen += 1
        self._signal = self._signal or received
        if self._signals_seen == 1:
            self._stop_all(Reason.INTERRUPTED, received.name)
        else:
            for worker_id in tuple(self._running):
                self._host.kill(worker_id)

    def _look_for_requests(self) -> None:
        run_dir = self._journal.run_dir(self._plan.run_id)
        if CANCEL_FILE not in self._requests_seen and (run_dir / CANCEL_FILE).exists():
            self._requests_seen.add(CANCEL_FILE)
            self._stop_all(Reason.CANCELED, "canceled on request")
        for worker_id in tuple(self._running):
            name = f"{CANCEL_FILE}-{worker_id}"
            if name not in self._requests_seen and (run_dir / name).exists():
                self._requests_seen.add(name)
                self._host.stop(worker_id, Reason.CANCELED, "canceled on request")

    def _stop_all(self, reason: Reason, detail: str) -> None:
        """Starts nothing more and stops what runs; what never started is recorded as ended for the same reason."""
        if self._stopped_by is None:
            self._stopped_by = reason
        for worker_id in tuple(self._running):
            self._host.stop(worker_id, reason, detail)
        unstarted = [(spec.worker_id, WorkerFinished(result=_never_started(spec, reason))) for spec in self._pending]
        self._pending.clear()
        if unstarted:
            self._record(unstarted)

    def _finish(self) -> RunResult:
        self._record([(None, Warned(message=each)) for each in self._warnings[len(self._plan.warnings) :]])
        so_far = self._journal.result(self._plan.run_id)
        status, exit_code = run_outcome(
            so_far.results,
            allow_partial=self._plan.allow_partial,
            uncritical=self._uncritical,
            interrupted_by=None if self._signal is None else ExitCode(128 + self._signal),
        )
        self._record([(None, RunFinished(status=status, exit_code=exit_code, warnings=tuple(self._warnings)))])
        return self._journal.result(self._plan.run_id)

    def _abandon(self) -> None:
        """Our own failure: end every agent before the error travels on."""
        self._pending.clear()
        for worker_id in tuple(self._running):
            self._host.stop(worker_id, Reason.INTERRUPTED, "the launcher failed")
        self._host.close()


def _never_started(spec: WorkerSpec, reason: Reason) -> WorkerResult:
    ended = now()
    return WorkerResult(
        worker_id=spec.worker_id,
        branch=spec.branch,
        model=spec.model or "default",
        status=Status.TIMEOUT if reason is Reason.RUN_TIMEOUT else Status.CANCELED,
        steps=0,
        cost=0.0,
        duration=0.0,
        files_modified=[],
        worktree_path=spec.worktree_path,
        index=spec.index,
        name=spec.name,
        task=spec.prompt,
        backend=spec.backend,
        agent=spec.agent.name,
        reason=reason,
        finished_at=ended,
        attempts=spec.attempt,
        warnings=list(spec.warnings),
        tags=list(spec.tags),
        meta=dict(spec.meta),
    )
