"""What is known of a worker on its way, and what becomes of it: its result.

The facts are put in as they are seen (`worker`); what they amount to is said here, whichever step was the last.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime

from architect_parallel.domain import (
    SHELL,
    ApprovalMode,
    CheckResult,
    Diff,
    Isolation,
    Reason,
    SandboxMode,
    Status,
    Usage,
    WorkerResult,
    WorkerSpec,
)
from architect_parallel.scheduling import check_policy as checks
from architect_parallel.scheduling import verdict
from architect_parallel.scheduling.retries import unstarted
from architect_parallel.supervision.stop import StopToken
from architect_parallel.system.clock import now
from architect_parallel.text.names import DEFAULT_MODEL
from architect_parallel.workers.agent_run import AgentRun


@dataclass(slots=True, kw_only=True)
class WorkerState:
    """What is known of a worker so far; turned into its result at the end, however far it came."""

    started_at: datetime | None = None
    finished_at: datetime | None = None
    agent: AgentRun | None = None
    diff: Diff | None = None
    hides_files: bool = False
    """Whether ignore rules of the agent's hide files that the diff does not have."""
    error: str | None = None
    spawn_failed: bool = False
    collect_failed: bool = False
    checks: list[CheckResult] = field(default_factory=list)
    checked: bool = True
    """False while its checks are about to run: should they not come to their end, it has not passed them."""
    outside_scope: list[str] = field(default_factory=list)
    escaped: bool = False
    warnings: list[str] = field(default_factory=list)
    log_path: str | None = None


def verdict_of(spec: WorkerSpec, course: WorkerState, stop_token: StopToken) -> verdict.Verdict:
    """How the worker ended as far as its agent goes."""
    agent = course.agent
    ending = agent.ending if agent is not None else None
    denied = _denied(spec, agent)
    return verdict.decide(
        outcome=ending.outcome if ending is not None else None,
        exit_code=agent.exit_code if agent is not None else None,
        stopped_by=stop_token.reason,
        spawn_failed=course.spawn_failed or (agent is not None and agent.spawn_error is not None),
        collect_failed=course.collect_failed,
        escaped=course.escaped,
        files_changed=_files_changed(spec, course, denied=bool(denied)),
        denied=bool(denied),
    )


def result_of(spec: WorkerSpec, course: WorkerState, stop_token: StopToken) -> WorkerResult:
    """The worker's result, of this attempt alone, however far it came."""
    agent, diff = course.agent, course.diff
    ran = agent is not None and agent.spawn_error is None
    ending = agent.ending if agent is not None else None
    before_checks = verdict_of(spec, course, stop_token)
    status, reason = verdict.checked(before_checks, course.checks, complete=course.checked)
    warnings = list(course.warnings)
    if reason is Reason.CHECK_FAILED and before_checks[0] is Status.PARTIAL:
        warnings.append(f"before its checks it had ended as partial ({before_checks[1]})".replace("_", " "))
    if ending is not None:
        warnings += [warning for warning in ending.warnings if warning not in warnings]
    if reason is Reason.NO_CHANGES and _may_not_write(spec):
        warnings.append(
            f"it changed nothing: with approval_mode {spec.approval_mode} {spec.backend} may lack permission"
        )
    warnings += [each for each in _budget_warnings(spec, agent) if each not in warnings]
    duration = agent.ended_s - agent.started_s if ran and agent and agent.ended_s and agent.started_s else 0.0
    finished_at = now()
    return replace(
        unstarted(spec, status, reason),
        model=spec.model or (agent.model if agent is not None else None) or DEFAULT_MODEL,
        steps=agent.steps if agent is not None else 0,
        cost=(agent.cost if ran else 0.0) if agent is not None else 0.0,
        duration=round(duration, 3),
        files_modified=sorted(change.path for change in diff.files) if diff is not None else [],
        exit_code=agent.exit_code if agent is not None else None,
        output=ending.text if ending is not None else "",
        session_id=agent.session_id if agent is not None else None,
        error=_error_text(spec, course, stop_token, status, reason),
        duration_seconds=round(duration, 3),
        started_at=course.started_at if ran else None,
        finished_at=finished_at,
        usage=agent.usage if agent is not None else Usage(),
        diff=diff,
        checks=course.checks,
        peak_memory_bytes=agent.peak_memory_bytes if agent is not None else None,
        log_path=course.log_path,
        leaked=agent.leaked if agent is not None else None,
        warnings=warnings,
        outside_scope=course.outside_scope,
    )


def _budget_warnings(spec: WorkerSpec, agent: AgentRun | None) -> list[str]:
    """What a user who set a budget has to know of it at the end."""
    limits = spec.limits
    if agent is None or agent.spawn_error is not None or (limits.budget_usd is None and limits.run_budget_usd is None):
        return []
    if agent.cost is None:
        return ["its cost is not known: it does not count towards the budget"]
    if limits.budget_usd is not None and agent.cost > limits.budget_usd:
        over = agent.cost - limits.budget_usd
        return [f"spent ${agent.cost:.4f}: ${over:.4f} over its budget of ${limits.budget_usd:.4f}"]
    return []


def _files_changed(spec: WorkerSpec, course: WorkerState, *, denied: bool) -> int | None:
    if course.diff is None:
        return None if denied else _changed_in_place(spec, course.agent)
    return len(course.diff.files) or int(course.hides_files)


def _changed_in_place(spec: WorkerSpec, agent: AgentRun | None) -> int | None:
    """Without isolation nobody collects: what an agent did that took steps is there, whatever it is."""
    return 1 if spec.isolation is Isolation.NONE and agent is not None and agent.steps else None


def _denied(spec: WorkerSpec, agent: AgentRun | None) -> tuple[str, ...]:
    """The tools that the agent was refused; none where it was to read only, and a refusal is what was asked for."""
    if agent is None or agent.ending is None or spec.sandbox_mode is SandboxMode.READ_ONLY:
        return ()
    return agent.ending.denied


def _may_not_write(spec: WorkerSpec) -> bool:
    """Whether a refusal may leave no trace: codex, gemini and qwen do not offer what they would ask for."""
    restricted = spec.approval_mode in (ApprovalMode.DEFAULT, ApprovalMode.ALWAYS)
    return restricted and spec.sandbox_mode is not SandboxMode.READ_ONLY and spec.backend != SHELL


def _error_text(
    spec: WorkerSpec, course: WorkerState, stop_token: StopToken, status: Status, reason: Reason
) -> str | None:
    if status is Status.SUCCESS:
        return None
    failed = checks.failing(course.checks)
    if reason is Reason.CHECK_FAILED and failed:
        return checks.error_of(failed)
    if course.error is not None:
        return course.error
    if stop_token.reason is not None:
        return stop_token.detail or str(stop_token.reason)
    agent = course.agent
    if agent is None:
        return None
    if agent.spawn_error is not None:
        return agent.spawn_error
    said = agent.ending.error if agent.ending is not None else None
    if said is not None:
        return said
    if reason is Reason.BLOCKED:
        where = "nobody sees what it changed in place" if spec.isolation is Isolation.NONE else "it changed nothing"
        tools = ", ".join(_denied(spec, agent))
        return f"denied for want of permission (approval_mode {spec.approval_mode}): {tools}; {where}"
    if agent.exit_code:
        return f"killed by signal {-agent.exit_code}" if agent.exit_code < 0 else f"exit code {agent.exit_code}"
    return None
