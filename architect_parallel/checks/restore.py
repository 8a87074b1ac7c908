"""A finished tree lent to commands: whatever they do to it is taken back.

A check runs where its agent worked, because what it needs and git ignores (installed packages, build directories) is
there. It runs code the agent wrote, so it gets a git directory of its own (`worker_repository`), and afterwards the
tree is read through the private git directory only. What git ignores stays as the check left it. Everything else that
it wrote or committed is kept under `refs/architect/keep/<run>/<n>-check`, and then it goes.
"""

from __future__ import annotations

import contextlib
import filecmp
import os
import stat
from pathlib import Path

from architect_parallel.domain import FileChange
from architect_parallel.repository.registry import admin_dir_from_dotgit, delete_tree
from architect_parallel.snapshots.baseline import is_real_directory
from architect_parallel.snapshots.filtered_paths import put_aside, take_back
from architect_parallel.snapshots.keep_refs import keep
from architect_parallel.snapshots.private_git import PrivateGit
from architect_parallel.system.files import replace_file
from architect_parallel.system.git import GitError, Repository
from architect_parallel.worktrees.create import restore_branch
from architect_parallel.worktrees.worker_repository import WorkerRepository

_ROUNDS = 3
"""A check can hide files from git by its ignore rules; they are seen when those are taken back."""


class RestorableTree:
    """A tree nobody works in any more, from before the first command until after the last."""

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
        lent: Where the commands' own git directory is made.
        tree: What is in the worktree now, as an object.
        branch: Short name of the branch that must stay where it is; empty: there is none.
        number: The worker's, for the keep ref; `None`: nothing is kept.

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
        """Copies of the files that are not in `tree` because no filter could store them."""
        self.written: dict[str, None] = {}
        """Paths that were taken back, in the order they were found; not the bytecode that Python leaves wherever it
        runs."""
        self.kept: dict[str, None] = {}
        """Refs that hold what was taken back."""
        self.branch_moved = False
        """Whether a command moved the branch."""
        delete_tree(self._files)
        if self._left_out:
            put_aside(private.worktree, self._left_out, self._files)
        if not is_real_directory(private.worktree):
            self._number = None  # there is nothing of a check's to keep yet
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
        """Forget the copies of files; the tree is not lent any more."""
        delete_tree(self._files)

    def put_back(self) -> None:
        """Makes the tree, its git directory and its branch what they were.

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
        """Whether there was anything to put back."""
        snapshot = self._private.write_tree()
        # They are in no tree: a new one goes, and one that was there before gets its content again.
        secret = [path for path in snapshot.left_out if path not in self._left_out]
        secret += [path for path in self._left_out if not self._is_as_it_was(path)]
        changed = snapshot.tree != self._tree or bool(secret)
        if changed:
            found = self._private.diff(self._tree, snapshot.tree)
            self.written |= {change.path: None for change in found.files if not _is_bytecode(change)}
            self.written |= dict.fromkeys(secret)
            if self._number is not None and found.files:
                self._keep(self._private.commit(snapshot.tree, (self._parent,), "architect: what a check wrote\n"))
            try:
                self._private.restore(self._tree, left_out=self._left_out)
            except GitError:
                _open_up(self._private.worktree)
                self._private.restore(self._tree, left_out=self._left_out)
            take_back(self._files, self._left_out, self._private.worktree)
        # Repositories of its own, and what cannot be collected: git's listing knows them, its trees do not.
        strays = [path for path in self._untracked() if path not in self._strays]
        for path in strays:
            delete_tree(self._private.worktree / path.rstrip("/"))
            self.written[path.rstrip("/")] = None
        return changed or bool(strays)

    def _is_as_it_was(self, path: str) -> bool:
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
        """Keeps what the command committed, and lets `.git` of the worktree be what it was."""
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
    """What Python writes beside each module it reads; one that is tracked is somebody's file."""
    path = Path(change.path)
    return change.status == "A" and path.suffix == ".pyc" and path.parent.name == "__pycache__"


def _link(worktree: Path) -> bytes | None:
    """Content of the worktree's `.git`; `None`: it is no file."""
    place = worktree / ".git"
    with contextlib.suppress(OSError):
        if stat.S_ISREG(place.lstat().st_mode):
            return place.read_bytes()
    return None


def _open_up(directory: Path) -> None:
    """Lets its owner write into every directory below."""
    for here, inner, _ in os.walk(directory):
        for name in (".", *inner):
            place = os.path.normpath(os.path.join(here, name))
            with contextlib.suppress(OSError):
                mode = os.lstat(place).st_mode
                if stat.S_ISDIR(mode) and mode & stat.S_IRWXU != stat.S_IRWXU:
                    os.chmod(place, stat.S_IMODE(mode) | stat.S_IRWXU)
