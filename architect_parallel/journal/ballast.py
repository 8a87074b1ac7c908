"""Disk space that is kept for the journal while a run lives, and given up when the disk is full."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from architect_parallel.system.machine import free_disk_bytes
from architect_parallel.system.own_files import open_own

BALLAST_BYTES = 16 << 20
PART_BYTES = 1 << 20
"""It is given up in parts: what is free at once, an agent may take as well."""
ROOM = 4
"""The disk must have this many times as much free space, or the ballast would itself be what fills it."""


class Ballast:
    """A file without content of use. The runs of a repository share it; the first that ends removes it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def take(self) -> None:
        """Make the file, if there is room for it."""
        with contextlib.suppress(OSError):
            if not hasattr(os, "posix_fallocate") or free_disk_bytes(self._path.parent) < ROOM * BALLAST_BYTES:
                return
            descriptor = open_own(self._path, os.O_WRONLY)
            try:
                os.posix_fallocate(descriptor, 0, BALLAST_BYTES)
            finally:
                os.close(descriptor)

    def give_up(self) -> bool:
        """Free a part of the space. Returns false when nothing is left."""
        try:
            size = self._path.stat().st_size
            os.truncate(self._path, max(0, size - PART_BYTES))
        except OSError:
            return False
        return size > 0

    def drop(self) -> None:
        """Remove the file."""
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)
