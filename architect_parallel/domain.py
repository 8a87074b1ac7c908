"""The nouns of the program as frozen data: what is planned, what limits it, how it ended.

No behaviour beyond cheap derived values, no imports from the rest of the package, no I/O. Units stand in the
names (`_s` seconds, `_usd` US dollars, `_bytes`); the public fields fixed by the contract (`cost`, `duration`)
are USD and seconds. `None` means *unknown* or *no limit* and is never written as 0. Times are UTC and aware.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any


class Status(StrEnum):
    """How a worker ended, in one word; `Reason` says why."""

    SUCCESS = "success"
    PARTIAL = "partial"
    FAILED = "failed"
    TIMEOUT = "timeout"
    CANCELED = "canceled"
    SKIPPED = "skipped"


class Reason(StrEnum):
    """Why a worker ended as it did. The table of status × reason stands in the command reference."""

    COMPLETED = "completed"
    NO_CHANGES = "no_changes"
    AGENT_PARTIAL = "agent_partial"
    UNREADABLE_OUTPUT = "unreadable_output"
    BUDGET = "budget"
    MAX_STEPS = "max_steps"
    OUTPUT_LIMIT = "output_limit"
    MEMORY = "memory"
    AGENT_ERROR = "agent_error"
    CHECK_FAILED = "check_failed"
    CRASHED = "crashed"
    SPAWN_FAILED = "spawn_failed"
    RATE_LIMITED = "rate_limited"
    BLOCKED = "blocked"
    COLLECT_FAILED = "collect_failed"
    ESCAPED = "escaped"
    WORKER_TIMEOUT = "worker_timeout"
    RUN_TIMEOUT = "run_timeout"
    IDLE_TIMEOUT = "idle_timeout"
    FAIL_FAST = "fail_fast"
    INTERRUPTED = "interrupted"
    CANCELED = "canceled"
    RUN_BUDGET = "run_budget"
    DEPENDENCY_FAILED = "dependency_failed"


class Outcome(StrEnum):
    """What the agent's own output amounts to; a claim, weighed by `planning.verdict`."""

    COMPLETED = "completed"
    PARTIAL = "partial"
    ERROR = "error"
    RATE_LIMITED = "rate_limited"
    BLOCKED = "blocked"
    MAX_STEPS = "max_steps"
    BUDGET = "budget"
    RUN_BUDGET = "run_budget"
    TIMEOUT = "timeout"
    UNREADABLE = "unreadable"
    NO_FINAL_EVENT = "no_final_event"


class RunStatus(StrEnum):
    """State or end of a whole run."""

    RUNNING = "running"
    SUCCESS = "success"
    PARTIAL = "partial"
    FAILED = "failed"
    CANCELED = "canceled"
    INTERRUPTED = "interrupted"
    ESCALATED = "escalated"


class ApprovalMode(StrEnum):
    """What the agent may do without asking; a headless agent cannot ask."""

    DEFAULT = "default"
    AUTO = "auto"
    NONE = "none"
    ALWAYS = "always"


class SandboxMode(StrEnum):
    """How far the agent's own sandbox, where it has one, lets it write."""

    DEFAULT = "default"
    READ_ONLY = "read-only"
    WORKSPACE = "workspace"
    FULL = "full"


class Complexity(StrEnum):
    """How much of the machine or of attention a task takes; bounds how many run side by side."""

    LOW = "low"
    """Any number at a time."""
    MEDIUM = "medium"
    """Two at a time."""
    HIGH = "high"
    """One at a time."""


class CostBasis(StrEnum):
    """Where a cost comes from: our price table times tokens, the agent's own word, or nowhere."""

    TOKENS = "tokens"
    REPORTED = "reported"
    UNKNOWN = "unknown"


class OutputFormat(StrEnum):
    """In what form a task file asks an agent to print."""

    TEXT = "text"
    JSON = "json"
    STREAM_JSON = "stream-json"


