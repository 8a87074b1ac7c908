"""The programs and redirections that git's configuration names, as they were before agents ran.

The rule: git runs for us only what the configuration named before the first agent of a run began, what was added while
no agent of any run was running, and what the user has confirmed since (`architect config trust`). While agents run, and
where something is unconfirmed afterwards, git reads a sealed copy of the configuration instead of the files that an
agent may write: `GIT_COMMON_DIR` names a directory with that copy in which everything else is a link to the
repository's own, and `GIT_CONFIG_GLOBAL` names a copy of the user's and the system's. Nothing is neutralised key by
key, so there is no moment in which a change could slip in between a look and a use.

The record lies in the repository's state directory. It holds digests, except for the sealed copies (mode 0600). A
launcher keeps what it recorded in memory as well, and restores a sealed copy that was altered. Invariant: what cannot
be read confirms nothing.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from architect_parallel.errors import ArchitectParallelError, EnvironmentProblem
from architect_parallel.system.files import locked, make_private_dir, make_shared_dir, replace_file, share

STATE_FILE = "programs.json"
_LOCK = "programs.lock"
_AGENTS = "agents.lock"
"""Locked (shared) by every process that has agents running."""
_COPIES = "programs"
_OLD_S = 86400.0

_PROGRAM_KEYS = re.compile(
    r"""
    core\.(alternaterefscommand|askpass|editor|fsmonitor|gitproxy|hookspath|pager|sshcommand)
    | (alias|browser|credential|difftool|filter|gpg|guitool|http|man|mergetool|pager|protocol|remote|sendemail|url)\..*
    | diff\.external | diff\..*\.(command|textconv)
    | include\.path | includeif\..*\.path
    | init\.templatedir | interactive\.difffilter | sequence\.editor | ssh\.variant
    | lfs\.(.*\.)?(args|clean|path|priority|pushurl|smudge|standalonetransferagent|url)
    | merge\..*\.(driver|recursive)
    | submodule\..*\.(update|url)
    | tar\..*\.command | trailer\..*\.(cmd|command) | uploadpack\.packobjectshook
    """,
    re.VERBOSE | re.DOTALL,
)
"""Keys by which git, or a program that git starts, runs a program or talks to another place than it would."""

PUSH_KEYS = re.compile(r"(url|remote|credential|http|lfs)\..*|core\.(sshcommand|askpass|gitproxy)", re.DOTALL)
"""Those of them that decide where a push goes, and with which credentials."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One entry of git's configuration."""

    key: str
    """Section and name in lower case, as git lists it."""
    value: str | None
    """`None` means that the entry has no `=`, which git reads as true."""
    origin: str
    """The file it stands in."""
    scope: str
    """`system`, `global`, `local` or `worktree`."""

    @property
    def digest(self) -> str:
        text = self.key if self.value is None else f"{self.key}\n{self.value}"
        return hashlib.sha256(os.fsencode(text)).hexdigest()

    @property
    def is_program(self) -> bool:
        """Whether git runs or redirects something because of it."""
        return _PROGRAM_KEYS.fullmatch(self.key) is not None


