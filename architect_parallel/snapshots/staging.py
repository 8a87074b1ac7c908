"""Bring an index in line with a work tree that an agent edited, however odd that tree is.

Git runs only through the private directory, and only the given index changes. Where nothing else helps, unreadable
files get other permissions. `warnings` names what cannot be added, and the rest is added.

The common case is one listing and one `git add -A`. The steps around it handle what that would miss or do wrongly:
- flags that hide changes;
- ignored files that the agent tracks, and the reverse, which only its own index knows;
- a sparse checkout that the agent made, which must not read as deletions;
- submodules: `add` would run git *inside* them under configuration that an agent may have written;
- repositories inside the tree, which `add` would reduce to a link.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from architect_parallel.snapshots.diff import GITLINK_MODE, Change, changes
from architect_parallel.snapshots.disk_space import all_but, without_room
from architect_parallel.snapshots.filtered_paths import FilteredPaths, Names
from architect_parallel.snapshots.worktree_index import ListedEntry, WorktreeIndex, nul_terminated
from architect_parallel.system.git import Git, GitError, version


@dataclass(slots=True, kw_only=True)
class Staging:
    """One pass over one work tree."""

    git: Git
    """With the index to work on as its `index_file`."""
    work_tree: Path
    scratch: Path
    """A directory for temporary index files."""
    admin_dir: Path | None = None
    """git's directory of the worktree, which has the agent's own index. `None` means that there is none to read."""
    filtered: FilteredPaths | None = None
    """The filtered files of the whole worktree. `None` means that the user has no filter."""
    prefix: str = ""
    """The path of `work_tree` in the whole worktree, with a slash at its end. Empty for the whole worktree."""
    warnings: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    """Files whose content is not in the index, as paths in the whole worktree: with a filter, or too large."""
    current: dict[str, os.stat_result] = field(default_factory=dict)
    """Files with a filter whose index entry is what is on disk."""
    _protected: dict[str, Names] = field(default_factory=dict)
    """Files with a filter. git must not read them."""
    _oversized: Mapping[str, str] = field(default_factory=dict)
    _submodules: set[str] = field(default_factory=set)
    _index: WorktreeIndex = field(init=False)

    def __post_init__(self) -> None:
        self._index = WorktreeIndex(git=self.git, work_tree=self.work_tree)

    def stage(self, *, agent_index: Path | None = None, quick: bool = True) -> None:
        """Bring every change on disk into the index.

        Args:
            agent_index: The worktree's own index, if it changed. It is read as data.
            quick: The index is as new as its entries, so that their file times can be trusted to the nanosecond.
        """
        listed = self._index.listing()
        if quick:
            self._index.avoid_rereading(listed)
        self._clear_flags(listed.odd)
        if agent_index is not None:
            self._apply_agent_index(agent_index, listed.entries())
        protected = self._protect_submodules(listed.odd)
        self._oversized = without_room(self.git, self.work_tree, self.scratch)
        self.warnings += self._oversized.values()
        self.left_out += [self.prefix + path for path in self._oversized]
        if not self._add():
            self._add_individually()
        self._release_submodules(protected)
        self._enter_filtered_files()

    def write_tree(self, base: str, *, missing_ok: bool = False) -> tuple[str, tuple[Change, ...]]:
        """Write the index as a tree. Repositories inside the work tree become plain files.

        Returns:
            The tree, and its changes since `base` (a commit or tree).
        """
        command = ("write-tree", "--missing-ok") if missing_ok else ("write-tree",)
        tree = self._index.run(*command).text
        tree_changes = changes(self.git, base, tree)
        links = [change.file.path for change in tree_changes if change.new_mode == GITLINK_MODE]
        foreign = [link for link in links if link not in self._submodules and not self._is_declared(link)]
        if not foreign:
            return tree, tree_changes
        for link in foreign:
            self._absorb_nested_repository(link)
        tree = self._index.run(*command).text
        return tree, changes(self.git, base, tree)

    def restore_date(self) -> None:
        """Set the index's mtime to when it was last written. It decides which files git reads the next time."""
        self._index.restore_date()

    def _add(self) -> bool:
        """Run `git add -A` for all but files with a filter. Returns whether it succeeded without a message."""
        self._protect_filtered_files()
        sparse = ("--sparse",) if version() >= (2, 34) else ()
        command = ("add", "-A", "--ignore-errors", "--no-warn-embedded-repo", *sparse)
        output = self._index.run(*command, *all_but(self._oversized), check=False, env={"GIT_LITERAL_PATHSPECS": "0"})
        return output.code == 0 and not output.stderr

    def _protect_filtered_files(self) -> None:
        """Hide files with a filter from `add`, which would store them as they are on disk."""
        if self.filtered is None:
            return
        fields = self.git.run("ls-files", "-z", "-t", "-m", "-o", "--exclude-standard", check=False).fields
        tags = {field[2:]: field[0] for field in fields}
        filtered = self._with_filter(path for path in tags if not path.endswith("/"))
        self._protect({path: names for path, names in filtered.items() if tags[path] != "?"}, tracked=True)
        self._protect({path: names for path, names in filtered.items() if tags[path] == "?"}, tracked=False)

    def _with_filter(self, paths: Iterable[str]) -> dict[str, Names]:
        """Those of the paths that are files with a filter and not protected yet."""
        if self.filtered is None:
            return {}
        selected = self.filtered.select(self.prefix + path for path in paths if path not in self._protected)
        return {path.removeprefix(self.prefix): names for path, names in selected.items()}

    def _protect(self, files: Mapping[str, Names], *, tracked: bool) -> None:
        if self.filtered is not None and not tracked:  # an entry, whatever it is, keeps `add` from adding a new file
            self._index.write_entries(dict.fromkeys(files, ("100644", self.filtered.empty_blob)))
        self._index.update(files, "--skip-worktree")
        self._protected |= files

    def _enter_filtered_files(self) -> None:
        """Write the right entries for the files with a filter."""
        if self.filtered is None or not self._protected:
            return
        decisions = self.filtered.decide({self.prefix + path: names for path, names in self._protected.items()})
        entries = {path.removeprefix(self.prefix): entry for path, entry in decisions.entries.items()}
        self._index.write_entries({path: entry for path, entry in entries.items() if entry is not None})
        self._index.update((path for path, entry in entries.items() if entry is None), "--force-remove")
        self.warnings += decisions.warnings
        self.left_out += decisions.left_out
        self.current |= {} if self.prefix else decisions.current
        self._protected = {}

    def _clear_flags(self, listed: Mapping[str, ListedEntry]) -> None:
        self._index.update((path for path, entry in listed.items() if entry.assumed), "--no-assume-unchanged")
        present = (path for path, entry in listed.items() if entry.skipped and self._is_present(path))
        self._index.update(present, "--no-skip-worktree")

    def _is_present(self, path: str) -> bool:
        """Return whether something exists at `path`, reached through real directories only."""
        parent = self.work_tree
        for part in Path(path).parts[:-1]:
            parent = parent / part
            if not _is_directory(parent):
                return False
        return os.path.lexists(self.work_tree / path)

    def _apply_agent_index(self, agent_index: Path, listed: Mapping[str, ListedEntry]) -> None:
        """Track the paths that the agent's own index tracks, even where files and ignore rules alone differ."""
        copy = self.scratch / "agent.index"
        shared = [] if self.admin_dir is None else list(self.admin_dir.glob("sharedindex.*"))
        try:
            shutil.copy2(agent_index, copy, follow_symlinks=False)
            for path in shared:
                shutil.copy2(path, self.scratch / path.name, follow_symlinks=False)
            agent_git = dataclasses.replace(self.git, index_file=copy)
            theirs = WorktreeIndex(git=agent_git, work_tree=self.work_tree).listing().entries()
        except (OSError, GitError, ValueError):
            self.warnings.append("the worktree's index cannot be read; ignored files that were added to it are missing")
            return
        finally:
            copy.unlink(missing_ok=True)
            for path in shared:
                (self.scratch / path.name).unlink(missing_ok=True)
        self._keep_sparse_files(theirs, listed)
        changed = (name for name, entry in theirs.items() if name in listed and listed[name].oid != entry.oid)
        self._protect(self._with_filter(changed), tracked=True)
        added = [name for name, entry in theirs.items() if name not in listed and entry.mode != GITLINK_MODE]
        for name in self._add_paths(name for name in added if self._is_present(name)):
            self.warnings.append(f"{name!r} was added to the index but cannot be read")
        removed = [name for name in listed if name not in theirs]
        ignored: set[str] = set()
        if any(self._is_present(name) for name in removed):
            ignored = set(self.git.run("ls-files", "-z", "-c", "-i", "--exclude-standard").fields)
        skipped = [name for name, entry in listed.items() if entry.skipped]
        shown = [name for name in skipped if name in theirs and not theirs[name].skipped]
        self._index.update(shown, "--no-skip-worktree")
        absent = [name for name in skipped if name not in theirs and not self._is_present(name)]
        self._index.update([*(name for name in removed if name in ignored), *absent], "--force-remove")

    def _keep_sparse_files(self, theirs: Mapping[str, ListedEntry], listed: Mapping[str, ListedEntry]) -> None:
        """Keep the entries of files that the agent's sparse checkout leaves out: they are not deleted."""
        if self.admin_dir is None or not (self.admin_dir / "info" / "sparse-checkout").exists():
            return
        absent = {path: entry for path, entry in theirs.items() if entry.skipped and not self._is_present(path)}
        self._index.write_entries(
            {
                path: (entry.mode, entry.oid)
                for path, entry in absent.items()
                if path not in listed or (listed[path].mode, listed[path].oid) != (entry.mode, entry.oid)
            }
        )
        self._index.update(absent, "--skip-worktree")

    def _add_paths(self, paths: Iterable[str]) -> list[str]:
        """Add these files, ignored or not. Returns those that cannot be read."""
        files = [path for path in paths if not _is_directory(self.work_tree / path)]
        filtered = self._with_filter(files)
        self._protect(filtered, tracked=False)
        files = [path for path in files if path not in filtered]
        names = nul_terminated(files)
        if not names or self._index.run("update-index", "-z", "--add", "--stdin", input=names, check=False).code == 0:
            return []
        return [path for path in files if not self._add_raw(path)]

    def _protect_submodules(self, listed: Mapping[str, ListedEntry]) -> list[str]:
        """Hide the submodules from `add`. Returns those to update afterwards."""
        links = [path for path, entry in listed.items() if entry.mode == GITLINK_MODE]
        gone, filled, protected = [], [], []
        for path in links:
            directory = self.work_tree / path
            if not self._is_present(path) or not _is_directory(directory):
                gone.append(path)
            elif not os.path.lexists(directory / ".git") and _entries(directory):
                filled.append(path)
            else:
                protected.append(path)
        self.warnings += [f"submodule {path!r} holds files but no repository: they replace it" for path in filled]
        self._index.update([*gone, *filled], "--force-remove")
        self._index.update(protected, "--skip-worktree")
        self._submodules |= set(links)
        return protected

    def _release_submodules(self, protected: list[str]) -> None:
        """Update each link to the commit checked out in the submodule. Its HEAD is read without running a program."""
        populated = [path for path in protected if os.path.lexists(self.work_tree / path / ".git")]
        self._index.update(protected, "--no-skip-worktree")
        self._index.update(populated)
        self.warnings += [
            f"submodule {path!r} has a checkout: commits and changes inside it stay there and are not collected"
            for path in populated
        ]

    def _is_declared(self, link: str) -> bool:
        """Return whether `.gitmodules` on disk declares this link as a submodule."""
        command = ("config", "--no-includes", "--file", self.work_tree / ".gitmodules", "--list", "-z")
        lines = self.git.run(*command, check=False).fields
        declared = any(line.endswith(f".path\n{link}") for line in lines)
        if declared:
            self.warnings.append(f"submodule {link!r} was added: only its link is collected, push its commits yourself")
        return declared

    def _absorb_nested_repository(self, path: str) -> None:
        """Add the files of a repository inside the tree as plain files of this one."""
        path = path.rstrip("/")
        index = self.scratch / f"nested-{os.urandom(4).hex()}.index"
        work_tree = self.work_tree / path
        inner = Staging(
            git=dataclasses.replace(self.git, work_tree=work_tree, index_file=index),
            work_tree=work_tree,
            scratch=self.scratch,
            filtered=self.filtered,
            prefix=f"{self.prefix}{path}/",
        )
        try:
            inner.stage(quick=False)
            empty = self.git.run("hash-object", "-t", "tree", "-w", "--stdin").text
            tree, _ = inner.write_tree(empty)
        finally:
            index.unlink(missing_ok=True)
        self._index.update([path], "--force-remove")
        if tree != empty:
            self._index.run("read-tree", f"--prefix={path}/", tree)
        self.warnings.append(f"{path!r} is a repository of its own: its files are collected, its history is not")
        self.warnings += [f"in {path!r}: {warning}" for warning in inner.warnings]
        self.left_out += inner.left_out

    def _add_individually(self) -> None:
        """Add what `add` could not: grant read access, add again, then add the rest file by file."""
        unreadable = _grant_read_access(self.work_tree)
        if self._add():
            return
        self.warnings += [f"{path!r} cannot be read; what is in it is missing" for path in unreadable]
        rest = self.git.run("ls-files", "-z", "-m", "-o", "--exclude-standard", check=False).fields
        for path in dict.fromkeys(path for path in rest if path not in self._oversized):
            if path.endswith("/"):
                self._absorb_nested_repository(path)
            elif not self._is_present(path):
                self._index.update([path], "--force-remove")
            elif not self._add_raw(path):
                self.warnings.append(f"{path!r} cannot be read or is no file; it is missing")

    def _add_raw(self, path: str) -> bool:
        """Add a file byte for byte, or a link. The entry of anything else is removed. Returns whether it was added."""
        file = self.work_tree / path
        try:
            mode = file.lstat().st_mode
            if stat.S_ISLNK(mode):
                target = os.fsencode(os.readlink(file))
                oid = self.git.run("hash-object", "-w", "--stdin", input=target).text
                self._index.write_entries({path: ("120000", oid)})
            elif stat.S_ISREG(mode):
                oid = self.git.run("hash-object", "-w", "--no-filters", "--", file).text
                self._index.write_entries({path: ("100755" if mode & stat.S_IXUSR else "100644", oid)})
            else:
                self._index.update([path], "--force-remove")
                return False
        except (OSError, GitError):
            return False
        return True


def _grant_read_access(work_tree: Path) -> list[str]:
    """Give the owner read access to everything in the tree. Returns the paths where that failed."""
    unreadable = []
    pending = [work_tree]
    while pending:
        directory = pending.pop()
        for entry in _entries(directory):
            mode = entry.stat(follow_symlinks=False).st_mode
            needed = stat.S_IRWXU if stat.S_ISDIR(mode) else stat.S_IRUSR if stat.S_ISREG(mode) else 0
            if mode & needed != needed:
                try:
                    os.chmod(entry.path, stat.S_IMODE(mode) | needed)
                except OSError:
                    unreadable.append(os.path.relpath(entry.path, work_tree))
                    continue
            if stat.S_ISDIR(mode) and entry.name != ".git":
                pending.append(Path(entry.path))
    return unreadable


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
