"""Where a repository stands beside its files: HEAD, index, refs, stash, settings; and what differs since the last look.

Cheap: while nobody touched them, files are looked at by their times, and no process is started. Branches of workers and
of merges and remote-tracking refs are not watched, and what is kept only for refs that move or go; neither is a branch
that an agent made and went to in its own worktree, nor a stash made there: the collection of that worker names them.

Of git's configuration the keys that changed are named, not the values, which may be secrets. `branch.*` is left out:
the user and this tool write it all the time. Of files outside the repository only the entries count by which git runs
or redirects something.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from architect_parallel.repository import heads, registry, side_effects
from architect_parallel.snapshots.keep_refs import KEEP
from architect_parallel.system.git import Git, GitError, Repository
from architect_parallel.system.git_settings import Setting
from architect_parallel.tripwire.attribution import Change
from architect_parallel.worktrees.create import BRANCH_PREFIX, EXCLUDE_ENTRIES

Stamp = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Landed:
    """A move of a branch that this tool made on the user's word: a merge, or the undo of one."""

    branch: str
    old: str
    new: str


def stamp(path: Path) -> Stamp:
    """What changes with a file's content, without reading it; empty: it is not there."""
    try:
        found = os.lstat(path)
    except OSError:
        return ()
    return (found.st_mode, found.st_size, found.st_mtime_ns, found.st_ino)


def changed_at_s(path: Path) -> float | None:
    """When the file last changed, content or mode, which no program can forge; `None`: it is not there."""
    try:
        return os.lstat(path).st_ctime
    except OSError:
        return None


