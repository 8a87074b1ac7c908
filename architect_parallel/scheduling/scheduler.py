"""The workers of a run between their attempts: who waits, who runs, what each attempt led to.

Pure: times and dice come in, nothing is started and nothing recorded here. The invariant: every worker is in exactly
one of five states. Held, it waits for its dependencies; waiting, for its turn; then it runs; parked, it has failed and
waits for its group before it is tried again; and at last it has ended, with its history complete.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from architect_parallel.domain import Attempt, Reason, Status, WorkerResult, WorkerSpec
from architect_parallel.events import AttemptEnded, WorkerFinished
from architect_parallel.scheduling.admission import Next, ProviderState, Rules, Waiting, next_start
from architect_parallel.scheduling.dependencies import Readiness
from architect_parallel.scheduling.rate_limits import Bucket
from architect_parallel.scheduling.recovery import decide_group, found_by_others, group_of, question, says_related
from architect_parallel.scheduling.retries import (
    Again,
    attempt_of,
    decide_next,
    next_spec,
    recoverable,
    summed,
    unstarted,
)

ANSWER_CHARACTERS = 2000
"""Of a debugger's answer, how much a further attempt is told."""


@dataclass(slots=True, kw_only=True)
class _Lane:
    """One worker over its attempts."""

    planned: WorkerSpec
    """With its whole limits."""
    earlier: tuple[Attempt, ...] = ()
    """Of earlier launches of this run: they count in the sums, not in the decisions."""
    history: list[Attempt] = field(default_factory=list)
    last: WorkerResult | None = None
    failure: WorkerResult | None = None
    """Of the last attempt that failed for another reason than its provider."""
    started_s: float = 0.0
    recoveries: int = 0
    """How many of its attempts were tries at recovery."""
    end: WorkerResult | None = None
    """How it ended; `None`: it has not."""


