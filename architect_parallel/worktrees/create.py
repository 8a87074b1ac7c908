"""Create branches and worktrees. Nothing that exists is ever taken over.

This module removes nothing that others made (see `remove`) and reads no trees (see `snapshots`). Invariant: it has just
created every branch or directory that it returns, and the branch's reflog says so.

The order within `add_worktree` makes it safe:
1. The branch, with `update-ref` and "must not exist". Its reflog entry names the run, so that a launcher killed right
   after can still prove what belongs to the run.
2. The registration, under the same lock between processes: about one in a hundred concurrent `git worktree add` fails.
3. The checkout, outside the lock and at most one per core, because more only compete for the disk.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from architect_parallel.errors import ArchitectParallelError, EnvironmentProblem, UsageError
from architect_parallel.repository.checkouts import checkout_of
from architect_parallel.repository.filters import share_filter_state
from architect_parallel.repository.heads import is_taken
from architect_parallel.repository.ownership import creation_message, owner_ref, owns_branch, reset_message
from architect_parallel.repository.registry import (
    admin_dir_from_dotgit,
    admin_dir_of,
    partial_worktrees,
    registration_lock,
    require_ours,
    write_owner,
)
from architect_parallel.repository.trash import empty_trash, move_to_trash
from architect_parallel.system.git import GitError, Repository
from architect_parallel.worktrees.checkout_cache import UnpackedBase, check_out
from architect_parallel.worktrees.checkout_slots import checkout_slots
from architect_parallel.worktrees.places import blocked

__all__ = [
    "Cancelled",
    "Worktree",
    "add_worktree",
    "checkout_files",
    "owns_branch",
    "registration_lock",
    "reopen_worktree",
    "require_base",
]


class Cancelled(ArchitectParallelError):
    """The run was stopped while a worktree waited for its turn to be checked out."""


def _never() -> bool:
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Worktree:
    """A linked worktree of this program, checked out at its base. All paths are absolute."""

    path: Path
    branch: str
    """Short name."""
    base_commit: str
    admin_dir: Path
    """git's directory of this worktree, below `<common>/worktrees/`. git chooses its name."""


def require_base(repository: Repository, ref: str | None = None) -> str:
    """Full id of the commit that `ref` names. `None` means HEAD of the user's checkout.

    Raises:
        EnvironmentProblem: There is no commit yet, or HEAD is broken.
        UsageError: `ref` names no commit.
    """
    name = "HEAD" if ref is None else ref
    oid = repository.git.resolve(name) if name and "\0" not in name else None
    # Peeled in a second step: `^{commit}` would become part of the text in a `:/text` revision.
    commit = oid and repository.git.resolve(f"{oid}^{{commit}}")
    if commit:
        return commit
    if name not in ("HEAD", "@"):
        raise UsageError(f"there is no commit {name!r} in {repository.root}", hint="git log --oneline --all")
    branch = repository.git.run("symbolic-ref", "--quiet", "--short", "HEAD", check=False).text
    if branch and repository.git.resolve(f"refs/heads/{branch}") is None:
        raise EnvironmentProblem(
            f"{repository.root} has no commit yet (branch {branch!r} is empty)",
            hint='git commit --allow-empty -m "first commit"',
        )
    raise EnvironmentProblem(f"HEAD of {repository.root} does not name a commit", hint="git fsck")


