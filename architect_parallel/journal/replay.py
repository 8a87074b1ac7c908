"""From a run's events to its result: pure, total, and the only way a `RunResult` comes about.

The same events give the same result, whoever asks and whenever; the one thing events cannot tell, whether the
launcher still lives, comes in as an argument. The invariant: once a run is over, every planned worker has exactly one
result, so that the counts of the envelope add up. A worker whose end nobody recorded is canceled/interrupted with
what is known of it. A resumed worker shows its latest attempt.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime

from architect_parallel.domain import (
    Attempt,
    CheckResult,
    Diff,
    Escape,
    Judgement,
    Pause,
    Reason,
    RunResult,
    RunStatus,
    Status,
    Usage,
    WorkerResult,
    WorkerSpec,
)
from architect_parallel.errors import InternalError
from architect_parallel.events import (
    AgentExited,
    AgentStarted,
    AttemptEnded,
    BaselineFinished,
    CheckFinished,
    Collected,
    DebuggerEnded,
    Escaped,
    FlowMoved,
    Judged,
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
    WorktreeReady,
)
from architect_parallel.scheduling import scopes
from architect_parallel.scheduling.retries import attempt_of, history_of, summed, unstarted
from architect_parallel.text.names import DEFAULT_MODEL


@dataclass(slots=True, kw_only=True)
class _Lane:
    """What is known of one worker's latest attempt."""

    attempt: int = 1
    branch: str | None = None
    worktree_path: str | None = None
    model: str | None = None
    session_id: str | None = None
    steps: int = 0
    usage: Usage = field(default_factory=Usage)
    cost: float | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    last_seen: datetime | None = None
    exit: AgentExited | None = None
    diff: Diff | None = None
    checks: list[CheckResult] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    result: WorkerResult | None = None
    history: tuple[Attempt, ...] = ()
    """The attempts that ended before this one, or with it (`closed`)."""
    closed: bool = False
    """Whether this attempt has ended and stands in `history`: the worker waits for its next one."""
    earlier_ended_at: datetime | None = None
    """When the attempt before ended, in the same launch."""


def replay(recorded: Iterable[Recorded], *, live: bool) -> RunResult:
    """The run as its events tell it.

    Args:
        recorded: The events of one run in order of `seq`; those with `seq` 0 change nothing.
        live: Whether the run's launcher still lives.

    Returns:
        The result: of a live run only with the workers that ended, else with every planned worker.

    Raises:
        InternalError: When the events do not begin with `RunStarted`.
    """
    events = iter(recorded)
    first = next(events, None)
    if first is None or not isinstance(first.event, RunStarted):
        raise InternalError("the journal of a run does not begin with its plan")
    plan = first.event.plan
    specs = {spec.worker_id: spec for spec in sorted(plan.workers, key=lambda spec: spec.worker_id)}
    lanes = {worker_id: _Lane(attempt=spec.attempt) for worker_id, spec in specs.items()}
    finished: Recorded | None = None
    baseline: tuple[CheckResult, ...] = ()
    escaped: Escape | None = None
    pause: Pause | None = None
    judged: list[Judgement] = []
    debugger_costs: list[float | None] = []
    late: list[str] = []
    """Warnings from after the run's end: the judge's."""
    stretch_began, last, earlier_s = first.time, first.time, 0.0
    for each in events:
        if isinstance(each.event, RunResumed):
            earlier_s += (last - stretch_began).total_seconds()
            stretch_began, finished, late = each.time, None, []
            again = set(each.event.worker_ids)  # what was said of their earlier work says nothing of the new
            judged = [one for one in judged if not again & {one.a, one.b}]
            specs |= {spec.worker_id: spec for spec in each.event.workers if spec.worker_id in specs}
            for worker_id in each.event.worker_ids:
                if worker_id in lanes:
                    lanes[worker_id] = _reopened(specs[worker_id], lanes[worker_id])
        elif isinstance(each.event, RunExtended):
            finished = None
            for spec in each.event.workers:
                specs[spec.worker_id] = spec
                lanes[spec.worker_id] = _Lane(attempt=spec.attempt)
        elif isinstance(each.event, FlowMoved):
            pause = each.event.pause
        elif isinstance(each.event, RunFinished):
            finished = each
        elif isinstance(each.event, BaselineFinished):
            baseline = each.event.checks
        elif isinstance(each.event, Escaped):
            escaped = each.event.escape
        elif isinstance(each.event, Judged):
            judged.append(each.event.judgement)
        elif isinstance(each.event, DebuggerEnded):
            debugger_costs.append(each.event.cost)
        elif isinstance(each.event, Warned) and each.worker_id is None and finished is not None:
            late.append(each.event.message)
        elif each.worker_id in lanes:
            lanes[each.worker_id] = _advance(lanes[each.worker_id], each)
        if finished is None or finished is each:  # what comes after the end is not the run's time
            last = each.time

    end = finished.event if finished is not None and isinstance(finished.event, RunFinished) else None
    over = end is not None or not live
    candidates = (_result(spec, lanes[worker_id], over=over) for worker_id, spec in specs.items())
    results = [result for result in candidates if result is not None]
    last_word = plan.workflow.coordinator if plan.workflow is not None else None
    status = end.status if end else RunStatus.RUNNING if live else RunStatus.INTERRUPTED
    return RunResult(
        run_id=plan.run_id,
        status=status,
        exit_code=end.exit_code if end else None,
        base_commit=plan.base_commit,
        base_ref=plan.base_ref,
        started_at=first.time,
        finished_at=finished.time if finished else None,
        total_duration_seconds=round(earlier_s + (last - stretch_began).total_seconds(), 3),
        max_parallel=plan.max_parallel,
        warnings=list(dict.fromkeys([*plan.warnings, *(end.warnings if end else ()), *late])),
        results=results,
        planned=tuple(specs.values()),
        baseline=list(baseline),
        escaped=escaped,
        synthesis=next(
            (each.output for each in results if each.worker_id == last_word and each.status is Status.SUCCESS), None
        ),
        briefing=end.briefing if end else None,
        pause=pause if status in (RunStatus.RUNNING, RunStatus.INTERRUPTED) else None,
        competition=plan.competition,
        judged=judged,
        debugger_costs=debugger_costs,
    )


