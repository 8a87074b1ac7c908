"""A run as it stands after each of its events: what `architect watch` shows, as data, as lines, on a screen.

Everything shown is computed from the events (`WatchedEvent`) read so far and nothing else, so two watchers of one run
show the same, whenever they started.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from architect_parallel.domain import RunStatus, WorkerResult, WorkerSpec
from architect_parallel.events import (
    AgentExited,
    AgentStarted,
    AttemptEnded,
    Collected,
    FlowMoved,
    LimitReached,
    RateLimited,
    Recorded,
    RunExtended,
    RunFinished,
    RunResumed,
    RunStarted,
    SessionKnown,
    StepTaken,
    UsageReported,
    Warned,
    WorkerFinished,
    WorkerStarting,
    to_plain,
)
from architect_parallel.reports import text
from architect_parallel.reports.paused import asked
from architect_parallel.text.quantities import show_count, show_workers
from architect_parallel.text.sanitize import one_line

WAITING, STARTING, RUNNING, STOPPING, COLLECTING, RETRYING = (
    "waiting",
    "starting",
    "running",
    "stopping",
    "collecting",
    "retrying",
)
INTERRUPTED = "interrupted"
RUN_INTERRUPTED = "run_interrupted"
"""Name of what is told when a launcher died; it stands in no journal."""
_WORD = re.compile(r"(?<!^)(?=[A-Z])")


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchedEvent:
    """Something a watcher of a run saw."""

    seq: int
    """From 1 without gaps."""
    time: datetime
    recorded: Recorded | None
    """`None`: the launcher died; `time` is that of its last sign of life."""


@dataclass(slots=True, kw_only=True)
class WorkerView:
    """One worker, as it stands."""

    spec: WorkerSpec
    state: str = WAITING
    """A state on the way (`waiting`, `starting`, …), then its status; `interrupted` when its launcher died."""
    attempt: int = 1
    steps: int = 0
    cost: float | None = None
    """USD of this attempt so far; `None`: nothing known yet."""
    paid: float = 0.0
    """USD of its attempts before."""
    model: str | None = None
    note: str = ""
    """Why it waits or is being stopped."""
    started_at: datetime | None = None
    """When its agent began; `None`: no agent runs."""
    ended_at: datetime | None = None
    result: WorkerResult | None = None

    @property
    def over(self) -> bool:
        return self.result is not None or self.state == INTERRUPTED

    @property
    def spent(self) -> float | None:
        """USD over all its attempts; `None`: unknown."""
        if self.result is not None:
            return self.result.cost
        return None if self.cost is None and not self.paid else self.paid + (self.cost or 0.0)


class Board:
    """A run as it stands."""

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        self.status = RunStatus.RUNNING
        self.lanes: dict[int, WorkerView] = {}
        self.warnings: list[str] = []
        self.started_at: datetime | None = None
        self.last_at: datetime | None = None
        """Of the newest event."""
        self.budget_usd: float | None = None

    @property
    def over(self) -> bool:
        return self.status is not RunStatus.RUNNING

    @property
    def spent(self) -> float:
        """USD that is known of."""
        return sum(lane.spent or 0.0 for lane in self.lanes.values())

    def take(self, seen: WatchedEvent) -> None:
        """The next thing seen."""
        self.last_at = seen.time
        if seen.recorded is None:
            self.status = RunStatus.INTERRUPTED
            for lane in self.lanes.values():
                if not lane.over:
                    lane.state, lane.ended_at = INTERRUPTED, seen.time
            return
        event, worker_id = seen.recorded.event, seen.recorded.worker_id
        match event:
            case RunStarted(plan=plan):
                self.lanes = {spec.worker_id: WorkerView(spec=spec) for spec in plan.workers}
                self.started_at, self.budget_usd = seen.time, plan.budget_usd
                self.warnings += plan.warnings
            case RunExtended(workers=workers):
                self.lanes |= {spec.worker_id: WorkerView(spec=spec) for spec in workers}
            case RunResumed(worker_ids=worker_ids, workers=workers):
                self.status = RunStatus.RUNNING
                told = {spec.worker_id: spec for spec in workers}
                for each in worker_ids:
                    if each in self.lanes:
                        before = self.lanes[each]
                        self.lanes[each] = WorkerView(spec=told.get(each, before.spec), paid=before.spent or 0.0)
            case RunFinished(status=status):
                self.status = status
            case Warned(message=message) if worker_id is None:
                self.warnings.append(message)
            case _ if worker_id in self.lanes:
                _advance(self.lanes[worker_id], seen.recorded)
            case _:
                pass


def _advance(lane: WorkerView, recorded: Recorded) -> None:
    match recorded.event:
        case WorkerStarting(attempt=attempt):
            lane.state, lane.attempt, lane.note = STARTING, attempt, ""
            lane.cost, lane.steps = None, 0
        case AgentStarted():
            lane.state, lane.started_at = RUNNING, recorded.time
        case StepTaken(steps=steps):
            lane.steps = steps
        case UsageReported(cost=cost):
            lane.cost = cost
        case SessionKnown(model=model):
            lane.model = model or lane.model
        case RateLimited(message=message):
            lane.note = f"rate limited: {message}"
        case LimitReached(reason=reason, detail=detail):
            lane.state, lane.note = STOPPING, detail or str(reason).replace("_", " ")
        case AgentExited() | Collected():
            lane.state = COLLECTING
        case AttemptEnded(attempt=attempt_ended, because=because):
            lane.state, lane.note, lane.started_at = RETRYING, because, None
            lane.paid += attempt_ended.cost or 0.0
            lane.cost = None
        case WorkerFinished(result=result):
            lane.state, lane.result, lane.ended_at = result.status.value, result, recorded.time
        case _:
            pass


def event_name(seen: WatchedEvent) -> str:
    """`worker_finished` for `WorkerFinished`."""
    return RUN_INTERRUPTED if seen.recorded is None else _WORD.sub("_", type(seen.recorded.event).__name__).lower()


def as_data(board: Board, seen: WatchedEvent) -> dict[str, Any]:
    """What was seen as plain data, the fields of the contract first; `board` has taken it already."""
    worker_id = seen.recorded.worker_id if seen.recorded is not None else None
    lane = board.lanes.get(worker_id) if worker_id is not None else None
    told = {
        "run_id": board.run_id,
        "seq": seen.seq,
        "time": to_plain(seen.time),
        "event": event_name(seen),
        "worker_id": worker_id,
        "name": lane.spec.name if lane is not None else None,
        "status": lane.state if lane is not None else board.status.value,
    }
    return told | {key: value for key, value in _details(seen).items() if key not in told}


def _details(seen: WatchedEvent) -> dict[str, Any]:
    event = seen.recorded.event if seen.recorded is not None else None
    if event is None:
        return {}
    if isinstance(event, RunStarted):
        plan = event.plan
        workers = [
            {"worker_id": spec.worker_id, "name": spec.name, "task": spec.prompt, "backend": spec.backend,
             "model": spec.model, "branch": spec.branch}
            for spec in plan.workers
        ]  # fmt: skip
        return {"base_commit": plan.base_commit, "max_parallel": plan.max_parallel,
                "budget_usd": plan.budget_usd, "warnings": list(plan.warnings), "workers": workers}  # fmt: skip
    if isinstance(event, RunResumed):
        return {"worker_ids": list(event.worker_ids)}
    plain = to_plain(event)
    assert isinstance(plain, dict)
    return plain


def as_line(board: Board, seen: WatchedEvent) -> str | None:
    """What was seen as a line for people; `None`: not worth one. `board` has taken it already."""
    said = _said(board, seen)
    if said is None:
        return None
    return f"{seen.time:%H:%M:%S} {said}"


def _said(board: Board, seen: WatchedEvent) -> str | None:
    if seen.recorded is None:
        return f"the launcher of run {board.run_id} died (try: architect resume {board.run_id})"
    event, worker_id = seen.recorded.event, seen.recorded.worker_id
    match event:
        case RunStarted(plan=plan) if plan.flow is not None:
            return f"run {board.run_id}: the flow {one_line(plan.flow.file, 200)}"
        case RunStarted(plan=plan):
            tasks = show_count(len(plan.workers), "task")
            return f"run {board.run_id}: {tasks}, at most {plan.max_parallel} at a time"
        case RunResumed(worker_ids=worker_ids):
            return f"resumed: {show_workers(worker_ids)}" if worker_ids else "resumed"
        case FlowMoved(pause=pause) if pause is not None:
            return f"the flow waits in state {one_line(pause.state, 80)}: {one_line(asked(pause), 300)}"
        case RunFinished(status=status):
            return f"run {board.run_id}: {status}"
        case AgentStarted() if worker_id in board.lanes:
            spec = board.lanes[worker_id].spec
            return f"[{worker_id}] started: {text.task_words(spec.worker_id, spec.name, spec.prompt, 80)}"
        case LimitReached() if worker_id in board.lanes:
            return f"[{worker_id}] stopping: {one_line(board.lanes[worker_id].note, 200)}"
        case AttemptEnded(attempt=attempt, because=because):
            return text.attempt_line(worker_id or 0, attempt, because)
        case WorkerFinished(result=result):
            return text.finished_line(result)
        case Warned(message=message):
            return f"{'' if worker_id is None else f'[{worker_id}] '}warning: {one_line(message, 300)}"
        case _:
            return None
