"""The door to files: atomic replacement, private and shared directories, locks between processes.

Rights: a private directory is its owner's alone. A shared one, and the locks in it, have the rights of the directory
around it where that one is shared (setgid, as git makes those of `core.sharedRepository`). What root makes belongs to
the owner of the directory around it, so that one `sudo` locks nobody out of his own repository.

Locks are `flock`: the kernel drops them when the last holder of the descriptor dies, so a killed process never leaves
a stale one. Descriptors are close-on-exec, so no child keeps a lock alive.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import pwd
import shlex
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from architect_parallel.errors import EnvironmentProblem


def replace_file(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Writes `data` to `path` so that a reader sees the old or the new content, never a part; durable on return."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise


def write_out(path: Path, data: bytes) -> None:
    """Writes `data` where the user said: a file is replaced as a whole, a device or pipe is written to.

    Raises:
        OSError: It cannot be; a pipe also when nothing reads from it.
    """
    if path.exists() and not path.is_file():
        # `/dev/stdout`; replacing it would take it away from everybody. A pipe that nothing reads would block for ever.
        descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        with os.fdopen(descriptor, "wb") as file:
            os.set_blocking(descriptor, True)
            file.write(data)
    else:
        replace_file(path.resolve(), data)


def make_private_dir(path: Path) -> Path:
    """Creates `path` and its missing parents with mode 0700; returns it."""
    if not path.is_dir():
        make_private_dir(path.parent)  # `mkdir(parents=True)` would make the parents with the usual mode
        path.mkdir(exist_ok=True, mode=0o700)
        _hand_over(path)
    return path


def make_shared_dir(path: Path) -> Path:
    """Creates `path` with the rights of the directory around it, which exists; returns it."""
    if not path.is_dir():
        path.mkdir(exist_ok=True, mode=0o700)
        share(path)
    return path


def share(path: Path) -> None:
    """Gives `path` the rights of the directory around it, where that one is shared and `path` is ours to change."""
    _hand_over(path)
    around = path.parent.stat().st_mode
    if not around & stat.S_ISGID:
        return
    with contextlib.suppress(OSError), _opened(path) as descriptor:  # another user's, or a file system without modes
        mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            wanted = mode | around & 0o077 | stat.S_ISGID
        else:
            wanted = mode | around & 0o066
        if wanted != mode:
            os.fchmod(descriptor, wanted)


def user_name(user_id: int) -> str:
    """The name of a user; `user 4711` where there is none."""
    try:
        return pwd.getpwuid(user_id).pw_name
    except KeyError:
        return f"user {user_id}"


def ownership_hint(state_dir: Path) -> str | None:
    """What to type where the state directory of a repository, or something in it, is another user's; `None` means that
    it is ours or not there."""
    around = state_dir.parent
    try:
        foreign = next((each for each in (state_dir, *state_dir.glob("*")) if each.stat().st_uid != os.geteuid()), None)
        if foreign is None:
            return None
        if around.stat().st_uid in (os.geteuid(), 0):
            return f'sudo chown -R "$(id -un)" {shlex.quote(os.fspath(state_dir))}'
    except OSError:
        return None
    place = shlex.quote(os.fspath(around))
    return f"ask its owner for: git config core.sharedRepository group; chmod g+rwxs {place}; architect status"


def hand_over_tree(path: Path, since_s: float = 0.0) -> None:
    """As root, gives what root made in `path` to the owner of `path` or, where root made that, of what is around it.

    Args:
        since_s: Time of the epoch; what was last changed before it stays as it is.
    """
    if os.geteuid() != 0 or not path.is_dir():
        return
    _hand_over(path)
    owner = path.stat()
    if owner.st_uid == 0:
        return
    for directory, inner, files in os.walk(path):
        for name in (*inner, *files):
            with contextlib.suppress(OSError):
                if os.lstat(os.path.join(directory, name)).st_ctime >= since_s:
                    _hand_over(Path(directory, name), owner)


def _hand_over(path: Path, owner: os.stat_result | None = None) -> None:
    if os.geteuid() != 0:
        return
    owner = owner or path.parent.stat()
    with contextlib.suppress(OSError):
        if owner.st_uid == 0 or path.lstat().st_uid != 0:
            return
        with _opened(path) as descriptor:
            found = os.fstat(descriptor)
            # A further name of the file may be one that its new owner must not change (/etc/shadow).
            if found.st_uid == 0 and (stat.S_ISDIR(found.st_mode) or found.st_nlink == 1):
                os.fchown(descriptor, owner.st_uid, owner.st_gid)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def locked(path: Path, *, timeout_s: float | None = None) -> Iterator[int]:
    """Holds the exclusive lock at `path` between processes and threads; waits for it.

    Yields its descriptor: a child that inherits it holds the lock on until it ends, should this process be killed.

    Raises:
        EnvironmentProblem: When it is not free within `timeout_s` (`None`: wait for ever).
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    share(path)
    try:
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX if deadline is None else fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if error.errno not in (errno.EAGAIN, errno.EACCES):
                    raise
                if deadline is not None and time.monotonic() > deadline:
                    raise EnvironmentProblem(f"{path} is locked by another process", hint="try again") from error
                time.sleep(0.02)
        yield descriptor
    finally:
        os.close(descriptor)


class HeldLock:
    """An exclusive lock held until `release`; tells the living from the dead."""

    def __init__(self, descriptor: int, path: Path) -> None:
        self._descriptor = descriptor
        self.path = path

    @classmethod
    def try_acquire(cls, path: Path) -> HeldLock | None:
        """The lock at `path`, or `None` when somebody alive holds it. A directory is locked as it is."""
        flags = os.O_RDONLY if path.is_dir() else os.O_RDWR | os.O_CREAT
        descriptor = os.open(path, flags | os.O_CLOEXEC, 0o600)
        if flags != os.O_RDONLY:
            share(path)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            return None
        return cls(descriptor, path)

    def write(self, text: str) -> None:
        """Replaces the content of the lock file (who holds it)."""
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, text.encode(), 0)

    def release(self) -> None:
        """Gives the lock up; a second call does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def is_locked(path: Path) -> bool:
    """Whether a living process holds the lock at `path`; a missing file is not locked."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False
