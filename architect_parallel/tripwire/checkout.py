"""The main checkout as it was, and every difference from it: what the tripwire looks at.

It reads the user's own checkout and may not leave a trace there. Files are compared through a private git directory
(see `snapshot`: no hook, no filter, no fsmonitor, no setting of the repository's runs) with an index of its own, which
at the first look takes in what is uncommitted, so that the next looks cost one `git ls-files`. The user's index is
never refreshed. Contents go into an object store of its own beside it, not into the user's.

Not seen: ignored files, what is inside submodules and other repositories, and a content that came and went between two
looks. Contents beyond `MOST_FILE_BYTES`, `MOST_BYTES` and `MOST_FILES` a look are not saved: of those files it is only
known that they changed.
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
from architect_parallel.tripwire.attribution import Change
from architect_parallel.tripwire.repository_state import Landed, RepositoryState, Stamp, changed_at_s, stamp

MOST_FILE_BYTES = 8 * 1024**2
MOST_BYTES = 32 * 1024**2
MOST_FILES = 1000
MOST_TRIED = 100
"""How many files are taken one by one when one of them cannot be taken."""

_Entries = Mapping[str, tuple[str, str]]


class MainCheckout:
    """A repository's main checkout, compared with the look before. Not for several threads at once."""

    def __init__(self, repository: Repository, directory: Path) -> None:
        """The first look; `directory` is made and is this object's own.

        Raises:
            EnvironmentProblem: The checkout has no index, or the directory cannot be made.
            GitError: The repository cannot be read.
            OSError: The disk is full.
        """
        self.root = repository.root
        self._standing = RepositoryState(repository)
        self._files = None if repository.main_checkout is None else _Files(repository, directory)
        self._untold: list[Change] = []

    def changes(self, landed: Sequence[Landed] = ()) -> list[Change]:
        """What is different since the last look, which this one takes the place of; `landed` is not.

        Raises:
            GitError, OSError: Something cannot be read; the next look tells what this one should have.
        """
        if self._files is not None:
            files = self._files.changes()
            self._untold += self._files.without(files, landed) if files and landed else files
        self._untold.extend(self._standing.changes(landed))
        told, self._untold = self._untold, []
        return told

    def patch(self, changes: Iterable[Change]) -> bytes | None:
        """The files' changes as a patch for `git apply`, binary files included; `None`: there is nothing it could hold.

        What it cannot hold is named in lines before the first file, which git does not read.

        Raises:
            GitError: A content is not there (partial clone).
        """
        changes = sorted(changes, key=lambda change: change.path)
        held = [change for change in changes if change.saved and change.before != change.after]
        if not held or self._files is None:
            return None
        notes = [change.words or f"{change.path} changed; its content is not in this patch" for change in changes
                 if not change.saved]  # fmt: skip
        head = "".join(f"# {' '.join(note.split())}\n" for note in notes).encode(errors="surrogateescape")
        return head + self._files.patch(held)


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
        """Files whose content was not saved, and how they looked."""
        # Times of a fresh checkout are the index's own: written later, it lets git believe them.
        self._git.run("update-index", "-q", "--refresh", "--force-write-index", check=False)
        self.changes()

    def changes(self) -> list[Change]:
        """What is different since the last call."""
        gone, there = self._listed()
        stamps = {path: self._stamp(path) for path in there}
        new = [path for path in there if self._unsaved.get(path) != stamps[path]]
        gone |= {path for path in self._unsaved if path not in stamps and not os.path.lexists(self._root / path)}
        if not gone and not new:
            return []
        times = {path: changed_at_s(self._root / path) for path in new}
        before, before_unsaved = _entries(self._git), self._unsaved
        unsaved = self._take(gone, new, before)
        self._unsaved = {path: each for path, each in before_unsaved.items() if path not in gone and path not in times}
        self._unsaved |= {path: stamps[path] for path in unsaved}
        after = _entries(self._git)
        found = []
        for path in sorted(gone | times.keys()):
            whole = path not in unsaved and path not in before_unsaved
            old, now = before.get(path), None if path in unsaved else after.get(path)
            if whole and old == now:
                continue  # only touched
            at = times.get(path)
            found.append(
                Change(
                    path=path,
                    before=old,
                    after=now,
                    saved=whole,
                    earliest_s=at,
                    latest_s=self._left_by(path) if at is None else at,
                )
            )
        return found

    def without(self, changes: list[Change], landed: Sequence[Landed]) -> list[Change]:
        """The changes without those that made a file what it is in a commit that was landed."""
        excused: set[str] = set()
        for tip in {tip for each in landed for tip in (each.old, each.new)}:
            index = self._directory / "landed.index"
            git = dataclasses.replace(self._git, index_file=index)
            try:
                git.run("read-tree", tip)
                entries = _entries(git)
            except GitError:  # the objects are gone since
                continue
            finally:
                index.unlink(missing_ok=True)
            excused |= {each.path for each in changes if each.saved and entries.get(each.path) == each.after}
        return [each for each in changes if each.path not in excused]

    def patch(self, changes: Sequence[Change]) -> bytes:
        """From all `before` to all `after`."""
        before = self._tree({each.path: each.before for each in changes if each.before is not None})
        after = self._tree({each.path: each.after for each in changes if each.after is not None})
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
        """Paths that are gone, and paths that are modified or new, by our own index."""
        fields = self._git.run("ls-files", "-z", "-t", "-m", "-d", "-o", "--exclude-standard").fields
        gone = {field[2:] for field in fields if field.startswith("R")}
        return gone, [path for path in dict.fromkeys(field[2:] for field in fields) if path not in gone]

    def _stamp(self, path: str) -> Stamp:
        found = stamp(self._root / path)
        # Of a repository of its own only that it is there: git in it writes all the time.
        return (found[0], found[3]) if found and stat.S_ISDIR(found[0]) else found

    def _take(self, gone: set[str], new: list[str], before: _Entries) -> set[str]:
        """Brings our index in line; returns those of `new` whose content could not be taken."""
        directories = {path for path in new if path in before and self._is_directory(path)}
        # A directory in a file's place is a change of the file to git; what is in it is listed as new.
        buried = {path for path in directories if before[path][0] != diff.GITLINK_MODE}
        removed = nul_terminated(gone | buried)
        self._git.run("update-index", "-z", "--force-remove", "--stdin", input=removed)
        taken: list[str] = []
        left = MOST_BYTES
        filtered = self._filtered.select(new)  # what a filter encrypts is saved nowhere
        for path in (path for path in new if path not in buried and path not in filtered):
            size = 0 if path in directories else self._takeable_bytes(path)
            if size is not None and size <= min(MOST_FILE_BYTES, left) and len(taken) < MOST_FILES:
                taken.append(path)
                left -= size
        unsaved = set(new) - set(taken) - buried
        if not self._add(taken):
            few = len(taken) <= MOST_TRIED
            unsaved |= {path for path in taken if not (few and self._add([path]))}
        return unsaved

    def _add(self, paths: Sequence[str]) -> bool:
        words = ("update-index", "-z", "--add", "--remove", "--replace", "--stdin")
        return not paths or self._git.run(*words, input=nul_terminated(paths), check=False).code == 0

    def _takeable_bytes(self, path: str) -> int | None:
        """The file's size; `None`: it is not one that can be read."""
        place = self._root / path
        try:
            found = place.lstat()
        except OSError:
            return 0
        if stat.S_ISREG(found.st_mode):
            return found.st_size if os.access(place, os.R_OK) else None
        return 0 if stat.S_ISLNK(found.st_mode) else None

    def _is_directory(self, path: str) -> bool:
        place = self._root / path
        return place.is_dir() and not place.is_symlink()

    def _left_by(self, path: str) -> float | None:
        """When the directory a file is gone from last changed: no earlier than the file went."""
        try:
            return os.lstat((self._root / path).parent).st_mtime
        except OSError:
            return None


def _entries(git: Git) -> dict[str, tuple[str, str]]:
    listing = Listing(git.run("ls-files", "-s", "-v", "-z").stdout)
    return {path: (entry.mode, entry.oid) for path, entry in listing.entries().items()}
