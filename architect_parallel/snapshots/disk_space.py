"""Files that a snapshot leaves out because the disk has no room for a copy of them.

git stops at the first file that does not fit. It leaves what it has written of it behind, so that the disk is full for
every other program as well, and loses the small files with the large one.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable
from pathlib import Path

from architect_parallel.system.git import Git
from architect_parallel.system.machine import free_disk_bytes

SCARCE_BYTES = 1 << 30
"""With more free space than this nothing is left out."""
MOST_PATHS = 500
"""The most files that are left out, because their names go into a command line."""


def without_room(git: Git, work_tree: Path, directory: Path) -> dict[str, str]:
    """The largest changed files, without which the others take at most half of the free space.

    Args:
        directory: The copies go to its disk.

    Returns:
        Path → a warning. Empty while there is much space.
    """
    free = free_disk_bytes(directory)
    if free >= SCARCE_BYTES:
        return {}
    sizes = {}
    for path in git.run("ls-files", "-z", "-m", "-o", "--exclude-standard", check=False).fields:
        with contextlib.suppress(OSError):
            status = os.lstat(work_tree / path)
            if stat.S_ISREG(status.st_mode):
                sizes[path] = min(status.st_size, status.st_blocks * 512)
    total, warnings = sum(sizes.values()), dict[str, str]()
    for path in sorted(sizes, key=lambda path: (-sizes[path], path))[:MOST_PATHS]:
        if total <= free // 2:
            break
        total -= sizes[path]
        size = f"{sizes[path] >> 20} MiB"
        warnings[path] = f"{path!r} ({size}) is not collected and stays in the worktree: the disk has no room for it"
    return warnings


def all_but(paths: Iterable[str]) -> tuple[str, ...]:
    """Arguments of `git add` for the whole work tree without `paths`. Nothing where there are none."""
    excluded = [f":(exclude,literal){path}" for path in paths]
    return ("--", ".", *excluded) if excluded else ()
