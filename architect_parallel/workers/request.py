"""The request that a worker or a single agent gets, and its command line for the journal."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from architect_parallel.backends.base import Request
from architect_parallel.domain import (
    AgentProfile,
    ApprovalMode,
    Isolation,
    Limits,
    Mechanism,
    Sandbox,
    SandboxMode,
    WorkerSpec,
)
from architect_parallel.templates.shell import as_script
from architect_parallel.worktrees.worker_repository import ceiling


def as_started(spec: WorkerSpec) -> WorkerSpec:
    """Return `spec` as its backend gets it: values in a shell command become variables of the shell."""
    if not spec.values:
        return spec
    script, variables = as_script(spec.prompt, spec.values)
    return replace(spec, prompt=script, variables={**spec.variables, **variables})


def request_for(spec: WorkerSpec, *, prompt_file: Path, state_dir: Path) -> Request:
    """The request of a worker. Neither path needs to exist to build a command line from it."""
    return Request(
        prompt=spec.prompt + spec.lesson,
        prompt_file=prompt_file,
        worktree=Path(spec.worktree_path) / spec.subdirectory,
        state_dir=state_dir,
        model=spec.model,
        agent=spec.agent.name,
        system_prompt=spec.agent.system_prompt,
        approval_mode=spec.approval_mode,
        sandbox_mode=_own_sandbox(spec.sandbox_mode, spec.approval_mode, spec.sandbox),
        contained=spec.sandbox.is_contained,
        nests=spec.sandbox.mechanism is not Mechanism.LANDLOCK,
        max_steps=spec.limits.max_steps,
        budget_usd=spec.limits.budget_usd,
        timeout_s=spec.limits.timeout_s,
        session_id=spec.session_id,
        branch=spec.branch,
        worker_id=spec.worker_id,
        run_id=spec.run_id,
        extra_argv=spec.extra_argv,
    )


def _own_sandbox(mode: SandboxMode, approval: ApprovalMode, sandbox: Sandbox) -> SandboxMode:
    """The mode of the agent's own sandbox. Inside a box it is switched off where it would forbid to commit."""
    if not sandbox.is_contained or mode in (SandboxMode.READ_ONLY, SandboxMode.FULL):
        return mode
    if mode is SandboxMode.WORKSPACE or approval is ApprovalMode.AUTO:
        return SandboxMode.FULL
    return mode


def profile_request(
    prompt: str,
    profile: AgentProfile,
    *,
    model: str | None,
    approval_mode: ApprovalMode,
    limits: Limits,
    directory: Path,
    prompt_file: Path,
    state_dir: Path,
    session_id: str | None = None,
    sandbox: Sandbox,
) -> Request:
    """The request of an agent that is no worker: the judge, or `architect run --backend`."""
    return Request(
        prompt=prompt,
        prompt_file=prompt_file,
        worktree=directory,
        state_dir=state_dir,
        model=model,
        agent=profile.name,
        system_prompt=profile.system_prompt,
        approval_mode=approval_mode,
        sandbox_mode=_own_sandbox(profile.sandbox_mode or SandboxMode.DEFAULT, approval_mode, sandbox),
        contained=sandbox.is_contained,
        nests=sandbox.mechanism is not Mechanism.LANDLOCK,
        max_steps=limits.max_steps,
        budget_usd=limits.budget_usd,
        timeout_s=limits.timeout_s,
        session_id=session_id,
    )


def variables_of(spec: WorkerSpec) -> dict[str, str]:
    """The variables that everything which runs in the worker's place gets on top of its environment."""
    is_isolated = spec.isolation is Isolation.WORKTREE
    return {**(ceiling(Path(spec.worktree_path)) if is_isolated else {}), **spec.variables}


def shown_argv(argv: tuple[str, ...], prompt: str) -> tuple[str, ...]:
    """Return the argv as the journal keeps it: a long prompt in it is cut."""
    return tuple(
        f"{word[:80]}… ({len(word)} characters)" if len(word) > 200 and word in prompt else word for word in argv
    )
