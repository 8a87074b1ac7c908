"""Keep the work of an earlier attempt of a worker, committed or not, before the next attempt begins."""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path

from architect_parallel.domain import WorkerSpec
from architect_parallel.errors import EnvironmentProblem
from architect_parallel.repository.filters import recorded
from architect_parallel.repository.registry import admin_dir_of, mismatch
from architect_parallel.snapshots.collect import collect
from architect_parallel.snapshots.keep_refs import keep
from architect_parallel.snapshots.nested_repositories import keep_all_nested
from architect_parallel.snapshots.private_git import PrivateGit
from architect_parallel.snapshots.put_aside import put_aside
from architect_parallel.system.git import Repository


def keep_attempt(repository: Repository, spec: WorkerSpec, private_dir: Path) -> str | None:
    """Put the state of `spec`'s worktree and branch under `refs/architect/keep/<run>/<number>`.

    Args:
        private_dir: The earlier attempt's private git directory, which may be gone.

    Returns:
        The ref. `None` means that there is nothing besides the base commit.

    Raises:
        EnvironmentProblem: The tree cannot be read. Then nothing of it may be removed.
        GitError: The state cannot be written. Then nothing of it may be removed.
    """
    commit = repository.store.resolve(f"refs/heads/{spec.branch}")
    worktree = Path(spec.worktree_path)
    private = _reader(repository, worktree, private_dir)
    if private is not None:
        # Repositories inside are removed with the tree. Their commits get keep refs next to that of the tree.
        keep_all_nested(repository, worktree, private.admin_dir, spec.run_id, spec.number)
        # Without `commit`, the collection leaves the branch alone and keeps what the branch lacks.
        collection = collect(repository, private, dataclasses.replace(spec, commit=False))
        if private.left_out and not spec.continues:
            directory = private_dir.parent.parent / "aside" / f"worker-{spec.worker_id}-{spec.attempt}"
            put_aside(private.worktree, private.left_out, directory)
        if collection.kept is not None:
            return collection.kept
        commit = collection.commit
    if commit is None or commit == spec.base_commit:
        return None
    return keep(repository, commit, spec.run_id, spec.number)


def _reader(repository: Repository, worktree: Path, private_dir: Path) -> PrivateGit | None:
    """A private git directory to read the worktree with.

    `None` means that no checkout was ever finished there, so that it has no work, or that another repository is there,
    which is never removed.
    """
    if not worktree.is_dir() or mismatch(repository, worktree) is not None:
        return None
    admin_dir = admin_dir_of(repository, worktree)
    with contextlib.suppress(EnvironmentProblem):  # it is missing, or an older version made it
        private = PrivateGit.open(private_dir)
        if (private.worktree, private.admin_dir) == (worktree, admin_dir):  # not after the repository was moved
            return private
    # Removed since, or the launcher died between worktree and agent. A user may have worked there.
    if admin_dir is None or not (admin_dir / "index").exists():
        return None
    late = private_dir.with_name(f"{private_dir.name}-late")
    return PrivateGit.create(repository, late, worktree, filters=recorded(private_dir.parent.parent))
