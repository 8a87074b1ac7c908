"""The contract between a worker and an agent CLI: request in, command line out; output in, facts out.

A backend starts nothing and touches no file but those it names in its `CommandLine`. Success is the agent's
final event and its error flag, never the exit code alone; a missing final event means *crashed*. All that a
reader returns is what the agent claims; `planning.verdict` weighs it against what was observed.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from signal import Signals
from typing import Protocol, runtime_checkable

from architect_parallel.domain import AgentProfile, ApprovalMode, Outcome, OutputFormat, SandboxMode, Usage

CANNOT_ASK = "cannot ask: with approval_mode always it is denied what its own settings do not allow"
"""What an agent does that has nobody to ask; after its name, a warning."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What one worker asks of its backend."""

    prompt: str
    prompt_file: Path
    """Holds the prompt as UTF-8, mode 0600; for prompts that are long or begin with `-`."""
    worktree: Path
    """Where the agent works; its current directory."""
    state_dir: Path
    """A directory of this worker's own (0700) for the agent's home or config; exists, empty at the first attempt."""
    model: str | None = None
    agent: str = "build"
    system_prompt: str | None = None
    approval_mode: ApprovalMode = ApprovalMode.NONE
    sandbox_mode: SandboxMode = SandboxMode.DEFAULT
    max_steps: int | None = None
    budget_usd: float | None = None
    timeout_s: float | None = None
    session_id: str | None = None
    branch: str = ""
    worker_id: int = 1
    run_id: str = ""
    extra_argv: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandLine:
    """What to start: no shell, no secret in `argv`."""

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    """Set on top of what the backend's allow-list lets through."""
    stdin_file: Path | None = None
    """`None`: /dev/null. An open silent pipe hangs codex and opencode for ever, so there is no third way."""
    polite_signal: Signals = Signals.SIGTERM
    """What makes this agent stop and still report; sent to the agent's group first."""
    polite_wait_s: float = 2.0
    """How long to wait after it before SIGTERM; counts towards the grace."""
    warnings: tuple[str, ...] = ()
    """Options of the request this backend cannot honour, in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One more step was taken; `count` is the new total."""

    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """Token totals so far, for `model` as the agent names it (`None`: as requested)."""

    usage: Usage
    model: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """The agent named its session and perhaps its model."""

    session_id: str
    model: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A line of progress worth showing."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Throttled:
    """The provider said *later*; the agent itself is still trying."""

    message: str
    retry_after_s: float | None = None


AgentEvent = Step | Tokens | Session | Text | Throttled


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentReport:
    """The agent's claim at its end."""

    outcome: Outcome
    text: str = ""
    """Final text; `""` when there is none."""
    error: str | None = None
    """One line, in the agent's words; `None` without an error."""
    retry_after_s: float | None = None
    retryable: bool = True
    """Whether another attempt may end better (not: a refused key, an unknown model, bad input)."""
    no_model_call: bool = False
    """It is sure that no model was asked, so that it cost nothing where no cost was told."""
    denied: tuple[str, ...] = ()
    """Names of the tools that the agent was refused for want of permission, sorted."""
    warnings: tuple[str, ...] = ()
    """With one that names the tools in `denied`."""

    def __post_init__(self) -> None:
        refused = f"denied for want of permission: {', '.join(self.denied)}"
        if self.denied and refused not in self.warnings:
            object.__setattr__(self, "warnings", (*self.warnings, refused))


class Reader(Protocol):
    """Turns one worker's stdout into facts. Fed complete lines without the newline; never raises on any bytes."""

    def line(self, line: bytes) -> Iterable[AgentEvent]:
        """Facts in one stdout line (over-long lines arrive cut)."""
        ...

    def poll(self) -> Iterable[AgentEvent]:
        """Facts from elsewhere (codex' rollout file); called about once a second and once after the end."""
        ...

    def ending(self, exit_code: int | None, stderr_tail: str) -> AgentReport:
        """What it all amounts to; called once, after the process tree is gone. `exit_code` negative: signal."""
        ...