def add_worktree(
    repository: Repository,
    *,
    path: Path,
    branch: str,
    base_commit: str,
    run_id: str,
    is_cancelled: Callable[[], bool] = _never,
    unpacked: UnpackedBase | None = None,
) -> Worktree:
    """Create `branch` at `base_commit` and a worktree at `path` with its files checked out.

    After a failure, everything it made is removed. Blocks during other registrations or too many checkouts.

    Args:
        path: Absolute. Nothing may be there, not even a dangling link.
        branch: Short name. No such branch may exist.
        base_commit: Full commit id.
        run_id: Written to the branch's reflog and to the registration as the proof of ownership.
        is_cancelled: Called before the checkout, because a stop must not wait for a queue of checkouts.
        unpacked: The run's cache of the base commit. A cache of another commit is not used.

    Raises:
        Cancelled: `is_cancelled` returned true.
        EnvironmentProblem: The path or the branch is taken, or the repository cannot be written.
        GitError: git failed. Its message is part of the error.
    """
    with registration_lock(repository) as lock:
        _require_free_place(repository, path)
        _create_branch(repository, branch, base_commit, run_id, lock)
        try:
            admin_dir = _register(repository, path, branch, run_id, lock)
        except BaseException:
            _remove_partial(repository, path)
            _delete_branch(repository, branch, base_commit, run_id)
            raise
    worktree = Worktree(path=path, branch=branch, base_commit=base_commit, admin_dir=admin_dir)
    try:
        checkout_files(worktree, is_cancelled, unpacked)
    except BaseException:
        with registration_lock(repository):
            _remove_partial(repository, path)
            _delete_branch(repository, branch, base_commit, run_id)
        empty_trash(repository)
        raise
    return worktree


def reopen_worktree(
    repository: Repository,
    *,
    path: Path,
    branch: str,
    base_commit: str,
    run_id: str,
    is_cancelled: Callable[[], bool] = _never,
    unpacked: UnpackedBase | None = None,
) -> Worktree:
    """Replace the worktree of a worker of run `run_id` by a fresh tree at its base, for another attempt.

    The caller has kept the work of the earlier attempt. The old tree is removed, ignored files included, so that its
    settings, hooks or unfinished merges do not affect the next agent. The branch's old tip stays in its reflog. Also
    usable if the earlier attempt never got its worktree, lost it, or was killed.

    Raises:
        Cancelled: As for `add_worktree`. The branch is at its base, the tree is empty, another attempt may follow.
        EnvironmentProblem: The path or the branch is not this run's.
        GitError: git failed.
    """
    with registration_lock(repository) as lock:
        tip = repository.store.resolve(f"refs/heads/{branch}")
        if tip is not None and not owns_branch(repository, branch, run_id, base_commit):
            raise EnvironmentProblem(f"branch {branch} is not the one run {run_id} made", hint="start a new run")
        admin = require_ours(repository, path, branch, run_id)
        move_to_trash(repository, path, *([admin] if admin else []), *partial_worktrees(repository, path))
        _require_free_place(repository, path)
        _require_not_checked_out(repository, branch)
        message = creation_message(run_id) if tip is None else reset_message(run_id)
        _move_branch(repository, branch, base_commit, message, lock, run_id=run_id, old=tip)
        admin_dir = _register(repository, path, branch, run_id, lock)
    empty_trash(repository)
    worktree = Worktree(path=path, branch=branch, base_commit=base_commit, admin_dir=admin_dir)
    checkout_files(worktree, is_cancelled, unpacked)
    return worktree


def take_up_worktree(repository: Repository, *, path: Path, branch: str, base_commit: str, run_id: str) -> Worktree:
    """The worktree that an earlier attempt of the run left. Nothing in it changes.

    Raises:
        EnvironmentProblem: It is missing, locked, or not this run's.
    """
    admin = require_ours(repository, path, branch, run_id)
    if admin is None or not path.is_dir():
        raise EnvironmentProblem(
            f"the worktree {path} is gone", hint="`architect undo` brings back what a cleanup took"
        )
    return Worktree(path=path, branch=branch, base_commit=base_commit, admin_dir=admin)


def restore_branch(repository: Repository, *, branch: str, commit: str, run_id: str, is_users: bool = False) -> None:
    """Create the branch of run `run_id` at `commit` again, to undo its removal.

    Args:
        is_users: The run only creates the branch: it belongs to the user, and nothing records the run as its owner.

    Raises:
        EnvironmentProblem: A branch of that name exists.
    """
    with registration_lock(repository) as lock:
        _create_branch(repository, branch, commit, run_id, lock, is_users=is_users)


