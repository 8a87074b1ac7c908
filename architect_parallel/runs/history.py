"""The runs of a repository, for Python callers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from architect_parallel.domain import RunResult
from architect_parallel.journal import Journal
from architect_parallel.system.git import open_repository


def runs(workspace_root: str | os.PathLike[str] = ".") -> Iterator[RunResult]:
    """Yield the result of every run of a repository, the newest first, also of runs that go on.

    Raises:
        EnvironmentProblem: Not in a repository, or its journal cannot be read.
    """
    repository = open_repository(Path(workspace_root))
    with Journal.of(repository) as journal:
        for run_id in journal.run_ids():
            yield journal.result(run_id)
