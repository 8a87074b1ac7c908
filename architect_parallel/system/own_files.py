"""Files that only this program writes, in directories where agents can write too.

An agent may have put something else in the place of such a file: a link to a file of the user's, a second name of one,
or a pipe that nobody reads. It is removed, never written or waited for. An agent may also have changed a file that this
process reads later. `seal` keeps its digest in memory, which no agent can write.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from pathlib import Path

from architect_parallel.system.files import make_private_dir

_digests: dict[str, bytes] = {}
"""Path → SHA-256 of the content that this process wrote."""


def open_own(path: Path, flags: int, mode: int = 0o600) -> int:
    """Open a file of this program for writing, and return the descriptor. Whatever else is in its place is removed.

    Args:
        flags: As for `os.open`. The file is created if it is missing.

    Raises:
        OSError: It cannot be opened, or a directory is in its place.
    """
    for _ in range(3):
        try:
            safe = os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            descriptor = os.open(path, flags & ~os.O_TRUNC | safe, mode)
        except OSError as error:
            if error.errno not in (errno.ELOOP, errno.ENXIO):
                raise
        else:
            status = os.fstat(descriptor)
            if stat.S_ISREG(status.st_mode) and status.st_nlink <= 1:
                os.set_blocking(descriptor, True)
                if flags & os.O_TRUNC:
                    os.ftruncate(descriptor, 0)
                return descriptor
            os.close(descriptor)
        path.unlink(missing_ok=True)
    raise OSError(errno.EBUSY, "another program puts something in its place", os.fspath(path))


READ_BY_GIT = 0o666
"""Mode, before the umask, of a file that git reads: the others of a shared repository need it too."""


def write_own(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Write a file of this program. Whatever else is in its place is removed. Raises as `open_own`."""
    with os.fdopen(open_own(path, os.O_WRONLY | os.O_TRUNC, mode), "wb") as stream:
        stream.write(data)


def make_own_dir(path: Path) -> Path:
    """Create a directory of this program (0700) and return it. A link in its place is removed."""
    if path.is_symlink():
        path.unlink()
    return make_private_dir(path)


def seal(path: Path, data: bytes | None = None) -> None:
    """Remember the content of a file for `is_intact`.

    Args:
        data: The content. `None` means that the file is read.
    """
    _digests[os.fspath(path)] = hashlib.sha256(path.read_bytes() if data is None else data).digest()


def is_intact(path: Path, data: bytes | None = None) -> bool:
    """Return whether a file is as this process wrote it. One that another process wrote counts as intact.

    Args:
        data: The content that was read. `None` means that the file is read.

    Raises:
        OSError: The file cannot be read.
    """
    known = _digests.get(os.fspath(path))
    return known is None or hashlib.sha256(path.read_bytes() if data is None else data).digest() == known