class RepositoryState:
    """HEAD, index, refs and stash as they were at the last look."""

    def __init__(self, repository: Repository) -> None:
        """The first look.

        Raises:
            GitError: The repository cannot be read.
        """
        self._repository = repository
        self._git = Git(cwd=repository.common_dir, git_dir=repository.common_dir)
        self._files = Path(repository.common_dir)
        self._has_index = repository.main_checkout is not None
        self._theirs: set[str] = set()
        """Branches that agents made in their worktrees."""
        self._head = self._read_head()
        self._index_stamp, self._index = stamp(self._files / "index"), self._read_index()
        self._refs_stamp = self._stamp_refs()
        self._refs = self._read_refs()
        self._stashes = self._read_stashes()
        self._settings = self._read_settings()
        self._origins = {Path(each.origin) for each in self._settings} | _user_files()
        self._settings_stamp = self._stamp_settings()
        self._file_digests = self._read_setting_files()

    def changes(self, landed: Sequence[Landed] = ()) -> Iterator[Change]:
        """What is different since the last look, which this one takes the place of as far as it comes.

        Args:
            landed: What the user let this tool do meanwhile: it is no change, and neither is the index it left.

        Raises:
            GitError: The repository cannot be read.
        """
        yield from self._head_changes()
        tips = {(f"refs/heads/{each.branch}", tip) for each in landed for tip in (each.old, each.new)}
        yield from self._ref_changes(excused=tips)
        yield from self._index_changes(excused=bool(landed))
        yield from self._stash_changes()
        yield from self._setting_changes()

    def _head_changes(self) -> Iterator[Change]:
        before, self._head = self._head, self._read_head()
        if before != self._head:
            at = changed_at_s(self._files / "HEAD")
            words = f"HEAD was {before}, is {self._head}"
            yield Change(path="HEAD", saved=False, words=words, earliest_s=at, latest_s=at)

    def _index_changes(self, *, excused: bool) -> Iterator[Change]:
        now = stamp(self._files / "index")
        if now == self._index_stamp:
            return
        before, self._index = self._index, self._read_index()
        self._index_stamp = now
        # git rewrites the index for its own sake too: only what it says of the content counts.
        if before != self._index and not excused:
            at = changed_at_s(self._files / "index")
            yield Change(path="index", saved=False, words="what is staged has changed", earliest_s=at, latest_s=at)

    def _ref_changes(self, *, excused: set[tuple[str, str]]) -> Iterator[Change]:
        now = self._stamp_refs()
        if now == self._refs_stamp:
            return
        before, self._refs = self._refs, self._read_refs()
        self._refs_stamp = now
        different = [ref for ref in before.keys() | self._refs.keys() if before.get(ref) != self._refs.get(ref)]
        different = [ref for ref in different if ref in before or not ref.startswith(KEEP)]  # this tool keeps things
        if any(ref not in before for ref in different):
            self._theirs |= {ref for ref in self._gone_to() if ref not in before}
        for ref in sorted(different):
            old, new = before.get(ref), self._refs.get(ref)
            if ref in self._theirs or (new is not None and (ref, new) in excused):
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
            yield Change(path=ref, saved=False, words=words, lost=lost, earliest_s=at, latest_s=at)

    def _read_refs(self) -> dict[str, str]:
        refs = side_effects.read_refs(self._repository)
        kept = {ref: oid for ref, oid in refs.oids.items() if ref.startswith(f"{KEEP}/")}
        return side_effects.watched(refs) | kept

    def _setting_changes(self) -> Iterator[Change]:
        now = self._stamp_settings()
        if now == self._settings_stamp:
            return
        stamps, self._settings_stamp = dict(self._settings_stamp), now
        touched = [path for path, each in now if stamps.get(path) != each]
        yield from self._key_changes(touched)
        before, self._file_digests = self._file_digests, self._read_setting_files()
        for path in sorted(before.keys() | self._file_digests.keys()):
            old, new = before.get(path), self._file_digests.get(path)
            if old != new:
                what = "appeared" if old is None else "disappeared" if new is None else "changed"
                at = changed_at_s(Path(path))
                shown = os.path.relpath(path, self._repository.root)
                yield Change(path=shown, saved=False, words=f"{shown} {what}", earliest_s=at, latest_s=at)

    def _key_changes(self, touched: Sequence[str]) -> Iterator[Change]:
        """The keys of git's configuration that changed, each as a path of its own."""
        times = [at for path in touched if Path(path) in self._origins and (at := changed_at_s(Path(path))) is not None]
        earliest_s, latest_s = (min(times), max(times)) if times else (None, None)
        try:
            before, self._settings = self._settings, self._read_settings()
        except GitError:
            words = "git's configuration cannot be read any more"
            yield Change(path="config", saved=False, words=words, earliest_s=earliest_s, latest_s=latest_s)
            return
        self._origins |= {Path(each.origin) for each in self._settings}
        old, new = _values(before), _values(self._settings)
        for key in sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key)):
            what = "was set" if key not in old else "was removed" if key not in new else "was changed"
            words = f"{key} {what} in git's configuration"
            yield Change(path=f"config: {key}", saved=False, words=words, earliest_s=earliest_s, latest_s=latest_s)

    def _read_settings(self) -> list[Setting]:
        """What counts of the configuration: all of the repository's, else what runs or redirects something."""
        ours = {os.fspath(admin) for admin in registry.admin_dirs(self._repository) if registry.marked_run(admin)}
        return [
            each
            for each in self._repository.programs.settings()
            if not each.key.startswith("branch.")
            and (each.is_program or each.scope in ("local", "worktree"))
            and os.path.dirname(each.origin) not in ours
        ]

    def _stamp_settings(self) -> tuple[tuple[str, Stamp], ...]:
        paths = {self._files / name for name in side_effects.setting_files(self._repository)} | self._origins
        return tuple((os.fspath(path), stamp(path)) for path in sorted(paths))

    def _read_setting_files(self) -> dict[str, str]:
        found = side_effects.surroundings(self._repository)
        exclude = os.fspath(self._files / "info" / "exclude")
        if exclude in found:
            found[exclude] = side_effects.excludes(self._repository, EXCLUDE_ENTRIES)
        told = {os.fspath(self._files / name) for name in ("config", "config.worktree")}  # key by key
        return {path: digest for path, digest in found.items() if path not in told}

    def _gone_to(self) -> set[str]:
        """Branches that worktrees of this tool are on or have been on, by the reflogs of their HEADs."""
        found = set()
        for admin in registry.admin_dirs(self._repository):
            if registry.marked_run(admin) is None:
                continue
            found |= {heads.head_branch(admin), *side_effects.visited_branches(admin)}
        return {f"refs/heads/{branch}" for branch in found if branch is not None}

    def _stash_changes(self) -> Iterator[Change]:
        before, self._stashes = self._stashes, self._read_stashes()
        if before.keys() == self._stashes.keys():
            return
        at = changed_at_s(self._files / "logs" / "refs" / "stash")
        for oid in before.keys() - self._stashes.keys():
            words = f"stash {oid} was dropped ({before[oid]})"
            yield Change(path="stash", saved=False, words=words, lost=oid)
        for oid in self._stashes.keys() - before.keys():
            words = f"stash {oid} was made ({self._stashes[oid]})"
            yield Change(path="stash", saved=False, words=words, earliest_s=at, latest_s=at)

    def _read_head(self) -> str:
        return heads.read_head(self._files) or "not there"

    def _read_index(self) -> bytes:
        """Digest of what is staged."""
        return hashlib.sha256(self._git.run("ls-files", "-s", "-z").stdout).digest() if self._has_index else b""

    def _read_stashes(self) -> dict[str, str]:
        """Commit → message of those not made on a worker's branch, and not on none unless the user is on none."""
        foreign = [f"n {BRANCH_PREFIX}", *(f"n {ref.removeprefix('refs/heads/')}:" for ref in self._theirs)]
        if self._head.startswith("ref: "):
            foreign.append("n (no branch):")
        return {
            each.oid: each.message
            for each in side_effects.stashes(self._repository)
            if not any(mark in each.message for mark in foreign)
        }

    def _stamp_refs(self) -> tuple[tuple[str, Stamp], ...]:
        """The times of every file that holds watched refs, and of their directories."""
        single = (self._files / "packed-refs", self._files / "reftable" / "tables.list")
        found = [(os.fspath(path), stamp(path)) for path in single]
        pending = [self._files / "refs"]
        while pending:
            directory = pending.pop()
            for name in sorted(registry.names(directory)):
                path = directory / name
                ref = os.path.relpath(path, self._files)
                kept = ref == os.path.dirname(KEEP) or f"{ref}/".startswith(f"{KEEP}/")
                if not kept and f"{ref}/".startswith(side_effects.NOT_WATCHED):
                    continue
                if path.is_dir():
                    pending.append(path)
                else:
                    found.append((ref, stamp(path)))
        return tuple(found)


def _values(settings: Sequence[Setting]) -> dict[str, list[str | None]]:
    values: dict[str, list[str | None]] = {}
    for each in settings:
        values.setdefault(each.key, []).append(each.value)
    return values


def _user_files() -> set[Path]:
    """Where git looks for the user's configuration, whether there is some or not."""
    home = Path(os.path.expanduser("~"))
    config_home = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config")
    return {home / ".gitconfig", config_home / "git" / "config"}
