"""Compare HEAD, index, refs, stash and settings of a repository with their state at the scan before.

While nothing changes, a scan reads only file times and starts no process. Branches of workers and of merges, and
remote-tracking refs, are not watched. Of keep refs, only moves and deletions are. Branches that an agent made and
visited in its worktree, and stashes made there, are not watched either: the collection of that worker names them.

Reports name the keys of git's configuration that changed, not the values, which may be secrets. `branch.*` is left out
because the user and this program write it all the time. In files outside the repository, only entries that make git run
or redirect something count.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from architect_parallel.repository import heads, ownership, registry, side_effects
from architect_parallel.snapshots.keep_refs import KEEP
from architect_parallel.system.files import names
from architect_parallel.system.git import Git, GitError, Repository
from architect_parallel.system.git_settings import Setting
from architect_parallel.tripwire.attribution import CheckoutChange
from architect_parallel.worktrees.places import EXCLUDE_ENTRIES

Stamp = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Landed:
    """A move of a branch by this program: a merge, or the undo of one."""

    branch: str
    old: str
    new: str


def stamp(path: Path) -> Stamp:
    """Numbers that change with a file's content, without reading it. Empty means that the file is missing.

    No program can set the ctime: a file that an agent wrote and dated back is noticed too.
    """
    try:
        status = os.lstat(path)
    except OSError:
        return ()
    return (status.st_mode, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


def changed_at_s(path: Path) -> float | None:
    """Time of the file's last change (ctime, which no program can forge). `None` means that it is missing."""
    try:
        return os.lstat(path).st_ctime
    except OSError:
        return None