class Scheduler:
    """Decides what starts next and what the end of an attempt means."""

    def __init__(
        self,
        specs: Sequence[WorkerSpec],
        rules: Rules,
        *,
        max_parallel: int,
        random: Callable[[], float],
        earlier: Mapping[int, Sequence[Attempt]] | None = None,
        standing: Mapping[int, WorkerFinished] | None = None,
        debugger: WorkerSpec | None = None,
    ) -> None:
        """Args:
        specs: Every worker of the run that is to end in this launch, and those in `standing`.
        random: From 0 (included) to 1: the jitter of waits.
        earlier: Attempts of earlier launches by worker id.
        standing: Ends of earlier launches by worker id; what they mean for others is asked of `settle`.
        debugger: Who is asked when several of a group fail; it runs beside the workers and has no result of its own.
        """
        self._debugger = debugger
        self._asked: dict[int, tuple[int, ...]] = {}
        """Id of a debugger's run → the group it is asked about."""
        self._answers: dict[tuple[int, ...], str] = {}
        earlier, standing = earlier or {}, standing or {}
        self._rules = rules
        self._max_parallel = max_parallel
        self._limited: list[tuple[frozenset[int], int]] = []
        """Workers of which only so many may run at the same time."""
        self._random = random
        ends = {worker_id: each.result for worker_id, each in standing.items()}
        self.earlier_ends = sorted((worker_id, result.status) for worker_id, result in ends.items())
        """Id and status of the workers that ended in an earlier launch."""
        self._lanes = {
            each.worker_id: _Lane(
                planned=each, earlier=tuple(earlier.get(each.worker_id, ())), end=ends.get(each.worker_id)
            )
            for each in specs
        }
        self._providers: dict[str, ProviderState] = {}
        self._provider_names: dict[int, str] = {}
        self._provided = 0
        done = {worker_id for worker_id, end in ends.items() if end.status is Status.SUCCESS}
        self._readiness = Readiness([spec for spec in specs if spec.worker_id not in done])
        self._readiness.drop(ends)
        self._groups: dict[tuple[int, ...], list[WorkerSpec]] = {}
        for spec in specs:
            if spec.recovery is not None:
                self._groups.setdefault(group_of(spec), []).append(spec)
        self.waiting = [Waiting(spec=spec) for spec in self._readiness.free if spec.worker_id not in ends]
        self._longest_chains_first()
        self.running: dict[int, WorkerSpec] = {}
        self._parked: dict[int, WorkerResult] = {}
        self.given_up: list[WorkerResult] = []
        """Results of groups that failed alike and are left to a person."""
        for worker_id, before in standing.items():
            if before.given_up is not None:
                self.given_up.append(before.result)
                self._answers[group_of(self._lanes[worker_id].planned)] = before.given_up

    def is_debugger(self, worker_id: int) -> bool:
        """Whether this is a debugger's run: none of the plan's workers, and nobody's result."""
        return worker_id in self._asked

    @property
    def answers(self) -> list[str]:
        """What debuggers said about the groups that were given up."""
        left = {each.worker_id for each in self.given_up}
        groups = {key for key, group in self._groups.items() if any(each.worker_id in left for each in group)}
        return [text for key, text in self._answers.items() if key in groups and text.strip()]

    @property
    def unfinished(self) -> bool:
        """Whether a worker has not ended."""
        return bool(self.waiting or self.running or self._readiness.held or self._parked)

    @property
    def specs(self) -> list[WorkerSpec]:
        """Every worker that has not ended, as planned."""
        return [lane.planned for lane in self._lanes.values() if lane.end is None]

    @property
    def idle(self) -> list[int]:
        """Ids of those that have not ended and do not run."""
        return [*(each.spec.worker_id for each in self.waiting), *sorted(self._readiness.held), *self._parked]

    def add(self, specs: Sequence[WorkerSpec], *, at_once: int | None = None) -> None:
        """Takes further workers, of which at most `at_once` run at the same time.

        `None` means no limit of their own.
        """
        self._lanes |= {spec.worker_id: _Lane(planned=spec) for spec in specs}
        self.waiting += [Waiting(spec=spec) for spec in specs]
        if at_once is not None and at_once < len(specs):
            self._limited.append((frozenset(spec.worker_id for spec in specs), at_once))

    def next(self, now_s: float) -> Next:
        """What may start now, or when something may."""
        if len(self.running) >= self._max_parallel:
            return Next()
        if self._provided < len(self._lanes):  # not each time: a thousand may wait
            self._provided = len(self._lanes)
            for lane in self._lanes.values():
                self._provider(lane.planned, now_s)
        full = (ids for ids, at_once in self._limited if len(ids & self.running.keys()) >= at_once)
        return next_start(
            self.waiting,
            list(self.running.values()),
            self._providers,
            self._provider_of,
            now_s,
            held=frozenset().union(*full),
        )

    def begin(self, index: int, now_s: float) -> WorkerSpec:
        """Moves the waiting worker at `index` to the running ones; returns what to start."""
        spec = self.waiting.pop(index).spec
        self.running[spec.worker_id] = spec
        self._lanes[spec.worker_id].started_s = now_s
        state = self._provider(spec, now_s)
        if state.bucket is not None:
            state.bucket = state.bucket.taken(now_s)
        return spec

    def throttled(self, worker_id: int, now_s: float) -> None:
        """A running worker's provider refused it, and its agent tries again by itself."""
        spec = self.running.get(worker_id)
        if spec is not None:
            self._refuse(spec, self._lanes[worker_id].started_s, now_s, retry_after_s=None)

    def ended(
        self, worker_id: int, end: WorkerFinished, now_s: float, *, stopping: bool
    ) -> AttemptEnded | WorkerFinished:
        """What the end of a running worker's attempt means; it waits again, or has ended.

        Args:
            end: As the host reported it, of this attempt alone.
            stopping: Whether the run is being stopped: then nothing follows.
        """
        spec, lane = self.running[worker_id], self._lanes[worker_id]
        result = end.result
        refused = result.reason is Reason.RATE_LIMITED
        state = self._provider(spec, now_s)
        if refused:
            self._refuse(spec, lane.started_s, now_s, retry_after_s=end.retry_after_s)
        elif result.status in (Status.SUCCESS, Status.PARTIAL):
            state.window = state.window.served()
        del self.running[worker_id]
        waited_s = _between(lane.last.finished_at if lane.last else None, result.started_at)
        lane.history.append(replace(attempt_of(result, waited_s=waited_s), number=spec.attempt))
        if lane.last is not None:  # a warning of an earlier attempt (where its work is kept, say) still holds
            result = replace(result, warnings=list(dict.fromkeys([*lane.last.warnings, *result.warnings])))
        lane.last = result
        lane.failure = lane.failure if refused else result
        decided = decide_next(
            lane.planned,
            lane.history,
            retryable=end.retryable,
            retry_after_s=end.retry_after_s,
            rate_limit_wait_s=self._rules.rate_limit_wait_s,
            random=self._random(),
        )
        if isinstance(decided, Again) and not stopping:
            lane.history[-1] = replace(lane.history[-1], next_in_seconds=round(decided.wait_s, 3))
            again = next_spec(lane.planned, lane.history, lane.failure)
            self.waiting.append(Waiting(spec=again, not_before_s=now_s + decided.wait_s))
            return AttemptEnded(attempt=lane.history[-1], because=decided.because)
        if not stopping and recoverable(lane.planned, lane.history, lane.recoveries, retryable=end.retryable):
            lane.history[-1] = replace(lane.history[-1], next_in_seconds=0.0)
            self._parked[worker_id] = result
            return AttemptEnded(attempt=lane.history[-1], because="recovery is decided with its group")
        if not isinstance(decided, Again) and decided.because is not None:
            result = replace(result, warnings=[*result.warnings, decided.because])
        lane.end = self._whole(lane, result)
        return replace(end, result=lane.end)

    def settle(self, worker_id: int) -> list[WorkerFinished]:
        """What the end of a worker or of an attempt of it means for others, once it is recorded.

        Returns:
            The ends of those that end by it without having begun (or begun again), complete but for the time.
        """
        ended: list[WorkerFinished] = []
        left = [worker_id]
        while left:
            lane = self._lanes[left.pop(0)]
            group = self._asked.get(lane.planned.worker_id, group_of(lane.planned))
            if self.is_debugger(lane.planned.worker_id) and lane.end is not None:
                self._answers[group] = lane.end.output if lane.end.status is Status.SUCCESS else ""
            given_up = self._settle_group(group)
            left += [each.worker_id for each in given_up]
            ended += [WorkerFinished(result=each, given_up=self._answers.get(group, "")) for each in given_up]
            if lane.end is None:
                continue
            released = self._readiness.ended(lane.planned.worker_id, lane.end.status)
            self.waiting += [Waiting(spec=spec) for spec in released.ready]
            if released.ready:
                self._longest_chains_first()
            for spec, failed in released.skipped:
                blank = unstarted(spec, Status.SKIPPED, Reason.DEPENDENCY_FAILED)
                skipped = self._lanes[spec.worker_id]
                skipped.end = self._whole(
                    skipped, replace(blank, error=f"it depends on {failed}, which did not succeed")
                )
                ended.append(WorkerFinished(result=skipped.end))
                left.append(spec.worker_id)
        return ended

    def drop(self, reason: Reason, only: int | None = None) -> list[WorkerResult]:
        """Ends what does not run (`only`: that one worker), for `reason`; their results, complete but for the time."""
        dropped = set(self.idle) if only is None else {only} & set(self.idle)
        self.waiting = [each for each in self.waiting if each.spec.worker_id not in dropped]
        self._readiness.drop(dropped)
        for worker_id in dropped:
            self._parked.pop(worker_id, None)
        return [self._dropped(self._lanes[worker_id], reason) for worker_id in sorted(dropped)]

    def fail(self, index: int, error: str) -> WorkerResult:
        """Ends the waiting worker at `index` because it cannot be started."""
        spec = self.waiting.pop(index).spec
        blank = unstarted(spec, Status.FAILED, Reason.SPAWN_FAILED)
        lane = self._lanes[spec.worker_id]
        lane.end = self._whole(lane, replace(blank, error=error))
        return lane.end

    def fail_all(self, error: str) -> list[WorkerResult]:
        """Ends all that does not run, because nothing can be started."""
        ended = []
        for each in self.drop(Reason.SPAWN_FAILED):
            failed = replace(each, status=Status.FAILED, reason=Reason.SPAWN_FAILED, error=error)
            self._lanes[each.worker_id].end = failed
            ended.append(failed)
        return ended

    def _dropped(self, lane: _Lane, reason: Reason) -> WorkerResult:
        status = Status.TIMEOUT if reason is Reason.RUN_TIMEOUT else Status.CANCELED
        # What its last attempt left stands in git; that there was to be another one does not change it.
        blank = lane.last or unstarted(lane.planned, status, reason)
        lane.end = self._whole(lane, replace(blank, status=status, reason=reason))
        return lane.end

    def _settle_group(self, key: tuple[int, ...]) -> list[WorkerResult]:
        """Decides about the parked ones of a group when nobody of it is to be waited for any more."""
        group = self._groups.get(key, [])
        lanes = {each.worker_id: self._lanes[each.worker_id] for each in group}
        parked = {worker_id: self._parked[worker_id] for worker_id in lanes if worker_id in self._parked}
        if not parked or any(lane.end is None and worker_id not in parked for worker_id, lane in lanes.items()):
            return []
        if self._debugger is not None and len(parked) > 1 and key not in self._answers:
            self._ask(self._debugger, key, group, parked)
            return []
        answer = self._answers.get(key, "")
        for worker_id in parked:
            del self._parked[worker_id]
        decision = decide_group(group, parked, related=says_related(answer))
        ended = [*parked.values(), *(lane.end for lane in lanes.values() if lane.end is not None)]
        for worker_id in decision.again:
            lane = lanes[worker_id]
            lane.recoveries += 1
            refined = lane.planned.recovery is not None and lane.planned.recovery.refine
            again = next_spec(replace(lane.planned, refine=refined), lane.history, lane.failure)
            if refined:
                told = again.lesson + found_by_others(worker_id, ended)
                told += f"\n\nWhat a debugger says of these failures:\n{answer[:ANSWER_CHARACTERS]}" if answer else ""
                again = replace(again, lesson=told)
            self.waiting.append(Waiting(spec=again))
        given_up = []
        for worker_id in decision.given_up:
            lane = lanes[worker_id]
            lane.history[-1] = replace(lane.history[-1], next_in_seconds=None)
            lane.end = self._whole(lane, parked[worker_id])
            given_up.append(lane.end)
        self.given_up += given_up
        return given_up

    def _ask(
        self,
        debugger: WorkerSpec,
        key: tuple[int, ...],
        group: Sequence[WorkerSpec],
        parked: Mapping[int, WorkerResult],
    ) -> None:
        if key in self._asked.values():
            return
        worker_id = max(max(self._lanes) + 1, debugger.worker_id)  # a resumed run has lanes of some workers only
        spec = replace(debugger, worker_id=worker_id, prompt=question(group, list(parked.values())))
        self._asked[worker_id] = key
        self._lanes[worker_id] = _Lane(planned=spec)
        self.waiting.insert(0, Waiting(spec=spec))

    def _longest_chains_first(self) -> None:
        """Who has the longest chain behind it goes first; in a run without dependencies the order stays."""
        heights = self._readiness.heights
        self.waiting.sort(key=lambda each: -heights.get(each.spec.worker_id, len(heights)))

    def _provider_of(self, spec: WorkerSpec) -> str:
        if spec.worker_id not in self._provider_names:
            self._provider_names[spec.worker_id] = self._rules.provider_of(spec)
        return self._provider_names[spec.worker_id]

    def _whole(self, lane: _Lane, result: WorkerResult) -> WorkerResult:
        return summed(result, [*lane.earlier, *lane.history])

    def _provider(self, spec: WorkerSpec, now_s: float) -> ProviderState:
        name = self._provider_of(spec)
        if name not in self._providers:
            limit = self._rules.rate_limits.get(name)
            bucket = Bucket.full(limit, now_s) if limit is not None and limit.enabled else None
            self._providers[name] = ProviderState(bucket=bucket)
        return self._providers[name]

    def _refuse(self, spec: WorkerSpec, started_s: float, now_s: float, *, retry_after_s: float | None) -> None:
        name, state = self._provider_of(spec), self._provider(spec, now_s)
        running = sum(self._provider_of(each) == name for each in self.running.values())
        state.window = state.window.refused(started_s=started_s, now_s=now_s, running=max(1, running))
        # A provider that asks for more than a worker may wait is asked by each of them once, and each says so.
        if retry_after_s is not None and retry_after_s <= self._rules.rate_limit_wait_s:
            state.not_before_s = max(state.not_before_s, now_s + retry_after_s)


def _between(before: datetime | None, after: datetime | None) -> float:
    if before is None or after is None:
        return 0.0
    seconds = (after - before).total_seconds()
    return seconds if math.isfinite(seconds) and seconds > 0 else 0.0