def _advance(lane: _Lane, recorded: Recorded) -> _Lane:
    match recorded.event:
        case WorkerStarting(attempt=attempt):
            # A new attempt owes nothing to the one before, but its place stays where it was, and so does what is known
            # of the backend's default model until it is reported again.
            lane = _Lane(
                attempt=attempt,
                branch=lane.branch,
                worktree_path=lane.worktree_path,
                model=lane.model,
                history=lane.history,
                earlier_ended_at=lane.last_seen if lane.closed and lane.history else None,
            )
        case WorktreeReady(worktree_path=path, branch=branch):
            lane.worktree_path, lane.branch = path, branch
        case AgentStarted():
            lane.started_at = recorded.time
        case StepTaken(steps=steps):
            lane.steps = steps
        case UsageReported(usage=usage, cost=cost):
            lane.usage, lane.cost = usage, cost
        case SessionKnown(session_id=session_id, model=model):
            lane.session_id, lane.model = session_id, model or lane.model
        case Warned(message=message):
            lane.warnings.append(message)
        case AgentExited() as ended:
            lane.exit, lane.ended_at = ended, recorded.time
        case Collected(diff=diff):
            lane.diff = diff
        case CheckFinished(check=check):
            lane.checks.append(check)
        case AttemptEnded(attempt=attempt_ended):
            lane.history, lane.closed = (*lane.history, attempt_ended), True
        case WorkerFinished(result=result):
            lane.result = result
        case _:
            pass
    lane.last_seen = recorded.time
    return lane


def _result(spec: WorkerSpec, lane: _Lane, *, over: bool) -> WorkerResult | None:
    if lane.result is not None:
        # Older versions recorded `default` where the agent had reported its model, and no `model_requested`.
        model = spec.model or lane.model if lane.result.model == DEFAULT_MODEL else None
        return replace(
            lane.result,
            model=model or lane.result.model,
            model_requested=lane.result.model_requested or spec.model,
            attempts=max(lane.attempt, lane.result.attempts),
        )
    return _interrupted(spec, lane) if over else None


def _reopened(spec: WorkerSpec, lane: _Lane) -> _Lane:
    """The lane as a later launcher takes it up: what came before is history."""
    result = _result(spec, lane, over=True)
    history = history_of(result) if result is not None else ()
    return replace(lane, result=None, history=history, closed=True, started_at=None, last_seen=None)


def _interrupted(spec: WorkerSpec, lane: _Lane) -> WorkerResult:
    until = lane.ended_at or lane.last_seen
    ran_s = (until - lane.started_at).total_seconds() if lane.started_at and until else 0.0
    result = replace(
        unstarted(spec, Status.CANCELED, Reason.INTERRUPTED),
        branch=lane.branch or spec.branch,
        model=spec.model or lane.model or DEFAULT_MODEL,
        steps=lane.steps,
        cost=lane.cost,
        duration=round(ran_s, 3),
        files_modified=sorted({change.path for change in lane.diff.files}) if lane.diff else [],
        worktree_path=lane.worktree_path or spec.worktree_path,
        exit_code=lane.exit.exit_code if lane.exit else None,
        session_id=lane.session_id,
        error="its launcher died before it ended" if lane.started_at else "its launcher died before it started",
        duration_seconds=round(ran_s, 3),
        started_at=lane.started_at,
        finished_at=lane.ended_at,
        usage=lane.usage,
        diff=lane.diff,
        checks=lane.checks,
        attempts=lane.attempt,
        peak_memory_bytes=lane.exit.peak_memory_bytes if lane.exit else None,
        leaked=lane.exit.leaked if lane.exit else None,
        warnings=[*spec.warnings, *lane.warnings],
        outside_scope=scopes.outside((change.path for change in lane.diff.files), spec.files) if lane.diff else [],
    )
    if lane.closed or lane.last_seen is None:  # between two attempts, or before the first
        return summed(result, lane.history)
    waited_s = 0.0
    if lane.earlier_ended_at is not None and lane.started_at is not None:
        waited_s = (lane.started_at - lane.earlier_ended_at).total_seconds()
    return summed(result, [*lane.history, attempt_of(result, waited_s=waited_s)])
