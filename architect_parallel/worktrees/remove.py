"""Inspect and remove worktrees and branches that provably belong to a run.

This module neither decides what to remove (see `landing`) nor keeps anything: callers keep first, under
`refs/architect/keep/`. Invariant: a name alone is no reason to remove anything. A worktree needs its registration's
mark or its branch, a branch its expected tip. Trees are removed before registrations, and registrations before
branches. So a process killed in between leaves a state that the next call can handle.
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
from architect_parallel.repository.checkouts import checkout_of
from architect_parallel.repository.heads import head_branch
from architect_parallel.repository.ownership import owners, owns_branch
from architect_parallel.repository.registry import (
    INITIALIZING,
    Mismatch,
    admin_dir_of,
    is_ours,
    lock_reason,
    mismatch,
    partial_worktrees,
    registration_lock,
    require_ours,
)
from architect_parallel.repository.trash import empty_trash, move_to_trash
from architect_parallel.snapshots.nested_repositories import find_nested, unsaved
from architect_parallel.snapshots.private_git import PrivateGit
from architect_parallel.system.git import Git, Repository, make_state_dir
from architect_parallel.system.git_errors import describe_lock


@dataclass(frozen=True, slots=True, kw_only=True)
class WorktreeState:
    """The state of a worktree's path."""

    path: Path
    exists: bool
    """True if it is a real directory. A link or a file in its place does not count."""
    ours: bool
    """True if it may be removed as the run's own, or if nothing is there."""
    mismatch: Mismatch | None = None
    """Why it is not the registered worktree. `None` means that it is, or that nothing is there."""
    admin_dir: Path | None = None
    """git's registration. `None` means that it is not registered."""
    locked: str | None = None
    """Reason of `git worktree lock`, maybe empty. `None` means that it is not locked."""
    branch: str | None = None
    """Short name of its branch. `None` means detached or not registered."""
    head: str | None = None
    """Its commit. `None` means that it has none."""
    dirty: tuple[str, ...] = ()
    """Paths that differ from `head`, sorted. Untracked paths are included, ignored ones are not."""
    nested: tuple[str, ...] = ()
    """Paths of repositories inside it, without submodules and ignored ones."""
    unsaved: tuple[str, ...] = ()
    """Paths of submodules with commits that are stored nowhere else."""
    submodule_changes: tuple[str, ...] = ()
    """Paths inside submodules that differ from their checked-out commit."""
    unreadable: str | None = None
    """Why reading failed, in words. Then the other fields mean nothing. `None` means that it succeeded."""


def inspect(repository: Repository, path: Path, branch: str, run_id: str, *, content: bool = True) -> WorktreeState:
    """Inspect the worktree of run `run_id`. Nothing changes, and no program that an agent configured runs.

    The content is read with the current ignore rules and settings. The run's own private git directory
    (`snapshots.private_git`) has those from before the agent ran.

    Args:
        content: Read the content. Otherwise `dirty` stays empty.
    """
    admin = admin_dir_of(repository, path)
    exists = path.is_dir() and not path.is_symlink()
    state = WorktreeState(
        path=path,
        exists=exists,
        ours=is_ours(repository, path, branch, run_id),
        mismatch=mismatch(repository, path),
        admin_dir=admin,
    )
    if admin is None or state.mismatch is not None:
        return state
    current_branch = head_branch(admin)
    reason = lock_reason(admin)
    state = dataclasses.replace(
        state,
        locked=None if reason == INITIALIZING else reason,
        branch=current_branch,
        head=repository.store.resolve(
            f"refs/heads/{current_branch}" if current_branch else f"worktrees/{admin.name}/HEAD"
        ),
    )
    if not exists:
        return state
    try:
        repositories = find_nested(path, admin)
        own = [inner.location for inner in repositories if not inner.submodule and inner.work_tree is not None]
        modules = {inner.location: unsaved(repository, inner) for inner in repositories if inner.submodule}
        dirty: tuple[str, ...] = ()
        nested: tuple[str, ...] = ()
        if content or own:
            with _private_git(repository, path) as private:
                snapshot = private.write_tree() if content else None
                if snapshot is not None:
                    dirty = tuple(sorted({*(change.path for change in snapshot.diff.files), *snapshot.left_out}))
                nested = _not_ignored(private.git, path, own)
    except (ArchitectParallelError, OSError) as error:
        return dataclasses.replace(state, unreadable=str(error))
    return dataclasses.replace(
        state,
        dirty=dirty,
        nested=nested,
        unsaved=tuple(location for location, module in modules.items() if module.commits),
        submodule_changes=tuple(change for module in modules.values() for change in module.changes),
    )


def remove_worktree(repository: Repository, *, path: Path, branch: str, run_id: str) -> None:
    """Remove the worktree of run `run_id` and its registration in any state, without reading the content.

    The caller has kept its work. Partial and damaged worktrees are removed too. A missing one is no error.

    Raises:
        EnvironmentProblem: It is not this run's, it is locked by `git worktree lock`, or it cannot be moved away.
    """
    with registration_lock(repository):
        admin = require_ours(repository, path, branch, run_id)
        move_to_trash(repository, path, *([admin] if admin else []), *partial_worktrees(repository, path))
        with contextlib.suppress(OSError):  # git does the same after the last one
            (repository.common_dir / "worktrees").rmdir()
    empty_trash(repository)