def checkout_files(worktree: Worktree, is_cancelled: Callable[[], bool], unpacked: UnpackedBase | None = None) -> None:
    """Write the files of a registered worktree, after waiting for a free core.

    Raises:
        GitError: The checkout failed: a full disk, a filter that fails.
    """
    with checkout_slots().one():
        if is_cancelled():
            raise Cancelled(f"{worktree.path} is not checked out: the run was stopped")
        same = unpacked is not None and unpacked.base_commit == worktree.base_commit
        check_out(worktree.path, unpacked if same else None)


def _require_free_place(repository: Repository, path: Path) -> None:
    if os.path.lexists(path):
        raise EnvironmentProblem(f"{path} exists already and is not taken over", hint="move it away")
    if admin_dir_of(repository, path) is not None:
        raise EnvironmentProblem(f"{path} is registered as a worktree that is missing", hint="git worktree prune")


def _create_branch(
    repository: Repository, branch: str, commit: str, run_id: str, lock: int, *, is_users: bool = False
) -> None:
    try:
        # git would replace a dangling or broken ref, yet another program made it.
        if is_taken(repository.common_dir, f"refs/heads/{branch}"):
            raise _taken(branch)
        owner = None if is_users else run_id
        _move_branch(repository, branch, commit, creation_message(run_id), lock, run_id=owner, old=None)
    except GitError as error:
        if (problem := blocked(repository, branch)) is not None:
            raise problem from error
        if repository.store.resolve(f"refs/heads/{branch}") is not None:
            raise _taken(branch) from error
        raise


def _require_not_checked_out(repository: Repository, branch: str) -> None:
    checkout = checkout_of(repository, branch)
    if checkout is not None:
        raise EnvironmentProblem(f"branch {branch} {checkout.words}", hint=checkout.hint)


def _move_branch(
    repository: Repository, branch: str, commit: str, message: str, lock: int, *, run_id: str | None, old: str | None
) -> None:
    """Move the branch and its owner ref in one transaction.

    Args:
        run_id: The owner. `None` means that the branch has no owner ref.
        old: `None` means that the branch must not exist.
    """
    change = f"create refs/heads/{branch} {commit}" if old is None else f"update refs/heads/{branch} {commit} {old}"
    # The owner first: whoever sees the branch then finds out whose it is (`side_effects.read_refs`).
    lines = (f"update {owner_ref(run_id, branch)} {commit}\n" if run_id is not None else "") + f"{change}\n"
    # The reflog is a proof of ownership, and bare repositories have none by default.
    command = ("update-ref", "--no-deref", "--create-reflog", "-m", message, "--stdin")
    repository.store.run(*command, input=lines.encode(), holding=(lock,))


def _delete_branch(repository: Repository, branch: str, expected: str, run_id: str) -> None:
    lines = f"delete refs/heads/{branch} {expected}\ndelete {owner_ref(run_id, branch)}\n"
    with contextlib.suppress(GitError):
        repository.store.run("update-ref", "--no-deref", "--stdin", input=lines.encode())


def _register(repository: Repository, path: Path, branch: str, run_id: str, lock: int) -> Path:
    # From the user's checkout: git copies its sparse patterns and its worktree configuration.
    repository.git.run("worktree", "add", "--quiet", "--no-checkout", path, branch, holding=(lock,))
    admin_dir = admin_dir_from_dotgit(path)
    if admin_dir is None:
        raise EnvironmentProblem(f"git made no worktree at {path}", hint="git worktree list")
    write_owner(admin_dir, run_id)
    share_filter_state(repository, admin_dir)
    return admin_dir


def _remove_partial(repository: Repository, path: Path) -> None:
    """Remove what a failed registration left. The path was free before, so this process made what is there."""
    admin = admin_dir_of(repository, path)
    move_to_trash(repository, path, *([admin] if admin else []), *partial_worktrees(repository, path))


def _taken(branch: str) -> EnvironmentProblem:
    hint = f"git branch -m {branch} NEW"
    return EnvironmentProblem(f"branch {branch} exists already and is not taken over", hint=hint)