def parse_settings(listed: Sequence[str], directory: Path) -> list[Setting]:
    """The fields of `git config --list --show-scope --show-origin -z`, which ran in `directory`.

    What came from the command line or the environment is left out: no agent can write there.
    """
    settings = []
    for scope, origin, entry in zip(listed[::3], listed[1::3], listed[2::3], strict=False):
        if scope == "command":
            continue
        key, has_value, value = entry.partition("\n")
        kind, _, name = origin.partition(":")
        place = os.path.normpath(directory / name) if kind == "file" else origin
        settings.append(Setting(key=key, value=value if has_value else None, origin=place, scope=scope))
    return settings


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedConfiguration:
    """A copy of the configuration that git is to read."""

    common_dir: Path
    directory: Path
    repository: bytes
    """Content of the repository's configuration file."""
    user: bytes
    """The user's and the system's configuration in one file."""
    programs: frozenset[str]
    """Digests of the program entries that count."""
    has_worktree_files: bool
    """Whether worktrees have configuration files of their own (`extensions.worktreeConfig`)."""

    @property
    def environment(self) -> dict[str, str]:
        """Variables that make git read the copy, which is restored where it was altered.

        Raises:
            EnvironmentProblem: The copy cannot be written.
        """
        try:
            self._restore()
        except OSError as error:
            raise _unwritable(self.directory, error) from error
        return {
            "GIT_COMMON_DIR": os.fspath(self.directory),
            "GIT_CONFIG_GLOBAL": os.fspath(self.directory / "user"),
            "GIT_CONFIG_NOSYSTEM": "1",
        }

    def allows(self, setting: Setting) -> bool:
        """Whether the entry of a worktree's own file counts."""
        return not setting.is_program or setting.digest in self.programs

    def _restore(self) -> None:
        make_private_dir(self.directory)
        for name, content in (("config", self.repository), ("user", self.user)):
            path = self.directory / name
            if _content(path) != content:
                replace_file(path, content, mode=0o600)
        owner = self.directory.stat()
        for name in os.listdir(self.common_dir):
            if name in _NOT_LINKED or name.endswith(".lock"):
                continue
            with contextlib.suppress(FileExistsError):
                os.symlink(self.common_dir / name, self.directory / name)
                if owner.st_uid != os.geteuid():  # root works for the owner of the repository
                    os.lchown(self.directory / name, owner.st_uid, owner.st_gid)


def without_programs(common_dir: Path, settings: Sequence[Setting], directory: Path) -> SealedConfiguration:
    """The configuration of a repository that an agent may have written: none of its own program entries counts.

    The programs of the user's and the system's configuration do.

    Args:
        settings: All entries, in git's order.
        directory: Where the copy is put; it must belong to the caller alone.
    """
    own = [setting for setting in settings if setting.scope == "local" and not setting.is_program]
    return SealedConfiguration(
        common_dir=common_dir,
        directory=directory,
        repository=_written(setting for setting in own if setting.key != _WORKTREE_FILES),
        user=_written(setting for setting in settings if setting.scope in ("system", "global")),
        programs=frozenset(),
        has_worktree_files=any(setting.key == _WORKTREE_FILES and setting.value != "false" for setting in own),
    )


