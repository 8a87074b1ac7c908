"""The workers of a run between their attempts: which of them wait, which run, and the consequence of each attempt.

Pure: times and random numbers come in, nothing is started and nothing recorded here. Every worker is in one of five
states. It is *held* until its dependencies have ended, *waiting* for its turn, or *running*. It is *parked* after a
failure until its recovery group has ended, and *ended* with its history complete. Methods that change states return the
events that follow, for the caller to record.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from architect_parallel.domain import Attempt, Reason, Role, Status, WorkerResult, WorkerSpec
from architect_parallel.events import AttemptEnded, DebuggerEnded, Entry, Warned, WorkerFinished
from architect_parallel.scheduling.admission import Next, Rules, Waiting, next_start
from architect_parallel.scheduling.dependencies import Readiness
from architect_parallel.scheduling.provider_states import ProviderStates
from architect_parallel.scheduling.recovery import (
    AskDebugger,
    EscalateGroup,
    GroupRecovery,
    RetryGroup,
    debugger_words,
)
from architect_parallel.scheduling.retries import (
    Again,
    decide_next,
    next_spec,
    recoverable,
    unstarted,
)
from architect_parallel.scheduling.worker_attempts import WorkerAttempts


class Scheduler:
    """Decides which worker starts next, and what follows from the end of an attempt."""

    def __init__(
        self,
        specs: Sequence[WorkerSpec],
        rules: Rules,
        *,
        max_parallel: int,
        random: Callable[[], float],
        now: Callable[[], datetime],
        fail_fast: bool = False,
        earlier: Mapping[int, Sequence[Attempt]] | None = None,
        standing: Mapping[int, WorkerFinished] | None = None,
        debugger: WorkerSpec | None = None,
    ) -> None:
        """Args:
        specs: Every worker of the run that is to end in this launch, and those in `standing`.
        random: Returns a number from 0 (included) to 1, for the jitter of waits.
        now: Returns the wall time, for the ends of workers that do not run.
        fail_fast: End everything that does not run once a critical worker has failed. See `failure`.
        earlier: Attempts of earlier launches by worker id.
        standing: Ends of earlier launches that are kept, by worker id. See `take_up`.
        debugger: The agent that explains several failures of a group. It runs beside the workers, with a worker id of
            its own and without a result. `None` means that the run has none.
        """
        earlier, standing = earlier or {}, standing or {}
        self.running: dict[int, WorkerSpec] = {}
        self.failure: WorkerResult | None = None
        """The critical failure that fails the whole run fast. `None` means that there is none."""
        self.given_up: list[WorkerResult] = []
        """Results of the groups that were escalated to a person."""
        self._debugger = debugger
        self._rules = rules
        self._max_parallel = max_parallel
        self._random = random
        self._now = now
        self._fail_fast = fail_fast
        self._standing = dict(sorted(standing.items()))
        self._limited: list[tuple[frozenset[int], int]] = []
        """Workers of which only so many may run at the same time."""
        ends = {worker_id: end.result for worker_id, end in standing.items()}
        self._workers = {
            spec.worker_id: WorkerAttempts(
                planned=spec, earlier=tuple(earlier.get(spec.worker_id, ())), end=ends.get(spec.worker_id)
            )
            for spec in specs
        }
        self._providers = ProviderStates(rules)
        self._provided = 0
        """The number of workers whose providers are known."""
        done = {worker_id for worker_id, end in ends.items() if end.status is Status.SUCCESS}
        self._readiness = Readiness([spec for spec in specs if spec.worker_id not in done])
        self._readiness.drop(ends)
        self.waiting = [Waiting(spec=spec) for spec in self._readiness.free if spec.worker_id not in ends]
        self._longest_chains_first()
        self._recovery = GroupRecovery(specs, has_debugger=debugger is not None)
        for worker_id, end in standing.items():
            if end.given_up is not None:
                self.given_up.append(end.result)
                self._recovery.restore(self._workers[worker_id].planned, end.given_up)

    def role_of(self, worker_id: int) -> Role:
        """The role of a worker. The debugger is none of the plan's workers, and its events are not recorded."""
        return self._workers[worker_id].planned.role

    @property
    def answers(self) -> list[str]:
        """The debugger's answers about the groups that were escalated."""
        return self._recovery.answers

    @property
    def unfinished(self) -> bool:
        """True as long as a worker has not ended."""
        return bool(self.waiting or self.running or self._readiness.held or self._recovery.parked)

    @property
    def specs(self) -> list[WorkerSpec]:
        """Every worker that has not ended, as planned."""
        return [worker.planned for worker in self._workers.values() if worker.end is None]

    @property
    def idle(self) -> list[int]:
        """Ids of the workers that have not ended and do not run."""
        waiting = (entry.spec.worker_id for entry in self.waiting)
        return [*waiting, *sorted(self._readiness.held), *self._recovery.parked]

    def add(self, specs: Sequence[WorkerSpec], *, at_once: int | None = None) -> None:
        """Add workers, of which at most `at_once` run at the same time.

        `None` means that only the run's limit holds.
        """
        self._workers |= {spec.worker_id: WorkerAttempts(planned=spec) for spec in specs}
        self.waiting += [Waiting(spec=spec) for spec in specs]
        if at_once is not None and at_once < len(specs):
            self._limited.append((frozenset(spec.worker_id for spec in specs), at_once))

    def next(self, now_s: float) -> Next:
        """Decide which worker may start now, or when one may."""
        if len(self.running) >= self._max_parallel:
            return Next()
        if self._provided < len(self._workers):  # not each time: a thousand may wait
            self._provided = len(self._workers)
            for worker in self._workers.values():
                self._providers.state_of(worker.planned, now_s)
        full = (ids for ids, at_once in self._limited if len(ids & self.running.keys()) >= at_once)
        return next_start(
            self.waiting,
            list(self.running.values()),
            self._providers.by_name,
            self._providers.name_of,
            now_s,
            held=frozenset().union(*full),
        )

    def begin(self, index: int, now_s: float) -> WorkerSpec:
        """Move the waiting worker at `index` to the running ones, and return what to start."""
        spec = self.waiting.pop(index).spec
        self.running[spec.worker_id] = spec
        self._workers[spec.worker_id].started_s = now_s
        self._providers.started(spec, now_s)
        return spec

    def begin_again(self, worker_ids: Collection[int], now_s: float) -> list[WorkerSpec]:
        """Move the waiting workers whose attempts already run on hosts to the running ones, whatever the limits."""
        indexes = [index for index, entry in enumerate(self.waiting) if entry.spec.worker_id in worker_ids]
        return [self.begin(index, now_s) for index in reversed(indexes)]

    def throttled(self, worker_id: int, now_s: float) -> None:
        """Note that a running worker's provider refused it. Its agent tries again by itself."""
        if worker_id in self.running:
            self._refuse(worker_id, now_s)

    def take_up(self) -> list[Entry]:
        """Return what follows from the ends of earlier launches. Call it once, before anything starts."""
        standing, self._standing = self._standing, {}
        return [entry for worker_id in standing for entry in self._consequences(worker_id)]

    def ended(self, worker_id: int, end: WorkerFinished, now_s: float, *, stopping: bool) -> list[Entry]:
        """End an attempt of a running worker. The worker waits for another one, or has ended.

        Args:
            end: As the host reported it, of this attempt alone.
            stopping: Whether the run is being stopped: then there is no other attempt.

        Returns:
            The end of the attempt or of the worker, and what follows from it for others.
        """
        event = self._end_attempt(worker_id, end, now_s, stopping=stopping)
        entries: list[Entry] = [(worker_id, event)]
        if self.role_of(worker_id) is Role.DEBUGGER:
            entries = []
            if isinstance(event, WorkerFinished):
                entries += [(None, DebuggerEnded(cost=event.result.cost))]
                entries += [(None, Warned(message=debugger_words(event.result)))]
        return [*entries, *self._consequences(worker_id)]

    def cancel(self, worker_id: int) -> list[Entry]:
        """End a worker that does not run, because a person asked for it."""
        return [*self.drop(Reason.CANCELED, worker_id), *self._consequences(worker_id)]

    def drop(self, reason: Reason, only: int | None = None) -> list[Entry]:
        """End every worker that does not run, or `only` that one, for `reason`."""
        dropped = set(self.idle) if only is None else {only} & set(self.idle)
        self.waiting = [entry for entry in self.waiting if entry.spec.worker_id not in dropped]
        self._readiness.drop(dropped)
        for worker_id in dropped:
            self._recovery.parked.pop(worker_id, None)
        status = Status.TIMEOUT if reason is Reason.RUN_TIMEOUT else Status.CANCELED
        entries: list[Entry] = []
        for worker in (self._workers[worker_id] for worker_id in sorted(dropped)):
            # The work of its last attempt is saved in git, and stays so although there is no further attempt.
            blank = worker.last or unstarted(worker.planned, status, reason)
            entries += self._close(worker, replace(blank, status=status, reason=reason))
        return entries

    def fail(self, index: int, error: str) -> list[Entry]:
        """End the waiting worker at `index`, because it cannot be started."""
        spec = self.waiting.pop(index).spec
        blank = unstarted(spec, Status.FAILED, Reason.SPAWN_FAILED)
        entries = self._close(self._workers[spec.worker_id], replace(blank, error=error))
        return [*entries, *self._consequences(spec.worker_id)]

    def fail_all(self, error: str) -> list[Entry]:
        """End every worker that does not run, because nothing can be started."""
        entries: list[Entry] = []
        for worker_id, event in self.drop(Reason.SPAWN_FAILED):
            assert isinstance(event, WorkerFinished)
            failed = replace(event.result, status=Status.FAILED, reason=Reason.SPAWN_FAILED, error=error)
            entries.append((worker_id, WorkerFinished(result=failed)))
        return entries

    def _end_attempt(
        self, worker_id: int, end: WorkerFinished, now_s: float, *, stopping: bool
    ) -> AttemptEnded | WorkerFinished:
        spec, worker = self.running[worker_id], self._workers[worker_id]
        result = end.result
        is_refused = result.reason is Reason.RATE_LIMITED
        if is_refused:
            self._refuse(worker_id, now_s, end.retry_after_s)
        elif result.status in (Status.SUCCESS, Status.PARTIAL):
            self._providers.served(spec, now_s)
        del self.running[worker_id]
        result = worker.add(spec.attempt, result)
        decision = decide_next(
            worker.planned,
            worker.history,
            retryable=end.retryable,
            retry_after_s=end.retry_after_s,
            rate_limit_wait_s=self._rules.rate_limit_wait_s,
            random=self._random(),
        )
        if isinstance(decision, Again) and not stopping:
            worker.history[-1] = replace(worker.history[-1], next_in_seconds=round(decision.wait_s, 3))
            again = next_spec(worker.planned, worker.history, worker.failure)
            self.waiting.append(Waiting(spec=again, not_before_s=now_s + decision.wait_s))
            return AttemptEnded(attempt=worker.history[-1], because=decision.because)
        if not stopping and recoverable(worker.planned, worker.history, worker.recoveries, retryable=end.retryable):
            worker.history[-1] = replace(worker.history[-1], next_in_seconds=0.0)
            self._recovery.park(worker_id, result)
            return AttemptEnded(attempt=worker.history[-1], because="recovery is decided with its group")
        if not isinstance(decision, Again) and decision.because is not None:
            result = replace(result, warnings=[*result.warnings, decision.because])
        worker.end = worker.whole(result)
        return replace(end, result=worker.end)

    def _consequences(self, worker_id: int) -> list[Entry]:
        """The ends that follow from the end of a worker, or of its attempt: of its group, of its dependents, and of all
        others where it fails the run fast."""
        entries: list[Entry] = []
        left = [worker_id]
        while left:
            worker = self._workers[left.pop(0)]
            spec = worker.planned
            if spec.role is Role.DEBUGGER and worker.end is not None:
                self._recovery.answer(spec.worker_id, worker.end.output if worker.end.status is Status.SUCCESS else "")
            given_up = self._recover_group(spec)
            entries += given_up
            left += [escalated_id for escalated_id, _ in given_up if escalated_id is not None]
            if worker.end is None:
                continue
            released = self._readiness.ended(spec.worker_id, worker.end.status)
            self.waiting += [Waiting(spec=ready) for ready in released.ready]
            if released.ready:
                self._longest_chains_first()
            for skipped, failed in released.skipped:
                error = f"it depends on {failed}, which did not succeed"
                blank = unstarted(skipped, Status.SKIPPED, Reason.DEPENDENCY_FAILED)
                entries += self._close(self._workers[skipped.worker_id], replace(blank, error=error))
                left.append(skipped.worker_id)
        return [*entries, *self._fail_run(self._workers[worker_id])]

    def _fail_run(self, worker: WorkerAttempts) -> list[Entry]:
        """Where this worker's failure fails the run fast, end every worker that does not run."""
        spec, end = worker.planned, worker.end
        if not self._fail_fast or end is None or end.status is Status.SUCCESS:
            return []
        if spec.role is Role.DEBUGGER or not spec.critical:
            return []
        self.failure = self.failure or end
        return self.drop(Reason.FAIL_FAST)

    def _close(self, worker: WorkerAttempts, result: WorkerResult, *, given_up: str | None = None) -> list[Entry]:
        """End a worker that does not run. The debugger has no end of its own."""
        worker.end = replace(worker.whole(result), finished_at=self._now())
        if worker.planned.role is Role.DEBUGGER:
            return []
        return [(worker.planned.worker_id, WorkerFinished(result=worker.end, given_up=given_up))]

    def _recover_group(self, spec: WorkerSpec) -> list[Entry]:
        """Act on the decision about the recovery group of a worker. Returns the ends of an escalated group."""
        match self._recovery.decide(spec, lambda worker_id: self._workers[worker_id].end):
            case AskDebugger(group=group, question=question) if self._debugger is not None:
                # A resumed run has some of the plan's workers only: the debugger's id is after all of them.
                worker_id = max(max(self._workers) + 1, self._debugger.worker_id)
                asked = replace(self._debugger, worker_id=worker_id, prompt=question, role=Role.DEBUGGER)
                self._recovery.ask(worker_id, group)
                self._workers[worker_id] = WorkerAttempts(planned=asked)
                self.waiting.insert(0, Waiting(spec=asked))
            case RetryGroup() as retry:
                for worker_id in retry.worker_ids:
                    again = self._workers[worker_id].recover(retry.ended, retry.answer)
                    self.waiting.append(Waiting(spec=again))
            case EscalateGroup(results=results, answer=answer):
                return [entry for result in results for entry in self._escalate(result, answer)]
            case _:
                pass
        return []

    def _escalate(self, result: WorkerResult, answer: str) -> list[Entry]:
        worker = self._workers[result.worker_id]
        worker.history[-1] = replace(worker.history[-1], next_in_seconds=None)
        entries = self._close(worker, result, given_up=answer)
        assert worker.end is not None
        self.given_up.append(worker.end)
        return entries

    def _longest_chains_first(self) -> None:
        """Sort the waiting: the longest chain of dependents first. A run without dependencies keeps its order."""
        heights = self._readiness.heights
        self.waiting.sort(key=lambda entry: -heights.get(entry.spec.worker_id, len(heights)))

    def _refuse(self, worker_id: int, now_s: float, retry_after_s: float | None = None) -> None:
        self._providers.refused(
            self.running[worker_id],
            started_s=self._workers[worker_id].started_s,
            now_s=now_s,
            running=self.running.values(),
            retry_after_s=retry_after_s,
        )