class RepositoryState:
    """HEAD, index, refs, stash and settings at the last scan."""

    def __init__(self, repository: Repository) -> None:
        """Do the first scan.

        Raises:
            GitError: The repository cannot be read.
        """
        self._repository = repository
        self._git = Git(cwd=repository.common_dir, git_dir=repository.common_dir)
        self._files = Path(repository.common_dir)
        self._has_index = repository.main_checkout is not None
        self._agent_branches: set[str] = set()
        """Branches that agents made in their worktrees."""
        self._branches_of_runs: frozenset[str] = frozenset()
        self._head = self._read_head()
        self._index_stamp, self._index = stamp(self._files / "index"), self._read_index()
        self._refs_stamp = self._stamp_refs()
        self._refs = self._read_refs()
        self._stashes = self._read_stashes()
        self._settings = self._read_settings()
        self._origins = {Path(setting.origin) for setting in self._settings} | _user_files()
        self._hooks = self._hooks_directory()
        self._settings_stamp = self._stamp_settings()
        self._file_digests = self._read_setting_files()

    def changes(self, landed: Sequence[Landed] = ()) -> Iterator[CheckoutChange]:
        """Scan, and yield the changes since the last scan.

        Args:
            landed: Moves by this program since then. They are no changes, and neither is the index that they left.

        Raises:
            GitError: The repository cannot be read.
        """
        yield from self._head_changes()
        tips = {(f"refs/heads/{move.branch}", tip) for move in landed for tip in (move.old, move.new)}
        yield from self._ref_changes(excused=tips)
        yield from self._index_changes(excused=bool(landed))
        yield from self._stash_changes()
        yield from self._setting_changes()

    def _head_changes(self) -> Iterator[CheckoutChange]:
        before, self._head = self._head, self._read_head()
        if before != self._head:
            at = changed_at_s(self._files / "HEAD")
            words = f"HEAD was {before}, is {self._head}"
            yield CheckoutChange(path="HEAD", saved=False, words=words, earliest_s=at, latest_s=at)

    def _index_changes(self, *, excused: bool) -> Iterator[CheckoutChange]:
        now = stamp(self._files / "index")
        if now == self._index_stamp:
            return
        before, self._index = self._index, self._read_index()
        self._index_stamp = now
        # git also rewrites the index without a change of the staged content, which alone counts.
        if before != self._index and not excused:
            at = changed_at_s(self._files / "index")
            yield CheckoutChange(
                path="index", saved=False, words="what is staged has changed", earliest_s=at, latest_s=at
            )

    def _ref_changes(self, *, excused: set[tuple[str, str]]) -> Iterator[CheckoutChange]:
        now = self._stamp_refs()
        if now == self._refs_stamp:
            return
        before, self._refs = self._refs, self._read_refs()
        self._refs_stamp = now
        different = [ref for ref in before.keys() | self._refs.keys() if before.get(ref) != self._refs.get(ref)]
        different = [
            ref for ref in different if ref in before or not ref.startswith(KEEP)
        ]  # this program makes keep refs
        if any(ref not in before for ref in different):
            self._agent_branches |= {ref for ref in self._visited_branches() if ref not in before}
        for ref in sorted(different):
            old, new = before.get(ref), self._refs.get(ref)
            if ref in self._agent_branches or (new is not None and (ref, new) in excused):
                continue
            at = changed_at_s(self._files / ref)
            lost = None
            if old is None:
                words = f"{ref} appeared at {new}"
            elif new is None:
                words, lost = f"{ref} disappeared, it was {old}", old
            else:
                words = f"{ref} moved from {old} to {new}"
                lost = None if self._git.ok("merge-base", "--is-ancestor", old, new) else old
            yield CheckoutChange(path=ref, saved=False, words=words, lost=lost, earliest_s=at, latest_s=at)

    def _read_refs(self) -> dict[str, str]:
        refs = side_effects.read_refs(self._repository)
        self._branches_of_runs = refs.of_runs
        keep_refs = {ref: oid for ref, oid in refs.oids.items() if ref.startswith(f"{KEEP}/")}
        return side_effects.watched(refs) | keep_refs

    def _setting_changes(self) -> Iterator[CheckoutChange]:
        now = self._stamp_settings()
        if now == self._settings_stamp:
            return
        stamps, self._settings_stamp = dict(self._settings_stamp), now
        touched = [path for path, file_stamp in now if stamps.get(path) != file_stamp]
        yield from self._key_changes(touched)
        before, self._file_digests = self._file_digests, self._read_setting_files()
        for path in sorted(before.keys() | self._file_digests.keys()):
            old, new = before.get(path), self._file_digests.get(path)
            if old != new:
                event = "appeared" if old is None else "disappeared" if new is None else "changed"
                at = changed_at_s(Path(path))
                relative = os.path.relpath(path, self._repository.root)
                yield CheckoutChange(
                    path=relative, saved=False, words=f"{relative} {event}", earliest_s=at, latest_s=at
                )

    def _key_changes(self, touched: Sequence[str]) -> Iterator[CheckoutChange]:
        """The keys of git's configuration that changed, each reported like a path."""
        times = [at for path in touched if Path(path) in self._origins and (at := changed_at_s(Path(path))) is not None]
        earliest_s, latest_s = (min(times), max(times)) if times else (None, None)
        try:
            before, self._settings = self._settings, self._read_settings()
        except GitError:
            words = "git's configuration cannot be read any more"
            yield CheckoutChange(path="config", saved=False, words=words, earliest_s=earliest_s, latest_s=latest_s)
            return
        self._origins |= {Path(setting.origin) for setting in self._settings}
        old, new = _values(before), _values(self._settings)
        for key in sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key)):
            event = "was set" if key not in old else "was removed" if key not in new else "was changed"
            words = f"{key} {event} in git's configuration"
            yield CheckoutChange(
                path=f"config: {key}", saved=False, words=words, earliest_s=earliest_s, latest_s=latest_s
            )

    def _read_settings(self) -> list[Setting]:
        """The watched entries: all of the repository's configuration, and program entries of other files."""
        ours = {os.fspath(admin) for admin in registry.admin_dirs(self._repository) if registry.marked_run(admin)}
        return [
            setting
            for setting in self._repository.programs.settings()
            if not setting.key.startswith("branch.")
            and (setting.is_program or setting.scope in ("local", "worktree"))
            and os.path.dirname(setting.origin) not in ours
        ]

    def _stamp_settings(self) -> tuple[tuple[str, Stamp], ...]:
        paths = {self._files / name for name in side_effects.setting_files(self._repository)} | self._origins
        paths |= set() if self._hooks is None else {self._hooks / name for name in names(self._hooks)}
        return tuple((os.fspath(path), stamp(path)) for path in sorted(paths))

    def _hooks_directory(self) -> Path | None:
        """The directory that the configuration names for hooks. `None` means the usual one."""
        values = [setting.value for setting in self._settings if setting.key == "core.hookspath" and setting.value]
        return self._repository.root / os.path.expanduser(values[-1]) if values else None

    def _read_setting_files(self) -> dict[str, str]:
        digests = side_effects.surroundings(self._repository, self._hooks)
        exclude = os.fspath(self._files / "info" / "exclude")
        if exclude in digests:
            digests[exclude] = side_effects.excludes(self._repository, EXCLUDE_ENTRIES)
        by_key = {os.fspath(self._files / name) for name in ("config", "config.worktree")}  # see `_key_changes`
        return {path: digest for path, digest in digests.items() if path not in by_key}

    def _visited_branches(self) -> set[str]:
        """Branches that worktrees of this program are or were on, by the reflogs of their HEADs."""
        branches: set[str | None] = set()
        for admin in registry.admin_dirs(self._repository):
            if registry.marked_run(admin) is None:
                continue
            branches |= {heads.head_branch(admin), *side_effects.visited_branches(admin)}
        return {f"refs/heads/{branch}" for branch in branches if branch is not None}

    def _stash_changes(self) -> Iterator[CheckoutChange]:
        before, self._stashes = self._stashes, self._read_stashes()
        if before.keys() == self._stashes.keys():
            return
        at = changed_at_s(self._files / "logs" / "refs" / "stash")
        for oid in before.keys() - self._stashes.keys():
            words = f"stash {oid} was dropped ({before[oid]})"
            yield CheckoutChange(path="stash", saved=False, words=words, lost=oid)
        for oid in self._stashes.keys() - before.keys():
            words = f"stash {oid} was made ({self._stashes[oid]})"
            yield CheckoutChange(path="stash", saved=False, words=words, earliest_s=at, latest_s=at)

    def _read_head(self) -> str:
        return heads.read_head(self._files) or "not there"

    def _read_index(self) -> bytes:
        """A digest of the staged content."""
        return hashlib.sha256(self._git.run("ls-files", "-s", "-z").stdout).digest() if self._has_index else b""

    def _read_stashes(self) -> dict[str, str]:
        """Stash entries that no worker can have made, as commit id → message.

        Entries made on a detached HEAD count only if the user's own HEAD is detached.
        """
        foreign = [f"n {prefix.removeprefix('refs/heads/')}" for prefix in ownership.DEFAULT_BRANCHES]
        foreign += [f"n {ref.removeprefix('refs/heads/')}:" for ref in self._agent_branches | self._branches_of_runs]
        if self._head.startswith("ref: "):
            foreign.append("n (no branch):")
        return {
            stash.oid: stash.message
            for stash in side_effects.stashes(self._repository)
            if not any(mark in stash.message for mark in foreign)
        }

    def _stamp_refs(self) -> tuple[tuple[str, Stamp], ...]:
        """The stamps of every file with watched refs."""
        single = (self._files / "packed-refs", self._files / "reftable" / "tables.list")
        stamps = [(os.fspath(path), stamp(path)) for path in single]
        pending = [self._files / "refs"]
        while pending:
            directory = pending.pop()
            for name in sorted(names(directory)):
                path = directory / name
                ref = os.path.relpath(path, self._files)
                is_keep_ref = ref == os.path.dirname(KEEP) or f"{ref}/".startswith(f"{KEEP}/")
                if not is_keep_ref and f"{ref}/".startswith(side_effects.NOT_WATCHED):
                    continue
                if path.is_dir():
                    pending.append(path)
                else:
                    stamps.append((ref, stamp(path)))
        return tuple(stamps)


def _values(settings: Sequence[Setting]) -> dict[str, list[str | None]]:
    values: dict[str, list[str | None]] = {}
    for setting in settings:
        values.setdefault(setting.key, []).append(setting.value)
    return values


def _user_files() -> set[Path]:
    """The paths of the user's git configuration. They may be missing."""
    home = Path(os.path.expanduser("~"))
    config_home = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config")
    return {home / ".gitconfig", config_home / "git" / "config"}
