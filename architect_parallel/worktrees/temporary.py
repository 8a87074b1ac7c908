"""A temporary worktree of a run: detached at a commit, without a branch, removed after use.

It is next to the workers' worktrees, so that tools which search upwards find the same files. After a change of
`worktrees.root`, git's registrations tell where an older one is. As for them, the
registration's mark names the run. Its content is no one's work and is never kept. After a launcher was killed,
`find_temporary_worktree` finds it and `remove_temporary_worktree` removes it, complete or not.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from architect_parallel.domain import WorktreeSettings
from architect_parallel.errors import ArchitectParallelError, EnvironmentProblem
from architect_parallel.repository.filters import share_filter_state
from architect_parallel.repository.registry import (
    admin_dir_from_dotgit,
    admin_dir_of,
    admin_dirs,
    is_ours,
    mismatch,
    partial_worktrees,
    registered_path,
    registration_lock,
    write_owner,
)
from architect_parallel.system.git import Repository
from architect_parallel.worktrees.create import Worktree, checkout_files
from architect_parallel.worktrees.places import DIRECTORY_PREFIX, auxiliary_path
from architect_parallel.worktrees.remove import remove_worktree


def temporary_name(run_id: str) -> str:
    """The end of the name of a run's temporary worktree."""
    return f"base-{run_id}"


def temporary_worktree_path(repository: Repository, run_id: str, settings: WorktreeSettings | None = None) -> Path:
    """The path of a run's temporary worktree. No worker has this name: workers have numbers.

    Args:
        settings: They say where a new one is made. `None` means: where one is registered, else the repository's root.
    """
    name = temporary_name(run_id)
    if settings is not None:
        return auxiliary_path(repository, settings, name)
    registered = (registered_path(admin) for admin in admin_dirs(repository))
    present = (path for path in registered if path is not None and path.name == f"{DIRECTORY_PREFIX}{name}")
    return next(present, auxiliary_path(repository, WorktreeSettings(), name))


def find_temporary_worktree(repository: Repository, run_id: str) -> Path | None:
    """Return the path of the run's temporary worktree. `None` means that nothing of it is left.

    `remove_temporary_worktree` may refuse it (see `registry.mismatch`). The worktree of another run is not returned.
    """
    path = temporary_worktree_path(repository, run_id)
    if mismatch(repository, path) is not None:
        return path
    exists = (
        os.path.lexists(path) or admin_dir_of(repository, path) is not None or bool(partial_worktrees(repository, path))
    )
    return path if exists and is_ours(repository, path, "", run_id) else None


def remove_temporary_worktree(repository: Repository, run_id: str) -> None:
    """Remove it in any state. A missing one is no error.

    Raises:
        EnvironmentProblem: Something else is in its place, or it cannot be moved away.
    """
    remove_worktree(repository, path=temporary_worktree_path(repository, run_id), branch="", run_id=run_id)


@contextlib.contextmanager
def temporary_worktree(
    repository: Repository,
    *,
    commit: str,
    run_id: str,
    is_cancelled: Callable[[], bool],
    settings: WorktreeSettings | None = None,
) -> Iterator[Worktree]:
    """Yield a worktree at `commit`, and remove it at the end of the block.

    Raises:
        Cancelled: `is_cancelled` returned true when its turn to be checked out had come.
        EnvironmentProblem: The path is taken, or the repository cannot be written.
        GitError: git failed.
    """
    remove_temporary_worktree(repository, run_id)  # left by a killed launcher of this run
    path = temporary_worktree_path(repository, run_id, settings or WorktreeSettings())
    try:
        with registration_lock(repository) as lock:
            if os.path.lexists(path):
                raise EnvironmentProblem(f"{path} exists already and is not taken over", hint="move it away")
            command = ("worktree", "add", "--quiet", "--no-checkout", "--detach")
            repository.git.run(*command, path, commit, holding=(lock,))
            admin_dir = admin_dir_from_dotgit(path)
            if admin_dir is None:
                raise EnvironmentProblem(f"git made no worktree at {path}", hint="git worktree list")
            write_owner(admin_dir, run_id)
            share_filter_state(repository, admin_dir)
        worktree = Worktree(path=path, branch="", base_commit=commit, admin_dir=admin_dir)
        checkout_files(worktree, is_cancelled)
        yield worktree
    finally:
        with contextlib.suppress(ArchitectParallelError):  # a cleanup finds what is left
            remove_temporary_worktree(repository, run_id)
