"""One agent in a directory as it is: supervised and limited like a worker's, without worktree, journal or collection.

For `architect run --backend` and for agents that are asked something about a run (a judge).
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from architect_parallel.backends import environment
from architect_parallel.backends.base import Backend, Request
from architect_parallel.domain import AgentProfile, ApprovalMode, Limits, Price, SandboxMode
from architect_parallel.events import Event, Warned
from architect_parallel.supervision import process
from architect_parallel.supervision.monitor import Sampler
from architect_parallel.supervision.output import LogFile
from architect_parallel.supervision.stop import StopToken
from architect_parallel.system.files import replace_file
from architect_parallel.workers.agent_run import AgentRun, UsageMeter, run_agent


@dataclass(frozen=True, slots=True, kw_only=True)
class Alone:
    """What is asked of it, and where it is."""

    task: str
    backend: Backend
    directory: Path
    """Where it works."""
    folder: Path
    """For the prompt (`prompt.txt`) and the log (`log`), both 0600."""
    state_dir: Path
    """The agent's own home (0700); exists."""
    agent: AgentProfile
    model: str | None = None
    approval_mode: ApprovalMode
    limits: Limits
    session_id: str | None = None
    environ: Mapping[str, str]
    """The launcher's: the agent gets what its backend's allow-list names."""
    prices: Mapping[str, Price] = field(default_factory=dict)


def run_alone(asked: Alone, stop_token: StopToken, emit: Callable[[Event], None]) -> AgentRun | None:
    """Runs the agent to its proven end in the calling thread; `None` means that a stop came first.

    What its backend cannot honour is emitted as `Warned`.

    Raises:
        UsageError: The request cannot be expressed for this agent.
    """
    request = _request(asked)
    command = asked.backend.command(request)
    for warning in command.warnings:
        emit(Warned(message=warning))
    launch = process.Launch(
        argv=command.argv,
        cwd=asked.directory,
        env={**environment.filtered_environment(asked.backend, asked.environ), **command.env},
        stdin_file=command.stdin_file,
        polite_signal=command.polite_signal,
        polite_wait_s=command.polite_wait_s,
        grace_s=asked.limits.grace_s,
        cookie=secrets.token_hex(16),
    )
    log = LogFile(asked.folder / "log")
    try:
        return run_agent(
            launch,
            asked.backend.reader(request),
            shown_argv=command.argv[:1],
            secrets=environment.secret_values(asked.backend, asked.environ),
            log=log,
            tally=UsageMeter(
                limits=asked.limits, requested_model=asked.model, prices=asked.prices, emit=emit, stop=stop_token.stop
            ),
            sampler=Sampler(),
            stop_token=stop_token,
            emit=emit,
        )
    finally:
        log.close()


def _request(asked: Alone) -> Request:
    prompt_file = asked.folder / "prompt.txt"
    replace_file(prompt_file, asked.task.encode(errors="surrogateescape"), mode=0o600)
    return Request(
        prompt=asked.task,
        prompt_file=prompt_file,
        worktree=asked.directory,
        state_dir=asked.state_dir,
        model=asked.model,
        agent=asked.agent.name,
        system_prompt=asked.agent.system_prompt,
        approval_mode=asked.approval_mode,
        sandbox_mode=asked.agent.sandbox_mode or SandboxMode.DEFAULT,
        max_steps=asked.limits.max_steps,
        budget_usd=asked.limits.budget_usd,
        timeout_s=asked.limits.timeout_s,
        session_id=asked.session_id,
    )
