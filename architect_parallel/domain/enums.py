"""The closed vocabularies: how things end, and what may be asked for."""

from __future__ import annotations

from enum import StrEnum


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


class Role(StrEnum):
    """What an agent or a tree is for in its run."""

    WORKER = "worker"
    """A task of the plan."""
    COORDINATOR = "coordinator"
    """The last task of a spec: it gets the results of all others."""
    DEBUGGER = "debugger"
    """Explains why several tasks of a group failed; has no result of its own."""
    JUDGE = "judge"
    """Compares the results of a competition."""
    RESOLVER = "resolver"
    """Resolves the conflicts of a merge."""
    BASELINE = "baseline"
    """The checks on the base commit; no agent."""
    INTEGRATION = "integration"
    """The worktree in which results are merged; no agent."""


class OnPartial(StrEnum):
    """What a task does when something it depends on did not succeed."""

    SKIP = "skip"
    """It is skipped as well."""
    CONTINUE = "continue"
    """It goes on with what there is and is told what is missing."""


SHELL = "shell"
"""The backend to which a task is a command: whatever it is asked, it would run the question."""


class CheckChange(StrEnum):
    """What a worker did to a check, against the same check on the base commit."""

    NEWLY_BROKEN = "newly_broken"
    """Passed on the base, fails now."""
    MENDED = "mended"
    """Failed on the base, passes now."""
    BROKEN_BEFORE = "broken_before"
    """Fails as it did on the base."""
    UNCHANGED = "unchanged"
    """Passes as it did on the base."""


class TripwireMode(StrEnum):
    """What follows when the main checkout changes while workers run."""

    FAIL = "fail"
    """Who surely did it has failed; every other suspect is warned."""
    WARN = "warn"
    OFF = "off"
    """Nobody looks."""


class Score(StrEnum):
    """How results are ranked."""

    LEXICOGRAPHIC = "lexicographic"
    """One criterion after another; the next one only where the one before is even."""
    WEIGHTED = "weighted"
    """A sum of points: checks 40, status 30, steps 20, cost 10."""
