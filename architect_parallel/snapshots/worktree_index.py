"""An index of a worktree, as git lists it and as it is changed here.

It runs git only through the private directory it is given and changes only the index it is given.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from architect_parallel.system.git import Git, GitOutput

MAX_REREAD = 1000
"""With more files than this to read again, leaving the decision to git is cheaper."""


class ListedEntry(NamedTuple):
    """One path of an index, as `ls-files -s -v` shows it."""

    mode: str
    oid: str
    skipped: bool
    """Skip-worktree: a sparse checkout leaves the file out."""
    assumed: bool
    """Assume-unchanged: git does not look at the file."""


_ORDINARY = ("H 100", "H 120")
"""Prefixes of the record of a file or link without flags."""


class Listing:
    """An index as `git ls-files -s -v -z` shows it: `<tag> <mode> <oid> <stage>\\t<path>`.

    A lower-case tag means assume-unchanged. Every file of the repository has a record, and callers mostly need the
    paths alone. What precedes a path has the same length in all records, so the paths are cut out without parsing.
    """

    def __init__(self, output: bytes) -> None:
        """Raises ValueError for anything that is not that format."""
        records = os.fsdecode(output).split("\0")[:-1]
        start = records[0].index("\t") + 1 if records else 0
        self.paths = [record[start:] for record in records]
        self.odd = dict(_entry(record) for record in records if not record.startswith(_ORDINARY))
        """Entries with a flag, submodules, and conflicts, which have another tag."""
        self._records = records
        self._start = start

    def entries(self) -> dict[str, ListedEntry]:
        """All entries by path."""
        return dict(map(_entry, self._records))

    def chosen(self, positions: Iterable[int]) -> dict[str, ListedEntry]:
        """The entries at these positions of `paths`."""
        return dict(_entry(self._records[position]) for position in positions)


def _entry(record: str) -> tuple[str, ListedEntry]:
    head, _, path = record.partition("\t")
    tag, mode, oid, _ = head.split(" ")
    return path, ListedEntry(mode, oid, tag in "Ss", tag.islower())


def nul_terminated(paths: Iterable[str]) -> bytes:
    """Paths as git's `-z --stdin` reads them."""
    return b"".join(os.fsencode(path) + b"\0" for path in paths)


@dataclass(slots=True, kw_only=True)
class WorktreeIndex:
    """Lists and writes the index of one work tree."""

    git: Git
    """With the index to work on as its `index_file`."""
    work_tree: Path
    _dates: tuple[int, int] | None = None
    """mtime of the index in ns: the true one, and the temporary one."""
    _written_ns: int | None = None
    """When the index was last written, in ns. `None` means not since it got its temporary mtime."""

    def restore_date(self) -> None:
        """Set the index's mtime to when it was last written. It decides which files git reads the next time."""
        index = self.git.index_file
        if index is not None and self._dates is not None:
            written_ns = self._dates[0] if self._written_ns is None else self._written_ns
            os.utime(index, ns=(written_ns, written_ns))

    def run(
        self, *words: str, input: bytes | None = None, check: bool = True, env: Mapping[str, str] | None = None
    ) -> GitOutput:
        """Run a git command that may write the index. The index keeps its temporary mtime."""
        output = self.git.run(*words, input=input, check=check, env=env)
        index = self.git.index_file
        if index is not None and self._dates is not None and (written_ns := index.stat().st_mtime_ns) != self._dates[1]:
            self._written_ns = written_ns
            # Otherwise git reads every file of that second again, and stores those with a filter without it.
            os.utime(index, ns=self._dates)
        return output

    def listing(self) -> Listing:
        """The entries of the index.

        Raises:
            GitError, ValueError: The index cannot be read.
        """
        return Listing(self.git.run("ls-files", "-s", "-v", "-z").stdout)

    def update(self, paths: Iterable[str], *words: str) -> None:
        """Run `git update-index <words…>` on these paths, if there are any."""
        names = nul_terminated(paths)
        if names:
            self.run("update-index", "-z", *words, "--stdin", input=names)

    def write_entries(self, entries: Mapping[str, tuple[str, str]]) -> None:
        """Set (mode, object id) at each path. The index then knows no times of these files."""
        lines = (f"{mode} {oid} 0\t".encode() + os.fsencode(path) + b"\0" for path, (mode, oid) in entries.items())
        if entries:
            self.run("update-index", "-z", "--index-info", input=b"".join(lines))

    def avoid_rereading(self, listed: Listing) -> None:
        """Spare git the reading of unchanged files that are as young as the index.

        git compares whole seconds. So it reads every file written in the same second as the index, which is most of a
        fresh checkout. With nanoseconds, a file has changed only if its ctime or mtime is the index's mtime or later.
        Those few files lose their times in the index, so that git does read them. Then the index gets an mtime one
        second later. (https://git-scm.com/docs/racy-git)
        """
        index = self.git.index_file
        if index is None:
            return
        status = index.stat()
        if status.st_dev != self.work_tree.stat().st_dev:
            return
        stamp, prefix = status.st_mtime_ns, os.path.join(self.work_tree, "")
        positions = []
        for position, path in enumerate(listed.paths):
            try:
                file = os.lstat(prefix + path)
            except OSError:
                continue
            if file.st_ctime_ns >= stamp or file.st_mtime_ns >= stamp:
                positions.append(position)
        young = listed.chosen(positions)
        if len(young) > MAX_REREAD or any(entry.skipped or entry.assumed for entry in young.values()):
            return
        self._dates = (stamp, (stamp // 10**9 + 1) * 10**9)
        os.utime(index, ns=self._dates)
        if young:
            self.write_entries({path: (entry.mode, entry.oid) for path, entry in young.items()})
