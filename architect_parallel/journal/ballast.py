"""Disk space that is kept while a run lives, and given up when the disk is full.

Half of it is for the work of an agent that filled the disk, the rest for the journal.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
from pathlib import Path
from typing import IO

from architect_parallel.system.machine import free_disk_bytes

BALLAST_BYTES = 16 << 20
PART_BYTES = 1 << 20
"""It is given up in parts: what is free at once, an agent may take as well."""
ROOM = 4
"""The disk must have this many times as much free space, or the ballast would itself be what fills it."""


class Ballast:
    """A file without a name: the kernel frees its space when this process ends, however it ends."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._file: IO[bytes] | None = None
        self._lock = threading.Lock()

    def take(self) -> None:
        """Take the space, if there is room for it."""
        with contextlib.suppress(OSError):
            if (
                self._file is not None
                or not hasattr(os, "posix_fallocate")
                or free_disk_bytes(self._directory) < ROOM * BALLAST_BYTES
            ):
                return
            self._file = tempfile.TemporaryFile(dir=self._directory)  # noqa: SIM115 - kept until `drop`
            os.posix_fallocate(self._file.fileno(), 0, BALLAST_BYTES)

    def give_up(self, least_bytes: int = 0) -> bool:
        """Free a part of the space, but keep `least_bytes`. Returns false when no more is left."""
        with self._lock:
            if self._file is None:
                return False
            size = os.fstat(self._file.fileno()).st_size
            if size > least_bytes:
                os.ftruncate(self._file.fileno(), max(least_bytes, size - PART_BYTES))
            return size > least_bytes

    def make_room(self) -> None:
        """Free half of the space for work that has to be saved."""
        while self.give_up(BALLAST_BYTES // 2):
            pass

    def drop(self) -> None:
        """Free all of it."""
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None
