"""Restore a finished worktree after each check that ran in it.

A check runs in the agent's worktree, because it needs ignored files there (installed packages, build directories). It
runs code that the agent wrote, so it gets a git directory of its own (`worker_repository`), and afterwards the tree is
read through the private git directory only. Files that git ignores stay as the check left them. Everything else that it
wrote or committed is saved under `refs/architect/keep/<run>/<n>-check` and then removed.
"""

from __future__ import annotations

import contextlib
import filecmp
import os
import stat
from pathlib import Path

from architect_parallel.domain import FileChange
from architect_parallel.repository.registry import admin_dir_from_dotgit
from architect_parallel.snapshots.baseline import is_real_directory
from architect_parallel.snapshots.keep_refs import keep
from architect_parallel.snapshots.private_git import PrivateGit
from architect_parallel.snapshots.put_aside import copy_back, put_aside
from architect_parallel.system.files import delete_tree, replace_file
from architect_parallel.system.git import GitError, Repository
from architect_parallel.worktrees.create import restore_branch
from architect_parallel.worktrees.worker_repository import WorkerRepository

_ROUNDS = 3
"""A check can hide files from git by its ignore rules. They are seen when those are taken back."""


class RestorableTree:
    """A finished worktree, from before the first command until after the last."""

    def __init__(
        self,
        repository: Repository,
        private: PrivateGit,
        lent: WorkerRepository,
        *,
        tree: str,
        branch: str,
        run_id: str,
        number: int | None,
    ) -> None:
        """Args:
        lent: The place of the commands' own git directory.
        tree: The worktree's content now, as a tree object.
        branch: Short name of the branch that must not move. Empty means none.
        number: The worker's, for the keep ref. `None` means that nothing is kept.

        Raises:
            GitError: The worktree cannot be read.
        """
        self._repository = repository
        self._private = private
        self._lent = lent
        self._tree = tree
        self._branch = branch
        self._tip = repository.store.resolve(f"refs/heads/{branch}") if branch else None
        self._run_id = run_id
        self._number = number
        self._link = _link(private.worktree)
        self._strays: frozenset[str] = frozenset()
        self._left_out = private.left_out if is_real_directory(private.worktree) else ()
        self._files = lent.directory.with_name(f"{lent.directory.name}-files")
        """Directory with copies of the files that are not in `tree` because no filter could store them."""
        self.written: dict[str, None] = {}
        """Paths that were restored, in order. Without the bytecode that Python writes where it runs."""
        self.kept: dict[str, None] = {}
        """Refs that hold the changes of the checks."""
        self.branch_moved = False
        """True if a command moved the branch."""
        delete_tree(self._files)
        if self._left_out:
            put_aside(private.worktree, self._left_out, self._files)
        if not is_real_directory(private.worktree):
            self._number = None  # no check has run yet
            self.put_back()
            self._number = number
            self.written.clear()
        self._strays = frozenset(self._untracked())

    @property
    def directory(self) -> Path:
        """Top of the worktree."""
        return self._private.worktree

    def lend(self) -> None:
        """Give the next command a git directory of its own, unless the agent destroyed the worktree's.

        Raises:
            GitError, OSError: It cannot be made.
        """
        if self._lent.admin_dir is not None and admin_dir_from_dotgit(self._private.worktree) == self._lent.admin_dir:
            self._lent.lend()

    def close(self) -> None:
        """Delete the copies of files."""
        delete_tree(self._files)

    def put_back(self) -> None:
        """Restore the tree, its git directory and its branch.

        Raises:
            ArchitectParallelError, OSError: Something cannot be undone.
        """
        worktree = self._private.worktree
        if not is_real_directory(worktree):
            worktree.unlink(missing_ok=True)
            worktree.mkdir(parents=True)
        self._put_back_git()
        for _ in range(_ROUNDS):
            if not self._put_back_files():
                break
        self._put_back_branch()

    def _put_back_files(self) -> bool:
        """Restore the files once. Return true if something had changed."""
        snapshot = self._private.write_tree()
        # They are in no tree: a new one is deleted, and an old one gets its content back.
        secret = [path for path in snapshot.left_out if path not in self._left_out]
        secret += [path for path in self._left_out if not self._is_unchanged(path)]
        changed = snapshot.tree != self._tree or bool(secret)
        if changed:
            diff = self._private.diff(self._tree, snapshot.tree)
            self.written |= {change.path: None for change in diff.files if not _is_bytecode(change)}
            self.written |= dict.fromkeys(secret)
            if self._number is not None and diff.files:
                self._keep(self._private.commit(snapshot.tree, (self._parent,), "architect: what a check wrote\n"))
            try:
                self._private.restore(self._tree, left_out=self._left_out)
            except GitError:
                _grant_write_access(self._private.worktree)
                self._private.restore(self._tree, left_out=self._left_out)
            copy_back(self._files, self._left_out, self._private.worktree)
        # Nested repositories and files that cannot be collected: git lists them, but its trees do not hold them.
        strays = [path for path in self._untracked() if path not in self._strays]
        for path in strays:
            delete_tree(self._private.worktree / path.rstrip("/"))
            self.written[path.rstrip("/")] = None
        return changed or bool(strays)

    def _is_unchanged(self, path: str) -> bool:
        copy, place = self._files / path, self._private.worktree / path
        return not place.is_symlink() and place.is_file() and filecmp.cmp(copy, place, shallow=False)

    @property
    def _parent(self) -> str:
        return self._tip or self._private.base_commit

    def _keep(self, commit: str) -> None:
        assert self._number is not None
        self.kept[keep(self._repository, commit, self._run_id, self._number, "check")] = None

    def _untracked(self) -> list[str]:
        return self._private.git.run("ls-files", "-z", "--others", "--exclude-standard").fields

    def _put_back_git(self) -> None:
        """Save the command's commits and restore the worktree's `.git` file."""
        if self._number is None:
            self._lent.discard()
        else:
            taken = self._lent.take_back(self._run_id, self._number, label="check", follows=False)
            self.kept |= dict.fromkeys(taken.kept)
        link = self._private.worktree / ".git"
        if self._link is not None and _link(self._private.worktree) != self._link:
            delete_tree(link)
            replace_file(link, self._link)

    def _put_back_branch(self) -> None:
        if self._tip is None:
            return
        ref = f"refs/heads/{self._branch}"
        now = self._repository.store.resolve(ref)
        if now == self._tip:
            return
        if now is None:
            restore_branch(self._repository, branch=self._branch, commit=self._tip, run_id=self._run_id)
            return
        self.branch_moved = True
        if self._number is not None:
            self._keep(now)
        message = f"architect: taken back after the checks of {self._run_id}"
        output = self._repository.store.run("update-ref", "--no-deref", "-m", message, ref, self._tip, now, check=False)
        if output.code != 0:
            raise output.error


def _is_bytecode(change: FileChange) -> bool:
    """Return true for new bytecode that Python wrote. A tracked file is the user's."""
    path = Path(change.path)
    return change.status == "A" and path.suffix == ".pyc" and path.parent.name == "__pycache__"


def _link(worktree: Path) -> bytes | None:
    """Content of the worktree's `.git`. `None` means that it is no regular file."""
    place = worktree / ".git"
    with contextlib.suppress(OSError):
        if stat.S_ISREG(place.lstat().st_mode):
            return place.read_bytes()
    return None


def _grant_write_access(directory: Path) -> None:
    """Let the owner write into every directory below."""
    for here, inner, _ in os.walk(directory):
        for name in (".", *inner):
            place = os.path.normpath(os.path.join(here, name))
            with contextlib.suppress(OSError):
                mode = os.lstat(place).st_mode
                if stat.S_ISDIR(mode) and mode & stat.S_IRWXU != stat.S_IRWXU:
                    os.chmod(place, stat.S_IMODE(mode) | stat.S_IRWXU)