class Isolation(StrEnum):
    """Where a worker works."""

    WORKTREE = "worktree"
    """On a branch and in a worktree of its own; what it did is collected from git."""
    NONE = "none"
    """In a directory as it is: supervised alike, but without branch, commit or diff."""


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
    """What it means to change: paths or globs."""
    critical: bool = True
    """Whether its failure is the run's."""
    complexity: Complexity | None = None
    retries: int | None = None
    checks: tuple[str, ...] = ()
    dependencies: tuple[str, ...] = ()
    """Names or ids of tasks of the same file."""


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
    continues: bool = False
    """Whether it goes on where the attempt before left its worktree, instead of from the base."""
    extra_argv: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    """What the chosen backend cannot honour, found while planning."""
    tags: tuple[str, ...] = ()
    meta: Mapping[str, Any] = field(default_factory=dict)


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens of a worker so far (totals, not increments) and what the agent says they cost."""

    input_tokens: int | None = None
    """Including cached ones."""
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    output_tokens: int | None = None
    reported_cost: float | None = None
    """USD, as the agent says; data, not truth."""
    cost_basis: CostBasis = CostBasis.UNKNOWN
    """Which figure stands in the result's `cost`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileChange:
    """One changed path. `path` is text with undecodable bytes as surrogate escapes (`os.fsdecode`)."""

    path: str
    status: str
    """git's letter: A, M, D, T, R (then `old_path` is set)."""
    insertions: int | None = None
    """`None` for binary files."""
    deletions: int | None = None
    old_path: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Diff:
    """What changed between a worker's base and its result, according to git."""

    base: str
    head: str
    """Full commit id of the collected state (also where `commit` is off: then kept outside the branch)."""
    files: tuple[FileChange, ...] = ()
    """Sorted by path."""
    insertions: int = 0
    deletions: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """One check command in a finished worktree."""

    command: str
    passed: bool
    exit_code: int | None
    duration_seconds: float
    output_tail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One attempt of a worker, as its result lists it."""

    number: int
    """From 1; counted on by a resume."""
    status: Status
    reason: Reason | None = None
    error: str | None = None
    exit_code: int | None = None
    steps: int = 0
    cost: float | None = 0.0
    """USD of this attempt alone; `None`: unknown."""
    usage: Usage = field(default_factory=Usage)
    """Of this attempt alone."""
    started_at: datetime | None = None
    """`None`: its agent never ran."""
    duration: float = 0.0
    """Seconds its agent ran."""
    waited_seconds: float = 0.0
    """Wall time between the end of the attempt before and this one's agent, within one launch."""
    next_in_seconds: float | None = None
    """How long the worker had to wait after it before the next one could begin; `None`: it was the launch's last."""


@dataclass(slots=True, kw_only=True)
class WorkerResult:
    """All facts of a worker. The first nine fields are the public contract, in its order.

    `steps`, `cost`, `usage` and `duration` are sums over all its attempts; status, diff and the rest are the last
    one's.
    """

    worker_id: int
    branch: str
    model: str
    """`default` where the backend chose."""
    status: Status
    steps: int
    cost: float | None
    """USD; `None`: unknown."""
    duration: float
    """Seconds of wall time from the first agent's start to the last one's proven end, waits between them included."""
    files_modified: list[str]
    """Sorted, from git and nowhere else."""
    worktree_path: str
    index: int = 0
    name: str = ""
    task: str = ""
    backend: str = ""
    agent: str = ""
    reason: Reason | None = None
    exit_code: int | None = None
    """The agent's exit code; negative: killed by that signal; `None`: it never ran or nobody saw its end."""
    output: str = ""
    """Final text of the agent, control sequences removed."""
    session_id: str | None = None
    error: str | None = None
    duration_seconds: float = 0.0
    started_at: datetime | None = None
    finished_at: datetime | None = None
    usage: Usage = field(default_factory=Usage)
    diff: Diff | None = None
    checks: list[CheckResult] = field(default_factory=list)
    attempts: int = 1
    peak_memory_bytes: int | None = None
    log_path: str | None = None
    leaked: int | None = None
    """Processes the agent left behind at its end; all were killed. `None`: not known."""
    warnings: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    meta: dict[str, Any] = field(default_factory=dict)
    working_seconds: float = 0.0
    """Seconds an agent ran, over all attempts; what the time limit counts."""
    attempt_history: list[Attempt] = field(default_factory=list)
    """Every attempt in order, the last one included; empty: none began."""


