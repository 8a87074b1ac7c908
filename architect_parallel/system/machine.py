"""The resources of the machine, and the limits that it can enforce."""

from __future__ import annotations

import contextlib
import os
import platform
import resource
import shutil
import stat
import sys
from pathlib import Path

import psutil


def free_memory_bytes() -> int:
    """Memory available without swapping, in bytes."""
    return int(psutil.virtual_memory().available)


def memory_bytes() -> int:
    """The machine's memory in bytes."""
    return int(psutil.virtual_memory().total)


def free_disk_bytes(path: Path) -> int:
    """Free space for this user on the file system of `path`, in bytes."""
    return shutil.disk_usage(path).free


def processors() -> int:
    """The number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def machine_name() -> str:
    """The kernel's name of the processor architecture, such as `x86_64` or `aarch64`."""
    return platform.machine()


def open_files_limit() -> int:
    """The most files that this process may have open at the same time."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return sys.maxsize if limit == resource.RLIM_INFINITY else limit


def raise_open_files_limit() -> None:
    """Allow this process as many open files as the system lets it have."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # macOS names no usable number
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def files_we_write() -> set[tuple[int, int]]:
    """(Device, inode) of regular files that this process, or another of its process group, has open for writing.

    A shell puts all commands of one line into a process group: `… > log`, `… | tee log`. Without /proc, only this
    process's stdout and stderr are known.
    """
    paths = [f"/dev/fd/{descriptor}" for descriptor in (1, 2)]
    own_group = os.getpgrp()
    for name in os.listdir("/proc") if os.path.isdir("/proc/self/fdinfo") else []:
        with contextlib.suppress(OSError):  # gone by now, or another user's
            if name.isdigit() and os.getpgid(int(name)) == own_group:
                descriptors = os.listdir(f"/proc/{name}/fd")
                paths += [f"/proc/{name}/fd/{number}" for number in descriptors if _is_written(name, number)]
    files = set()
    for path in paths:
        with contextlib.suppress(OSError):
            status = os.stat(path)
            if stat.S_ISREG(status.st_mode):
                files.add((status.st_dev, status.st_ino))
    return files


def processes_with_open(path: Path) -> list[tuple[int, str]]:
    """(Process id, program name) of the processes that have the file open. Empty also if that cannot be found out."""
    processes = []
    with contextlib.suppress(OSError):
        status = path.stat()
        for name in os.listdir("/proc") if os.path.isdir("/proc/self/fd") else []:
            with contextlib.suppress(OSError):  # gone by now, or another user's
                if name.isdigit() and any(
                    os.path.samestat(status, os.stat(f"/proc/{name}/fd/{descriptor}"))
                    for descriptor in os.listdir(f"/proc/{name}/fd")
                ):
                    processes.append((int(name), Path(f"/proc/{name}/comm").read_text().strip()))
    return sorted(processes)


def _is_written(pid: str, descriptor: str) -> bool:
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path(f"/proc/{pid}/fdinfo/{descriptor}").read_text().splitlines()
        flags = next(line for line in lines if line.startswith("flags:")).split()[1]
        return int(flags, 8) & os.O_ACCMODE != os.O_RDONLY
    return False


def has_pidfd() -> bool:
    """Return whether signals can be sent safely, although another process may get the same process id."""
    if not hasattr(os, "pidfd_open"):
        return False
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError:
        return False
    return True
