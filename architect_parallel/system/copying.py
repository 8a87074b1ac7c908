"""Copy a whole directory by `cp` of the GNU coreutils, which shares blocks where the file system can."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import threading
from pathlib import Path

_at_once = threading.BoundedSemaphore(os.cpu_count() or 1)


def copy_directory(source: Path, target: Path) -> bool:
    """Copy a directory to a path that does not exist, with modes, times, and links as links.

    Returns:
        False if nothing was copied: there is no such program here, or a pipe, socket or device is in the directory.

    Raises:
        OSError: It failed. Parts may have been copied.
    """
    program = _gnu_cp()
    if program is None or not _is_plain(source):
        return False
    # Without the owner: root copies the files of a user for agents that run as root.
    options = ("--archive", "--no-preserve=ownership", "--reflink=auto", "--no-target-directory")
    with _at_once:
        done = subprocess.run(
            (program, *options, "--", source, target),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env={"LC_ALL": "C"},
            process_group=0,
            check=False,
        )
    if done.returncode != 0:
        lines = os.fsdecode(done.stderr).splitlines()
        raise OSError(done.returncode, lines[0] if lines else f"cp ended with {done.returncode}")
    return True


def _is_plain(directory: Path) -> bool:
    """Return whether only files, links and directories are below `directory`."""
    pending = [os.fspath(directory)]
    while pending:
        with os.scandir(pending.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    pending.append(entry.path)
                elif not entry.is_file(follow_symlinks=False) and not entry.is_symlink():
                    return False
    return True


@functools.cache
def _gnu_cp() -> str | None:
    program = shutil.which("cp")
    if program is None:
        return None
    done = subprocess.run((program, "--version"), stdin=subprocess.DEVNULL, capture_output=True, check=False)
    return program if b"GNU coreutils" in done.stdout else None
