"""The closed vocabularies: ends of workers and runs, and values of options."""

from __future__ import annotations

from enum import StrEnum


class Status(StrEnum):
    """The end of a worker in one word. `Reason` has the reason."""

    SUCCESS = "success"
    PARTIAL = "partial"
    FAILED = "failed"
    TIMEOUT = "timeout"
    CANCELED = "canceled"
    SKIPPED = "skipped"


class Reason(StrEnum):
    """The reason why a worker ended so. The command reference has the table of status × reason."""

    COMPLETED = "completed"
    NO_CHANGES = "no_changes"
    AGENT_PARTIAL = "agent_partial"
    UNREADABLE_OUTPUT = "unreadable_output"
    BUDGET = "budget"
    MAX_STEPS = "max_steps"
    OUTPUT_LIMIT = "output_limit"
    MEMORY = "memory"
    PROCESSES = "processes"
    DISK = "disk"
    AGENT_ERROR = "agent_error"
    CHECK_FAILED = "check_failed"
    CRASHED = "crashed"
    SPAWN_FAILED = "spawn_failed"
    RATE_LIMITED = "rate_limited"
    BLOCKED = "blocked"
    COLLECT_FAILED = "collect_failed"
    ESCAPED = "escaped"
    SECRET_IN_RESULT = "secret_in_result"
    WORKER_TIMEOUT = "worker_timeout"
    RUN_TIMEOUT = "run_timeout"
    IDLE_TIMEOUT = "idle_timeout"
    FAIL_FAST = "fail_fast"
    INTERRUPTED = "interrupted"
    CANCELED = "canceled"
    RUN_BUDGET = "run_budget"
    DEPENDENCY_FAILED = "dependency_failed"
    HOST_LOST = "host_lost"


class Outcome(StrEnum):
    """The meaning of the agent's own output. It is a claim, and `scheduling.verdict` weighs it."""

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
    """The actions that an agent may take without asking. A headless agent cannot ask."""

    DEFAULT = "default"
    AUTO = "auto"
    NONE = "none"
    ALWAYS = "always"


class SandboxMode(StrEnum):
    """The limits on writing by the agent's own sandbox, if it has one."""

    DEFAULT = "default"
    READ_ONLY = "read-only"
    WORKSPACE = "workspace"
    FULL = "full"


class Complexity(StrEnum):
    """The load of a task on the machine. It bounds how many run side by side."""

    LOW = "low"
    """Any number at a time."""
    MEDIUM = "medium"
    """Two at a time."""
    HIGH = "high"
    """One at a time."""


class CostBasis(StrEnum):
    """The source of a cost: our price table times tokens, the agent's own figure, or none."""

    TOKENS = "tokens"
    REPORTED = "reported"
    UNKNOWN = "unknown"


class OutputFormat(StrEnum):
    """The format in which a task file asks an agent to print."""

    TEXT = "text"
    JSON = "json"
    STREAM_JSON = "stream-json"


class Isolation(StrEnum):
    """The place where a worker works."""

    WORKTREE = "worktree"
    """In a worktree on a branch made for it. Its changes are collected from git."""
    NONE = "none"
    """In a directory as it is: supervised in the same way, but without branch, commit or diff."""


class Role(StrEnum):
    """The purpose of an agent or a worktree in its run."""

    WORKER = "worker"
    """A task of the plan."""
    COORDINATOR = "coordinator"
    """The last task of a spec: it gets the results of all others."""
    DEBUGGER = "debugger"
    """Explains why several tasks of a group failed. Has no result of its own."""
    JUDGE = "judge"
    """Compares the results of a competition."""
    RESOLVER = "resolver"
    """Resolves the conflicts of a merge."""
    BASELINE = "baseline"
    """The checks on the base commit. No agent."""
    INTEGRATION = "integration"
    """The worktree in which results are merged. No agent."""


class OnPartial(StrEnum):
    """The reaction of a task to a dependency that did not succeed."""

    SKIP = "skip"
    """It is skipped as well."""
    CONTINUE = "continue"
    """It continues with what there is, and its prompt says what is missing."""


SHELL = "shell"
"""The backend whose task is a command: it would run any question."""


class CheckChange(StrEnum):
    """The change of a check's result against the same check on the base commit."""

    NEWLY_BROKEN = "newly_broken"
    """Passed on the base, fails now."""
    MENDED = "mended"
    """Failed on the base, passes now."""
    BROKEN_BEFORE = "broken_before"
    """Fails as it did on the base."""
    UNCHANGED = "unchanged"
    """Passes as it did on the base."""


class TripwireMode(StrEnum):
    """The reaction to changes of the main checkout while workers run."""

    FAIL = "fail"
    """A worker that certainly did it has failed. Every other suspect gets a warning."""
    WARN = "warn"
    OFF = "off"
    """The main checkout is not watched."""


class Score(StrEnum):
    """The way in which results are ranked."""

    LEXICOGRAPHIC = "lexicographic"
    """One criterion after another. The next one applies only if the one before is equal."""
    WEIGHTED = "weighted"
    """A sum of points: checks 40, status 30, steps 20, cost 10."""
