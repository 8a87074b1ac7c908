"""What came of it: usage, diffs, checks, attempts, the result of a worker and of a run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from architect_parallel.domain.choosing import Judgement, Landing
from architect_parallel.domain.git_objects import ComparedCommits, GitObjects
from architect_parallel.domain.plans import Competition, WorkerSpec
from architect_parallel.domain.words import CheckChange, CostBasis, Reason, RunStatus, Status


def total_usd(amounts: Iterable[float | None]) -> float | None:
    """The sum, 0 of none; `None` as soon as one is unknown."""
    known = list(amounts)
    return None if None in known else sum((each for each in known if each is not None), 0.0)


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
class Diff(ComparedCommits):
    """The changes from a worker's base to its result, according to git. A call returns them as GitPython objects."""

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
    """Negative: killed by that signal; `None`: it never started, or nobody saw its end."""
    duration_seconds: float
    """Of its last run."""
    output_tail: str = ""
    """Last lines of what it printed, control sequences removed; of a flaky one, when it failed last."""
    change: CheckChange | None = None
    """Against the base; `None`: not compared."""
    flaky: bool = False
    """It failed and passed when it was repeated: it counts as passed."""
    timed_out: bool = False


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
class WorkerResult(GitObjects):
    """All facts of a worker. The first nine fields are the public contract, in its order.

    `steps`, `cost`, `usage` and `duration` are sums over all its attempts; status, diff and the rest are the last
    one's.
    """

    worker_id: int
    branch: str
    model: str
    """The one that was asked for, else the one that the agent reported; `default` while that is not known."""
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
    outside_scope: list[str] = field(default_factory=list)
    """Changed paths that its task's `files` do not cover, sorted; empty where none were declared."""
    model_requested: str | None = None
    """`None` means that the backend's default was asked for."""

    def __post_init__(self) -> None:
        if self.diff is not None:
            object.__setattr__(self.diff, "place", self.worktree_path)


@dataclass(frozen=True, slots=True, kw_only=True)
class Escape:
    """Changes of the main checkout while workers ran. They are saved and never reverted."""

    paths: tuple[str, ...]
    """What changed, sorted: files below the root, or `HEAD`, `index`, `stash`, `refs/…`."""
    patch: str | None
    """Absolute path of the saved change, in the run's folder; `None`: nothing that a patch could hold."""
    suspects: tuple[int, ...]
    """Ids of the workers that may have done it, as far as the facts go, sorted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """The question or pause that a flow waits at."""

    state: str
    question: str
    """An empty text means that nothing is asked: any answer lets the flow go on."""
    choices: tuple[str, ...] = ()
    """An empty tuple means that any text is an answer."""
    default: str | None = None


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
    baseline: list[CheckResult] = field(default_factory=list)
    """The checks on the base commit, as far as they ran."""
    escaped: Escape | None = None
    """`None`: nothing was seen, or nobody looked."""
    synthesis: str | None = None
    """Final text of a spec's coordinator; `None`: there is none, or it did not succeed."""
    briefing: str | None = None
    """Of an escalated run: what was asked, what was tried, the choices."""
    pause: Pause | None = None
    """The pause of a flow. `None` means that it is no flow, or that it does not wait."""
    competition: Competition | None = None
    """`None`: not a competition."""
    judged: list[Judgement] = field(default_factory=list)
    """The judge's answers, in order."""
    debugger_costs: list[float | None] = field(default_factory=list)
    """USD of each time a spec's debugger was asked; `None`: unknown."""
    merge: Landing | None = None
    """`None`: nothing of it was merged, or that was undone."""

    @property
    def total_tasks(self) -> int:
        return len(self.planned)

    def count(self, *statuses: Status) -> int:
        """How many results have one of these statuses."""
        return sum(1 for result in self.results if result.status in statuses)

    @property
    def total_cost(self) -> float | None:
        """USD over all workers, the judge and the debugger; `None` as soon as one that ran is unknown."""
        costs = [result.cost for result in self.results if result.started_at is not None]
        costs += [*(judgement.cost for judgement in self.judged), *self.debugger_costs]
        return total_usd(costs)
