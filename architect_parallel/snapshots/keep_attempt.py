"""What an earlier attempt of a worker left is kept before the next one begins: committed or not, whoever committed
it."""

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
    """Puts the state of `spec`'s worktree and branch under `refs/architect/keep/<run>/<number>`.

    Args:
        private_dir: The earlier attempt's private git directory; it may be gone.

    Returns:
        The ref, or `None` when there is nothing beside the base commit.

    Raises:
        EnvironmentProblem: There is a tree that cannot be read.
        GitError: The state cannot be written. After either, nothing of it may be removed.
    """
    commit = repository.store.resolve(f"refs/heads/{spec.branch}")
    worktree = Path(spec.worktree_path)
    private = _reader(repository, worktree, private_dir)
    if private is not None:
        # Repositories inside go with the tree; what is kept of them stands beside the rest.
        keep_all_nested(repository, worktree, private.admin_dir, spec.run_id, spec.number)
        # Without `commit` the collection leaves the branch alone and keeps what it does not hold.
        collection = collect(repository, private, dataclasses.replace(spec, commit=False))
        if private.left_out and not spec.continues:
            place = private_dir.parent.parent / "aside" / f"worker-{spec.worker_id}-{spec.attempt}"
            put_aside(private.worktree, private.left_out, place)
        if collection.kept is not None:
            return collection.kept
        commit = collection.commit
    if commit is None or commit == spec.base_commit:
        return None
    return keep(repository, commit, spec.run_id, spec.number)


def _reader(repository: Repository, worktree: Path, private_dir: Path) -> PrivateGit | None:
    """A way to read the worktree; `None`: no tree was ever finished there, so nobody can have worked in it, or another
    repository is there, which nobody takes away."""
    if not worktree.is_dir() or mismatch(repository, worktree) is not None:
        return None
    admin_dir = admin_dir_of(repository, worktree)
    with contextlib.suppress(EnvironmentProblem):  # there is none, or an older version made it
        private = PrivateGit.open(private_dir)
        if (private.worktree, private.admin_dir) == (worktree, admin_dir):  # not after the repository was moved
            return private
    # Removed since, or its launcher died between the worktree and the agent: what a person did there counts too.
    if admin_dir is None or not (admin_dir / "index").exists():
        return None
    late = private_dir.with_name(f"{private_dir.name}-late")
    return PrivateGit.create(repository, late, worktree, filters=recorded(private_dir.parent.parent))
