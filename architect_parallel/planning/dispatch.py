"""The workers of a run between their attempts: who waits, who runs, what each attempt led to.

Pure: times and dice come in, nothing is started and nothing recorded here. The invariant: every worker is in exactly
one of three states (waiting, running, ended), and each end of an attempt moves it to waiting or to ended, with its
history complete.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from architect_parallel.domain import Attempt, Reason, Status, WorkerResult, WorkerSpec
from architect_parallel.events import AttemptEnded, WorkerFinished
from architect_parallel.planning.admission import Next, ProviderState, Rules, Waiting, next_start
from architect_parallel.planning.attempts import Again, attempt_of, decide_next, next_spec, summed
from architect_parallel.planning.throttle import Bucket


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


class Dispatch:
    """Decides what starts next and what the end of an attempt means."""

    def __init__(
        self,
        specs: Sequence[WorkerSpec],
        rules: Rules,
        *,
        max_parallel: int,
        random: Callable[[], float],
        earlier: Mapping[int, Sequence[Attempt]] | None = None,
    ) -> None:
        """Args:
        random: From 0 (included) to 1: the jitter of waits.
        earlier: Attempts of earlier launches by worker id.
        """
        earlier = earlier or {}
        self._rules = rules
        self._max_parallel = max_parallel
        self._random = random
        self._lanes = {
            spec.worker_id: _Lane(planned=spec, earlier=tuple(earlier.get(spec.worker_id, ()))) for spec in specs
        }
        self._providers: dict[str, ProviderState] = {}
        self.waiting = [Waiting(spec=spec) for spec in specs]
        self.running: dict[int, WorkerSpec] = {}

    def add(self, specs: Sequence[WorkerSpec], *, max_parallel: int) -> None:
        """Further workers, and how many of all may run at the same time from now on."""
        self._lanes |= {spec.worker_id: _Lane(planned=spec) for spec in specs}
        self.waiting += [Waiting(spec=spec) for spec in specs]
        self._max_parallel = max_parallel

    def next(self, now_s: float) -> Next:
        """What may start now, or when something may."""
        if len(self.running) >= self._max_parallel:
            return Next()
        for each in self.waiting:
            self._provider(each.spec, now_s)
        return next_start(self.waiting, list(self.running.values()), self._providers, self._rules.provider_of, now_s)

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
            mendable=end.mendable,
            retry_after_s=end.retry_after_s,
            rate_limit_wait_s=self._rules.rate_limit_wait_s,
            random=self._random(),
        )
        if isinstance(decided, Again) and not stopping:
            lane.history[-1] = replace(lane.history[-1], next_in_seconds=round(decided.wait_s, 3))
            again = next_spec(lane.planned, lane.history, lane.failure)
            self.waiting.append(Waiting(spec=again, not_before_s=now_s + decided.wait_s))
            return AttemptEnded(attempt=lane.history[-1], because=decided.because)
        if not isinstance(decided, Again) and decided.because is not None:
            result = replace(result, warnings=[*result.warnings, decided.because])
        return replace(end, result=self._whole(lane, result))

    def drop(self, reason: Reason, only: int | None = None) -> list[WorkerResult]:
        """Ends what waits (`only`: that one worker), for `reason`; their results, complete but for the time."""
        dropped = [each.spec for each in self.waiting if only is None or each.spec.worker_id == only]
        self.waiting = [each for each in self.waiting if each.spec not in dropped]
        return [self._dropped(self._lanes[spec.worker_id], reason) for spec in dropped]

    def fail(self, index: int, error: str) -> WorkerResult:
        """Ends the waiting worker at `index` because it cannot be started."""
        spec = self.waiting.pop(index).spec
        blank = unstarted(spec, Status.FAILED, Reason.SPAWN_FAILED)
        return self._whole(self._lanes[spec.worker_id], replace(blank, error=error))

    def _dropped(self, lane: _Lane, reason: Reason) -> WorkerResult:
        status = Status.TIMEOUT if reason is Reason.RUN_TIMEOUT else Status.CANCELED
        if lane.last is None:
            return self._whole(lane, unstarted(lane.planned, status, reason))
        # What its last attempt left stands in git; that there was to be another one does not change it.
        return self._whole(lane, replace(lane.last, status=status, reason=reason))

    def _whole(self, lane: _Lane, result: WorkerResult) -> WorkerResult:
        return summed(result, [*lane.earlier, *lane.history])

    def _provider(self, spec: WorkerSpec, now_s: float) -> ProviderState:
        name = self._rules.provider_of(spec)
        if name not in self._providers:
            limit = self._rules.rate_limits.get(name)
            bucket = Bucket.full(limit, now_s) if limit is not None and limit.enabled else None
            self._providers[name] = ProviderState(bucket=bucket)
        return self._providers[name]

    def _refuse(self, spec: WorkerSpec, started_s: float, now_s: float, *, retry_after_s: float | None) -> None:
        name, state = self._rules.provider_of(spec), self._provider(spec, now_s)
        running = sum(self._rules.provider_of(each) == name for each in self.running.values())
        state.window = state.window.refused(started_s=started_s, now_s=now_s, running=max(1, running))
        # A provider that asks for more than a worker may wait is asked by each of them once, and each says so.
        if retry_after_s is not None and retry_after_s <= self._rules.rate_limit_wait_s:
            state.not_before_s = max(state.not_before_s, now_s + retry_after_s)


def unstarted(spec: WorkerSpec, status: Status, reason: Reason) -> WorkerResult:
    """The result of a worker whose agent never ran."""
    return WorkerResult(
        worker_id=spec.worker_id,
        branch=spec.branch,
        model=spec.model or "default",
        status=status,
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
        attempts=spec.attempt,
        warnings=list(spec.warnings),
        tags=list(spec.tags),
        meta=dict(spec.meta),
    )


def _between(before: datetime | None, after: datetime | None) -> float:
    if before is None or after is None:
        return 0.0
    seconds = (after - before).total_seconds()
    return seconds if math.isfinite(seconds) and seconds > 0 else 0.0
