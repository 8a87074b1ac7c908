"""The door to the process table: one snapshot of the whole machine, shared by the limits of all workers.

One `snapshot` per tick serves all workers. `psutil.children(recursive=True)` per worker would read the whole table once
for each. On Linux `/proc/<pid>/stat` is read directly, elsewhere through psutil. A snapshot may be out of date at once,
so it serves limits and display only: `supervision/child/supervisor.py` decides which processes get a signal.
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
    """The parents and children of all processes at one moment."""

    children: Mapping[int, tuple[int, ...]]
    """pid → its children. Pids without children are absent."""
    resident_bytes: Mapping[int, int]
    """pid → resident memory. Summed over a tree it counts shared pages once per process, so it is an upper bound."""

    def descendants(self, pid: int) -> tuple[int, ...]:
        """Return all processes below `pid`, parents before their children. Empty for an unknown pid."""
        pids = list(self.children.get(pid, ()))
        for child in pids:  # the list grows during the loop
            pids += self.children.get(child, ())
        return tuple(pids)

    def resident_sum_bytes(self, pids: Iterable[int]) -> int:
        """Return an upper bound of `memory_bytes`, at no cost. The exact figure is only needed above a limit."""
        return sum(self.resident_bytes.get(pid, 0) for pid in pids)


def snapshot() -> ProcessTable:
    """Read the process table."""
    rows = _rows_of_proc() if sys.platform == "linux" else _rows_of_psutil()
    children: dict[int, list[int]] = {}
    resident: dict[int, int] = {}
    for pid, parent, resident_bytes in rows:
        if pid != parent:
            children.setdefault(parent, []).append(pid)
        resident[pid] = resident_bytes
    return ProcessTable({pid: tuple(pids) for pid, pids in children.items()}, resident)


def runs_since(pid: int, time: datetime) -> bool:
    """Return true if process `pid` is alive and was started before `time`. A later process may reuse the number.

    A difference of a few seconds counts as the same: the clock may have been set.
    """
    try:
        process = psutil.Process(pid)
        return process.status() != psutil.STATUS_ZOMBIE and process.create_time() <= time.timestamp() + 5
    except psutil.Error:
        return False


def memory_bytes(pids: Iterable[int]) -> int:
    """Return the memory of these processes together, shared pages counted by their share (PSS).

    Processes that are gone count 0. Without access to PSS, a process's own memory (USS) counts, else its resident set.
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
