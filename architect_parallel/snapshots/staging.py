"""Brings an index in line with a work tree an agent had its hands on; the part of `snapshot` that meets odd trees.

It runs git only through the private directory it is given and changes only the index it is given (and, where nothing
else helps, the permissions of unreadable files). Whatever cannot be taken is named in `warnings`; the rest is taken
nevertheless.

The common case is one listing and one `git add -A`. What that would miss or do wrongly is set right around it:
flags that hide changes; files the agent tracks although ignored, and the reverse (its own index knows); a sparse
checkout the agent made, which must not read as deletions; submodules, for which `add` would run git *inside* them
under configuration an agent may have written; repositories inside the tree, which `add` would reduce to a link.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from architect_parallel.snapshots.diff import GITLINK_MODE, Change, changes
from architect_parallel.snapshots.filtered_paths import FilteredPaths, Names
from architect_parallel.system.git import Git, GitError, Output, version

MAX_REREAD = 1000
"""With more files than these to read anew, leaving the decision to git is cheaper."""


class Entry(NamedTuple):
    """One path of an index as `ls-files -s -v` shows it."""

    mode: str
    oid: str
    skipped: bool
    """Skip-worktree: a sparse checkout does without the file."""
    assumed: bool
    """Assume-unchanged."""


_ORDINARY = ("H 100", "H 120")
"""How the record of a file or link without flags begins."""


class Listing:
    """An index as `git ls-files -s -v -z` shows it: `<tag> <mode> <oid> <stage>\\t<path>`, a small tag for
    assume-unchanged.

    There is a record for every file of the repository, and most often only the paths are asked for; what stands
    before a path has one length throughout, so they are cut out without looking at the rest.
    """

    def __init__(self, output: bytes) -> None:
        """Raises ValueError for anything that is not that format."""
        records = os.fsdecode(output).split("\0")[:-1]
        start = records[0].index("\t") + 1 if records else 0
        self.paths = [record[start:] for record in records]
        self.odd = dict(_entry(record) for record in records if not record.startswith(_ORDINARY))
        """Those with a flag, submodules, and conflicts (which have another tag)."""
        self._records = records
        self._start = start

    def entries(self) -> dict[str, Entry]:
        """All of them."""
        return dict(map(_entry, self._records))

    def chosen(self, positions: Iterable[int]) -> dict[str, Entry]:
        """Those at these positions of `paths`."""
        return dict(_entry(self._records[position]) for position in positions)


def _entry(record: str) -> tuple[str, Entry]:
    head, _, path = record.partition("\t")
    tag, mode, oid, _ = head.split(" ")
    return path, Entry(mode, oid, tag in "Ss", tag.islower())


def nul_terminated(paths: Iterable[str]) -> bytes:
    """Paths as git's `-z --stdin` reads them."""
    return b"".join(os.fsencode(path) + b"\0" for path in paths)


