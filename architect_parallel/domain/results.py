"""Results: usage, diffs, checks, attempts, the result of a worker and of a run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from architect_parallel.domain.enums import CheckChange, CostBasis, Isolation, Reason, RunStatus, Status
from architect_parallel.domain.evaluation import Judgement, Landing
from architect_parallel.domain.git_objects import ComparedCommits, GitObjects
from architect_parallel.domain.plans import WorkerSpec
from architect_parallel.domain.run_plan import Competition
from architect_parallel.domain.sandbox import SandboxReport


def total_usd(amounts: Iterable[float | None]) -> float | None:
    """The sum, 0 for no amounts. `None` as soon as one amount is unknown."""
    known = list(amounts)
    return None if None in known else sum((name for name in known if name is not None), 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens of a worker so far (totals, not increments) and what the agent says they cost."""

    input_tokens: int | None = None
    """Including cached ones."""
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    output_tokens: int | None = None
    reported_cost: float | None = None
    """USD, as the agent says. It is data, not truth."""
    cost_basis: CostBasis = CostBasis.UNKNOWN
    """The source of the result's `cost`."""


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
    """Full commit id of the collected state. Without `commit` it is kept outside the branch."""
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
    """Negative means killed by that signal. `None` means that it never started, or that its end was not observed."""
    duration_seconds: float
    """Of the last time that it ran."""
    output_tail: str = ""
    """Last lines of its output, control sequences removed. For a flaky check, of the last failure."""
    change: CheckChange | None = None
    """Compared with the base. `None` means not compared."""
    flaky: bool = False
    """It failed once and passed when it was repeated. It counts as passed."""
    timed_out: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One attempt of a worker, as its result lists it."""

    number: int
    """From 1. A resume continues the count."""
    status: Status
    reason: Reason | None = None
    error: str | None = None
    exit_code: int | None = None
    steps: int = 0
    cost: float | None = 0.0
    """USD of this attempt alone. `None` means unknown."""
    usage: Usage = field(default_factory=Usage)
    """Of this attempt alone."""
    started_at: datetime | None = None
    """`None` means that its agent never ran."""
    duration: float = 0.0
    """Seconds that its agent ran."""
    waited_seconds: float = 0.0
    """Seconds between the end of the attempt before and the start of this one's agent, within one launch."""
    next_in_seconds: float | None = None
    """Seconds that the worker had to wait before its next attempt. `None` means that it was the launch's last."""


@dataclass(slots=True, kw_only=True)
class WorkerResult(GitObjects):
    """All facts of a worker. The first nine fields are the public contract, in its order.

    `steps`, `cost`, `usage` and `duration` are sums over all its attempts. Status, diff and the rest are those of the
    last one.
    """

    worker_id: int
    branch: str
    model: str
    """The model that the agent reported, otherwise the requested one. `default` while neither is known."""
    status: Status
    steps: int
    cost: float | None
    """USD. `None` means unknown."""
    duration: float
    """Seconds from the first agent's start to the proven end of the last one, waits between them included."""
    files_modified: list[str]
    """Sorted, from git only."""
    worktree_path: str
    index: int = 0
    name: str = ""
    task: str = ""
    backend: str = ""
    agent: str = ""
    reason: Reason | None = None
    exit_code: int | None = None
    """The agent's exit code. Negative means killed by that signal.

    `None` means that it never ran, or that its end was not observed.
    """
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
    """Processes that the agent left behind at its end. All were killed. `None` means unknown."""
    warnings: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    meta: dict[str, Any] = field(default_factory=dict)
    working_seconds: float = 0.0
    """Seconds that an agent ran, over all attempts. The time limit counts these."""
    attempt_history: list[Attempt] = field(default_factory=list)
    """Every attempt in order, the last one included. Empty means that none began."""
    outside_scope: list[str] = field(default_factory=list)
    """Changed paths that its task's `files` do not cover, sorted. Empty if none were declared."""
    model_requested: str | None = None
    """`None` means that the backend's default was asked for."""
    sandbox: SandboxReport = field(default_factory=SandboxReport)
    """Its containment by the operating system."""
    host: str | None = None
    """Name of the machine that its agent ran on. `None` means this one. `worktree_path` is a path there."""

    @property
    def competitor(self) -> str:
        """The model as it takes part in a comparison: the requested one, otherwise the one that was used."""
        return self.model_requested or self.model

    def __post_init__(self) -> None:
        if self.diff is not None:
            object.__setattr__(self.diff, "place", self.worktree_path)


