"""Worktrees and branches are looked at and go away here, and only those that are proven to be a run's own.

May not decide what may go (that is `landing`) nor keep anything (callers keep first, under `refs/architect/keep/`).
The invariant: nothing is removed on the strength of its name. A worktree needs its registration's mark or its branch,
a branch its expected tip. Trees go before registrations and registrations before branches, so that whoever is killed
in between leaves something the next call understands.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from architect_parallel.errors import ArchitectParallelError, EnvironmentProblem
from architect_parallel.repository.heads import head_branch
from architect_parallel.repository.ownership import owners, owns_branch
from architect_parallel.repository.registry import (
    INITIALIZING,
    Mismatch,
    admin_dir_of,
    checkout_of,
    empty_trash,
    is_ours,
    lock_reason,
    mismatch,
    move_to_trash,
    partial_worktrees,
    registration_lock,
    require_ours,
)
from architect_parallel.snapshots.nested_repositories import find_nested, unsaved
from architect_parallel.snapshots.private_git import PrivateGit
from architect_parallel.system.git import Git, Repository, make_state_dir
from architect_parallel.system.git_errors import describe_lock


@dataclass(frozen=True, slots=True, kw_only=True)
class WorktreeState:
    """What is at a worktree's place."""

    path: Path
    exists: bool
    """A real directory is there; a link or a file in its place is not it."""
    ours: bool
    """It may be removed as the run's own (also when nothing is there)."""
    mismatch: Mismatch | None = None
    """Why it is not the registered worktree; `None` means that it is, or that nothing is there."""
    admin_dir: Path | None = None
    """git's registration; `None`: not registered."""
    locked: str | None = None
    """Reason of `git worktree lock`, perhaps empty; `None`: not locked."""
    branch: str | None = None
    """Short name of the branch it is on; `None`: detached or not registered."""
    head: str | None = None
    """Commit it is on; `None`: none."""
    dirty: tuple[str, ...] = ()
    """Paths that differ from `head`, untracked ones included and ignored ones not, sorted."""
    nested: tuple[str, ...] = ()
    """Paths of repositories inside it, submodules and ignored ones not counted."""
    unsaved: tuple[str, ...] = ()
    """Paths of submodules with commits that are nowhere else."""
    submodule_changes: tuple[str, ...] = ()
    """Paths inside submodules that differ from what is checked out there."""
    unreadable: str | None = None
    """Why one of these could not be found out, in words; then they mean nothing."""


def inspect(
    repository: Repository, path: Path, branch: str, run_id: str, *, content: bool = True
) -> WorktreeState:  # fmt: skip
    """Looks at the worktree of run `run_id`; runs nothing an agent may have configured and changes nothing.

    The content is read with the ignore rules and settings of now; where the run's own private git directory is at
    hand, `snapshot.PrivateGit` knows those from before the agent ran.

    Args:
        content: Whether to read the content; without, `dirty` stays empty.
    """
    admin = admin_dir_of(repository, path)
    exists = path.is_dir() and not path.is_symlink()
    state = WorktreeState(
        path=path, exists=exists, ours=is_ours(repository, path, branch, run_id),
        mismatch=mismatch(repository, path), admin_dir=admin,
    )  # fmt: skip
    if admin is None or state.mismatch is not None:
        return state
    on = head_branch(admin)
    reason = lock_reason(admin)
    state = dataclasses.replace(
        state,
        locked=None if reason == INITIALIZING else reason,
        branch=on,
        head=repository.store.resolve(f"refs/heads/{on}" if on else f"worktrees/{admin.name}/HEAD"),
    )
    if not exists:
        return state
    try:
        found = find_nested(path, admin)
        own = [each.location for each in found if not each.submodule and each.work_tree is not None]
        modules = {each.location: unsaved(repository, each) for each in found if each.submodule}
        dirty: tuple[str, ...] = ()
        nested: tuple[str, ...] = ()
        if content or own:
            with _reading(repository, path) as private:
                read = private.write_tree() if content else None
                if read is not None:
                    dirty = tuple(sorted({*(change.path for change in read.diff.files), *read.left_out}))
                nested = _not_ignored(private.git, path, own)
    except (ArchitectParallelError, OSError) as error:
        return dataclasses.replace(state, unreadable=str(error))
    return dataclasses.replace(
        state,
        dirty=dirty,
        nested=nested,
        unsaved=tuple(where for where, what in modules.items() if what.commits),
        submodule_changes=tuple(change for what in modules.values() for change in what.changes),
    )


def remove_worktree(repository: Repository, *, path: Path, branch: str, run_id: str) -> None:
    """Removes the worktree of run `run_id` and its registration, whatever state they are in; content is not looked at.

    The caller has kept what counts. Works on files, so half-made and broken ones go as well; a missing one is fine.

    Raises:
        EnvironmentProblem: It is not this run's, it is locked by `git worktree lock`, or it cannot be moved away.
    """
    with registration_lock(repository):
        admin = require_ours(repository, path, branch, run_id)
        move_to_trash(repository, path, *([admin] if admin else []), *partial_worktrees(repository, path))
        with contextlib.suppress(OSError):  # as git does with the last one
            (repository.common_dir / "worktrees").rmdir()
    empty_trash(repository)


