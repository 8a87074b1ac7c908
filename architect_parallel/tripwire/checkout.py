"""Compare the main checkout with its state at the scan before.

This module reads the user's checkout and leaves no trace there. Git compares files through a private git directory (see
`snapshots.private_git`: it runs no hook, filter or fsmonitor, and ignores the repository's settings). The private index
includes the uncommitted changes since the first scan, so that each further scan needs one `git ls-files`. The user's
index is never refreshed. Contents are stored in a separate object store, not in the user's.

A scan does not see ignored files, the content of submodules and other repositories, or a change that was reverted
between two scans. Contents beyond `MOST_FILE_BYTES`, `MOST_BYTES` and `MOST_FILES` per scan are not saved. Of those
files only the fact of the change is known.
"""

from __future__ import annotations

import dataclasses
import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from architect_parallel.snapshots import diff
from architect_parallel.snapshots.private_git import PrivateGit
from architect_parallel.snapshots.worktree_index import Listing, nul_terminated
from architect_parallel.system.files import make_private_dir
from architect_parallel.system.git import Git, GitError, Repository
from architect_parallel.tripwire.attribution import CheckoutChange
from architect_parallel.tripwire.repository_state import Landed, RepositoryState, Stamp, changed_at_s, stamp

MOST_FILE_BYTES = 8 * 1024**2
MOST_BYTES = 32 * 1024**2
MOST_FILES = 1000
MOST_TRIED = 100
"""The most files that are added one by one after adding them together failed."""

_Entries = Mapping[str, tuple[str, str]]


class MainCheckout:
    """A repository's main checkout, compared with the scan before. Not safe for several threads."""

    def __init__(self, repository: Repository, directory: Path) -> None:
        """Do the first scan. `directory` is made for this object alone.

        Raises:
            EnvironmentProblem: The checkout has no index, or the directory cannot be made.
            GitError: The repository cannot be read.
            OSError: The disk is full.
        """
        self.root = repository.root
        self._state = RepositoryState(repository)
        self._files = None if repository.main_checkout is None else _Files(repository, directory)
        self._unreported: list[CheckoutChange] = []

    def changes(self, landed: Sequence[Landed] = ()) -> list[CheckoutChange]:
        """Scan, and return the changes since the last scan, without those that `landed` made.

        Raises:
            GitError, OSError: Something cannot be read. The next scan reports the missing changes.
        """
        if self._files is not None:
            files = self._files.changes()
            self._unreported += self._files.without(files, landed) if files and landed else files
        self._unreported.extend(self._state.changes(landed))
        reported, self._unreported = self._unreported, []
        return reported

    def patch(self, changes: Iterable[CheckoutChange]) -> bytes | None:
        """The files' changes as a patch for `git apply`, binary files included. `None` means that no file changed.

        Lines before the first file, which git ignores, name the changes that a patch cannot contain.

        Raises:
            GitError: A content is missing (partial clone).
        """
        changes = sorted(changes, key=lambda change: change.path)
        saved = [change for change in changes if change.saved and change.before != change.after]
        if not saved or self._files is None:
            return None
        unsaved = (change for change in changes if not change.saved)
        notes = [change.words or f"{change.path} changed; its content is not in this patch" for change in unsaved]
        head = "".join(f"# {' '.join(note.split())}\n" for note in notes).encode(errors="surrogateescape")
        return head + self._files.patch(saved)


