"""What is to be done: a task as its author wrote it, a worker as it was decided, the plan of a run."""

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
    Score,
    TripwireMode,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentProfile:
    """An agent profile: `build`, `plan`, `review`, or one from the configuration."""

    name: str
    """The name given with `--agent`."""
    backend: str | None = None
    """Backend to use where the user named none; `None`: the configured default."""
    model: str | None = None
    """Model to use where the user named none; `None`: the backend's default."""
    system_prompt: str | None = None
    """Text appended to the agent's own system prompt; `None`: nothing."""
    approval_mode: ApprovalMode | None = None
    """`None`: as the task says."""
    sandbox_mode: SandboxMode | None = None
    """`None`: as the task says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits of one worker; `None` is *no limit* everywhere."""

    timeout_s: float | None = None
    idle_timeout_s: float | None = None
    memory_bytes: int | None = None
    """Over the worker's whole process tree, PSS."""
    output_bytes: int | None = None
    """stdout and stderr together."""
    max_steps: int | None = None
    budget_usd: float | None = None
    run_budget_usd: float | None = None
    """What was left of the whole run's budget when the worker began: shared, and held by the dispatcher."""
    grace_s: float = 5.0
    """Between the polite signal and the kill."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What to do, as the user wrote it, before it meets a worker. `None`: not written; the next source decides."""

    prompt: str
    name: str | None = None
    tags: tuple[str, ...] = ()
    meta: Mapping[str, Any] = field(default_factory=dict)
    place: str | None = None
    """Where it is written, for messages: `tasks.yaml:3:5: tasks[0]`; `None`: on the command line."""
    id: str | None = None
    """Its author's own identifier, for `dependencies`; its name where it has no other."""
    backend: str | None = None
    model: str | None = None
    agent: str | None = None
    workdir: str | None = None
    """As written; relative to the directory the tool was called from."""
    isolation: Isolation | None = None
    """`None`: by `workdir`, in place outside the repository, else a worktree."""
    approval_mode: ApprovalMode | None = None
    sandbox_mode: SandboxMode | None = None
    output_format: OutputFormat | None = None
    max_tokens: int | None = None
    max_turns: int | None = None
    system_prompt: str | None = None
    timeout_s: float | None = None
    budget_usd: float | None = None
    extra_argv: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    """What it means to change: patterns as `planning.scope` reads them."""
    critical: bool = True
    """Whether its failure is the run's."""
    complexity: Complexity | None = None
    retries: int | None = None
    checks: tuple[str, ...] | None = None
    dependencies: tuple[str, ...] = ()
    """Names or ids of tasks of the same file."""
    on_partial: OnPartial = OnPartial.SKIP
    role: Role = Role.WORKER
    role_name: str | None = None
    """The spec's name for its agent, where no profile has that name. `None` means the profile's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskText:
    """A task file that was read from somewhere and not looked into yet."""

    name: str
    """For messages: `stdin`."""
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFile:
    """A task file as written, checked, its `defaults` already in its tasks."""

    name: str
    """Its path as the user gave it, or `stdin`."""
    tasks: tuple[Task, ...]
    """At least one."""
    max_parallel: int | None = None
    """`None`, here and below: not written."""
    fail_fast: bool | None = None
    output_dir: str | None = None
    """As written; relative to the directory the tool was called from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimit:
    """A token bucket for the starts of one provider's workers."""

    enabled: bool = True
    capacity: float = 10.0
    """Starts that may come at once."""
    refill_rate: float = 1.0
    """Starts per second after that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """How a failed task is repeated, whatever its failure."""

    max_attempts: int = 3
    """In all, the first one included."""
    initial_delay_s: float = 1.0
    backoff_factor: float = 2.0
    max_delay_s: float = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """What is tried once a task has failed and, where it is repeated, its repetitions too."""

    retries: int = 1
    refine: bool = True
    """Whether the further attempt is told of the error, the state and what others found."""
    escalate: bool = True
    """Whether a group that failed alike is left to a person instead of being tried again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderRate:
    """A provider's token bucket for this run."""

    provider: str
    rate_limit: RateLimit


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeOrder:
    """What becomes of a spec's results."""

    into: str
    """Short name of a local branch; where there is none it is made at the run's base."""
    check: str | None = None
    """Command that must pass after each step, beside the tasks' own checks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workflow:
    """What a spec asks for beside its tasks."""

    name: str
    state_file: str | None = None
    """Absolute path of the account that is written while the run goes on; `None`: none is."""
    coordinator: int | None = None
    """Id of the worker whose final text is the run's synthesis; `None`: there is none."""
    rates: tuple[ProviderRate, ...] = ()
    """They beat the configuration's."""
    debugger: WorkerSpec | None = None
    """Who is asked, in an empty directory, when several tasks of a group fail: without a prompt, a number or a path."""
    merge: MergeOrder | None = None
    """`None`: nothing lands by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecFile:
    """A spec as written and checked."""

    name: str
    file: str
    """Its path as the user gave it, or `stdin`."""
    tasks: tuple[Task, ...]
    """Their `dependencies` are names; each has a name of its own."""
    max_parallel: int | None = None
    rates: tuple[ProviderRate, ...] = ()
    retry: Retry | None = None
    recovery: Recovery | None = None
    debugger: Task | None = None
    """Who is asked when several tasks fail; `None`: nobody is."""
    merge: MergeOrder | None = None
    state_file: str | None = None
    """As written; relative to the directory the tool was called from."""
    coordinator: Task | None = None
    """The last task, which is given the results of all others; without a name."""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSpec:
    """Everything a host needs to run one worker, as plain data: no open file, no live object, no secret."""

    run_id: str
    worker_id: int
    """From 1 within the run."""
    index: int
    """From 0 within the run."""
    number: int
    """The N of `architect/parallel-N`; unique in the repository until cleaned up."""
    name: str
    """Shown name; the task's own or `worker-<id>`."""
    prompt: str
    backend: str
    model: str | None
    """`None`: the backend's default model."""
    agent: AgentProfile
    approval_mode: ApprovalMode = ApprovalMode.NONE
    sandbox_mode: SandboxMode = SandboxMode.DEFAULT
    limits: Limits = field(default_factory=Limits)
    branch: str
    """Short name of the branch, `architect/parallel-N`."""
    worktree_path: str
    """Absolute path of the worktree; without isolation, of the directory the agent works in."""
    base_commit: str
    """Full id of the commit the worktree starts from."""
    isolation: Isolation = Isolation.WORKTREE
    """Without, `branch` is empty and nothing is committed or collected."""
    subdirectory: str = ""
    """Directory below the worktree in which the agent starts; empty: its top."""
    critical: bool = True
    """Whether its failure is the run's."""
    commit: bool = True
    """Whether what the agent left uncommitted is committed on its branch."""
    session_id: str | None = None
    """Session of the backend to go on with; `None`: a new one."""
    attempt: int = 1
    """Counts from 1; a resumed worker has the next number."""
    retries: int = 0
    """Further attempts after a failure that another attempt may mend; waits for a provider are not among them."""
    refine: bool = False
    """Whether a further attempt is told what went wrong before; then the same error twice in a row ends it."""
    lesson: str = ""
    """What this attempt is told after its prompt of the attempts before it; empty: nothing."""
    complexity: Complexity = Complexity.LOW
    checks: tuple[str, ...] = ()
    """Shell commands that must pass in its finished worktree, in order."""
    check_timeout_s: float = 600.0
    """Of each check."""
    files: tuple[str, ...] = ()
    """Its scope: paths or globs it means to change; empty: none was declared."""
    dependencies: tuple[int, ...] = ()
    """Ids of the workers that have to end before this one begins."""
    inherits: bool = True
    """Whether its worktree starts from the merged work of its dependencies, else from the base alone."""
    on_partial: OnPartial = OnPartial.SKIP
    fills: bool = False
    """Whether `{{ name }}` in its prompt stands for a result, as in a spec."""
    retry: Retry | None = None
    recovery: Recovery | None = None
    role: Role = field(default=Role.WORKER, metadata={"key": "kind"})
    """What it is for. Its stored key differs, since `role` already names its agent there."""
    role_name: str | None = field(default=None, metadata={"key": "role"})
    """The spec's name for its agent, where no profile has that name. `None` means the profile's name."""
    continues: bool = False
    """Whether it goes on where the attempt before left its worktree, instead of from the base."""
    first_prompt: str = ""
    """Its task, where `prompt` only says how to go on with it; empty means that `prompt` is its task."""
    extra_argv: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    """Further environment variables of its process. No secrets: they are journaled."""
    values: Mapping[str, str] = field(default_factory=dict)
    """Of a shell command: texts in `prompt` (`{{ name }}`) → what they stand for. The shell is given variables in their
    place (`planning.shell_values`); whoever reads the prompt reads what was written."""
    warnings: tuple[str, ...] = ()
    """What the chosen backend cannot honour, found while planning."""
    tags: tuple[str, ...] = ()
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Competition:
    """What makes a run a competition: one task, several models, and how they are ranked."""

    score: Score = Score.LEXICOGRAPHIC
    runs_per_model: int = 1
    judge: str | None = None
    """Backend that chooses between the diffs; `None`: nobody is asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowOrigin:
    """What a run of a flow goes by; its workers are added to the plan as its states come up."""

    file: str
    """Absolute path of the flow file."""
    directory: str
    """Absolute path of the directory it is run in, where its paths begin."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """Given on the command line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPlan:
    """A decided run: nothing has been done yet, and nothing is left to decide."""

    run_id: str
    repository: str
    """Root of the main checkout, or the git directory of a bare repository; absolute."""
    base_commit: str
    base_ref: str
    """What the user called the base, for display."""
    workers: tuple[WorkerSpec, ...]
    max_parallel: int
    timeout_s: float | None = None
    budget_usd: float | None = None
    fail_fast: bool = False
    allow_partial: bool = False
    warnings: tuple[str, ...] = ()
    output_dir: str | None = None
    """Absolute path of the directory for a result file per worker and `summary.json`; `None`: none are written."""
    baseline: bool = True
    """Whether the checks run on the base commit as well, before the agents."""
    tripwire: TripwireMode = TripwireMode.OFF
    competition: Competition | None = None
    """`None`: not a competition."""
    workflow: Workflow | None = None
    """`None`: not a spec's run."""
    flow: FlowOrigin | None = None
    """`None`: not a flow."""
    imported: bool = False
    """Whether it ran on another machine: its words are only somebody's, and none of its tasks is run here again."""

    @property
    def is_graph(self) -> bool:
        """Whether something goes from one of its workers to another."""
        return any(spec.dependencies or spec.fills for spec in self.workers)
