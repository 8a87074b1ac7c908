"""Files: atomic replacement, private and shared directories, deletion, locks between processes.

Permissions: a private directory is readable by its owner only. A shared one, and the locks in it, get the permissions
of the parent directory if that is shared (setgid, as git sets it for `core.sharedRepository`). Files that root makes
get the owner of the parent directory, so that one `sudo` does not lock users out of their own repositories.

Locks are `flock`. The kernel releases them when the last holder of the descriptor ends, so a killed process never
leaves a stale lock. Descriptors are close-on-exec, so no child keeps a lock.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import pwd
import shlex
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from architect_parallel.errors import EnvironmentProblem

LOCK_WAIT_S = 300.0
"""The longest wait for a lock, in seconds. No step of this program holds one that long."""


def replace_file(path: Path, data: bytes, *, mode: int | None = None) -> None:
    """Write `data` to `path` so that a reader sees the old or the new content, never a part. Durable on return.

    Args:
        mode: `None` means what the umask allows, as for any new file.
    """
    if mode is None:
        name = os.fspath(path.with_name(f".{path.name}.{os.urandom(6).hex()}"))
        descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    else:
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            if mode is not None:
                os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise


def sync_directory(path: Path) -> None:
    """Make the names in a directory survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_out(path: Path, data: bytes) -> None:
    """Write `data` to a path of the user's: replace a file as a whole, write to a device or pipe.

    Raises:
        OSError: The path cannot be written, or nothing reads from the pipe.
    """
    if path.exists() and not path.is_file():
        # Replacing `/dev/stdout` would remove it for every process. A pipe without a reader would block for ever.
        descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        with os.fdopen(descriptor, "wb") as file:
            os.set_blocking(descriptor, True)
            file.write(data)
    else:
        replace_file(path.resolve(), data)


def make_private_dir(path: Path) -> Path:
    """Create `path` and its missing parents with mode 0700, and return it."""
    if not path.is_dir():
        make_private_dir(path.parent)  # `mkdir(parents=True)` would make the parents with the usual mode
        path.mkdir(exist_ok=True, mode=0o700)
        _hand_over(path)
    return path


def make_shared_dir(path: Path) -> Path:
    """Create `path` with the permissions of its parent, which exists, and return it."""
    if not path.is_dir():
        path.mkdir(exist_ok=True, mode=0o700)
        share(path)
    return path


def share(path: Path) -> None:
    """Give `path` the permissions of its parent, if the parent is shared and this user may change `path`."""
    _hand_over(path)
    parent_mode = path.parent.stat().st_mode
    if not parent_mode & stat.S_ISGID:
        return
    with contextlib.suppress(OSError), _opened(path) as descriptor:  # another user's, or a file system without modes
        mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            shared_mode = mode | parent_mode & 0o077 | stat.S_ISGID
        else:
            shared_mode = mode | parent_mode & 0o066
        if shared_mode != mode:
            os.fchmod(descriptor, shared_mode)


def user_name(user_id: int) -> str:
    """The name of a user. Without one it is `user 4711`."""
    try:
        return pwd.getpwuid(user_id).pw_name
    except KeyError:
        return f"user {user_id}"


def ownership_hint(state_dir: Path) -> str | None:
    """The command to type if another user owns the state directory of a repository, or something in it.

    `None` means that this user owns it, or that it is missing.
    """
    common_dir = state_dir.parent
    try:
        if all(path.stat().st_uid == os.geteuid() for path in (state_dir, *state_dir.glob("*"))):
            return None
        if common_dir.stat().st_uid in (os.geteuid(), 0):
            return f'sudo chown -R "$(id -un)" {shlex.quote(os.fspath(state_dir))}'
    except OSError:
        return None
    quoted = shlex.quote(os.fspath(common_dir))
    return f"ask its owner for: git config core.sharedRepository group; chmod g+rwxs {quoted}; architect status"


