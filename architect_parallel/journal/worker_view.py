"""One worker as its events describe it: the latest attempt, the attempts before it, and the result."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from architect_parallel.domain import Attempt, CheckResult, Diff, Reason, Status, Usage, WorkerResult, WorkerSpec
from architect_parallel.events import (
    AgentExited,
    AgentOutput,
    AgentStarted,
    AttemptEnded,
    CheckFinished,
    Collected,
    LimitReached,
    RateLimited,
    Recorded,
    SessionKnown,
    StepTaken,
    UsageReported,
    Warned,
    WorkerFinished,
    WorkerPlaced,
    WorkerStarting,
    WorktreeReady,
)
from architect_parallel.scheduling import scopes
from architect_parallel.scheduling.retries import attempt_of, history_of, summed, unstarted
from architect_parallel.text.names import DEFAULT_MODEL


class Phase(StrEnum):
    """The step that a worker is at."""

    WAITING = "waiting"
    CREATING = "creating"
    """Its branch and worktree are being made."""
    PREPARING = "preparing"
    """Its worktree is being set up for the agent."""
    RUNNING = "running"
    COLLECTING = "collecting"
    CHECKING = "checking"
    RETRYING = "retrying"
    """An attempt failed and the next one has not begun."""
    INTERRUPTED = "interrupted"
    """Its launcher died."""
    ENDED = "ended"


STOPPING = "stopping"
STARTING = "starting"
"""The state of a worker that is being created or prepared."""
_STATES = {Phase.CREATING: STARTING, Phase.PREPARING: STARTING, Phase.CHECKING: Phase.COLLECTING.value}


@dataclass(slots=True, kw_only=True)
class WorkerView:
    """One worker. Fields without another description are those of its latest attempt."""

    spec: WorkerSpec
    phase: Phase = Phase.WAITING
    attempt: int = 1
    branch: str | None = None
    worktree_path: str | None = None
    host: str | None = None
    """Name of the machine that it is on. `None` means this one."""
    model: str | None = None
    """As the agent reported it. `None` means that no attempt has reported one."""
    session_id: str | None = None
    steps: int = 0
    usage: Usage = field(default_factory=Usage)
    cost: float | None = None
    """USD. `None` means that the cost is not known yet."""
    stopping: LimitReached | None = None
    """Why the agent is being stopped. `None` means that it is not."""
    note: str = ""
    """Why it waits or is being stopped."""
    line: str = ""
    """The newest line that its agent printed. Only while the run is watched live."""
    started_at: datetime | None = None
    exited_at: datetime | None = None
    """The end of the agent's process."""
    last_seen: datetime | None = None
    """The time of its newest event."""
    exit: AgentExited | None = None
    diff: Diff | None = None
    checks: list[CheckResult] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    history: tuple[Attempt, ...] = ()
    """The attempts that have ended, over all launches."""
    is_closed: bool = False
    """The latest attempt is the last one of `history`."""
    earlier_ended_at: datetime | None = None
    """The end of the attempt before, in the same launch."""
    interrupted_at: datetime | None = None
    """The last sign of life of its launcher, which died. `None` means that it lives or that the worker had ended."""
    result: WorkerResult | None = None
    """The recorded result. `None` means that the worker has not ended."""

    @property
    def state(self) -> str:
        """The state in the words of `architect watch`: a phase, `starting`, `stopping`, or the status of its result."""
        if self.result is not None:
            return self.result.status.value
        return STOPPING if self.stopping is not None else _STATES.get(self.phase, self.phase.value)

    @property
    def over(self) -> bool:
        """True once it has ended, or its launcher died."""
        return self.phase in (Phase.ENDED, Phase.INTERRUPTED)

    @property
    def spent(self) -> float | None:
        """USD over all attempts. `None` means that no cost is known."""
        if self.result is not None:
            return self.result.cost
        paid = sum(attempt.cost or 0.0 for attempt in self.history)
        cost = None if self.is_closed else self.cost
        return None if cost is None and not paid else paid + (cost or 0.0)

    @property
    def running_since(self) -> datetime | None:
        """The start of the agent. `None` means that no agent of it runs."""
        return None if self.is_closed else self.started_at

    def take(self, recorded: Recorded) -> None:
        """Apply the next event of this worker."""
        match recorded.event:
            case AgentOutput(text=text):
                self.line = text
                if self.phase is Phase.RUNNING and self.stopping is None:
                    self.note = ""
                return  # shown live and not recorded: replay must not depend on it
            case WorkerPlaced(attempt=attempt, host=host):
                self._begin(attempt)
                self.host = host
            case WorkerStarting(attempt=attempt):
                if self.host is None or self.phase is not Phase.CREATING:  # else it began when it was placed
                    self._begin(attempt)
            case WorktreeReady(worktree_path=path, branch=branch):
                self.phase, self.worktree_path, self.branch = Phase.PREPARING, path, branch
            case AgentStarted():
                self._enter(Phase.RUNNING)
                self.started_at = recorded.time
            case StepTaken(steps=steps):
                self.steps = steps
            case UsageReported(usage=usage, cost=cost):
                self.usage, self.cost = usage, cost
            case SessionKnown(session_id=session_id, model=model):
                self.session_id, self.model = session_id, model or self.model
            case Warned(message=message):
                self.warnings.append(message)
            case RateLimited(message=message):
                self.note = f"rate limited: {message}"
            case LimitReached(reason=reason, detail=detail) as limit:
                self.stopping, self.note = limit, detail or str(reason).replace("_", " ")
            case AgentExited() as ended:
                self._enter(Phase.COLLECTING)
                self.exit, self.exited_at = ended, recorded.time
            case Collected(diff=diff):
                self._enter(Phase.CHECKING if self.spec.checks else Phase.COLLECTING)
                self.diff = diff
            case CheckFinished(check=check):
                self.checks.append(check)
            case AttemptEnded(attempt=attempt_ended, because=because):
                self._enter(Phase.RETRYING)
                self.history, self.is_closed = (*self.history, attempt_ended), True
                self.note, self.line = because, attempt_ended.error or ""
            case WorkerFinished(result=result):
                self._enter(Phase.ENDED)
                self.result = result
            case _:
                pass
        self.last_seen = recorded.time

    def interrupt(self, at: datetime) -> None:
        """Note that the launcher died, with its last sign of life at `at`."""
        if not self.over:
            self._enter(Phase.INTERRUPTED)
            self.interrupted_at = at

    def reopened(self, spec: WorkerSpec) -> WorkerView:
        """The worker as a later launcher runs it again, with `spec`: all that came before is history."""
        result = self.result_so_far(over=True, spec=spec)
        return replace(
            self,
            spec=spec,
            phase=Phase.WAITING,
            stopping=None,
            note="",
            steps=0,
            cost=None,
            started_at=None,
            last_seen=None,
            history=history_of(result) if result is not None else (),
            is_closed=True,
            interrupted_at=None,
            result=None,
        )

    def result_so_far(self, *, over: bool, spec: WorkerSpec | None = None) -> WorkerResult | None:
        """The result, completed where an older version recorded less.

        Args:
            over: Whether the run is over. A worker without a recorded result is then canceled as interrupted.
            spec: The specification that the result is described by. `None` means the worker's.

        Returns:
            `None` for a worker that has not ended, in a run that is not over.
        """
        spec = spec or self.spec
        if self.result is None:
            return self._interrupted_result(spec) if over else None
        # Older versions recorded `default` where the agent had reported its model, and no `model_requested`.
        model = self.model or spec.model if self.result.model == DEFAULT_MODEL else None
        return replace(
            self.result,
            model=model or self.result.model,
            model_requested=self.result.model_requested or spec.model,
            attempts=max(self.attempt, self.result.attempts),
        )

    def _begin(self, attempt: int) -> None:
        """Start a new attempt. It takes over the worktree, and the model until the agent reports it again."""
        fresh = WorkerView(
            spec=self.spec,
            phase=Phase.CREATING,
            attempt=attempt,
            branch=self.branch,
            worktree_path=self.worktree_path,
            model=self.model,
            line=self.line,
            history=self.history,
            earlier_ended_at=self.last_seen if self.is_closed and self.history else None,
        )
        for name in self.__slots__:
            setattr(self, name, getattr(fresh, name))

    def _enter(self, phase: Phase) -> None:
        self.phase, self.stopping = phase, None

    def _interrupted_result(self, spec: WorkerSpec) -> WorkerResult:
        until = self.exited_at or self.last_seen
        ran_s = round((until - self.started_at).total_seconds(), 3) if self.started_at and until else 0.0
        paths = [change.path for change in self.diff.files] if self.diff else []
        result = replace(
            unstarted(spec, Status.CANCELED, Reason.INTERRUPTED),
            branch=self.branch or spec.branch,
            model=spec.model or self.model or DEFAULT_MODEL,
            steps=self.steps,
            cost=self.cost,
            duration=ran_s,
            files_modified=sorted(set(paths)),
            worktree_path=self.worktree_path or spec.worktree_path,
            exit_code=self.exit.exit_code if self.exit else None,
            session_id=self.session_id,
            error=f"its launcher died before it {'ended' if self.started_at else 'started'}"
            + (f"; it may still run on {self.host}, and `architect resume` goes on with it" if self.host else ""),
            host=self.host,
            duration_seconds=ran_s,
            started_at=self.started_at,
            finished_at=self.exited_at,
            usage=self.usage,
            diff=self.diff,
            checks=self.checks,
            attempts=self.attempt,
            peak_memory_bytes=self.exit.peak_memory_bytes if self.exit else None,
            leaked=self.exit.leaked if self.exit else None,
            warnings=[*spec.warnings, *self.warnings],
            outside_scope=scopes.outside(paths, spec.files) if paths else [],
        )
        if self.is_closed or self.last_seen is None:  # between two attempts, or before the first
            return summed(result, self.history)
        waited_s = 0.0
        if self.earlier_ended_at is not None and self.started_at is not None:
            waited_s = (self.started_at - self.earlier_ended_at).total_seconds()
        return summed(result, [*self.history, attempt_of(result, waited_s=waited_s)])
