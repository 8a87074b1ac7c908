"""The phases of each worker over time, from the events of a run. Pure.

Times are seconds during which a launcher was running: the time between its end and a resume does not count.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from architect_parallel.events import (
    BaselineFinished,
    CheckFinished,
    Event,
    LimitReached,
    RateLimited,
    Recorded,
    RunExtended,
    RunResumed,
    RunStarted,
)
from architect_parallel.journal import worker_view
from architect_parallel.journal.view import RunView


class SpanPhase(StrEnum):
    """The activity of a worker."""

    WAITING = "waiting"
    WORKTREE = "worktree"
    AGENT = "agent"
    COLLECTING = "collecting"
    CHECKS = "checks"


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """One phase of one worker."""

    phase: SpanPhase
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
class TimelineLane:
    """The time of one worker."""

    worker_id: int
    spans: list[Span] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """The time of all workers."""

    lanes: tuple[TimelineLane, ...]
    """In order of worker id."""
    total_s: float
    baseline_s: float | None
    """When the checks on the base ended. `None` means that there were none."""
    resumed_s: tuple[float, ...]
    """When a later launcher resumed the run."""

    @property
    def phases(self) -> list[SpanPhase]:
        """The phases in which any worker was, in their usual order."""
        return [phase for phase in SpanPhase if any(span.phase is phase for lane in self.lanes for span in lane.spans)]

    @property
    def phases_with_baseline(self) -> list[SpanPhase]:
        """The phases to explain in a legend."""
        return [phase for phase in SpanPhase if phase in self.phases or (phase is SpanPhase.CHECKS and self.baseline_s)]


_PHASES = {
    worker_view.Phase.WAITING: SpanPhase.WAITING,
    worker_view.Phase.CREATING: SpanPhase.WORKTREE,
    worker_view.Phase.PREPARING: SpanPhase.WORKTREE,
    worker_view.Phase.RUNNING: SpanPhase.AGENT,
    worker_view.Phase.COLLECTING: SpanPhase.COLLECTING,
    worker_view.Phase.CHECKING: SpanPhase.CHECKS,
    worker_view.Phase.RETRYING: SpanPhase.WAITING,
}


def timeline(recorded: Sequence[Recorded]) -> Timeline:
    """Compute the run's time from its events, in order. An empty run has no lanes."""
    if not recorded or not isinstance(recorded[0].event, RunStarted):
        return Timeline(lanes=(), total_s=0.0, baseline_s=None, resumed_s=())
    view = RunView(recorded[0].run_id)
    lanes: dict[int, _OpenLane] = {}
    baseline_s: float | None = None
    resumed: list[float] = []
    now_s = 0.0
    for entry in recorded:
        view.take(entry)
        now_s = max(now_s, view.elapsed_s)  # The clock of a machine may be set back; time here never is.
        match entry.event:
            case RunStarted() | RunExtended():
                for worker_id in view.workers.keys() - lanes.keys():
                    lanes[worker_id] = _OpenLane(worker_id, now_s)
            case RunResumed(worker_ids=worker_ids):
                resumed.append(now_s)
                for worker_id in worker_ids:
                    if worker_id in lanes:
                        lanes[worker_id].follow(view.workers[worker_id], now_s)
            case BaselineFinished():
                baseline_s = now_s
            case event if entry.worker_id in lanes:
                lanes[entry.worker_id].see(event, now_s)
                lanes[entry.worker_id].follow(view.workers[entry.worker_id], now_s)
            case _:
                pass
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

    def __init__(self, worker_id: int, since_s: float) -> None:
        self.lane = TimelineLane(worker_id=worker_id)
        self._phase: SpanPhase | None = SpanPhase.WAITING
        self._since_s = since_s
        self._attempt = 1
        self._checked = False

    def see(self, event: Event, now_s: float) -> None:
        """Note what happened at a moment."""
        match event:
            case RateLimited(message=message):
                self.lane.marks.append(Mark(at_s=now_s, text=f"the provider refused: {message}"))
            case LimitReached(reason=reason, detail=detail):
                text = f"stopped: {str(reason).replace('_', ' ')}" + (f", {detail}" if detail else "")
                self.lane.marks.append(Mark(at_s=now_s, text=text))
            case CheckFinished():
                self._checked = True
            case _:
                pass

    def follow(self, worker: worker_view.WorkerView, now_s: float) -> None:
        """Begin a new span if the worker has changed its phase."""
        phase = _PHASES.get(worker.phase)
        starts_again = phase is SpanPhase.WORKTREE and worker.attempt != self._attempt
        if phase is self._phase and not starts_again:
            return
        self.leave(now_s)
        if phase is SpanPhase.WORKTREE:
            self._attempt = worker.attempt
        if phase is not None:
            self.enter(phase, now_s)

    def enter(self, phase: SpanPhase, now_s: float) -> None:
        self._phase, self._since_s, self._checked = phase, now_s, False

    def leave(self, now_s: float, *, is_open: bool = False) -> None:
        phase, self._phase = self._phase, None
        if phase is None or now_s <= self._since_s:
            return
        if phase is SpanPhase.CHECKS and not self._checked and not is_open:
            phase = SpanPhase.COLLECTING  # what is between collecting and the end is checks only where some ran
        span = Span(phase=phase, begin_s=self._since_s, end_s=now_s, attempt=self._attempt, is_open=is_open)
        last = self.lane.spans[-1] if self.lane.spans else None
        if last is not None and last.phase is phase and last.end_s == span.begin_s and last.attempt == span.attempt:
            self.lane.spans[-1] = replace(last, end_s=now_s, is_open=is_open)
        else:
            self.lane.spans.append(span)


def totals(spans: Iterable[Span]) -> dict[SpanPhase, float]:
    """Seconds per phase."""
    sums: dict[SpanPhase, float] = {}
    for span in spans:
        sums[span.phase] = sums.get(span.phase, 0.0) + span.length_s
    return sums
