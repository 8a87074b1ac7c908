"""Free disk space while agents run, and the one that is stopped when it gets short.

An agent writes far more than this program, so the sampler looks the more often the less is free. Nothing is counted
before: only when space is short are the files looked at that changed since an agent began.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Protocol

from architect_parallel.domain import Reason
from architect_parallel.system.machine import free_disk_bytes

FASTEST_BYTES_PER_S = 2 << 30
"""The speed of writing that is reckoned with."""
LONGEST_S, SHORTEST_S = 1.0, 0.05
"""Limits of the time between two looks, in seconds."""
BLOCK_BYTES = 512
"""Unit of `st_blocks`."""


class Writer(Protocol):
    """A program that writes."""

    @property
    def places(self) -> Sequence[Path]:
        """Directories whose files are its own."""
        ...

    began_at_s: float
    """Wall-clock time of its start."""
    is_stopped: bool

    def end(self, reason: Reason, detail: str) -> None:
        """Stop it, once."""
        ...


class DiskWatch:
    """Holds the agents of a run to a disk that does not fill up."""

    def __init__(self, place: Path, least_bytes: int, free: Callable[[Path], int] = free_disk_bytes) -> None:
        """Args:
        place: A directory on the disk.
        least_bytes: Below this much free space the agent that wrote most is stopped. 0 means never.
        """
        self._place = place
        self._least = least_bytes
        self._free = free
        self._limit = least_bytes
        self._stopped: Writer | None = None

    def look(self, writers: Sequence[Writer]) -> float:
        """Stop the agent that wrote most if space is short. Returns the seconds until the next look.

        One agent is stopped at a time, and another only when a further quarter of the space has gone. An agent that
        wrote little is never stopped: that would not help.
        """
        if self._least == 0:
            return LONGEST_S
        free = self._free(self._place)
        if free >= self._least:
            self._limit = self._least
        elif free < self._limit and self._stopped not in writers:
            self._limit = free * 3 // 4
            self._stop_greatest(writers, free)
        return min(LONGEST_S, max(SHORTEST_S, (free - self._limit) / FASTEST_BYTES_PER_S))

    def _stop_greatest(self, writers: Iterable[Writer], free: int) -> None:
        device = os.stat(self._place).st_dev
        running = [writer for writer in writers if not writer.is_stopped]
        sizes = [written_bytes(writer.places, writer.began_at_s, device) for writer in running]
        size = max(sizes, default=0)
        if size >= self._least // 8:
            self._stopped = running[sizes.index(size)]
            words = f"{free >> 20} MiB of disk free, limit {self._least >> 20} MiB, and it wrote {size >> 20} MiB"
            self._stopped.end(Reason.DISK, words)


def written_bytes(places: Iterable[Path], since_s: float, device: int) -> int:
    """Disk space of the files below `places`, on `device`, that changed since `since_s`."""
    size, seen = 0, set[tuple[int, int]]()
    directories = [os.fspath(place) for place in places]
    while directories:
        try:
            entries = list(os.scandir(directories.pop()))
        except OSError:
            continue
        for entry in entries:
            try:
                if entry.is_dir(follow_symlinks=False):
                    directories.append(entry.path)
                    continue
                status = entry.stat(follow_symlinks=False)
            except OSError:
                continue
            identity = status.st_dev, status.st_ino
            if status.st_dev == device and status.st_ctime >= since_s and identity not in seen:
                seen.add(identity)
                size += status.st_blocks * BLOCK_BYTES
    return size
