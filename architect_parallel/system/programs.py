"""The programs and redirections that git's configuration names, as they were before agents ran.

The rule: git runs a configured program for us only in three cases. The configuration named it before the first agent of
a run began, or it was added while no agent of any run was running, or the user has confirmed it since (`architect
config trust`). While agents run, and while an entry is unconfirmed afterwards, git reads a sealed copy of the
configuration instead of the files that an agent may write. `GIT_COMMON_DIR` names a directory with that copy, in which
everything else is a link to the repository's own. `GIT_CONFIG_GLOBAL` names a copy of the user's and the system's
configuration. No key is neutralised by itself, so no change can slip in between a check and a use.

The record is in the repository's state directory. It holds digests, except for the sealed copies (mode 0600). A
launcher also keeps what it recorded in memory, and restores a sealed copy that was altered. Invariant: a record that
cannot be read confirms nothing.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from architect_parallel.errors import ArchitectParallelError, EnvironmentProblem
from architect_parallel.system.files import locked, make_private_dir, share, wait_for_lock
from architect_parallel.system.git_settings import Setting
from architect_parallel.system.program_record import (
    ProgramRecord,
    Unconfirmed,
    find_unconfirmed,
    load_record,
    save_record,
)
from architect_parallel.system.sealed_configuration import (
    SealedConfiguration,
    not_writable,
    read_sealed,
    remove_old_copies,
    seal,
)

STATE_FILE = "programs.json"
_LOCK = "programs.lock"
_AGENTS = "agents.lock"
"""Locked (shared) by every process that has agents running."""
_COPIES = "programs"


class ConfiguredPrograms:
    """The record of one repository. Its methods may be called from any thread and process."""

    def __init__(self, common_dir: Path, list_settings: Callable[[], list[Setting]]) -> None:
        """Args:
        list_settings: Reads the configuration as it is now. Raises GitError where it cannot be read.
        """
        self._common_dir = common_dir
        self._state_dir = common_dir / "architect"
        self._state_file = self._state_dir / STATE_FILE
        self._copies = self._state_dir / _COPIES
        self._list_settings = list_settings
        self._lock = threading.RLock()
        self._held: list[tuple[ProgramRecord, SealedConfiguration]] = []
        """The records and copies that this process made each time it let agents run, oldest first."""
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
        """Record the configuration while agents, or programs they wrote, run.

        Yields:
            A list. At the end it holds the keys of program entries that changed meanwhile.

        Raises:
            EnvironmentProblem: The state directory cannot be written. No agent may be started.
            GitError: The configuration cannot be read.
        """
        changed: list[str] = []
        try:
            make_private_dir(self._state_dir)
            descriptor = os.open(
                self._state_dir / _AGENTS, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
            )
            share(self._state_dir / _AGENTS)
        except OSError as error:
            raise not_writable(self._state_dir, error) from error
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
        """The copy of the configuration that git must read now. `None` means the configuration itself.

        Raises:
            EnvironmentProblem: The state directory cannot be written.
            GitError: The configuration cannot be read.
        """
        with self._lock:
            if self._held:
                return self._held[0][1]
            stamp = _stamp(self._state_file)
            if stamp == self._stamp:
                return self._sealed
            if not stamp:
                self._sealed = None
            else:
                with self._exclusively():
                    self._sealed = self._seal_confirmed()
                    stamp = _stamp(self._state_file)
            self._stamp = stamp
            return self._sealed

    def unconfirmed(self) -> Unconfirmed:
        """The entries that wait for the user's confirmation. Raises like `sealed`."""
        with self._lock:
            if not self._held and not _stamp(self._state_file):
                return Unconfirmed()
            with self._exclusively():
                record = self._settled()
                return find_unconfirmed(record, self.settings())

    def confirm(self, seen: Unconfirmed) -> None:
        """Record that the user confirms what `unconfirmed()` returned, and nothing newer. Raises like it."""
        with self._lock, self._exclusively():
            record = self._settled()
            present = {setting.digest for setting in self.settings()}
            record.confirmed |= {setting.digest: setting.key for setting in seen.added}
            record.confirmed |= {
                digest: key
                for digest, key in {**record.removed, **(record.known or {})}.items()
                if digest not in present and key in seen.removed
            }
            for digest in record.confirmed:
                record.unconfirmed.pop(digest, None)
                record.removed.pop(digest, None)
            save_record(record, self._state_file)

    @contextlib.contextmanager
    def _exclusively(self) -> Iterator[None]:
        try:
            with locked(self._state_dir / _LOCK, timeout_s=30):
                share(self._state_dir / _LOCK)
                yield
        except OSError as error:
            raise not_writable(self._state_dir, error) from error

    def _begin(self, descriptor: int) -> tuple[ProgramRecord, SealedConfiguration]:
        """Join the record of the processes that have agents running. Begin one if there is none."""
        if not _try_lock(descriptor):
            wait_for_lock(descriptor, self._state_dir / _AGENTS, fcntl.LOCK_SH)
            record = self._load()
            if self._held:
                return self._held[0]
            if (sealed := read_sealed(self._common_dir, self._copies, record.copy)) is not None:
                return record, sealed
        record = self._settled_as_free()
        settings = self.settings()
        used_settings = [setting for setting in settings if setting.digest not in record.unconfirmed]
        remove_old_copies(self._copies)
        sealed = seal(self._common_dir, self._copies, used_settings)
        record.known = {setting.digest: setting.key for setting in used_settings if setting.is_program}
        record.copy = sealed.directory.name
        save_record(record, self._state_file)
        wait_for_lock(descriptor, self._state_dir / _AGENTS, fcntl.LOCK_SH)
        return record, sealed

    def _end(self, held: ProgramRecord) -> list[str]:
        """Close the record once no process has agents running. What changed since is unconfirmed.

        What this process recorded counts, not what the file says now.

        Returns:
            The keys of the changed program entries, sorted.
        """
        record = self._load()
        record.known, record.copy = held.known, held.copy
        before = {*record.unconfirmed, *record.removed}
        if not self._close(record):
            return []
        new = {**record.unconfirmed, **record.removed}
        return sorted({key for digest, key in new.items() if digest not in before})

    def _close(self, record: ProgramRecord) -> bool:
        """Compare with the configuration and record what changed.

        Returns `False` if the configuration cannot be read. Then the record stays open.
        """
        try:
            settings = self.settings()
        except ArchitectParallelError:  # an agent broke it: what was recorded is still used
            save_record(record, self._state_file)
            return False
        changed = find_unconfirmed(record, settings)
        record.unconfirmed |= {setting.digest: setting.key for setting in changed.added}
        present = {setting.digest for setting in settings}
        record.removed = {
            digest: key
            for digest, key in {**record.removed, **(record.known or {})}.items()
            if digest not in present and digest not in record.confirmed
        }
        record.known, record.copy = None, ""
        save_record(record, self._state_file)
        return True

    def _settled(self) -> ProgramRecord:
        """The record. One of launchers that were killed is closed. This process's own is as it is in memory."""
        record = self._load()
        if self._held:
            record.known, record.copy = self._held[0][0].known, self._held[0][0].copy
        elif record.known is not None and not self._agents_run():
            self._close(record)
        return record

    def _settled_as_free(self) -> ProgramRecord:
        """The record before agents run. One that cannot be closed is an error here."""
        record = self._load()
        if record.known is not None and not self._close(record):
            self.settings()  # raises the reason
        return record

    def _agents_run(self) -> bool:
        """Return whether a living process has agents running."""
        try:
            descriptor = os.open(self._state_dir / _AGENTS, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            return not _try_lock(descriptor)
        finally:
            os.close(descriptor)

    def _seal_confirmed(self) -> SealedConfiguration | None:
        record = self._settled()
        if record.known is not None and (copy := read_sealed(self._common_dir, self._copies, record.copy)) is not None:
            return copy
        if record.known is None and not record.unconfirmed:
            return None
        settings = self.settings()
        refused = {setting.digest for setting in find_unconfirmed(record, settings).added}
        if not refused:
            return None
        return seal(self._common_dir, self._copies, [setting for setting in settings if setting.digest not in refused])

    def _load(self) -> ProgramRecord:
        """The record in the file. If this process has its own record in memory, a damaged file counts as empty."""
        try:
            return load_record(self._state_file)
        except EnvironmentProblem:
            if not self._held:
                raise
            return ProgramRecord()


def _try_lock(descriptor: int) -> bool:
    """Take the lock of the agents exclusively. Returns whether no other process holds it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _stamp(path: Path) -> tuple[int, ...]:
    """Time, size and inode, which change when the file is replaced. Empty means that there is no file."""
    try:
        status = path.stat()
    except OSError:
        return ()
    return (status.st_mtime_ns, status.st_size, status.st_ino)
