"""The door to the machine: what it has and what it lets us enforce."""

from __future__ import annotations

import os
import shutil
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


def has_pidfd() -> bool:
    """Whether signals can be sent without hitting a process that took over a number."""
    if not hasattr(os, "pidfd_open"):
        return False
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError:
        return False
    return True
