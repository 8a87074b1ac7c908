"""What an earlier attempt of a worker left is kept before the next one begins: committed or not, whoever committed
it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from architect_parallel.domain import WorkerSpec
from architect_parallel.system.git import Repository
from architect_parallel.workers.collect import collect
from architect_parallel.worktrees.snapshot import PrivateGit, keep


def keep_attempt(repository: Repository, spec: WorkerSpec, private_dir: Path) -> str | None:
    """Puts the state of `spec`'s worktree and branch under `refs/architect/keep/<run>/<number>`.

    Args:
        private_dir: The earlier attempt's private git directory. Where it is missing no agent had started.

    Returns:
        The ref, or `None` when there is nothing beside the base commit.

    Raises:
        GitError: When the state cannot be written; then nothing of it may be removed.
    """
    commit = repository.store.resolve(f"refs/heads/{spec.branch}")
    if private_dir.is_dir() and Path(spec.worktree_path).is_dir():
        # Without `commit` the collection leaves the branch alone and keeps what it does not hold.
        collection = collect(repository, PrivateGit.open(private_dir), dataclasses.replace(spec, commit=False))
        if collection.kept is not None:
            return collection.kept
        commit = collection.commit
    if commit is None or commit == spec.base_commit:
        return None
    return keep(repository, commit, spec.run_id, spec.number)
