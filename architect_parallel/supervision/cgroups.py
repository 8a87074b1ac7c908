"""Control groups (version 2): the kernel itself holds a worker to its memory and processes, where it lets us.

That needs a directory of groups that this user may write, as a systemd user session has. Whether it works is found out
by doing it, once. Elsewhere the sampler holds the limits alone. It does so here as well: it is the one that explains.
"""

from __future__ import annotations

import contextlib
import functools
import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from secrets import token_hex

from architect_parallel.domain import Limits
from architect_parallel.supervision.messages import Launch

PREFIX = "architect-"
THREADS = 4
"""The kernel counts threads, not processes: a worker may have so many of them for each process."""
NEEDED = ("cgroup.kill", "memory.max", "memory.swap.max", "memory.oom.group", "pids.max")


def grouped(launch: Launch, limits: Limits) -> Launch:
    """`launch` in a group of its own, made for it. Unchanged where there are no groups."""
    place = writable_place()
    if place is None:
        return launch
    group = place / f"{PREFIX}{token_hex(8)}"
    try:
        group.mkdir()
        set_limits(group, limits)
    except OSError:
        remove(group)
        return launch
    return replace(launch, cgroup=group)


def set_limits(group: Path, limits: Limits) -> None:
    """Write the limits of a group. Raises `OSError`."""
    if limits.memory_bytes is not None:
        (group / "memory.max").write_text(str(limits.memory_bytes))
        (group / "memory.swap.max").write_text("0")
        (group / "memory.oom.group").write_text("1")  # all of the worker ends, not only its largest process
    if limits.processes is not None:
        (group / "pids.max").write_text(str(limits.processes * THREADS))


def remove(group: Path | None) -> None:
    """Remove a group, if it is there. What still runs in it is killed. The supervisor has normally done all that."""
    if group is None:
        return
    with contextlib.suppress(OSError):
        (group / "cgroup.kill").write_text("1")
    with contextlib.suppress(OSError):
        group.rmdir()


@functools.cache
def writable_place() -> Path | None:
    """The directory in which groups with all limits can be made and entered. `None` means that there is none."""
    return next((place for place in _candidates() if _works(place)), None)


def _candidates() -> Iterator[Path]:
    """The group of this process, and the one above. A group with processes has no limits for those below it."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
        mounts = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
        own = next(line[3:] for line in lines if line.startswith("0::"))
        root, mount = next((words[3], words[4]) for words in mounts if words[words.index("-") + 1] == "cgroup2")
    except (OSError, StopIteration, ValueError):
        return
    if Path(own).name.startswith(PREFIX):  # inside a worker: what a run in it starts is not to leave its limits
        return
    place = Path(mount) / os.path.relpath(own, root)
    yield Path(os.path.normpath(place))
    if own != root:
        yield Path(os.path.normpath(place.parent))


def _works(place: Path) -> bool:
    group = place / f"{PREFIX}probe-{token_hex(8)}"
    try:
        group.mkdir()
        set_limits(group, Limits(memory_bytes=1 << 30, processes=100))
        command = ("/bin/sh", "-c", 'echo 0 > "$0"', str(group / "cgroup.procs"))
        entered = subprocess.run(command, check=False, capture_output=True, stdin=subprocess.DEVNULL)
        return entered.returncode == 0 and all((group / name).exists() for name in NEEDED)
    except OSError:
        return False
    finally:
        remove(group)
