"""Copy files that may not be put into git, because their content may be a secret."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterable
from pathlib import Path

from architect_parallel.snapshots.baseline import is_real_directory
from architect_parallel.system.files import delete_tree, make_private_dir


def put_aside(worktree: Path, paths: Iterable[str], directory: Path) -> Path:
    """Copy files to a private directory, readable by their owner only, and return it.

    If `directory` exists, it stays as it is, and the new one gets a number.

    Raises:
        OSError: A file cannot be copied.
    """
    number = 1
    make_private_dir(directory.parent)
    target = directory
    while True:
        try:
            target.mkdir(mode=0o700)
            break
        except FileExistsError:
            number += 1
            target = directory.with_name(f"{directory.name}-{number}")
    for path in paths:
        copy = target / path
        make_private_dir(copy.parent)
        shutil.copyfile(worktree / path, copy, follow_symlinks=False)
        executable = (worktree / path).lstat().st_mode & stat.S_IXUSR
        os.chmod(copy, 0o600 | executable)
    return target


def copy_back(directory: Path, paths: Iterable[str], worktree: Path) -> None:
    """Copy files from `directory` to the same paths of a worktree, and replace what is there.

    Raises:
        OSError: A file cannot be copied.
    """
    for path in paths:
        target = worktree / path
        for parent in reversed(target.relative_to(worktree).parents):
            if not is_real_directory(worktree / parent):
                delete_tree(worktree / parent)
                (worktree / parent).mkdir()
        delete_tree(target)
        shutil.copyfile(directory / path, target)
        shutil.copymode(directory / path, target)