class _Files:
    """The files of the checkout: tracked ones, and untracked ones that are not ignored."""

    def __init__(self, repository: Repository, directory: Path) -> None:
        self._root = repository.root
        self._directory = make_private_dir(directory)
        private = PrivateGit.create(repository, directory / "git", repository.root)
        objects = directory / "objects"
        (objects / "info").mkdir(mode=0o700, parents=True, exist_ok=True)
        (objects / "info" / "alternates").write_bytes(os.fsencode(repository.common_dir / "objects") + b"\n")
        self._git = dataclasses.replace(private.git, cwd=self._root, object_directory=objects)
        self._filtered = private.filtered()
        self._unsaved: dict[str, Stamp] = {}
        """The stamps of files whose content was not saved."""
        # The files of a fresh checkout are as young as its index. Git trusts their times only in a younger index.
        self._git.run("update-index", "-q", "--refresh", "--force-write-index", check=False)
        self.changes()

    def changes(self) -> list[CheckoutChange]:
        """The changes since the last call."""
        gone, present = self._listed()
        stamps = {path: self._stamp(path) for path in present}
        new = [path for path in present if self._unsaved.get(path) != stamps[path]]
        gone |= {path for path in self._unsaved if path not in stamps and not os.path.lexists(self._root / path)}
        if not gone and not new:
            return []
        times = {path: changed_at_s(self._root / path) for path in new}
        before, before_unsaved = _entries(self._git), self._unsaved
        unsaved = self._update_index(gone, new, before)
        self._unsaved = {
            path: file_stamp for path, file_stamp in before_unsaved.items() if path not in gone and path not in times
        }
        self._unsaved |= {path: stamps[path] for path in unsaved}
        after = _entries(self._git)
        changes = []
        for path in sorted(gone | times.keys()):
            whole = path not in unsaved and path not in before_unsaved
            old, now = before.get(path), None if path in unsaved else after.get(path)
            if whole and old == now:
                continue  # only touched
            at = times.get(path)
            changes.append(
                CheckoutChange(
                    path=path,
                    before=old,
                    after=now,
                    saved=whole,
                    earliest_s=at,
                    latest_s=self._left_by(path) if at is None else at,
                )
            )
        return changes

    def without(self, changes: list[CheckoutChange], landed: Sequence[Landed]) -> list[CheckoutChange]:
        """The changes without the files that are as in a commit that a merge or an undo landed."""
        excused: set[str] = set()
        for tip in {tip for move in landed for tip in (move.old, move.new)}:
            index = self._directory / "landed.index"
            git = dataclasses.replace(self._git, index_file=index)
            try:
                git.run("read-tree", tip)
                entries = _entries(git)
            except GitError:  # the objects are gone by now
                continue
            finally:
                index.unlink(missing_ok=True)
            excused |= {change.path for change in changes if change.saved and entries.get(change.path) == change.after}
        return [change for change in changes if change.path not in excused]

    def patch(self, changes: Sequence[CheckoutChange]) -> bytes:
        """A patch from all `before` to all `after`."""
        before = self._tree({change.path: change.before for change in changes if change.before is not None})
        after = self._tree({change.path: change.after for change in changes if change.after is not None})
        return diff.patch(self._git, before, after, binary=True)

    def _tree(self, entries: _Entries) -> str:
        index = self._directory / "patch.index"
        git = dataclasses.replace(self._git, index_file=index)
        lines = (f"{mode} {oid} 0\t".encode() + os.fsencode(path) + b"\0" for path, (mode, oid) in entries.items())
        try:
            git.run("update-index", "-z", "--index-info", input=b"".join(lines))
            return git.text("write-tree", "--missing-ok")
        finally:
            index.unlink(missing_ok=True)

    def _listed(self) -> tuple[set[str], list[str]]:
        """Paths that are gone, and paths that are modified or new, by the private index."""
        fields = self._git.run("ls-files", "-z", "-t", "-m", "-d", "-o", "--exclude-standard").fields
        gone = {field[2:] for field in fields if field.startswith("R")}
        return gone, [path for path in dict.fromkeys(field[2:] for field in fields) if path not in gone]

    def _stamp(self, path: str) -> Stamp:
        file_stamp = stamp(self._root / path)
        # Of a nested repository only its existence counts: git writes in it all the time.
        return (file_stamp[0], file_stamp[-1]) if file_stamp and stat.S_ISDIR(file_stamp[0]) else file_stamp

    def _update_index(self, gone: set[str], new: list[str], before: _Entries) -> set[str]:
        """Update the private index. Returns the paths of `new` whose content could not be saved."""
        directories = {path for path in new if path in before and self._is_directory(path)}
        # For git, a directory in a file's place is a change of the file. Its content is listed as new.
        replaced = {path for path in directories if before[path][0] != diff.GITLINK_MODE}
        removed = nul_terminated(gone | replaced)
        self._git.run("update-index", "-z", "--force-remove", "--stdin", input=removed)
        added: list[str] = []
        left = MOST_BYTES
        filtered = self._filtered.select(new)  # content that a filter encrypts is never saved
        for path in (path for path in new if path not in replaced and path not in filtered):
            size = 0 if path in directories else self._readable_bytes(path)
            if size is not None and size <= min(MOST_FILE_BYTES, left) and len(added) < MOST_FILES:
                added.append(path)
                left -= size
        unsaved = set(new) - set(added) - replaced
        if not self._add(added):
            few = len(added) <= MOST_TRIED
            unsaved |= {path for path in added if not (few and self._add([path]))}
        return unsaved

    def _add(self, paths: Sequence[str]) -> bool:
        command = ("update-index", "-z", "--add", "--remove", "--replace", "--stdin")
        return not paths or self._git.run(*command, input=nul_terminated(paths), check=False).code == 0

    def _readable_bytes(self, path: str) -> int | None:
        """The file's size in bytes. `None` means that it cannot be read."""
        file = self._root / path
        try:
            status = file.lstat()
        except OSError:
            return 0
        if stat.S_ISREG(status.st_mode):
            return status.st_size if os.access(file, os.R_OK) else None
        return 0 if stat.S_ISLNK(status.st_mode) else None

    def _is_directory(self, path: str) -> bool:
        directory = self._root / path
        return directory.is_dir() and not directory.is_symlink()

    def _left_by(self, path: str) -> float | None:
        """The time of the last change of a removed file's directory: the removal was no later."""
        try:
            return os.lstat((self._root / path).parent).st_mtime
        except OSError:
            return None


def _entries(git: Git) -> dict[str, tuple[str, str]]:
    listing = Listing(git.run("ls-files", "-s", "-v", "-z").stdout)
    return {path: (entry.mode, entry.oid) for path, entry in listing.entries().items()}
