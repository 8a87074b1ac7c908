"""The surroundings of a command: the repository, its journal, the effective settings and the backends they describe."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from architect_parallel.backends.base import Backend
from architect_parallel.backends.registry import load_backends
from architect_parallel.config.paths import home_dir
from architect_parallel.config.settings import load_settings
from architect_parallel.config.validation import ValidationContext
from architect_parallel.domain import RunResult, Settings, WorkerResult
from architect_parallel.errors import EnvironmentProblem
from architect_parallel.journal import Journal
from architect_parallel.journal.selection import find_workers
from architect_parallel.system.git import Repository, open_repository


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """The surroundings of a command: repository, settings, backends, environment."""

    repository: Repository
    settings: Settings
    backends: Mapping[str, Backend]
    environ: Mapping[str, str]
    start: Path = Path()
    """The directory it was called from, absolute: where relative paths of the user begin."""


def load_workspace(
    workspace_root: Path, config_file: Path | None = None, environ: Mapping[str, str] | None = None
) -> Workspace:
    """Opens the repository at `workspace_root` with its effective settings."""
    environ = dict(os.environ if environ is None else environ)
    repository = open_repository(workspace_root)
    settings = load_settings(repository.checkout, config_file=config_file, environ=environ, home=home_dir())
    return Workspace(
        repository=repository,
        settings=settings,
        backends=load_backends(settings, environ),
        environ=environ,
        start=workspace_root.absolute(),
    )


def validation_context(workspace: Workspace) -> ValidationContext:
    """The context in which task files, specs and flows are checked here."""
    checkout = workspace.repository.checkout
    return ValidationContext(
        directory=workspace.start,
        checkout=None if checkout is None else Path(os.path.realpath(checkout)),
        backends=workspace.backends,
        agents=tuple(workspace.settings.agents),
        ceiling=workspace.settings.parallel.workers_ceiling,
    )


def require_worker(result: RunResult, worker_id: int) -> WorkerResult:
    """The result of one worker.

    Raises:
        UsageError: The run has no such worker.
        EnvironmentProblem: It has not ended yet.
    """
    find_workers(result.run_id, result.planned, [worker_id])
    for item in result.results:
        if item.worker_id == worker_id:
            return item
    raise EnvironmentProblem(f"worker {worker_id} has not ended yet", hint=f"architect status {result.run_id}")


@contextmanager
def open_journal(workspace_root: Path) -> Iterator[tuple[Repository, Journal]]:
    """The repository at `workspace_root` and its journal, for commands that look."""
    repository = open_repository(workspace_root)
    with Journal.of(repository) as journal:
        yield repository, journal