@dataclass(slots=True, kw_only=True)
class RunResult:
    """A run as replayed from its events; the JSON envelope of the contract."""

    run_id: str
    status: RunStatus
    exit_code: int | None
    """`None` while the run goes on or when nobody saw it end."""
    base_commit: str
    base_ref: str
    started_at: datetime
    finished_at: datetime | None
    total_duration_seconds: float
    max_parallel: int
    warnings: list[str] = field(default_factory=list)
    results: list[WorkerResult] = field(default_factory=list)
    """Sorted by `worker_id`; in a live run only those that ended."""
    planned: tuple[WorkerSpec, ...] = ()

    @property
    def total_tasks(self) -> int:
        return len(self.planned)

    def count(self, *statuses: Status) -> int:
        """How many results have one of these statuses."""
        return sum(1 for result in self.results if result.status in statuses)

    @property
    def total_cost(self) -> float | None:
        """USD over all workers; `None` as soon as one that ran is unknown."""
        costs = [result.cost for result in self.results if result.started_at is not None]
        return None if any(cost is None for cost in costs) else sum(cost for cost in costs if cost is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """A price override, USD per million tokens."""

    input_per_mtok: float
    output_per_mtok: float
    cached_input_per_mtok: float | None = None
    """`None`: as `input_per_mtok`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendSettings:
    """What the configuration says of one backend; a whole backend where the name is not a built-in one."""

    command: tuple[str | tuple[str, ...], ...] | None = None
    """argv template; a nested tuple is dropped as a whole when a placeholder in it has no value."""
    env: tuple[str, ...] = ()
    """Further variable names to pass through."""
    prompt: str = "argument"
    """How the prompt travels where the template names no placeholder for it: `argument`, `stdin` or `file`."""
    output: str = "text"
    """`text`, `json` or `jsonl`."""
    fields: Mapping[str, str] = field(default_factory=dict)
    """Our field name → (dotted) key in the tool's JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorktreeSettings:
    """How a fresh worktree is made ready for work."""

    copy: tuple[str, ...] = ()
    """Paths or globs of ignored files to copy from the main checkout."""
    setup: tuple[str, ...] = ()
    """Shell commands run in the new worktree before the agent."""
    include_file: str = ".worktreeinclude"
    """File in the main checkout with further patterns to copy, in .gitignore syntax."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ParallelSettings:
    """Section `parallel_runs` of the configuration: the defaults of `architect parallel`'s flags."""

    workers: int | None = None
    workers_ceiling: int = 10
    max_parallel: int | None = None
    agent: str = "build"
    backend: str = "architect"
    assign: str = "fill"
    max_steps: int = 50
    budget_per_worker: float | None = None
    budget: float | None = None
    timeout_per_worker_s: float | None = None
    timeout_s: float | None = None
    idle_timeout_s: float | None = None
    memory_per_worker_bytes: int | None = None
    output_per_worker_bytes: int = 1024**3
    grace_s: float = 5.0
    retries: int = 0
    refine: bool = False
    rate_limit_wait_s: float = 1800.0
    """The longest one worker waits for its provider, over all its attempts."""
    min_free_memory_bytes: int = 512 * 1024**2
    min_free_disk_bytes: int = 512 * 1024**2
    fail_fast: bool = False
    allow_partial: bool = False
    commit: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimit:
    """A token bucket for the starts of one provider's workers."""

    enabled: bool = True
    capacity: float = 10.0
    """Starts that may come at once."""
    refill_rate: float = 1.0
    """Starts per second after that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderSettings:
    """What the configuration says of one provider (of models, or a backend's name)."""

    rate_limit: RateLimit | None = None
    """`None`: starts are not spread."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The effective configuration: defaults, files and environment merged; flags come on top."""

    parallel: ParallelSettings = field(default_factory=ParallelSettings)
    agents: Mapping[str, AgentProfile] = field(default_factory=dict)
    backends: Mapping[str, BackendSettings] = field(default_factory=dict)
    prices: Mapping[str, Price] = field(default_factory=dict)
    providers: Mapping[str, ProviderSettings] = field(default_factory=dict)
    worktrees: WorktreeSettings = field(default_factory=WorktreeSettings)
    origins: Mapping[str, str] = field(default_factory=dict)
    """Dotted key → where its value comes from (`default`, a file, `environment NAME`)."""
    warnings: tuple[str, ...] = ()
    """What was ignored and why (an untrusted file's backend commands, say)."""