@runtime_checkable
class BlockFilter(Protocol):
    """What a reader also is when most lines mean nothing to it: a chunk of output then costs it one call."""

    def filter_block(self, block: bytes) -> list[bytes]:
        """Those lines of `block`, in order and without their newlines, that `line` has to see.

        What the reader needs of the others it takes here: this, and `line` on what it returns, amounts to `line` on
        all of them. `block` is never empty and ends with a newline. Never raises on any bytes.
        """
        ...


def lines_without(block: bytes, prefixes: tuple[bytes, ...]) -> list[bytes]:
    """The lines of a block, without their newlines, that begin with none of `prefixes`.

    `BytesIO` finds the ends of lines with `memchr`, three times as fast as `bytes.split`.
    """
    return [line[:-1] for line in io.BytesIO(block) if not line.startswith(prefixes)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a backend can honour, for `architect backends` and for the warnings of a plan."""

    model: bool = True
    system_prompt: bool = True
    approval_modes: frozenset[ApprovalMode] = frozenset(ApprovalMode)
    sandbox_modes: frozenset[SandboxMode] = frozenset({SandboxMode.DEFAULT})
    max_steps: bool = False
    """By the agent itself; the worker always counts and stops from outside."""
    budget: bool = False
    cost: bool = False
    """Whether a cost can be known at all (from tokens or the agent's word)."""
    sessions: bool = False
    sessions_in_state: bool = False
    """Whether its sessions are in `Request.state_dir` and nowhere else (not: in the user's own home)."""
    runs_its_prompt: bool = False
    """The prompt is a program, not a request: this backend cannot judge, resolve conflicts or answer a question."""
    output_format: OutputFormat = OutputFormat.STREAM_JSON
    """The one form in which this program reads it; another cannot be asked for."""

    def cannot_honour(self, agent: AgentProfile, *, model: bool, budget: bool) -> tuple[str, ...]:
        """What of a plan this backend cannot do, in words.

        Args:
            agent: The profile of the workers.
            model: Whether a model was named.
            budget: Whether a worker or the run has a budget.
        """
        lacking = []
        if model and not self.model:
            lacking.append("cannot be told a model")
        if agent.system_prompt is not None and not self.system_prompt:
            lacking.append(f"takes no system prompt: that of agent {agent.name} is left out")
        if agent.approval_mode is not None and agent.approval_mode not in self.approval_modes:
            lacking.append(f"has no approval mode {agent.approval_mode}")
        if agent.sandbox_mode is not None and agent.sandbox_mode not in self.sandbox_modes:
            lacking.append(f"has no sandbox mode {agent.sandbox_mode}")
        if budget and not self.cost:
            lacking.append("does not tell its cost: the budget cannot be held, only the time limits")
        return tuple(lacking)


@dataclass(frozen=True, slots=True, kw_only=True)
class Availability:
    """Whether a backend can be used here, found out without starting it."""

    program: str | None
    """Absolute path of the program; `None`: missing."""
    missing: str | None = None
    """What is missing, in words; `None`: ready."""
    remedy: str | None = None
    """The command to type or the variable to set."""

    @property
    def ready(self) -> bool:
        return self.missing is None


class Backend(Protocol):
    """One agent CLI."""

    @property
    def name(self) -> str: ...

    @property
    def capabilities(self) -> Capabilities: ...

    @property
    def environment(self) -> tuple[str, ...]:
        """Names of variables passed through beside the common allow-list; a trailing `*` matches any rest."""
        ...

    @property
    def secrets(self) -> tuple[str, ...]:
        """Those of `environment` whose values are redacted from logs; same pattern form."""
        ...

    def availability(self, environ: Mapping[str, str], *, model: str | None = None) -> Availability:
        """Looks for the program, its login or key, as far as that can be told without a call."""
        ...

    def command(self, request: Request) -> CommandLine:
        """The command line for one worker. May create files below `request.state_dir`, nothing else.

        Raises:
            UsageError: When the request cannot be expressed for this agent.
        """
        ...

    def reader(self, request: Request) -> Reader:
        """A fresh reader for the output of that command."""
        ...
