"""The GitPython side of a worker's result.

The domain imports nothing else of the package. This module is the one exception, and only when a script calls: a result
is data of the journal, and data cannot carry an open repository. The linter names the exception in `pyproject.toml`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import git

    from architect_parallel.domain.results import Diff


class ComparedCommits:
    """Makes a `Diff` callable."""

    __slots__ = ("place",)  # the worktree of the worker; a `WorkerResult` sets it, and it is not part of the data
    if TYPE_CHECKING:  # the codec of the journal takes every annotation for data
        place: str
        base: str
        head: str

    def __call__(self, *, create_patch: bool = False) -> git.DiffIndex[git.Diff]:
        """The same difference as GitPython's index of files, each with its blobs.

        Args:
            create_patch: Read the patches too.

        Raises:
            EnvironmentProblem: The repository is gone or cannot be used.
            ValueError: The commits are gone.
        """
        repo = open_nearest(self.place)
        return repo.commit(self.base).diff(repo.commit(self.head), create_patch=create_patch)


class GitObjects:
    """Gives a `WorkerResult` its GitPython objects. All of them are safe on content that an agent left."""

    __slots__ = ()
    if TYPE_CHECKING:
        worker_id: int
        worktree_path: str
        diff: Diff | None

    def repo(self) -> git.Repo:
        """The worker's worktree. Once that is removed, the repository it belonged to.

        Raises:
            EnvironmentProblem: The repository is gone or cannot be used.
        """
        return open_nearest(self.worktree_path)

    def commit(self) -> git.Commit:
        """The commit with everything the worker changed.

        Raises:
            EnvironmentProblem: The repository is gone or cannot be used.
            ValueError: The worker has no saved work, or its commit is gone.
        """
        return self.repo().commit(self._saved.head)

    def commits(self) -> list[git.Commit]:
        """The commits from the worker's base to `commit()`, oldest first. Raises like it."""
        return list(self.repo().iter_commits(f"{self._saved.base}..{self.commit().hexsha}", reverse=True))

    @property
    def _saved(self) -> Diff:
        if self.diff is None:
            raise ValueError(f"worker {self.worker_id} has no saved work")
        return self.diff


def open_nearest(path: str) -> git.Repo:
    """Open the repository of `path`, or of the directory that had it."""
    from architect_parallel.system.gitpython import open_repository

    return open_repository(next(place for place in (Path(path), *Path(path).parents) if place.is_dir()))
