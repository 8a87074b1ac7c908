"""The state of a worker while it runs, and the result made of it at the end.

`worker` fills in the facts as they are seen. The result is made here, however far the worker came.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime

from architect_parallel.domain import (
    SHELL,
    ApprovalMode,
    CheckResult,
    DeniedHost,
    Diff,
    Isolation,
    Reason,
    SandboxMode,
    Status,
    Usage,
    WorkerResult,
    WorkerSpec,
    report_of,
)
from architect_parallel.scheduling import check_policy as checks
from architect_parallel.scheduling import verdict
from architect_parallel.scheduling.retries import unstarted
from architect_parallel.supervision.stop import StopToken
from architect_parallel.system.clock import now
from architect_parallel.text.names import DEFAULT_MODEL
from architect_parallel.workers.agent_session import AgentRun


@dataclass(slots=True, kw_only=True)
class WorkerState:
    """The facts about a worker so far."""

    started_at: datetime | None = None
    finished_at: datetime | None = None
    agent: AgentRun | None = None
    diff: Diff | None = None
    hides_files: bool = False
    """True if ignore rules of the agent hide files that the diff does not have."""
    error: str | None = None
    spawn_failed: bool = False
    collect_failed: bool = False
    checks: list[CheckResult] = field(default_factory=list)
    checked: bool = True
    """False while its checks run: a worker whose checks did not end has not passed them."""
    outside_scope: list[str] = field(default_factory=list)
    escaped: bool = False
    has_secret: bool = False
    warnings: list[str] = field(default_factory=list)
    log_path: str | None = None
    denied_hosts: tuple[DeniedHost, ...] = ()


def verdict_of(spec: WorkerSpec, state: WorkerState, stop_token: StopToken) -> verdict.Verdict:
    """Decide how the worker ended, without its checks.

    Asked before the checks, which run only for good work, and again at the end: a stop may come while they run.
    """
    agent = state.agent
    ending = agent.ending if agent is not None else None
    denied = _denied(spec, agent)
    return verdict.decide(
        outcome=ending.outcome if ending is not None else None,
        exit_code=agent.exit_code if agent is not None else None,
        stopped_by=stop_token.reason,
        spawn_failed=state.spawn_failed or (agent is not None and agent.spawn_error is not None),
        collect_failed=state.collect_failed,
        escaped=state.escaped,
        has_secret=state.has_secret,
        files_changed=_files_changed(spec, state, denied=bool(denied)),
        denied=bool(denied),
    )


def result_of(spec: WorkerSpec, state: WorkerState, stop_token: StopToken) -> WorkerResult:
    """Make the result of this attempt, however far it came."""
    agent, diff = state.agent, state.diff
    ran = agent is not None and agent.spawn_error is None
    ending = agent.ending if agent is not None else None
    before_checks = verdict_of(spec, state, stop_token)
    status, reason = verdict.checked(before_checks, state.checks, complete=state.checked)
    warnings = list(state.warnings)
    if reason is Reason.CHECK_FAILED and before_checks[0] is Status.PARTIAL:
        warnings.append(f"before its checks it had ended as partial ({before_checks[1]})".replace("_", " "))
    if ending is not None:
        warnings += [warning for warning in ending.warnings if warning not in warnings]
    if reason is Reason.NO_CHANGES and _may_not_write(spec):
        warnings.append(
            f"it changed nothing: with approval_mode {spec.approval_mode} {spec.backend} may lack permission"
        )
    warnings += [warning for warning in _budget_warnings(spec, agent) if warning not in warnings]
    duration = agent.ended_s - agent.started_s if ran and agent is not None else 0.0
    finished_at = now()
    return replace(
        unstarted(spec, status, reason),
        model=(agent.model if agent is not None else None) or spec.model or DEFAULT_MODEL,
        steps=agent.steps if agent is not None else 0,
        cost=(agent.cost if ran else 0.0) if agent is not None else 0.0,
        duration=round(duration, 3),
        files_modified=sorted(change.path for change in diff.files) if diff is not None else [],
        exit_code=agent.exit_code if agent is not None else None,
        output=agent.output if agent is not None else "",
        session_id=agent.session_id if agent is not None else None,
        error=_error_text(spec, state, stop_token, status, reason),
        duration_seconds=round(duration, 3),
        started_at=state.started_at if ran else None,
        finished_at=finished_at,
        usage=agent.usage if agent is not None else Usage(),
        diff=diff,
        checks=state.checks,
        peak_memory_bytes=agent.peak_memory_bytes if agent is not None else None,
        log_path=state.log_path,
        leaked=agent.leaked if agent is not None else None,
        warnings=warnings,
        outside_scope=state.outside_scope,
        sandbox=report_of(spec.sandbox, state.denied_hosts),
    )


def _budget_warnings(spec: WorkerSpec, agent: AgentRun | None) -> list[str]:
    """Warnings about a budget that was exceeded or could not be held."""
    limits = spec.limits
    if agent is None or agent.spawn_error is not None or (limits.budget_usd is None and limits.run_budget_usd is None):
        return []
    if agent.cost is None:
        return ["its cost is not known: it does not count towards the budget"]
    if limits.budget_usd is not None and agent.cost > limits.budget_usd:
        over = agent.cost - limits.budget_usd
        return [f"spent ${agent.cost:.4f}: ${over:.4f} over its budget of ${limits.budget_usd:.4f}"]
    return []


def _files_changed(spec: WorkerSpec, state: WorkerState, *, denied: bool) -> int | None:
    if state.diff is None:
        return None if denied else _changed_in_place(spec, state.agent)
    return len(state.diff.files) or int(state.hides_files)


def _changed_in_place(spec: WorkerSpec, agent: AgentRun | None) -> int | None:
    """Nothing is collected without isolation: an agent that took steps counts as having changed something."""
    return 1 if spec.isolation is Isolation.NONE and agent is not None and agent.steps else None


def _denied(spec: WorkerSpec, agent: AgentRun | None) -> tuple[str, ...]:
    """The tools that the agent was denied. Empty for a read-only agent, where a denial is intended."""
    if agent is None or agent.ending is None or spec.sandbox_mode is SandboxMode.READ_ONLY:
        return ()
    return agent.ending.denied


def _may_not_write(spec: WorkerSpec) -> bool:
    """Return true if a denial may leave no trace: codex, gemini and qwen do not offer tools that need permission."""
    restricted = spec.approval_mode in (ApprovalMode.DEFAULT, ApprovalMode.ALWAYS)
    return restricted and spec.sandbox_mode is not SandboxMode.READ_ONLY and spec.backend != SHELL


def _error_text(
    spec: WorkerSpec, state: WorkerState, stop_token: StopToken, status: Status, reason: Reason
) -> str | None:
    if status is Status.SUCCESS:
        return None
    failed = checks.failing(state.checks)
    if reason is Reason.CHECK_FAILED and failed:
        return checks.error_of(failed)
    if state.error is not None:
        return state.error
    if stop_token.reason is not None:
        return stop_token.description
    agent = state.agent
    if agent is None:
        return None
    if agent.spawn_error is not None:
        return agent.spawn_error
    claimed = agent.ending.error if agent.ending is not None else None
    if claimed is not None:
        return claimed
    if reason is Reason.BLOCKED:
        where = "nobody sees what it changed in place" if spec.isolation is Isolation.NONE else "it changed nothing"
        tools = ", ".join(_denied(spec, agent))
        return f"denied for want of permission (approval_mode {spec.approval_mode}): {tools}; {where}"
    if agent.exit_code:
        return f"killed by signal {-agent.exit_code}" if agent.exit_code < 0 else f"exit code {agent.exit_code}"
    return None