def delete_branch(repository: Repository, branch: str, expected: str) -> str | None:
    """Deletes the branch if it is still at commit `expected`.

    Returns:
        Why it stays, in words; `None`: it is gone, or was before.
    """
    ref = f"refs/heads/{branch}"
    with registration_lock(repository):
        tip = repository.store.resolve(ref)
        if tip is None:
            return None
        if tip != expected:
            return f"it has moved to {tip[:12]}"
        # update-ref would delete it under somebody's feet and leave that checkout unborn.
        if (checkout := checkout_of(repository, branch)) is not None:
            return f"it {checkout.words}"
        settings = branch_settings(repository, branch)
        config_lock = repository.common_dir / "config.lock"
        if settings and os.path.lexists(config_lock):  # looked at first: without the branch nobody would ask again
            return str(describe_lock(config_lock))
        lines = [f"delete {ref} {expected}", *(f"delete {owner}" for owner in owners(repository, branch))]
        text = "".join(f"{line}\n" for line in lines).encode()
        output = repository.store.run("update-ref", "--no-deref", "--stdin", input=text, check=False)
        if output.code != 0:
            return None if repository.store.resolve(ref) is None else str(output.error)
        # The number is free again: a later branch of that name must not inherit where this one was pushed to.
        if settings:
            repository.store.run("config", "--local", "--remove-section", f"branch.{branch}", check=False)
    return None


def branch_settings(repository: Repository, branch: str) -> tuple[tuple[str, str], ...]:
    """What git's configuration says of the branch, where it was pushed to for one: keys and values."""
    # The name may mean something else as a pattern (`c++`): so all branches, and then its own.
    output = repository.store.run("config", "--local", "-z", "--get-regexp", r"^branch\.", check=False)
    pairs = (field.partition("\n") for field in output.fields)
    own = (pair for pair in pairs if pair[0].rpartition(".")[0] == f"branch.{branch}")
    return tuple((key, value if separator else "true") for key, separator, value in own)


def recover(repository: Repository, *, path: Path, branch: str, base_commit: str, run_id: str) -> str | None:
    """Clears what a launcher left that was killed while it made this worktree, before any agent could start in it.

    Half-made registrations, a tree without its registration, a half checked-out tree, a branch without a worktree: all
    that `git worktree prune` and `remove --force` leave alone. What holds anything the base does not have stays.

    Returns:
        What stays and why, in words; `None`: nothing is left.

    Raises:
        EnvironmentProblem: See `remove_worktree`.
    """
    if path.is_dir() and not path.is_symlink() and admin_dir_of(repository, path) is not None:
        added = _added(repository, path, base_commit)
        if added:
            return f"{path} stays: {added[0]} is in it" + (f" and {len(added) - 1} more" if len(added) > 1 else "")
    remove_worktree(repository, path=path, branch=branch, run_id=run_id)
    tip = repository.store.resolve(f"refs/heads/{branch}")
    if tip is None:
        return None
    if not owns_branch(repository, branch, run_id, base_commit):
        return f"branch {branch} stays: run {run_id} did not make it"
    why = f"it has moved to {tip[:12]}" if tip != base_commit else delete_branch(repository, branch, base_commit)
    return f"branch {branch} stays: {why}" if why else None


@contextlib.contextmanager
def _reading(repository: Repository, path: Path) -> Iterator[PrivateGit]:
    with tempfile.TemporaryDirectory(prefix="inspect-", dir=make_state_dir(repository.state_dir)) as name:
        yield PrivateGit.create(repository, Path(name) / "git", path)


def _added(repository: Repository, path: Path, base_commit: str) -> list[str]:
    """Paths in a half-made worktree that the base does not have, or has otherwise; missing ones are no loss."""
    admin = admin_dir_of(repository, path)
    if admin is None or not any(name != ".git" for name in os.listdir(path)):
        return []
    if not (admin / "index").exists():
        # Killed in its checkout: git writes the index last. Beside and renamed, for its lock may still be there.
        fresh = admin / "index.recovered"
        dataclasses.replace(repository.store, index_file=fresh).run("read-tree", base_commit)
        os.replace(fresh, admin / "index")
    try:
        with _reading(repository, path) as private:
            found = private.write_tree()
            # Of files with a filter only those count that the base does not have: the others may be half checked out.
            tracked = set(private.git.run("ls-files", "-z").fields)
            left_out = [each for each in found.left_out if each not in tracked]
            return [*(change.path for change in found.diff.files if change.status != "D"), *left_out]
    except ArchitectParallelError as error:
        raise EnvironmentProblem(
            f"{path} cannot be read: {error.message}", hint="look at it, then remove it"
        ) from error


def _not_ignored(git: Git, path: Path, names: list[str]) -> tuple[str, ...]:
    """Those of the directories below `path` that no ignore rule covers, sorted."""
    if not names:
        return ()
    # check-ignore reads names from where it stands and refuses GIT_LITERAL_PATHSPECS; `./` keeps a leading `:` plain.
    listed = b"".join(b"./" + os.fsencode(name) + b"\0" for name in names)
    git = dataclasses.replace(git, cwd=path)
    plain = {"GIT_LITERAL_PATHSPECS": "0"}
    output = git.run("check-ignore", "-z", "--stdin", "--no-index", input=listed, check=False, env=plain)
    return tuple(sorted(set(names) - {name.removeprefix("./") for name in output.fields}))
