"""A stop does not wait for worktrees that have not been checked out yet, and leaves nothing of them behind."""

from __future__ import annotations

import pytest

from architect_parallel.repository.registry import admin_dirs
from architect_parallel.system.git import Repository
from architect_parallel.worktrees.create import Cancelled, add_worktree, reopen_worktree, require_base


def arguments(repository: Repository) -> dict[str, object]:
    path = repository.root / ".architect-parallel-1"
    return {"path": path, "branch": "architect/parallel-1", "base_commit": require_base(repository), "run_id": "r-1"}


def test_a_worktree_nobody_wants_any_more_is_not_checked_out_and_leaves_nothing(repository: Repository) -> None:
    words = arguments(repository)
    with pytest.raises(Cancelled):
        add_worktree(repository, **words, is_cancelled=lambda: True)  # type: ignore[arg-type]  # one dictionary for all
    assert not (repository.root / ".architect-parallel-1").exists()
    assert admin_dirs(repository) == []
    assert repository.store.resolve("refs/heads/architect/parallel-1") is None
    assert add_worktree(repository, **words, is_cancelled=lambda: False).path.is_dir()  # type: ignore[arg-type]  # as above


def test_a_reopened_worktree_nobody_wants_any_more_can_be_reopened_again(repository: Repository) -> None:
    words = arguments(repository)
    made = add_worktree(repository, **words)  # type: ignore[arg-type]  # as above
    with pytest.raises(Cancelled):
        reopen_worktree(repository, **words, is_cancelled=lambda: True)  # type: ignore[arg-type]  # as above
    assert [each.name for each in made.path.iterdir()] == [".git"]
    assert len(list(reopen_worktree(repository, **words).path.iterdir())) > 1  # type: ignore[arg-type]  # as above