_NOT_LINKED = frozenset({"architect", "config", "config.worktree", "hooks", "user"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Unconfirmed:
    """Program entries that changed while agents ran and that the user has not confirmed."""

    added: tuple[Setting, ...] = ()
    """In the configuration now; not used."""
    removed: tuple[str, ...] = ()
    """Keys of entries that are not in the configuration any more."""

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(sorted({*(setting.key for setting in self.added), *self.removed}))


@dataclass(slots=True)
class _Record:
    """The content of the state file. All dictionaries: digest → key."""

    known: dict[str, str] | None = None
    """What counts while agents run; `None` means that no agent runs."""
    copy: str = ""
    """Name of the sealed copy for them."""
    unconfirmed: dict[str, str] = field(default_factory=dict)
    removed: dict[str, str] = field(default_factory=dict)
    confirmed: dict[str, str] = field(default_factory=dict)


class ConfiguredPrograms:
    """The record of one repository. Its methods may be called from any thread and process."""

    def __init__(self, common_dir: Path, list_settings: Callable[[], list[Setting]]) -> None:
        """Args:
        list_settings: Reads the configuration as it is now; raises GitError where it cannot be read.
        """
        self._common_dir = common_dir
        self._state_dir = common_dir / "architect"
        self._list_settings = list_settings
        self._lock = threading.RLock()
        self._held: list[tuple[_Record, SealedConfiguration]] = []
        """What this process recorded when it let agents run, the first of them first."""
        self._stamp: tuple[int, ...] = ()
        self._sealed: SealedConfiguration | None = None

    def settings(self) -> list[Setting]:
        """The configuration as it is now, in git's order.

        Raises:
            GitError: It cannot be read.
        """
        return self._list_settings()

    @contextlib.contextmanager
    def agents_running(self) -> Iterator[list[str]]:
        """Records the configuration, for the time in which agents, or programs they wrote, run.

        Yields a list which at the end holds the keys of program entries that changed meanwhile.

        Raises:
            EnvironmentProblem: The state directory cannot be written; no agent may be started.
            GitError: The configuration cannot be read.
        """
        changed: list[str] = []
        try:
            make_private_dir(self._state_dir)
            descriptor = os.open(self._state_dir / _AGENTS, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            share(self._state_dir / _AGENTS)
        except OSError as error:
            raise _unwritable(self._state_dir, error) from error
        try:
            with self._lock, self._exclusively():
                held = self._begin(descriptor)
                self._held.append(held)
            try:
                yield changed
            finally:
                with self._lock, self._exclusively():
                    if _try_lock(descriptor):
                        changed += self._end(held[0])
                    self._held.remove(held)
        finally:
            os.close(descriptor)

    def sealed(self) -> SealedConfiguration | None:
        """The copy of the configuration that git has to read now; `None` means the configuration itself.

        Raises:
            EnvironmentProblem: The state directory cannot be written.
            GitError: The configuration cannot be read.
        """
        with self._lock:
            if self._held:
                return self._held[0][1]
            stamp = _stamp(self._state_dir / STATE_FILE)
            if stamp == self._stamp:
                return self._sealed
            if not stamp:
                self._sealed = None
            else:
                with self._exclusively():
                    self._sealed = self._looked_up()
                    stamp = _stamp(self._state_dir / STATE_FILE)
            self._stamp = stamp
            return self._sealed

    def unconfirmed(self) -> Unconfirmed:
        """What waits for the user's word. Raises like `sealed`."""
        with self._lock:
            if not self._held and not _stamp(self._state_dir / STATE_FILE):
                return Unconfirmed()
            with self._exclusively():
                record = self._settled()
                return _unconfirmed(record, self.settings())

    def confirm(self, seen: Unconfirmed) -> None:
        """Records that the user wants what `unconfirmed()` answered, and nothing that came since. Raises like it."""
        with self._lock, self._exclusively():
            record = self._settled()
            there = {setting.digest for setting in self.settings()}
            record.confirmed |= {setting.digest: setting.key for setting in seen.added}
            record.confirmed |= {
                digest: key
                for digest, key in {**record.removed, **(record.known or {})}.items()
                if digest not in there and key in seen.removed
            }
            for digest in record.confirmed:
                record.unconfirmed.pop(digest, None)
                record.removed.pop(digest, None)
            self._save(record)

    @contextlib.contextmanager
    def _exclusively(self) -> Iterator[None]:
        try:
            with locked(self._state_dir / _LOCK, timeout_s=30):
                share(self._state_dir / _LOCK)
                yield
        except OSError as error:
            raise _unwritable(self._state_dir, error) from error

    def _begin(self, descriptor: int) -> tuple[_Record, SealedConfiguration]:
        """Takes part in the record of the processes that have agents running; begins one where there is none."""
        if not _try_lock(descriptor):
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            record = self._load()
            if self._held:
                return self._held[0]
            if (sealed := self._read_copy(record)) is not None:
                return record, sealed
        record = self._settled_as_free()
        settings = self.settings()
        settings_that_count = [setting for setting in settings if setting.digest not in record.unconfirmed]
        self._sweep()
        sealed = self._seal(settings_that_count)
        record.known = {setting.digest: setting.key for setting in settings_that_count if setting.is_program}
        record.copy = sealed.directory.name
        self._save(record)
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        return record, sealed

    def _end(self, held: _Record) -> list[str]:
        """Nobody's agents run any more: what changed since is unconfirmed. What this process recorded counts, not what
        the file says by now."""
        record = self._load()
        record.known, record.copy = held.known, held.copy
        before = {*record.unconfirmed, *record.removed}
        if not self._close(record):
            return []
        new = {**record.unconfirmed, **record.removed}
        return sorted({key for digest, key in new.items() if digest not in before})

    def _close(self, record: _Record) -> bool:
        """Compares, and takes note; `False`: the configuration cannot be read, the record stays open."""
        try:
            settings = self.settings()
        except ArchitectParallelError:  # an agent broke it: what was recorded goes on counting
            self._save(record)
            return False
        found = _unconfirmed(record, settings)
        record.unconfirmed |= {setting.digest: setting.key for setting in found.added}
        there = {setting.digest for setting in settings}
        record.removed = {
            digest: key
            for digest, key in {**record.removed, **(record.known or {})}.items()
            if digest not in there and digest not in record.confirmed
        }
        record.known, record.copy = None, ""
        self._save(record)
        return True

    def _settled(self) -> _Record:
        """The record; of launchers that were killed, closed. Ours is as we hold it, whatever the file says."""
        record = self._load()
        if self._held:
            record.known, record.copy = self._held[0][0].known, self._held[0][0].copy
        elif record.known is not None and not self._agents_run():
            self._close(record)
        return record

    def _settled_as_free(self) -> _Record:
        """The record before agents run: one that cannot be closed is an error here."""
        record = self._load()
        if record.known is not None and not self._close(record):
            self.settings()  # raises what is wrong with it
        return record

    def _agents_run(self) -> bool:
        """Whether a living process has agents running."""
        try:
            descriptor = os.open(self._state_dir / _AGENTS, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            return not _try_lock(descriptor)
        finally:
            os.close(descriptor)

    def _looked_up(self) -> SealedConfiguration | None:
        record = self._settled()
        if record.known is not None and (copy := self._read_copy(record)) is not None:
            return copy
        if record.known is None and not record.unconfirmed:
            return None
        settings = self.settings()
        refused = {setting.digest for setting in _unconfirmed(record, settings).added}
        if not refused:
            return None
        return self._seal([setting for setting in settings if setting.digest not in refused])

    def _seal(self, settings: Sequence[Setting]) -> SealedConfiguration:
        own = [*(setting for setting in settings if setting.scope == "local"), *self._lfs_settings(settings)]
        repository = _written(setting for setting in own if setting.key != _WORKTREE_FILES)
        user = _written(setting for setting in settings if setting.scope in ("system", "global"))
        programs = frozenset(setting.digest for setting in settings if setting.is_program)
        worktree_files = any(setting.key == _WORKTREE_FILES and setting.value != "false" for setting in own)
        facts = json.dumps({"programs": sorted(programs), "worktree_files": worktree_files}).encode()
        name = hashlib.sha256(b"\0".join((repository, user, facts))).hexdigest()[:32]
        directory = self._state_dir / _COPIES / name
        make_shared_dir(directory.parent)
        make_private_dir(directory)  # the user's own settings may hold credentials
        if _content(directory / "facts.json") != facts:
            replace_file(directory / "facts.json", facts, mode=0o600)
        sealed = SealedConfiguration(
            common_dir=self._common_dir, directory=directory, repository=repository, user=user, programs=programs,
            has_worktree_files=worktree_files,
        )  # fmt: skip
        _ = sealed.environment  # written at once: other processes read it
        return sealed

    def _lfs_settings(self, settings: Sequence[Setting]) -> list[Setting]:
        """Settings for git-lfs, which would look for its objects in the directory of the copy, and there also for
        those of a remote that is a directory."""
        storage = next((each.value for each in reversed(settings) if each.key == "lfs.storage" and each.value), "lfs")
        standalone = "lfs.customtransfer.lfs-standalone-file"
        wanted = {
            f"{standalone}.path": "env",
            f"{standalone}.args": "-u GIT_COMMON_DIR git-lfs standalone-file",
            "lfs.storage": os.path.join(self._common_dir, storage),
        }
        there = {setting.key for setting in settings} - {"lfs.storage"}
        return [
            Setting(key=key, value=value, origin="", scope="local") for key, value in wanted.items() if key not in there
        ]

    def _read_copy(self, record: _Record) -> SealedConfiguration | None:
        """The copy that another process made; `None`: it is not there or not what it was."""
        directory = self._state_dir / _COPIES / os.path.basename(record.copy)
        parts = [_content(directory / name) for name in ("config", "user", "facts.json")]
        if not record.copy or hashlib.sha256(b"\0".join(parts)).hexdigest()[:32] != record.copy:
            return None
        facts = json.loads(parts[2])
        return SealedConfiguration(
            common_dir=self._common_dir, directory=directory, repository=parts[0], user=parts[1],
            programs=frozenset(facts["programs"]), has_worktree_files=facts["worktree_files"],
        )  # fmt: skip

    def _sweep(self) -> None:
        """Removes old copies. A young one may be in use by a git that runs."""
        with contextlib.suppress(OSError):
            for entry in os.scandir(self._state_dir / _COPIES):
                if entry.stat(follow_symlinks=False).st_mtime < time.time() - _OLD_S:
                    shutil.rmtree(entry.path, ignore_errors=True)

    def _load(self) -> _Record:
        """The record in the file; where this process recorded what counts itself, a damaged file is an empty one."""
        try:
            return self._load_file()
        except EnvironmentProblem:
            if not self._held:
                raise
            return _Record()

    def _load_file(self) -> _Record:
        try:
            plain: dict[str, Any] = json.loads((self._state_dir / STATE_FILE).read_bytes())
        except FileNotFoundError:
            return _Record()
        except (OSError, ValueError, RecursionError) as error:
            raise _damaged(self._state_dir / STATE_FILE) from error
        try:
            return _Record(
                known=None if plain["known"] is None else _words(plain["known"]), copy=str(plain["copy"]),
                unconfirmed=_words(plain["unconfirmed"]), removed=_words(plain["removed"]),
                confirmed=_words(plain["confirmed"]),
            )  # fmt: skip
        except (KeyError, TypeError, AttributeError) as error:
            raise _damaged(self._state_dir / STATE_FILE) from error

    def _save(self, record: _Record) -> None:
        plain = {
            "known": record.known, "copy": record.copy, "unconfirmed": record.unconfirmed,
            "removed": record.removed, "confirmed": record.confirmed,
        }  # fmt: skip
        path = self._state_dir / STATE_FILE
        if record == _Record():
            path.unlink(missing_ok=True)
        elif _content(path) != (data := json.dumps(plain, indent=1).encode()):
            replace_file(path, data, mode=0o600)
            share(path)


_WORKTREE_FILES = "extensions.worktreeconfig"


def _unconfirmed(record: _Record, settings: Sequence[Setting]) -> Unconfirmed:
    programs = [setting for setting in settings if setting.is_program]
    known = record.known
    added = {
        setting.digest: setting
        for setting in programs
        if setting.digest not in record.confirmed
        and (setting.digest in record.unconfirmed or (known is not None and setting.digest not in known))
    }
    there = {setting.digest for setting in programs}
    removed = {
        key
        for digest, key in {**record.removed, **(known or {})}.items()
        if digest not in there and digest not in record.confirmed
    }
    return Unconfirmed(added=tuple(added.values()), removed=tuple(sorted(removed)))


def _written(settings: Iterable[Setting]) -> bytes:
    """The entries as a configuration file, in their order. What included files hold is listed already."""
    lines = []
    for setting in settings:
        if setting.key == "include.path" or setting.key.startswith("includeif."):
            continue
        section, _, rest = setting.key.partition(".")
        subsection, _, name = rest.rpartition(".")
        head = f'[{section} "{_escaped(subsection)}"]' if subsection or rest.startswith(".") else f"[{section}]"
        value = "" if setting.value is None else ' = "{}"'.format(_escaped(setting.value).replace("\n", "\\n"))
        lines.append(f"{head}\n\t{name}{value}\n")
    return os.fsencode("".join(lines))


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _words(plain: Any) -> dict[str, str]:
    return {str(digest): str(key) for digest, key in plain.items()}


def _try_lock(descriptor: int) -> bool:
    """Whether nobody else holds the lock of the agents; it is ours exclusively then."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _stamp(path: Path) -> tuple[int, ...]:
    """What changes when the file is replaced; empty: there is none."""
    try:
        found = path.stat()
    except OSError:
        return ()
    return (found.st_mtime_ns, found.st_size, found.st_ino)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _unwritable(place: Path, error: OSError) -> EnvironmentProblem:
    return EnvironmentProblem(f"{place} cannot be written: {error.strerror}")


def _damaged(path: Path) -> EnvironmentProblem:
    return EnvironmentProblem(
        f"{path} cannot be read: it says which programs of git's configuration may run", hint=f"rm {path}"
    )