def hand_over_tree(path: Path, since_s: float = 0.0) -> None:
    """As root, give the files that root made in `path` to the owner of `path`.

    If root made `path` itself, its parent's owner gets it first.

    Args:
        since_s: Seconds since the epoch. Files last changed before this time are left alone.
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
            status = os.fstat(descriptor)
            # A hard link may be a file that the new owner must not change (/etc/shadow).
            if status.st_uid == 0 and (stat.S_ISDIR(status.st_mode) or status.st_nlink == 1):
                os.fchown(descriptor, owner.st_uid, owner.st_gid)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def locked(path: Path, *, timeout_s: float = LOCK_WAIT_S) -> Iterator[int]:
    """Wait for the exclusive lock at `path`, and hold it between processes and threads.

    Args:
        timeout_s: Seconds to wait. An agent may hold the lock for ever.

    Yields:
        The descriptor. A child that inherits it holds the lock until it ends, even if this process is killed.

    Raises:
        EnvironmentProblem: The lock is not free within `timeout_s`.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    share(path)
    try:
        wait_for_lock(descriptor, path, fcntl.LOCK_EX, timeout_s)
        yield descriptor
    finally:
        os.close(descriptor)


def wait_for_lock(descriptor: int, path: Path, kind: int, timeout_s: float = LOCK_WAIT_S) -> None:
    """Take the lock of an open file, `fcntl.LOCK_EX` or `LOCK_SH`, within `timeout_s` seconds.

    Raises:
        EnvironmentProblem: The lock is not free within that time.
    """
    deadline, pause_s = time.monotonic() + timeout_s, 0.001
    while True:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
            return
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise
            if time.monotonic() > deadline:
                quoted = shlex.quote(os.fspath(path))
                raise EnvironmentProblem(f"{path} is locked by another process", hint=f"fuser {quoted}") from error
            time.sleep(pause_s)
            pause_s = min(0.02, 2 * pause_s)


class HeldLock:
    """An exclusive lock held until `release`. It shows whether a run's launcher is alive."""

    def __init__(self, descriptor: int, path: Path) -> None:
        self._descriptor = descriptor
        self.path = path

    @classmethod
    def try_acquire(cls, path: Path) -> HeldLock | None:
        """The lock at `path`, or `None` if a live process holds it. A directory is locked without a file."""
        flags = os.O_RDONLY if path.is_dir() else os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
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
        """Replace the content of the lock file, which names the holder. A file with a second name is left alone."""
        if os.fstat(self._descriptor).st_nlink > 1:
            return
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, text.encode(), 0)

    def release(self) -> None:
        """Release the lock. A second call does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def is_locked(path: Path) -> bool:
    """Return whether a live process holds the lock at `path`. A missing file is not locked."""
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


def delete_tree(path: Path) -> None:
    """Delete a tree that an agent may have written. Modes that forbid it are changed. Links are not followed.

    Raises:
        OSError: Something in it cannot be deleted.
    """
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
        return
    with contextlib.suppress(OSError):
        # Like rmtree in two thirds of the time: large results have tens of thousands of files.
        for _, inner, files, descriptor in os.fwalk(path, topdown=False):
            for name in files:
                os.unlink(name, dir_fd=descriptor)
            for name in inner:
                _remove_entry(name, descriptor)
        path.rmdir()
        return
    for directory, inner, _ in os.walk(path):  # top down: tool caches are often read-only, and agents chmod to 000
        for name in inner:
            give_write_permission(Path(directory, name))
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(path)


def _remove_entry(name: str, descriptor: int) -> None:
    """Remove an empty directory, or a link to one."""
    try:
        os.rmdir(name, dir_fd=descriptor)
    except NotADirectoryError:
        os.unlink(name, dir_fd=descriptor)


def names(directory: Path) -> list[str]:
    """The names in `directory`. A missing or unreadable directory counts as empty."""
    try:
        return os.listdir(directory)
    except OSError:
        return []


def give_write_permission(path: Path) -> None:
    """Let the owner read, write and search a directory. Anything else stays as it is."""
    with contextlib.suppress(FileNotFoundError):
        mode = path.lstat().st_mode
        if stat.S_ISDIR(mode) and mode & stat.S_IRWXU != stat.S_IRWXU:
            path.chmod(stat.S_IMODE(mode) | stat.S_IRWXU)


def not_writable(path: Path, error: OSError, hint: str | None = None) -> EnvironmentProblem:
    """The error for a path that cannot be written. A hint of `None` means the usual one."""
    hint = hint or "check its owner and the free space"
    return EnvironmentProblem(f"{path} cannot be written: {error.strerror}", hint=hint)


def short_path(path: str) -> str:
    """A path below the current directory as a relative one, any other as it is."""
    try:
        return str(Path(path).relative_to(Path.cwd()))
    except (ValueError, OSError):  # not below it, or the directory is gone
        return path
