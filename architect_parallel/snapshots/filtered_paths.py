"""Choose the blob of a file whose attributes name a filter. It never holds the file's plain content.

A file that did not change keeps its blob. Data alone decides that: the times in an index, to the nanosecond, and
digests taken before the agent ran. A blob that the agent committed is used as committed. Any other file goes through
the user's filter (`filter_runner`). Where that is not possible, the file is left out. Then its last committed
version stays in the tree, and its content stays only in the worktree, because it may be a secret.

Both the attributes from before the agent ran and those in the tree now count. Otherwise a filter that the agent removed
from `.gitattributes` would publish in plain text what was encrypted.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from architect_parallel.repository.filter_runner import FilterRunner
from architect_parallel.repository.filters import drivers_of
from architect_parallel.repository.index_file import IndexFileEntry, read_index
from architect_parallel.snapshots.baseline import WorktreeFacts
from architect_parallel.snapshots.filtered_baseline import DIGESTED_FILE_BYTES, digest, mentions_filter
from architect_parallel.system.git import Git
from architect_parallel.text.quantities import summarize


class Names(NamedTuple):
    """The user's drivers of one path. `None` means that it has none."""

    old: str | None
    """The driver by the attributes of the base commit."""
    new: str | None
    """The driver by the attributes in the tree now."""


@dataclass(slots=True, kw_only=True)
class Decisions:
    """The index entries for paths with a filter."""

    entries: dict[str, tuple[str, str] | None] = field(default_factory=dict)
    """Path → mode and blob. `None` means that the path is not in the tree."""
    current: dict[str, os.stat_result] = field(default_factory=dict)
    """The files whose entry has the content on disk."""
    left_out: list[str] = field(default_factory=list)
    """The files whose content is only in the worktree."""
    warnings: list[str] = field(default_factory=list)


