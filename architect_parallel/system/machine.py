"""The door to the machine: what it has and what it lets us enforce."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import stat
import sys
from pathlib import Path

import psutil


def free_memory_bytes() -> int:
    """Memory that can be had without swapping."""
    return int(psutil.virtual_memory().available)


def free_disk_bytes(path: Path) -> int:
    """Free space on the file system of `path`, as far as this user may use it."""
    return shutil.disk_usage(path).free


def processors() -> int:
    """Processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def open_files_limit() -> int:
    """How many files this process may have open at the same time."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return sys.maxsize if limit == resource.RLIM_INFINITY else limit


def files_we_write() -> set[tuple[int, int]]:
    """(Device, inode) of regular files that this process, or another of its process group, has open for writing.

    The group is what a shell starts on one line: `… > log`, `… | tee log`. Without /proc only our own stdout and stderr
    are known.
    """
    places = [f"/dev/fd/{descriptor}" for descriptor in (1, 2)]
    own = os.getpgrp()
    for name in os.listdir("/proc") if os.path.isdir("/proc/self/fdinfo") else []:
        with contextlib.suppress(OSError):  # gone meanwhile, or another user's
            if name.isdigit() and os.getpgid(int(name)) == own:
                places += [
                    f"/proc/{name}/fd/{each}" for each in os.listdir(f"/proc/{name}/fd") if _is_written(name, each)
                ]
    found = set()
    for place in places:
        with contextlib.suppress(OSError):
            status = os.stat(place)
            if stat.S_ISREG(status.st_mode):
                found.add((status.st_dev, status.st_ino))
    return found


def processes_with_open(path: Path) -> list[tuple[int, str]]:
    """(Process id, program name) of the processes that have the file open; empty also where that cannot be known."""
    found = []
    with contextlib.suppress(OSError):
        wanted = path.stat()
        for name in os.listdir("/proc") if os.path.isdir("/proc/self/fd") else []:
            with contextlib.suppress(OSError):  # gone meanwhile, or another user's
                if name.isdigit() and any(
                    os.path.samestat(wanted, os.stat(f"/proc/{name}/fd/{descriptor}"))
                    for descriptor in os.listdir(f"/proc/{name}/fd")
                ):
                    found.append((int(name), Path(f"/proc/{name}/comm").read_text().strip()))
    return sorted(found)


def _is_written(pid: str, descriptor: str) -> bool:
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path(f"/proc/{pid}/fdinfo/{descriptor}").read_text().splitlines()
        flags = next(line for line in lines if line.startswith("flags:")).split()[1]
        return int(flags, 8) & os.O_ACCMODE != os.O_RDONLY
    return False


def has_pidfd() -> bool:
    """Return whether signals can be sent without hitting a process that took over a number."""
    if not hasattr(os, "pidfd_open"):
        return False
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError:
        return False
    return True
