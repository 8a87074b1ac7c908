"""The plan of a run, and the settings of specs, flows and competitions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from architect_parallel.domain.enums import (
    Score,
    TripwireMode,
)
from architect_parallel.domain.plans import RateLimit, Recovery, Retry, Task, WorkerSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderRate:
    """A provider's token bucket in this run."""

    provider: str
    rate_limit: RateLimit


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeOrder:
    """The landing of the results of a spec."""

    into: str
    """Short name of a local branch. If it does not exist, it is made at the run's base."""
    check: str | None = None
    """Command that must pass after each step, in addition to the tasks' checks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workflow:
    """The settings of a spec beyond its tasks."""

    name: str
    state_file: str | None = None
    """Absolute path of the state file that is written while the run goes on. `None` means no file."""
    coordinator: int | None = None
    """Id of the worker whose final text is the run's synthesis. `None` means that there is none."""
    rates: tuple[ProviderRate, ...] = ()
    """They override the configuration's."""
    debugger: WorkerSpec | None = None
    """The agent that is asked, in an empty directory, when several tasks of a group fail.

    It has no prompt, no number and no path.
    """
    merge: MergeOrder | None = None
    """`None` means that nothing lands automatically."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecFile:
    """A valid spec as written."""

    name: str
    file: str
    """Its path as the user gave it, or `stdin`."""
    tasks: tuple[Task, ...]
    """Their `dependencies` are names, and each has a unique name."""
    max_parallel: int | None = None
    rates: tuple[ProviderRate, ...] = ()
    retry: Retry | None = None
    recovery: Recovery | None = None
    debugger: Task | None = None
    """The agent that is asked when several tasks fail. `None` means that there is none."""
    merge: MergeOrder | None = None
    state_file: str | None = None
    """As written, relative to the directory that the program was called from."""
    coordinator: Task | None = None
    """The last task, which gets the results of all others. It has no name."""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Competition:
    """A competition: one task, several models, and a ranking."""

    score: Score = Score.LEXICOGRAPHIC
    runs_per_model: int = 1
    judge: str | None = None
    """Backend that chooses between the diffs. `None` means no judge."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowOrigin:
    """The flow of a run. Its workers are added to the plan as its states are reached."""

    file: str
    """Absolute path of the flow file."""
    directory: str
    """Absolute path of the directory that it runs in. Its paths are relative to that."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """Variables given on the command line."""
    sandbox: str | None = None
    """`--sandbox` on the command line. The next two likewise."""
    network: str | None = None
    allow_hosts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """The hosts that run a run's workers. It holds no key."""

    url: str
    timeout_s: float = 60.0
    """A host that is silent for longer is lost."""
    tls_dir: str | None = None
    """Absolute path of the launcher's certificates. `None` means the user's default directory."""
    insecure: bool = False
    """The connection is not encrypted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPlan:
    """A decided run. Nothing has been done yet, and nothing is left to decide."""

    run_id: str
    repository: str
    """Root of the main checkout, or the git directory of a bare repository. Absolute."""
    base_commit: str
    base_ref: str
    """The user's name for the base, for display."""
    workers: tuple[WorkerSpec, ...]
    max_parallel: int
    timeout_s: float | None = None
    budget_usd: float | None = None
    fail_fast: bool = False
    allow_partial: bool = False
    warnings: tuple[str, ...] = ()
    output_dir: str | None = None
    """Absolute path of the directory for a result file per worker and `summary.json`. `None` means that none are
    written.
    """
    baseline: bool = True
    """The checks run on the base commit as well, before the agents."""
    tripwire: TripwireMode = TripwireMode.OFF
    allow_secrets: bool = False
    """A result that holds a key of its agent lands like any other."""
    competition: Competition | None = None
    """`None` means that the run is not a competition."""
    workflow: Workflow | None = None
    """`None` means that the run is not a spec's."""
    flow: FlowOrigin | None = None
    """`None` means that the run is not a flow's."""
    uncommitted: int = 0
    """Number of paths with uncommitted changes in the checkout that the worktrees do not get."""
    cluster: Cluster | None = None
    """`None` means that its workers run on this machine."""
    imported: bool = False
    """It ran on another machine. Its text is untrusted, and none of its tasks is run here again."""

    @property
    def is_graph(self) -> bool:
        """One of its workers depends on another."""
        return any(spec.dependencies or spec.fills for spec in self.workers)