def delete_branch(repository: Repository, branch: str, expected: str) -> str | None:
    """Delete the branch if it is still at commit `expected`.

    Returns:
        Why it stays, in words. `None` means that it is gone, or was missing before.
    """
    ref = f"refs/heads/{branch}"
    with registration_lock(repository):
        tip = repository.store.resolve(ref)
        if tip is None:
            return None
        if tip != expected:
            return f"it has moved to {tip[:12]}"
        # update-ref would delete it and leave that checkout on an unborn branch.
        if (checkout := checkout_of(repository, branch)) is not None:
            return f"it {checkout.words}"
        settings = branch_settings(repository, branch)
        config_lock = repository.common_dir / "config.lock"
        if settings and os.path.lexists(
            config_lock
        ):  # checked first: once the branch is gone, no later call tries again
            return str(describe_lock(config_lock))
        lines = [f"delete {ref} {expected}", *(f"delete {owner}" for owner in owners(repository, branch))]
        text = "".join(f"{line}\n" for line in lines).encode()
        output = repository.store.run("update-ref", "--no-deref", "--stdin", input=text, check=False)
        if output.code != 0:
            return None if repository.store.resolve(ref) is None else str(output.error)
        # The number is free again: a later branch of that name must not inherit this one's upstream.
        if settings:
            repository.store.run("config", "--local", "--remove-section", f"branch.{branch}", check=False)
    return None


def branch_settings(repository: Repository, branch: str) -> tuple[tuple[str, str], ...]:
    """The keys and values of git's configuration for the branch, such as its upstream."""
    # The name may mean something else as a pattern (`c++`). So list all branches, then select this one.
    output = repository.store.run("config", "--local", "-z", "--get-regexp", r"^branch\.", check=False)
    pairs = (field.partition("\n") for field in output.fields)
    own = (pair for pair in pairs if pair[0].rpartition(".")[0] == f"branch.{branch}")
    return tuple((key, value if separator else "true") for key, separator, value in own)


def recover(repository: Repository, *, path: Path, branch: str, base_commit: str, run_id: str) -> str | None:
    """Remove what a launcher left that was killed while it made this worktree, before any agent started in it.

    That is a partial registration, a tree without a registration, a partial checkout or a branch without a worktree,
    which `git worktree prune` and `remove --force` do not remove. A tree with anything that the base lacks stays.

    Returns:
        What stays and why, in words. `None` means that nothing is left.

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
    reason = f"it has moved to {tip[:12]}" if tip != base_commit else delete_branch(repository, branch, base_commit)
    return f"branch {branch} stays: {reason}" if reason else None


@contextlib.contextmanager
def _private_git(repository: Repository, path: Path) -> Iterator[PrivateGit]:
    with tempfile.TemporaryDirectory(prefix="inspect-", dir=make_state_dir(repository.state_dir)) as name:
        yield PrivateGit.create(repository, Path(name) / "git", path)


def _added(repository: Repository, path: Path, base_commit: str) -> list[str]:
    """Paths in a partial worktree that the base lacks, or has with other content. Missing files are no loss."""
    admin = admin_dir_of(repository, path)
    if admin is None or not any(name != ".git" for name in os.listdir(path)):
        return []
    if not (admin / "index").exists():
        # Killed during the checkout: git writes the index last. Written to another file, as git's lock may remain.
        fresh = admin / "index.recovered"
        dataclasses.replace(repository.store, index_file=fresh).run("read-tree", base_commit)
        os.replace(fresh, admin / "index")
    try:
        with _private_git(repository, path) as private:
            snapshot = private.write_tree()
            # Of files with a filter only those count that the base lacks: the others may be partly checked out.
            tracked = set(private.git.run("ls-files", "-z").fields)
            left_out = [file for file in snapshot.left_out if file not in tracked]
            return [*(change.path for change in snapshot.diff.files if change.status != "D"), *left_out]
    except ArchitectParallelError as error:
        raise EnvironmentProblem(
            f"{path} cannot be read: {error.message}", hint="look at it, then remove it"
        ) from error


def _not_ignored(git: Git, path: Path, names: list[str]) -> tuple[str, ...]:
    """The directories below `path` that no ignore rule covers, sorted."""
    if not names:
        return ()
    # check-ignore reads names relative to cwd and refuses GIT_LITERAL_PATHSPECS; `./` makes a leading `:` plain.
    listed = b"".join(b"./" + os.fsencode(name) + b"\0" for name in names)
    git = dataclasses.replace(git, cwd=path)
    plain = {"GIT_LITERAL_PATHSPECS": "0"}
    output = git.run("check-ignore", "-z", "--stdin", "--no-index", input=listed, check=False, env=plain)
    return tuple(sorted(set(names) - {name.removeprefix("./") for name in output.fields}))
