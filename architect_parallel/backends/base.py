"""The contract between a worker and an agent CLI: request in, command line out. Output in, events out.

A backend starts nothing and touches only the files that it names in its `CommandLine`. Success is the agent's final
event and its error flag, never the exit code alone. Without a final event the agent *crashed*. Everything that a reader
returns is the agent's claim: `scheduling.verdict` compares it with what was observed.
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
"""A warning about agents that cannot ask the user. The agent's name goes in front."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A worker's request to its backend."""

    prompt: str
    prompt_file: Path
    """A file with the prompt (UTF-8, mode 0600), for prompts that are long or begin with `-`."""
    worktree: Path
    """The directory that the agent works in."""
    state_dir: Path
    """A directory (0700) of this worker for the agent's home or configuration. It exists, and is empty at the first
    attempt.
    """
    model: str | None = None
    agent: str = "build"
    system_prompt: str | None = None
    approval_mode: ApprovalMode = ApprovalMode.NONE
    sandbox_mode: SandboxMode = SandboxMode.DEFAULT
    contained: bool = False
    """The operating system contains the agent: it can write no home but one in `state_dir`."""
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
    """The program to start and its arguments: no shell, no secret in `argv`."""

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    """Variables set on top of those that the backend's allow-list passes."""
    stdin_file: Path | None = None
    """`None` means /dev/null. An open silent pipe would hang codex and opencode for ever, so nothing else is
    possible.
    """
    polite_signal: Signals = Signals.SIGTERM
    """The signal that makes this agent stop and still report. It is sent to the agent's group first."""
    polite_wait_s: float = 2.0
    """Seconds between it and SIGTERM. They count towards the grace period."""
    warnings: tuple[str, ...] = ()
    """Options of the request that this backend cannot honour, in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A further step was taken. `count` is the new total."""

    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """Token totals so far, for `model` as the agent names it. `None` means the requested model."""

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
    """The provider refused for now. The agent itself still retries."""

    message: str
    retry_after_s: float | None = None


AgentEvent = Step | Tokens | Session | Text | Throttled


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentReport:
    """The agent's own claim at its end."""

    outcome: Outcome
    text: str = ""
    """Final text. Empty when there is none."""
    error: str | None = None
    """One line in the agent's words. `None` means no error."""
    retry_after_s: float | None = None
    retryable: bool = True
    """Another attempt may succeed. Not so for a refused key, an unknown model or bad input."""
    no_model_call: bool = False
    """No model was called for certain, so that an unreported cost is 0."""
    denied: tuple[str, ...] = ()
    """Names of the tools that the agent was denied, sorted."""
    warnings: tuple[str, ...] = ()
    """They include one that names the tools in `denied`."""

    def __post_init__(self) -> None:
        refused = f"denied for want of permission: {', '.join(self.denied)}"
        if self.denied and refused not in self.warnings:
            object.__setattr__(self, "warnings", (*self.warnings, refused))


class Reader(Protocol):
    """Turn one worker's stdout into events. It is fed complete lines without the newline and never raises on any
    bytes.
    """

    def line(self, line: bytes) -> Iterable[AgentEvent]:
        """Read the events in one line of stdout. Over-long lines arrive cut."""
        ...

    def poll(self) -> Iterable[AgentEvent]:
        """Read events from other sources, such as codex's rollout file. Called about once a second and once after the
        end.
        """
        ...

    def ending(self, exit_code: int | None, stderr_tail: str) -> AgentReport:
        """Return the agent's report. Called once, after the process tree has ended. A negative `exit_code` is a
        signal.
        """
        ...


@runtime_checkable
class BlockFilter(Protocol):
    """A reader that ignores most lines can also be a block filter: a chunk of output then costs it one call."""

    def filter_block(self, block: bytes) -> list[bytes]:
        """Return the lines of `block`, in order and without newlines, that `line` has to read.

        The reader takes here what it needs from the other lines: this call, and `line` on its result, equals `line` on
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
    """The options that a backend can honour, for `architect backends` and for the warnings of a plan."""

    model: bool = True
    system_prompt: bool = True
    approval_modes: frozenset[ApprovalMode] = frozenset(ApprovalMode)
    sandbox_modes: frozenset[SandboxMode] = frozenset({SandboxMode.DEFAULT})
    max_steps: bool = False
    """Enforced by the agent itself. The worker always counts and stops from outside."""
    budget: bool = False
    cost: bool = False
    """A cost can be computed from tokens or is reported."""
    sessions: bool = False
    sessions_in_state: bool = False
    """Its sessions are in `Request.state_dir` only, not in the user's home."""
    runs_its_prompt: bool = False
    """The prompt is a program, not a request: this backend cannot judge, resolve conflicts or answer a question."""
    budget_file: str | None = None
    """Name of the file through which its workers share the run's budget, beside their state directories.

    The launcher writes the budget, the agents the cost of replies. `None` means that they do not share one.
    """
    calls_providers: bool = False
    """Its workers call the provider that their model names. Otherwise the backend is its own provider."""
    output_format: OutputFormat = OutputFormat.STREAM_JSON
    """The one output format that this program reads."""

    def cannot_honour(self, agent: AgentProfile, *, model: bool, budget: bool) -> tuple[str, ...]:
        """List in words what a plan asks for and this backend cannot do.

        Args:
            agent: The profile of the workers.
            model: A model was named.
            budget: A worker or the run has a budget.
        """
        lacking = []
        if model and not self.model:
            lacking.append("has no option for the model")
        if agent.system_prompt is not None and not self.system_prompt:
            lacking.append(f"has no option for a system prompt: the one of agent {agent.name} is left out")
        if agent.approval_mode is not None and agent.approval_mode not in self.approval_modes:
            lacking.append(f"has no approval mode {agent.approval_mode}")
        if agent.sandbox_mode is not None and agent.sandbox_mode not in self.sandbox_modes:
            lacking.append(f"has no sandbox mode {agent.sandbox_mode}")
        if budget and not self.cost:
            lacking.append("does not report its cost: the budget is not enforced, only the time limits")
        return tuple(lacking)


@dataclass(frozen=True, slots=True, kw_only=True)
class Availability:
    """Tells whether a backend can be used here. Found out without starting it."""

    program: str | None
    """Absolute path of the program. `None` means that it is missing."""
    missing: str | None = None
    """The missing thing, in words. `None` means ready."""
    remedy: str | None = None
    """A command to type, or a variable to set."""

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
        """Names of variables passed in addition to the common allow-list. A trailing `*` matches any rest."""
        ...

    @property
    def secrets(self) -> tuple[str, ...]:
        """Names from `environment` whose values are redacted in logs, in the same form."""
        ...

    def availability(self, environ: Mapping[str, str], *, model: str | None = None) -> Availability:
        """Look for the program and its login or key, as far as that is possible without a call."""
        ...

    def command(self, request: Request) -> CommandLine:
        """Build the command line for one worker. May create files below `request.state_dir` only.

        Raises:
            UsageError: The request cannot be expressed for this agent.
        """
        ...

    def reader(self, request: Request) -> Reader:
        """Return a new reader for the output of that command."""
        ...

    def interactive(self, request: Request) -> CommandLine | None:
        """Build the command line of the agent's own interactive session `request.session_id`, for a person.

        `None` means that this agent cannot open a session again.
        """
        ...