@dataclass(frozen=True, slots=True, kw_only=True)
class Escape:
    """Changes of the main checkout while workers ran. They are saved and never reverted."""

    paths: tuple[str, ...]
    """The changed paths, sorted: files below the root, or `HEAD`, `index`, `stash`, `refs/…`."""
    patch: str | None
    """Absolute path of the saved change, in the run's folder. `None` means that no patch can hold it."""
    suspects: tuple[int, ...]
    """Ids of the workers that may have done it, as far as is known, sorted."""


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
    """A run as replayed from its events. It is the JSON envelope of the contract."""

    run_id: str
    status: RunStatus
    exit_code: int | None
    """`None` while the run goes on, or if nobody saw it end."""
    base_commit: str
    base_ref: str
    started_at: datetime
    finished_at: datetime | None
    total_duration_seconds: float
    max_parallel: int
    warnings: list[str] = field(default_factory=list)
    results: list[WorkerResult] = field(default_factory=list)
    """Sorted by `worker_id`. In a live run only those that ended."""
    planned: tuple[WorkerSpec, ...] = ()
    baseline: list[CheckResult] = field(default_factory=list)
    """The checks on the base commit that ran."""
    escaped: Escape | None = None
    """`None` means that nothing was seen, or that nothing was watched."""
    synthesis: str | None = None
    """Final text of a spec's coordinator. `None` means that there is none, or that it did not succeed."""
    briefing: str | None = None
    """Of an escalated run: the question, what was tried, and the choices."""
    pause: Pause | None = None
    """The pause of a flow. `None` means that it is no flow, or that it does not wait."""
    competition: Competition | None = None
    """`None` means that the run is not a competition."""
    judged: list[Judgement] = field(default_factory=list)
    """The judge's answers, in order."""
    debugger_costs: list[float | None] = field(default_factory=list)
    """USD for each time that a spec's debugger was asked. `None` means unknown."""
    merge: Landing | None = None
    """`None` means that nothing of it was merged, or that the merge was undone."""

    @property
    def total_tasks(self) -> int:
        return len(self.planned)

    def count(self, *statuses: Status) -> int:
        """Count the results that have one of these statuses."""
        return sum(1 for result in self.results if result.status in statuses)

    @property
    def total_cost(self) -> float | None:
        """USD over all workers, the judge and the debugger. `None` as soon as one of those that ran is unknown."""
        costs = [result.cost for result in self.results if result.started_at is not None]
        costs += [*(judgement.cost for judgement in self.judged), *self.debugger_costs]
        return total_usd(costs)

    def summary(self) -> RunSummary:
        """The row of this run in a list of runs."""
        first = next(iter(self.planned), None)
        return RunSummary(
            run_id=self.run_id,
            status=self.status,
            exit_code=self.exit_code,
            base_commit=self.base_commit,
            total_tasks=self.total_tasks,
            completed=self.count(Status.SUCCESS),
            failed=self.count(Status.FAILED, Status.PARTIAL, Status.TIMEOUT),
            canceled=self.count(Status.CANCELED),
            skipped=self.count(Status.SKIPPED),
            total_duration_seconds=self.total_duration_seconds,
            total_cost=self.total_cost,
            started_at=self.started_at,
            finished_at=self.finished_at,
            task_name="" if first is None or first.name == f"worker-{first.worker_id}" else first.name,
            task="" if first is None else first.prompt[:SUMMARY_CHARACTERS],
            prompts=len({spec.prompt for spec in self.planned}),
            branches=tuple(spec.branch for spec in self.planned if spec.isolation is not Isolation.NONE),
        )


SUMMARY_CHARACTERS = 2000
"""Characters of the first task that a summary keeps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """A run in a list of runs. The first fields, to `finished_at`, are those of the contract."""

    run_id: str
    status: RunStatus
    exit_code: int | None
    base_commit: str
    total_tasks: int
    completed: int
    failed: int
    canceled: int
    skipped: int
    total_duration_seconds: float
    total_cost: float | None
    started_at: datetime
    finished_at: datetime | None
    task_name: str = ""
    """Name of the first task, where the user gave one."""
    task: str = ""
    """Beginning of the first task."""
    prompts: int = 0
    """The number of different tasks."""
    branches: tuple[str, ...] = ()
    """The branch of each worker that has a worktree."""
