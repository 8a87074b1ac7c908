"""Tasks as their author wrote them, and workers as they were decided."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from architect_parallel.domain.enums import (
    ApprovalMode,
    Complexity,
    Isolation,
    OnPartial,
    OutputFormat,
    Role,
    SandboxMode,
)
from architect_parallel.domain.sandbox import Network, Sandbox


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentProfile:
    """An agent profile: `build`, `plan`, `review`, or one from the configuration."""

    name: str
    """The name given with `--agent`."""
    backend: str | None = None
    """Backend to use if the user named none. `None` means the configured default."""
    model: str | None = None
    """Model to use if the user named none. `None` means the backend's default."""
    system_prompt: str | None = None
    """Text appended to the agent's own system prompt. `None` means no text."""
    approval_mode: ApprovalMode | None = None
    """`None` means that the task decides."""
    sandbox_mode: SandboxMode | None = None
    """`None` means that the task decides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits of one worker. `None` means no limit."""

    timeout_s: float | None = None
    idle_timeout_s: float | None = None
    memory_bytes: int | None = None
    """Over the worker's whole process tree, PSS."""
    output_bytes: int | None = None
    """stdout and stderr together."""
    processes: int | None = None
    """At the same time."""
    max_steps: int | None = None
    budget_usd: float | None = None
    run_budget_usd: float | None = None
    """The rest of the run's budget when the worker began. It is shared, and the scheduler enforces it."""
    grace_s: float = 5.0
    """Between the polite signal and the kill."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A task as the user wrote it, before it is assigned to a worker.

    `None` means that it was not written. The next source of settings then decides.
    """

    prompt: str
    name: str | None = None
    tags: tuple[str, ...] = ()
    meta: Mapping[str, Any] = field(default_factory=dict)
    place: str | None = None
    """Its place in a file, for messages: `tasks.yaml:3:5: tasks[0]`. `None` means the command line."""
    id: str | None = None
    """Its author's identifier, for `dependencies`. Without one it is the task's name."""
    backend: str | None = None
    model: str | None = None
    agent: str | None = None
    workdir: str | None = None
    """As written, relative to the directory that the program was called from."""
    isolation: Isolation | None = None
    """`None` means: by `workdir`, in place outside the repository, otherwise in a worktree."""
    approval_mode: ApprovalMode | None = None
    sandbox_mode: SandboxMode | None = None
    sandbox: str | None = None
    """`auto` or a level."""
    network: Network | None = None
    output_format: OutputFormat | None = None
    max_tokens: int | None = None
    max_turns: int | None = None
    system_prompt: str | None = None
    timeout_s: float | None = None
    budget_usd: float | None = None
    extra_argv: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    """Patterns of the files that it intends to change, as `scheduling.scopes` reads them."""
    critical: bool = True
    """Its failure is the run's failure."""
    complexity: Complexity | None = None
    needs: Mapping[str, int] = field(default_factory=dict)
    """Labels that its host must have, with amounts."""
    retries: int | None = None
    checks: tuple[str, ...] | None = None
    dependencies: tuple[str, ...] = ()
    """Names or ids of tasks of the same file."""
    on_partial: OnPartial = OnPartial.SKIP
    role: Role = Role.WORKER
    role_name: str | None = None
    """The name of its agent in a spec if no profile has that name. `None` means that the profile's name says it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskText:
    """The text of a task file that was not parsed yet."""

    name: str
    """For messages: `stdin`."""
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFile:
    """A valid task file as written. Its `defaults` are applied to its tasks."""

    name: str
    """Its path as the user gave it, or `stdin`."""
    tasks: tuple[Task, ...]
    """At least one."""
    max_parallel: int | None = None
    """`None`, here and below, means not written."""
    fail_fast: bool | None = None
    output_dir: str | None = None
    """As written, relative to the directory that the program was called from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimit:
    """A token bucket for the starts of one provider's workers."""

    enabled: bool = True
    capacity: float = 10.0
    """Starts that may happen at once."""
    refill_rate: float = 1.0
    """Starts per second after that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """Repetitions of a failed task, whatever its failure."""

    max_attempts: int = 3
    """In all, the first one included."""
    initial_delay_s: float = 1.0
    backoff_factor: float = 2.0
    max_delay_s: float = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """Reactions to a failed task, after its repetitions if it has any."""

    retries: int = 1
    refine: bool = True
    """The next attempt's prompt has the error, the state and what others found."""
    escalate: bool = True
    """A group of tasks that failed alike is left to a person instead of being tried again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSpec:
    """Everything that a host needs to run one worker, as plain data: no open file, no live object, no secret."""

    run_id: str
    worker_id: int
    """From 1 within the run."""
    index: int
    """From 0 within the run."""
    number: int
    """The N of `architect/parallel-N`. Unique in the repository until cleaned up."""
    name: str
    """Shown name: the task's, or `worker-<id>`."""
    prompt: str
    backend: str
    model: str | None
    """`None` means the backend's default model."""
    agent: AgentProfile
    approval_mode: ApprovalMode = ApprovalMode.NONE
    sandbox_mode: SandboxMode = SandboxMode.DEFAULT
    sandbox: Sandbox = field(default_factory=Sandbox)
    """Its containment by the operating system."""
    limits: Limits = field(default_factory=Limits)
    branch: str
    """Short name of the branch, `architect/parallel-N`."""
    worktree_path: str
    """Absolute path of the worktree. Without isolation, of the directory that the agent works in."""
    base_commit: str
    """Full id of the commit the worktree starts from."""
    isolation: Isolation = Isolation.WORKTREE
    """Without isolation, `branch` is empty and nothing is committed or collected."""
    subdirectory: str = ""
    """Directory below the worktree in which the agent starts. Empty means the top."""
    critical: bool = True
    """Its failure is the run's failure."""
    commit: bool = True
    """Uncommitted changes of the agent are committed on its branch."""
    session_id: str | None = None
    """Session of the backend to continue. `None` means a new one."""
    attempt: int = 1
    """From 1. A resumed worker has the next number."""
    retries: int = 0
    """Further attempts after a failure that another attempt may avoid. Waits for a provider do not count."""
    refine: bool = False
    """A further attempt is given the errors of those before. The same error twice in a row then ends the worker."""
    lesson: str = ""
    """Text about earlier attempts, after the prompt. Empty means none."""
    complexity: Complexity = Complexity.LOW
    needs: Mapping[str, int] = field(default_factory=dict)
    """Labels that its host must have, with amounts. This machine has no labels and needs none."""
    checks: tuple[str, ...] = ()
    """Shell commands that must pass in its finished worktree, in order."""
    check_timeout_s: float = 600.0
    """Of each check."""
    files: tuple[str, ...] = ()
    """Its scope: paths or globs that it intends to change. Empty means that none was declared."""
    dependencies: tuple[int, ...] = ()
    """Ids of the workers that have to end before this one begins."""
    inherits: bool = True
    """Its worktree starts from the merged results of its dependencies. Otherwise it starts from the base."""
    on_partial: OnPartial = OnPartial.SKIP
    fills: bool = False
    """`{{ name }}` in its prompt is replaced by a result, as in a spec."""
    retry: Retry | None = None
    recovery: Recovery | None = None
    role: Role = field(default=Role.WORKER, metadata={"key": "kind"})
    """Its purpose in the run. Its stored key differs, because `role` already names its agent there."""
    role_name: str | None = field(default=None, metadata={"key": "role"})
    """The name of its agent in a spec if no profile has that name. `None` means that the profile's name says it."""
    continues: bool = False
    """It continues in the worktree of the attempt before, instead of from the base."""
    first_prompt: str = ""
    """Its task, if `prompt` only says how to continue. Empty means that `prompt` is its task."""
    extra_argv: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    """Further environment variables of its process. No secrets: they are stored in the journal."""
    values: Mapping[str, str] = field(default_factory=dict)
    """Values of the placeholders in a shell command, by their text in `prompt` (`{{ name }}`).

    The shell gets variables in their place (`templates.shell`). Readers of the prompt see what was written.
    """
    warnings: tuple[str, ...] = ()
    """Options that the chosen backend cannot honour, found while planning."""
    tags: tuple[str, ...] = ()
    meta: Mapping[str, Any] = field(default_factory=dict)
