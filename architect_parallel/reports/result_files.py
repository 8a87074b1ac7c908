"""The `output_dir` of a task file: a JSON file per worker, written at its end, and `summary.json` at the run's end.

A file is written whole or not at all, and replaces a file of the same name. `summary.json` is the envelope that
`--json` prints, and a worker's file is one of its results.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from architect_parallel.domain import RunPlan, RunResult
from architect_parallel.errors import EnvironmentProblem, UsageError
from architect_parallel.events import Recorded, WorkerFinished
from architect_parallel.reports.json import dumps, envelope, worker
from architect_parallel.system.files import names, replace_file
from architect_parallel.system.git import Repository
from architect_parallel.text.names import file_names

SUMMARY = "summary.json"


def require_result_directory(directory: Path, repository: Repository) -> None:
    """Check that results may be written there: below the checkout, or in a directory without files of others.

    A task file may come with a clone. It must not overwrite files elsewhere.

    Raises:
        UsageError: It is in git's directory, or outside the repository and not empty.
    """
    real = Path(os.path.realpath(directory))
    common = Path(os.path.realpath(repository.common_dir))
    roots = [Path(os.path.realpath(root)) for root in (repository.root, repository.checkout) if root is not None]
    if real.is_relative_to(common):
        raise UsageError(f"output_dir: {directory} is in git's directory", hint="change output_dir in the task file")
    if any(real.is_relative_to(root) for root in roots) or not names(real) or _is_ours(real / SUMMARY):
        return
    problem = f"output_dir: {directory} is outside the repository and holds other files"
    raise UsageError(problem, hint="name a new or empty directory in the task file")


def _is_ours(summary: Path) -> bool:
    """Tell whether the file is the summary of an earlier run."""
    try:
        return bool({"schema_version", "run_id", "results"} <= json.loads(summary.read_bytes()).keys())
    except (OSError, ValueError, AttributeError, RecursionError):
        return False


class ResultFiles:
    """Writes the result files of one run."""

    def __init__(self, directory: Path, plan: RunPlan) -> None:
        """Make the directory where it is missing.

        Raises:
            EnvironmentProblem: It cannot be made.
        """
        self._directory = directory
        # A worker without a name from the user is named by its index, like its result.
        own = [None if spec.name == f"worker-{spec.worker_id}" else spec.name for spec in plan.workers]
        names = file_names([name or f"task-{spec.index}" for name, spec in zip(own, plan.workers, strict=True)])
        self._names = {spec.worker_id: name for name, spec in zip(names, plan.workers, strict=True)}
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            problem = f"the output directory {directory} cannot be made: {error.strerror}"
            raise EnvironmentProblem(problem, hint="change output_dir in the task file") from error

    def take(self, recorded: Recorded) -> None:
        """Write the file of a worker that has ended."""
        if isinstance(recorded.event, WorkerFinished) and recorded.worker_id in self._names:
            self._write(f"{self._names[recorded.worker_id]}.json", worker(recorded.event.result))

    def finish(self, result: RunResult) -> None:
        """Write the summary of the ended run.

        Raises:
            OSError: The summary cannot be written.
        """
        self._write(SUMMARY, envelope(result))

    def _write(self, name: str, value: Any) -> None:
        replace_file(self._directory / name, (dumps(value) + "\n").encode())