class FilteredPaths:
    """The files of one worktree that a driver of the user's changes when they go into git."""

    def __init__(self, *, git: Git, facts: WorktreeFacts, index: Path, agent_index: Path | None, scratch: Path) -> None:
        """Args:
        git: Git of the private git directory, with the worktree as its work tree.
        index: The private index, unchanged since it last agreed with the worktree.
        agent_index: The worktree's own index. `None` means that it has not changed since before the agent ran.
        scratch: A directory for temporary files.
        """
        self._git = git
        self._facts = facts
        self._index = index
        self._agent_index = agent_index
        self._scratch = scratch
        self._work_tree = Path(facts.worktree)
        self._trees: dict[str, dict[str, tuple[str, str]]] = {}

    @property
    def empty_blob(self) -> str:
        """Id of the empty blob, which may be missing in the object store."""
        return hashlib.new("sha1" if len(self._facts.base_commit) == 40 else "sha256", b"blob 0\0").hexdigest()

    def select(self, paths: Iterable[str]) -> dict[str, Names]:
        """Those of the paths that are regular files with a filter.

        Raises:
            GitError: The attributes cannot be read.
        """
        known = self._facts.filters.drivers
        files = [path for path in dict.fromkeys(paths) if (file := self.look(path)) and stat.S_ISREG(file.st_mode)]
        if not known or not files or not (self._facts.has_filtered or self._mentions_filter(files)):
            return {}
        new = drivers_of(self._git, files)
        old = self.frozen(files)
        selected = {}
        for path in files:
            names = Names(*(name if name in known else None for name in (old.get(path), new.get(path))))
            if names != (None, None):
                selected[path] = names
        return selected

    def frozen(self, paths: Iterable[str]) -> dict[str, str]:
        """The filter that the attributes of the base commit name for each path.

        Raises:
            GitError: They cannot be read.
        """
        if not self._facts.has_filtered:
            return {}
        index = self._scratch / "base.index"
        git = dataclasses.replace(self._git, index_file=index)
        if not index.exists():
            git.run("read-tree", self._facts.base_commit)
        return drivers_of(git, paths, cached=True)

    def named(self, git: Git, paths: Iterable[str]) -> set[str]:
        """The paths for which git's index or the base commit names a driver of the user's. They may be missing.

        Raises:
            GitError: The attributes cannot be read.
        """
        known = self._facts.filters.drivers
        paths = list(paths)
        if not known:
            return set()
        drivers = (*drivers_of(git, paths, cached=True).items(), *self.frozen(paths).items())
        return {path for path, name in drivers if name in known}

    def look(self, path: str) -> os.stat_result | None:
        """The status of `path`, reached through real directories only. `None` means that nothing is there."""
        file = self._work_tree
        try:
            for part in Path(path).parts:
                if not stat.S_ISDIR(os.lstat(file).st_mode):
                    return None
                file = file / part
            return os.lstat(file)
        except OSError:
            return None

    def decide(self, paths: Mapping[str, Names]) -> Decisions:
        """Find the entry of each path, and run the filters of changed files.

        Raises:
            GitError: git failed for another reason than a filter.
        """
        decisions = Decisions()
        sealed, sealed_ns = self._read(self._index)
        agents, agents_ns = self._read(self._agent_index)
        changed: dict[str, str] = {}
        unfit: dict[str, str] = {}
        committed_raw: dict[str, str] = {}
        for path, names in paths.items():
            file = self.look(path)
            if file is None:
                decisions.entries[path] = None
                continue
            mode = self._mode(path, file, sealed)
            oid = self._committed(path, file, agents.get(path), agents_ns)
            oid = oid or self._committed_untouched(path, file, agents.get(path), sealed.get(path))
            if oid is not None and self._is_raw(path, oid) and oid != self._oid(self._facts.base_commit, path):
                committed_raw[path] = names.new or names.old or ""
            oid = oid or self._unchanged(path, file, sealed.get(path), sealed_ns)
            if oid is not None:
                decisions.entries[path] = (mode, oid)
                decisions.current[path] = file
            elif names.new is None:
                unfit[path] = f"its filter {names.old!r} was taken from its attributes"
            elif names.old not in (None, names.new):
                unfit[path] = f"its filter was changed from {names.old!r} to {names.new!r}"
            else:
                changed[path] = names.new
        self._clean(changed, sealed, agents, decisions, unfit)
        self._warn_of_raw(committed_raw, decisions)
        return decisions

    def _clean(
        self,
        changed: Mapping[str, str],
        sealed: Mapping[str, IndexFileEntry],
        agents: Mapping[str, IndexFileEntry],
        decisions: Decisions,
        unfit: dict[str, str],
    ) -> None:
        before_filter = {path: self.look(path) for path in changed}
        oids, failed = self.runner().clean(changed)
        for path, oid in self._committed_same_content(changed, oids, agents).items():
            oids[path] = oid
            failed.pop(path, None)
        for path, oid in oids.items():
            before, after = before_filter[path], self.look(path)
            if before is not None and after is not None:
                decisions.entries[path] = (self._mode(path, after, sealed), oid)
                if before.st_ctime_ns == after.st_ctime_ns:
                    decisions.current[path] = after
        unfit = dict(sorted({**unfit, **failed}.items()))
        head = self._head()
        for path in unfit:
            decisions.entries[path] = self._tree(head).get(path)
            decisions.left_out.append(path)
        for reason in dict.fromkeys(unfit.values()):
            files = summarize([repr(path) for path, why in unfit.items() if why == reason], most=3)
            decisions.warnings.append(f"left out of the result, and only in the worktree: {files} ({reason})")

    def _committed_untouched(
        self, path: str, file: os.stat_result, agent: IndexFileEntry | None, sealed: IndexFileEntry | None
    ) -> str | None:
        """The blob that the agent committed for a file it never changed: its filter encrypts differently each time."""
        if agent is None or sealed is None or agent.oid == sealed.oid or file.st_ctime_ns >= self._facts.sealed_ns:
            return None
        return agent.oid if agent.oid == self._oid(self._head(), path) else None

    def _committed_same_content(
        self, changed: Mapping[str, str], oids: Mapping[str, str], agents: Mapping[str, IndexFileEntry]
    ) -> dict[str, str]:
        """The blobs that the agent committed with the content of these files, although the times differ.

        A filter that encrypts differently each time makes another blob of the same content.
        """
        head, base, committed = self._head(), self._facts.base_commit, {}
        for path in changed:
            oid = self._oid(head, path)
            in_index = path in agents and agents[path].oid == oid
            if oid is not None and in_index and oid not in (oids.get(path), self._oid(base, path)):
                committed[path] = oid
        if not committed:
            return {}
        with self.runner().smudged(head, list(committed)) as (smudged_dir, _):
            return {
                path: oid
                for path, oid in committed.items()
                if digest(smudged_dir / path) == digest(self._work_tree / path)
            }

    def _warn_of_raw(self, paths: Mapping[str, str], decisions: Decisions) -> None:
        """Warn about files that the agent committed without their filter, unless the filter does not change them."""
        oids, _ = (
            self.runner().clean({path: name for path, name in paths.items() if self.look(path)}) if paths else ({}, {})
        )
        raw = [repr(path) for path in paths if (entry := decisions.entries[path]) and oids.get(path) != entry[1]]
        if raw:
            decisions.warnings.append(
                f"the agent committed in plain form, without its filter: {summarize(raw, most=3)}"
            )

    def runner(self) -> FilterRunner:
        """A runner of the drivers that were recorded before the agent ran."""
        return FilterRunner(
            filters=self._facts.filters,
            git=self._git,
            common_dir=Path(self._facts.common_dir),
            work_tree=self._work_tree,
            base_commit=self._facts.base_commit,
            scratch=self._scratch,
        )

    def _unchanged(self, path: str, file: os.stat_result, entry: IndexFileEntry | None, written_ns: int) -> str | None:
        """The blob of a file that has not changed since the index agreed with the worktree."""
        if entry is None or not stat.S_ISREG(int(entry.mode, 8)):
            return None
        old = file.st_ctime_ns < max(written_ns, self._facts.sealed_ns)
        if entry.matches(file) and old:
            return entry.oid
        known = self._facts.filtered.get(path)
        if known is not None and file.st_size <= DIGESTED_FILE_BYTES and digest(self._work_tree / path) == known[1]:
            return known[0]
        return None

    def _committed(self, path: str, file: os.stat_result, entry: IndexFileEntry | None, written_ns: int) -> str | None:
        """The blob in the agent's HEAD commit, if the file has not changed since the agent added it."""
        if entry is None or not entry.matches(file) or file.st_ctime_ns >= written_ns:
            return None
        return entry.oid if self._oid(self._head(), path) == entry.oid else None

    def _is_raw(self, path: str, oid: str) -> bool:
        """Return whether the blob is the file's content, byte for byte."""
        content = self._git.run("hash-object", "--no-filters", "--", self._work_tree / path, check=False)
        return content.code == 0 and content.text == oid

    def _read(self, index: Path | None) -> tuple[dict[str, IndexFileEntry], int]:
        """The entries of an index, and its mtime in nanoseconds."""
        try:
            if index is None:
                return {}, 0
            return read_index(index, len(self._facts.base_commit) // 2), index.lstat().st_mtime_ns
        except (OSError, ValueError):
            return {}, 0

    def _mode(self, path: str, file: os.stat_result, sealed: Mapping[str, IndexFileEntry]) -> str:
        if self._facts.settings.get("core.filemode", "true") == "false" and path in sealed:
            return sealed[path].mode
        return "100755" if file.st_mode & stat.S_IXUSR else "100644"

    def _head(self) -> str:
        """The commit of the worktree's HEAD. Without one it is the base commit."""
        try:
            text = os.fsdecode((Path(self._facts.admin_dir) / "HEAD").read_bytes()).strip()
        except OSError:
            return self._facts.base_commit
        common = Path(self._facts.common_dir)
        if text.startswith("ref: refs/"):
            head = Git(cwd=common, git_dir=common).resolve(f"{text.removeprefix('ref: ')}^{{commit}}")
        else:
            head = self._git.resolve(f"{text}^{{commit}}")
        return head or self._facts.base_commit

    def _tree(self, commit: str) -> dict[str, tuple[str, str]]:
        """Path → mode and blob of a commit's files."""
        if commit not in self._trees:
            files = {}
            for field_ in self._git.run("ls-tree", "-r", "-z", "--full-tree", commit).fields:
                head, _, path = field_.partition("\t")
                mode, kind, oid = head.split(" ")
                if kind == "blob":
                    files[path] = (mode, oid)
            self._trees[commit] = files
        return self._trees[commit]

    def _oid(self, commit: str, path: str) -> str | None:
        entry = self._tree(commit).get(path)
        return None if entry is None else entry[1]

    def _mentions_filter(self, paths: Iterable[str]) -> bool:
        """Return whether an attributes file above one of the paths mentions a filter, or is itself among them."""
        texts: dict[Path, bool] = {}
        for path in paths:
            if os.path.basename(path) == ".gitattributes":
                return True
            for parent in Path(path).parents:
                if parent not in texts:
                    texts[parent] = mentions_filter(self._work_tree / parent / ".gitattributes")
                if texts[parent]:
                    return True
        return False