@dataclass(slots=True, kw_only=True)
class Staging:
    """One pass over one work tree."""

    git: Git
    """With the index to work on as its `index_file`."""
    work_tree: Path
    scratch: Path
    """A directory for index files of a moment."""
    admin_dir: Path | None = None
    """git's directory of the worktree, for what the agent's own index says; `None`: there is nothing to learn."""
    filtered: FilteredPaths | None = None
    """Of the whole worktree; `None` means that the user has no filter."""
    prefix: str = ""
    """Where `work_tree` is in the whole worktree, with a slash at its end."""
    warnings: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    """Files with a filter whose content is not in the index, by their paths in the whole worktree."""
    current: dict[str, os.stat_result] = field(default_factory=dict)
    """Files with a filter whose entry is what is on disk."""
    _held: dict[str, Names] = field(default_factory=dict)
    """Files with a filter, which git must not read."""
    _submodules: set[str] = field(default_factory=set)
    _dates: tuple[int, int] | None = None
    """mtime of the index in ns: the true one, and the one it has been given for the time being."""
    _written_ns: int | None = None
    """When the index was last written; `None` means not since it was dated."""

    def stage(self, *, agent_index: Path | None = None, quick: bool = True) -> None:
        """Takes every change on disk into the index.

        Args:
            agent_index: The worktree's own index where it is not as it was; its content is data, nothing more.
            quick: The index is no older than what it says of the files: their times can be believed to the nanosecond.
        """
        listed = self._list(self.git)
        if quick:
            self._spare_rereading(listed)
        self._clear_flags(listed.odd)
        if agent_index is not None:
            self._follow(agent_index, listed.entries())
        held = self._hold_submodules(listed.odd)
        if not self._add():
            self._rescue()
        self._release_submodules(held)
        self._settle_filtered()

    def write_tree(self, base: str, *, missing_ok: bool = False) -> tuple[str, tuple[Change, ...]]:
        """Writes the index as a tree; repositories inside the work tree become plain files.

        Returns the tree and what is different in it from `base` (a commit or tree).
        """
        words = ("write-tree", "--missing-ok") if missing_ok else ("write-tree",)
        tree = self._write(*words).text
        found = changes(self.git, base, tree)
        links = [change.file.path for change in found if change.new_mode == GITLINK_MODE]
        foreign = [link for link in links if link not in self._submodules and not self._is_declared(link)]
        if not foreign:
            return tree, found
        for link in foreign:
            self._graft(link)
        tree = self._write(*words).text
        return tree, changes(self.git, base, tree)

    def finish(self) -> None:
        """Gives the index the date of when it was last written: on it depends which files are read the next time."""
        index = self.git.index_file
        if index is not None and self._dates is not None:
            written_ns = self._dates[0] if self._written_ns is None else self._written_ns
            os.utime(index, ns=(written_ns, written_ns))

    def _write(self, *words: str, input: bytes | None = None, check: bool = True) -> Output:
        """A git command that may write the index, which keeps the date it was given."""
        output = self.git.run(*words, input=input, check=check)
        index = self.git.index_file
        if index is not None and self._dates is not None and (written_ns := index.stat().st_mtime_ns) != self._dates[1]:
            self._written_ns = written_ns
            # Else git reads every file of that second again, and stores those with a filter without it.
            os.utime(index, ns=self._dates)
        return output

    def _list(self, git: Git) -> Listing:
        return Listing(git.run("ls-files", "-s", "-v", "-z").stdout)

    def _update(self, paths: Iterable[str], *words: str) -> None:
        names = nul_terminated(paths)
        if names:
            self._write("update-index", "-z", *words, "--stdin", input=names)

    def _enter(self, entries: Mapping[str, tuple[str, str]]) -> None:
        """Puts (mode, oid) at each path, without what the index knew of the file's times."""
        lines = (f"{mode} {oid} 0\t".encode() + os.fsencode(path) + b"\0" for path, (mode, oid) in entries.items())
        if entries:
            self._write("update-index", "-z", "--index-info", input=b"".join(lines))

    def _add(self) -> bool:
        """`git add -A` for all but files with a filter; whether it had nothing to say."""
        self._hold_filtered()
        sparse = ("--sparse",) if version() >= (2, 34) else ()
        words = ("add", "-A", "--ignore-errors", "--no-warn-embedded-repo", *sparse)
        output = self._write(*words, check=False)
        return output.code == 0 and not output.stderr

    def _hold_filtered(self) -> None:
        """Takes files with a filter out of `add`'s reach: it would store them as they are on disk."""
        if self.filtered is None:
            return
        fields = self.git.run("ls-files", "-z", "-t", "-m", "-o", "--exclude-standard", check=False).fields
        tags = {field[2:]: field[0] for field in fields}
        found = self._with_filter(path for path in tags if not path.endswith("/"))
        self._hold({path: names for path, names in found.items() if tags[path] != "?"}, tracked=True)
        self._hold({path: names for path, names in found.items() if tags[path] == "?"}, tracked=False)

    def _with_filter(self, paths: Iterable[str]) -> dict[str, Names]:
        """Those of the paths that are files with a filter and not held yet."""
        if self.filtered is None:
            return {}
        found = self.filtered.select(self.prefix + path for path in paths if path not in self._held)
        return {path.removeprefix(self.prefix): names for path, names in found.items()}

    def _hold(self, found: Mapping[str, Names], *, tracked: bool) -> None:
        if self.filtered is not None and not tracked:  # with some entry, so that `add` does not take them for new
            self._enter(dict.fromkeys(found, ("100644", self.filtered.empty_blob)))
        self._update(found, "--skip-worktree")
        self._held |= found

    def _settle_filtered(self) -> None:
        """Enters what belongs into the index for the files with a filter."""
        if self.filtered is None or not self._held:
            return
        decisions = self.filtered.decide({self.prefix + path: names for path, names in self._held.items()})
        entries = {path.removeprefix(self.prefix): entry for path, entry in decisions.entries.items()}
        self._enter({path: entry for path, entry in entries.items() if entry is not None})
        self._update((path for path, entry in entries.items() if entry is None), "--force-remove")
        self.warnings += decisions.warnings
        self.left_out += decisions.left_out
        self.current |= {} if self.prefix else decisions.current
        self._held = {}

    def _spare_rereading(self, listed: Listing) -> None:
        """Tells git which files need no reading although they are as young as the index.

        git compares whole seconds and therefore reads every file written in the second in which the index was: most
        of a fresh checkout. With nanoseconds, a file is unchanged since the index unless its ctime is the index's
        mtime or later; those few are entered without times, so that git does read them, and the index is then dated
        one second later. (https://git-scm.com/docs/racy-git)
        """
        index = self.git.index_file
        if index is None:
            return
        found = index.stat()
        if found.st_dev != self.work_tree.stat().st_dev:
            return
        stamp, second, prefix = found.st_mtime_ns, found.st_mtime_ns // 10**9, os.path.join(self.work_tree, "")
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
        self._dates = (stamp, (second + 1) * 10**9)
        os.utime(index, ns=self._dates)
        if young:
            self._enter({path: (entry.mode, entry.oid) for path, entry in young.items()})

    def _clear_flags(self, listed: Mapping[str, Entry]) -> None:
        self._update((path for path, entry in listed.items() if entry.assumed), "--no-assume-unchanged")
        present = (path for path, entry in listed.items() if entry.skipped and self._is_there(path))
        self._update(present, "--no-skip-worktree")

    def _is_there(self, path: str) -> bool:
        """Whether something is at `path`, reached through real directories only."""
        parent = self.work_tree
        for part in Path(path).parts[:-1]:
            parent = parent / part
            if not _is_directory(parent):
                return False
        return os.path.lexists(self.work_tree / path)

    def _follow(self, agent_index: Path, listed: Mapping[str, Entry]) -> None:
        """Takes over which paths the agent's own index tracks, where disk and ignore rules alone say otherwise."""
        copy = self.scratch / "agent.index"
        shared = [] if self.admin_dir is None else list(self.admin_dir.glob("sharedindex.*"))
        try:
            shutil.copy2(agent_index, copy, follow_symlinks=False)
            for path in shared:
                shutil.copy2(path, self.scratch / path.name, follow_symlinks=False)
            theirs = self._list(dataclasses.replace(self.git, index_file=copy)).entries()
        except (OSError, GitError, ValueError):
            self.warnings.append("the worktree's index cannot be read; ignored files that were added to it are missing")
            return
        finally:
            copy.unlink(missing_ok=True)
            for path in shared:
                (self.scratch / path.name).unlink(missing_ok=True)
        self._follow_sparse(theirs, listed)
        other = (name for name, entry in theirs.items() if name in listed and listed[name].oid != entry.oid)
        self._hold(self._with_filter(other), tracked=True)
        added = [name for name, entry in theirs.items() if name not in listed and entry.mode != GITLINK_MODE]
        for name in self._add_each(name for name in added if self._is_there(name)):
            self.warnings.append(f"{name!r} was added to the index but cannot be read")
        removed = [name for name in listed if name not in theirs]
        ignored: set[str] = set()
        if any(self._is_there(name) for name in removed):
            ignored = set(self.git.run("ls-files", "-z", "-c", "-i", "--exclude-standard").fields)
        skipped = [name for name, entry in listed.items() if entry.skipped]
        shown = [name for name in skipped if name in theirs and not theirs[name].skipped]
        self._update(shown, "--no-skip-worktree")
        absent = [name for name in skipped if name not in theirs and not self._is_there(name)]
        self._update([*(name for name in removed if name in ignored), *absent], "--force-remove")

    def _follow_sparse(self, theirs: Mapping[str, Entry], listed: Mapping[str, Entry]) -> None:
        """Files the agent's sparse checkout does without are not deleted: they are what its index says."""
        if self.admin_dir is None or not (self.admin_dir / "info" / "sparse-checkout").exists():
            return
        without = {path: entry for path, entry in theirs.items() if entry.skipped and not self._is_there(path)}
        self._enter(
            {
                path: (entry.mode, entry.oid)
                for path, entry in without.items()
                if path not in listed or (listed[path].mode, listed[path].oid) != (entry.mode, entry.oid)
            }
        )
        self._update(without, "--skip-worktree")

    def _add_each(self, paths: Iterable[str]) -> list[str]:
        """Adds these files, ignored or not; returns those that cannot be read."""
        wanted = [path for path in paths if not _is_directory(self.work_tree / path)]
        found = self._with_filter(wanted)
        self._hold(found, tracked=False)
        wanted = [path for path in wanted if path not in found]
        names = nul_terminated(wanted)
        if not names or self._write("update-index", "-z", "--add", "--stdin", input=names, check=False).code == 0:
            return []
        return [path for path in wanted if not self._add_raw(path)]

    def _hold_submodules(self, listed: Mapping[str, Entry]) -> list[str]:
        """Takes the submodules out of `add`'s reach; returns those to look at afterwards."""
        links = [path for path, entry in listed.items() if entry.mode == GITLINK_MODE]
        gone, filled, held = [], [], []
        for path in links:
            place = self.work_tree / path
            if not self._is_there(path) or not _is_directory(place):
                gone.append(path)
            elif not os.path.lexists(place / ".git") and _entries(place):
                filled.append(path)
            else:
                held.append(path)
        self.warnings += [f"submodule {path!r} holds files but no repository: they replace it" for path in filled]
        self._update([*gone, *filled], "--force-remove")
        self._update(held, "--skip-worktree")
        self._submodules |= set(links)
        return held

    def _release_submodules(self, held: list[str]) -> None:
        """The link becomes the commit checked out in the submodule; its HEAD is read without running anything there."""
        populated = [path for path in held if os.path.lexists(self.work_tree / path / ".git")]
        self._update(held, "--no-skip-worktree")
        self._update(populated)
        self.warnings += [
            f"submodule {path!r} has a checkout: commits and changes inside it stay there and are not collected"
            for path in populated
        ]

    def _is_declared(self, link: str) -> bool:
        """Whether `.gitmodules` on disk makes a submodule of it. (`config --file` follows no includes.)"""
        words = ("config", "--no-includes", "--file", self.work_tree / ".gitmodules", "--list", "-z")
        lines = self.git.run(*words, check=False).fields
        declared = any(line.endswith(f".path\n{link}") for line in lines)
        if declared:
            self.warnings.append(f"submodule {link!r} was added: only its link is collected, push its commits yourself")
        return declared

    def _graft(self, path: str) -> None:
        """Takes the files of a repository inside the tree as plain files of this one."""
        path = path.rstrip("/")
        index = self.scratch / f"nested-{os.urandom(4).hex()}.index"
        place = self.work_tree / path
        inner = Staging(
            git=dataclasses.replace(self.git, work_tree=place, index_file=index), work_tree=place, scratch=self.scratch,
            filtered=self.filtered, prefix=f"{self.prefix}{path}/",
        )  # fmt: skip
        try:
            inner.stage(quick=False)
            empty = self.git.run("hash-object", "-t", "tree", "-w", "--stdin").text
            tree, _ = inner.write_tree(empty)
        finally:
            index.unlink(missing_ok=True)
        self._update([path], "--force-remove")
        if tree != empty:
            self._write("read-tree", f"--prefix={path}/", tree)
        self.warnings.append(f"{path!r} is a repository of its own: its files are collected, its history is not")
        self.warnings += [f"in {path!r}: {warning}" for warning in inner.warnings]
        self.left_out += inner.left_out

    def _rescue(self) -> None:
        """After `add` complained: permissions are mended, and what is still left is taken piece by piece."""
        closed = self._open_up()
        if self._add():
            return
        self.warnings += [f"{path!r} cannot be read; what is in it is missing" for path in closed]
        left = self.git.run("ls-files", "-z", "-m", "-o", "--exclude-standard", check=False).fields
        for path in dict.fromkeys(left):
            if path.endswith("/"):
                self._graft(path)
            elif not self._is_there(path):
                self._update([path], "--force-remove")
            elif not self._add_raw(path):
                self.warnings.append(f"{path!r} cannot be read or is no file; it is missing")

    def _add_raw(self, path: str) -> bool:
        """Takes a file byte for byte, or a link; of what is neither, the path is given up. Whether it was taken."""
        place = self.work_tree / path
        try:
            mode = place.lstat().st_mode
            if stat.S_ISLNK(mode):
                target = os.fsencode(os.readlink(place))
                oid = self.git.run("hash-object", "-w", "--stdin", input=target).text
                self._enter({path: ("120000", oid)})
            elif stat.S_ISREG(mode):
                oid = self.git.run("hash-object", "-w", "--no-filters", "--", place).text
                self._enter({path: ("100755" if mode & stat.S_IXUSR else "100644", oid)})
            else:
                self._update([path], "--force-remove")
                return False
        except (OSError, GitError):
            return False
        return True

    def _open_up(self) -> list[str]:
        """Gives the owner read access to everything in the tree; returns what it could not be given to."""
        closed = []
        pending = [self.work_tree]
        while pending:
            directory = pending.pop()
            for entry in _entries(directory):
                mode = entry.stat(follow_symlinks=False).st_mode
                needed = stat.S_IRWXU if stat.S_ISDIR(mode) else stat.S_IRUSR if stat.S_ISREG(mode) else 0
                if mode & needed != needed:
                    try:
                        os.chmod(entry.path, stat.S_IMODE(mode) | needed)
                    except OSError:
                        closed.append(os.path.relpath(entry.path, self.work_tree))
                        continue
                if stat.S_ISDIR(mode) and entry.name != ".git":
                    pending.append(Path(entry.path))
        return closed


def _entries(directory: Path) -> list[os.DirEntry[str]]:
    try:
        return list(os.scandir(directory))
    except OSError:
        return []


def _is_directory(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except OSError:
        return False
