"""The door to the process table: one look at the whole machine that serves every worker's sampler.

One `snapshot` per tick is shared by all workers; asking per worker (`psutil.children(recursive=True)`) reads the whole
table once for each. On Linux `/proc/<pid>/stat` is read directly, elsewhere psutil is asked. A snapshot is a picture,
good for limits and display and for nothing else: who is signalled is decided in `supervision/child/supervisor.py`.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

import psutil


@dataclass(frozen=True, slots=True)
class ProcessTable:
    """Who was whose child at one moment."""

    children: Mapping[int, tuple[int, ...]]
    """pid → its children; pids without children are absent."""
    resident_bytes: Mapping[int, int]
    """pid → resident memory; summed over a tree it counts shared pages once per process, so it is an upper bound."""

    def descendants(self, pid: int) -> tuple[int, ...]:
        """All below `pid`, without it, parents before their children; empty for an unknown pid."""
        found = list(self.children.get(pid, ()))
        for each in found:  # grows while it is walked
            found += self.children.get(each, ())
        return tuple(found)

    def resident_sum_bytes(self, pids: Iterable[int]) -> int:
        """Upper bound of `memory_bytes`, at no cost: only above a limit need the exact figure be asked for."""
        return sum(self.resident_bytes.get(pid, 0) for pid in pids)


def snapshot() -> ProcessTable:
    """The process table now."""
    rows = _rows_of_proc() if sys.platform == "linux" else _rows_of_psutil()
    children: dict[int, list[int]] = {}
    resident: dict[int, int] = {}
    for pid, parent, resident_bytes in rows:
        if pid != parent:
            children.setdefault(parent, []).append(pid)
        resident[pid] = resident_bytes
    return ProcessTable({pid: tuple(found) for pid, found in children.items()}, resident)


def runs_since(pid: int, time: datetime) -> bool:
    """Whether process `pid` lives and is the one that did at `time`, not a later one that got its number.

    A few seconds of doubt (the clock may have been set) count as the same.
    """
    try:
        process = psutil.Process(pid)
        return process.status() != psutil.STATUS_ZOMBIE and process.create_time() <= time.timestamp() + 5
    except psutil.Error:
        return False


def memory_bytes(pids: Iterable[int]) -> int:
    """Memory of these processes together, shared pages counted by their share (PSS); processes that are gone count 0.

    Where the system has no PSS, or does not let us see it, the memory of a process's own (USS), else its resident set.
    """
    return sum(_proportional_bytes(pid) for pid in pids)


def _rows_of_proc() -> list[tuple[int, int, int]]:
    page_bytes = os.sysconf("SC_PAGE_SIZE")
    rows: list[tuple[int, int, int]] = []
    for name in os.listdir("/proc"):
        if not name.isdecimal():
            continue
        # The name in parentheses may hold anything; what follows it are numbers (proc_pid_stat(5)).
        try:
            descriptor = os.open(f"/proc/{name}/stat", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            continue  # gone
        try:
            fields = os.read(descriptor, 1024).rpartition(b") ")[2].split(None, 22)
        except OSError:
            continue  # gone between the two calls
        finally:
            os.close(descriptor)
        rows.append((int(name), int(fields[1]), int(fields[21]) * page_bytes))
    return rows


def _rows_of_psutil() -> list[tuple[int, int, int]]:
    rows: list[tuple[int, int, int]] = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            rows.append((process.pid, process.ppid(), process.memory_info().rss))
    return rows


def _proportional_bytes(pid: int) -> int:
    if sys.platform == "linux":
        try:
            with open(f"/proc/{pid}/smaps_rollup", "rb") as file:
                for line in file:
                    if line.startswith(b"Pss:"):
                        return int(line.split()[1]) * 1024
            return 0  # a zombie
        except OSError:
            pass  # gone, another user's, or a kernel before 4.14
    try:
        process = psutil.Process(pid)
        with contextlib.suppress(psutil.AccessDenied):
            return int(process.memory_full_info().uss)
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0
