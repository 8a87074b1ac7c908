"""Files that an agent writes while it works, followed as they grow.

The agent can write there too, so nothing here is trusted to be a plain file or JSON, and a read never blocks.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from architect_parallel.backends import json_output as read
from architect_parallel.backends.json_output import Json

CHUNK_BYTES = 4 * 2**20
"""Read per look at most; a line longer than that is skipped."""


class FollowedLines:
    """One file of JSON lines. It need not exist yet."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.offset = 0
        """Bytes read so far."""

    def objects(self, *markers: bytes) -> Iterator[Json]:
        """The objects that are new since the last call, those with one of `markers` in their line."""
        data = _read_from(self._path, self.offset)
        end = data.rfind(b"\n") + 1
        if end == 0:
            self.offset += len(data) if len(data) >= CHUNK_BYTES else 0
            return
        self.offset += end
        for line in data[:end].split(b"\n"):
            if any(marker in line for marker in markers):
                found = read.parse_object(line)
                if found is not None:
                    yield found

    def skip(self) -> None:
        """Leaves out what an earlier attempt wrote."""
        try:
            self.offset = os.stat(self._path, follow_symlinks=False).st_size
        except OSError:
            self.offset = 0


def _read_from(path: Path, offset: int) -> bytes:
    """At most `CHUNK_BYTES` of a regular file from `offset` on; `b""` when there is nothing to read."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags)
    except OSError:
        return b""
    try:
        return os.pread(descriptor, CHUNK_BYTES, offset) if stat.S_ISREG(os.fstat(descriptor).st_mode) else b""
    except OSError:
        return b""
    finally:
        os.close(descriptor)
