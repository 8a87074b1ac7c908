"""The phases of each worker over time, from the events of a run. Pure.

Times are seconds during which a launcher was running: the time between its end and a resume does not count.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from architect_parallel.events import (
    AgentExited,
    AgentStarted,
    AttemptEnded,
    BaselineFinished,
    CheckFinished,
    Collected,
    Event,
    LimitReached,
    RateLimited,
    Recorded,
    RunResumed,
    RunStarted,
    WorkerFinished,
    WorkerStarting,
)


class Phase(StrEnum):
    """What a worker is doing."""

    WAITING = "waiting"
    WORKTREE = "worktree"
    AGENT = "agent"
    COLLECTING = "collecting"
    CHECKS = "checks"


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """One phase of one worker."""

    phase: Phase
    begin_s: float
    end_s: float
    attempt: int = 1
    is_open: bool = False
    """The phase continues, or its end was not recorded."""

    @property
    def length_s(self) -> float:
        return self.end_s - self.begin_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """An event to show: a rate limit or a limit of the run."""

    at_s: float
    text: str


@dataclass(slots=True, kw_only=True)
class Lane:
    """The time of one worker."""

    worker_id: int
    spans: list[Span] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """The time of all workers."""

    lanes: tuple[Lane, ...]
    """In order of worker id."""
    total_s: float
    baseline_s: float | None
    """When the checks on the base ended. `None` means that there were none."""
    resumed_s: tuple[float, ...]
    """When a later launcher resumed the run."""

    @property
    def phases(self) -> list[Phase]:
        """The phases in which any worker was, in their usual order."""
        return [phase for phase in Phase if any(span.phase is phase for lane in self.lanes for span in lane.spans)]

    @property
    def phases_with_baseline(self) -> list[Phase]:
        """The phases to explain in a legend."""
        return [phase for phase in Phase if phase in self.phases or (phase is Phase.CHECKS and self.baseline_s)]


_NEXT = {
    WorkerStarting: Phase.WORKTREE,
    AgentStarted: Phase.AGENT,
    AgentExited: Phase.COLLECTING,
    Collected: Phase.CHECKS,
    AttemptEnded: Phase.WAITING,
}
"""The phase that begins with an event."""


def timeline(recorded: Sequence[Recorded]) -> Timeline:
    """Build the timeline from a run's events in order; without lanes if the run has no events."""
    if not recorded or not isinstance(recorded[0].event, RunStarted):
        return Timeline(lanes=(), total_s=0.0, baseline_s=None, resumed_s=())
    lanes = {spec.worker_id: _OpenLane(spec.worker_id) for spec in recorded[0].event.plan.workers}
    origin, before = recorded[0].time, recorded[0].time
    baseline_s: float | None = None
    resumed: list[float] = []
    now_s = 0.0
    for entry in recorded:
        event = entry.event
        if isinstance(event, RunResumed):
            origin += entry.time - before  # no launcher ran in between
        before = entry.time
        # The machine's clock may be set back. This time never runs backwards.
        now_s = max(now_s, (entry.time - origin).total_seconds())
        if isinstance(event, RunResumed):
            resumed.append(now_s)
            for worker_id in event.worker_ids:
                if worker_id in lanes:
                    lanes[worker_id].leave(now_s)
                    lanes[worker_id].enter(Phase.WAITING, now_s)
        elif isinstance(event, BaselineFinished):
            baseline_s = now_s
        elif entry.worker_id in lanes:
            lanes[entry.worker_id].add(event, now_s)
    for lane in lanes.values():
        lane.leave(now_s, is_open=True)
    return Timeline(
        lanes=tuple(lanes[worker_id].lane for worker_id in sorted(lanes)),
        total_s=now_s,
        baseline_s=baseline_s,
        resumed_s=tuple(resumed),
    )


class _OpenLane:
    """A lane that grows with each event."""

    def __init__(self, worker_id: int) -> None:
        self.lane = Lane(worker_id=worker_id)
        self._phase: Phase | None = Phase.WAITING
        self._since_s = 0.0
        self._attempt = 1
        self._checked = False

    def add(self, event: Event, now_s: float) -> None:
        match event:
            case RateLimited(message=message):
                self.lane.marks.append(Mark(at_s=now_s, text=f"the provider refused: {message}"))
            case LimitReached(reason=reason, detail=detail):
                text = f"stopped: {str(reason).replace('_', ' ')}" + (f", {detail}" if detail else "")
                self.lane.marks.append(Mark(at_s=now_s, text=text))
            case CheckFinished():
                self._checked = True
            case WorkerFinished():
                self.leave(now_s)
            case _:
                phase = _NEXT.get(type(event))
                if phase is None:
                    return
                self.leave(now_s)
                if isinstance(event, WorkerStarting):
                    self._attempt = event.attempt
                self.enter(phase, now_s)

    def enter(self, phase: Phase, now_s: float) -> None:
        self._phase, self._since_s, self._checked = phase, now_s, False

    def leave(self, now_s: float, *, is_open: bool = False) -> None:
        phase, self._phase = self._phase, None
        if phase is None or now_s <= self._since_s:
            return
        if phase is Phase.CHECKS and not self._checked and not is_open:
            phase = Phase.COLLECTING  # what is between collecting and the end is checks only where some ran
        span = Span(phase=phase, begin_s=self._since_s, end_s=now_s, attempt=self._attempt, is_open=is_open)
        last = self.lane.spans[-1] if self.lane.spans else None
        if last is not None and last.phase is phase and last.end_s == span.begin_s and last.attempt == span.attempt:
            self.lane.spans[-1] = replace(last, end_s=now_s, is_open=is_open)
        else:
            self.lane.spans.append(span)


def totals(spans: Iterable[Span]) -> dict[Phase, float]:
    """Seconds per phase."""
    sums: dict[Phase, float] = {}
    for span in spans:
        sums[span.phase] = sums.get(span.phase, 0.0) + span.length_s
    return sums
