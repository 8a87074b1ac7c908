"""Launches of runs: numbers are reserved, the plan is recorded, and only then is anything made."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from architect_parallel.api.artifacts import require_place, try_artifacts
from architect_parallel.api.local_launch import run_plan, tell
from architect_parallel.backends.base import CommandLine
from architect_parallel.domain import (
    RunPlan,
    RunResult,
    WorkerResult,
)
from architect_parallel.errors import EnvironmentProblem
from architect_parallel.events import (
    RunStarted,
)
from architect_parallel.journal import Journal
from architect_parallel.reports.result_files import ResultFiles
from architect_parallel.repository.registry import registration_lock
from architect_parallel.runs.options import ParallelConfig
from architect_parallel.runs.plan import draft_plan
from architect_parallel.runs.recorder import Listener
from architect_parallel.runs.workspace import load_workspace
from architect_parallel.system import machine
from architect_parallel.system.files import HeldLock
from architect_parallel.system.git import Repository
from architect_parallel.workers.request import request_for
from architect_parallel.worktrees.places import Places, exclude_from_status

LEAST_OPEN_FILES = 64
"""A run with one worker and its checks needs less."""


class ParallelRunner:
    """Runs tasks in parallel, each in a worktree of its own.

    Args:
        config: What to run.
        workspace_root: Any directory of the repository. `.` is the current one.
        listeners: Called with every recorded event, in the thread that calls `run`.
        environ: Replaces `os.environ`, for agents and configuration.

    Raises (all methods):
        UsageError: Something in `config` or a configuration file is wrong. Nothing was started.
        EnvironmentProblem: The machine or the repository does not allow it. Nothing was started.
    """

    def __init__(
        self,
        config: ParallelConfig,
        workspace_root: str | os.PathLike[str] = ".",
        *,
        listeners: Sequence[Listener] = (),
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.config = config
        config_file = Path(config.config_file) if config.config_file is not None else None
        self.here = load_workspace(Path(workspace_root), config_file, environ)
        self._listeners = tuple(listeners)

    def run(self) -> list[WorkerResult]:
        """Run everything to its end, and return the results sorted by `worker_id`."""
        return self.execute().results

    def plan(self) -> RunPlan:
        """The plan as it would be now. Nothing is reserved or made."""
        draft = self._draft()
        with Journal.of(self.here.repository) as journal:
            return self._placed(draft, journal)

    def execute(self, started: Callable[[RunPlan], None] = lambda plan: None) -> RunResult:
        """Run everything to its end, and return the whole run's result.

        Args:
            started: Called with the plan once its numbers are reserved, before any agent starts.
        """
        draft = self._draft()
        repository = self.here.repository
        artifacts = None if self.config.artifacts is None else require_place(self.here.start / self.config.artifacts)
        with ExitStack() as held:
            journal = held.enter_context(Journal.of(repository))
            exclude_from_status(repository, self.here.settings.worktrees)
            with registration_lock(repository):
                plan = self._placed(draft, journal)
                if plan.output_dir is not None:
                    ResultFiles(Path(plan.output_dir), plan)  # fails before the run is recorded
                held.callback(hold(journal, plan.run_id).release)
                journal.append([(plan.run_id, None, RunStarted(plan=plan, launcher_pid=os.getpid()))])
            started(plan)
            result = run_plan(plan, journal, self.here, self._listeners)
            if artifacts is not None:
                add_artifacts(result, artifacts, repository, journal, self._listeners)
            return result

    def _draft(self) -> RunPlan:
        return draft_plan(self.config, self.here)

    def _placed(self, draft: RunPlan, journal: Journal) -> RunPlan:
        """The draft with the number, branch and worktree of each worker."""
        places = Places(self.here.repository, self.here.settings.worktrees, journal.live_workers())
        return replace(draft, workers=tuple(map(places.give, draft.workers)))

    def command_lines(self, plan: RunPlan) -> dict[int, CommandLine]:
        """The command line of every worker of `plan`, for a dry run. Only a temporary directory is written to."""
        lines = {}
        with tempfile.TemporaryDirectory(prefix="architect-dry-run-") as folder:
            for spec in plan.workers:
                state_dir = Path(folder) / f"worker-{spec.worker_id}"
                state_dir.mkdir()
                request = request_for(spec, prompt_file=state_dir / "prompt.txt", state_dir=state_dir)
                lines[spec.worker_id] = self.here.backends[spec.backend].command(request)
        return lines


def hold(journal: Journal, run_id: str) -> HeldLock:
    """Take the run's lock.

    Raises:
        EnvironmentProblem: Another process holds it, or this process may open too few files for a run.
    """
    allowed = machine.open_files_limit()
    if allowed < LEAST_OPEN_FILES:
        problem = f"this process may open {allowed} files, a run needs {LEAST_OPEN_FILES}"
        raise EnvironmentProblem(problem, hint="ulimit -n 1024")
    lock = journal.hold(run_id)
    if lock is None:
        raise EnvironmentProblem(f"run {run_id} is still live", hint=f"architect status {run_id}")
    return lock


def require_not_imported(plan: RunPlan) -> RunPlan:
    """Return `plan` if it was made here.

    Raises:
        EnvironmentProblem: The run was imported, so its tasks come from elsewhere.
    """
    if plan.imported:
        problem = f"run {plan.run_id} was imported: its tasks come from elsewhere and are not run here"
        raise EnvironmentProblem(problem, hint='architect parallel "the task"')
    return plan


def add_artifacts(
    result: RunResult, place: Path, repository: Repository, journal: Journal, listeners: Sequence[Listener]
) -> None:
    """Write the artifacts of an ended run to `place`. Missing ones become further warnings of the `result`."""
    warnings = try_artifacts(repository, journal, result.run_id, place)
    result.warnings += warnings
    tell(listeners, result.run_id, warnings)
