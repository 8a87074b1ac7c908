"""The kernel's view of processes right now. Any of it may be out of date a moment later."""

from __future__ import annotations

import os
import sys

LINUX = sys.platform == "linux"


def parent_and_state(pid: int) -> tuple[int, str]:
    """Parent pid and state letter. (0, "X") when there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            fields = file.read(512).rpartition(b")")[2].split(None, 2)
        return int(fields[1]), fields[0].decode()
    except (OSError, IndexError, ValueError):
        return 0, "X"


def alive(pid: int) -> bool:
    """Return true if it runs. A zombie does not, unless only its first thread has ended."""
    if not LINUX:
        return True  # it was just listed
    state = parent_and_state(pid)[1]
    try:
        return state not in "ZX" or (state == "Z" and len(os.listdir(f"/proc/{pid}/task")) > 1)
    except OSError:
        return False


def children(pid: int) -> list[int]:
    """Return the children of `pid`. Empty when it is gone.

    Raises:
        NotImplementedError: The kernel cannot list them (no CONFIG_PROC_CHILDREN, no /proc).
    """
    pids: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children", "rb", buffering=0) as file:
                while part := file.read(1 << 16):
                    # A part ends after a complete number and a space: the kernel writes whole records.
                    pids += map(int, part.split())
    except OSError:
        if pid == os.getpid():
            raise NotImplementedError from None
    return pids


def parents() -> dict[int, int]:
    """pid → parent pid of every process of the machine. The slow way."""
    if LINUX:
        return {int(name): parent_and_state(int(name))[0] for name in os.listdir("/proc") if name.isdecimal()}
    with os.popen("/bin/ps -axo pid=,ppid=") as listing:
        return {int(pid): int(parent) for pid, parent in (line.split() for line in listing)}


def below(root: int, parent_of: dict[int, int]) -> dict[int, int]:
    """The part of `parent_of` that descends from `root`."""
    parent_below: dict[int, int] = {}
    while True:
        more = {
            p: q
            for p, q in parent_of.items()
            if p not in parent_below and p != root and (q == root or q in parent_below)
        }
        if not more:
            return parent_below
        parent_below.update(more)


def carries(pid: int, cookie: bytes) -> bool:
    """Return true if the process was started with the cookie in its environment."""
    try:
        with open(f"/proc/{pid}/environ", "rb", buffering=0) as file:
            return cookie in file.read(1 << 22)
    except OSError:
        return False


def carriers(cookie: bytes) -> list[int]:
    """Pids of all processes with the cookie. Empty where there is no /proc."""
    if not LINUX:
        return []
    return [int(name) for name in os.listdir("/proc") if name.isdecimal() and carries(int(name), cookie)]
