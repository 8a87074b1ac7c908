"""The `output_dir` of a task file: a JSON file per worker, written at its end, and `summary.json` at the run's end.

A file is written whole or not at all, and replaces a file of the same name. `summary.json` is the envelope that
`--json` prints, and a worker's file is one of its results.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from architect_parallel.domain import RunPlan, RunResult
from architect_parallel.errors import EnvironmentProblem
from architect_parallel.events import Recorded, WorkerFinished
from architect_parallel.reports.json import dumps, envelope, worker
from architect_parallel.system.files import replace_file
from architect_parallel.text.names import file_names

SUMMARY = "summary.json"


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
