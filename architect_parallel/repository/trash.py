"""Remove directories in two steps: rename into `<state>/trash`, then delete.

Callers move a worktree before its registration, and delete only after both are moved. So a killed process leaves a
whole tree or none, never half a tree that looks like lost work. The next removal empties the trash. No symbolic link is
followed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import uuid
from pathlib import Path

from architect_parallel.system.files import delete_tree, give_write_permission, make_shared_dir, names, not_writable
from architect_parallel.system.git import Repository, make_state_dir


def move_to_trash(repository: Repository, *paths: Path) -> None:
    """Move the directories to the trash, in this order. A missing one is ignored. A link is moved, not followed.

    `empty_trash` frees their space. Callers run it after they release the lock.

    Raises:
        EnvironmentProblem: One could not be moved. Then all stay, except those deleted because the trash is on another
            file system.
    """
    trash = make_shared_dir(make_state_dir(repository.state_dir) / "trash")
    moved: list[tuple[Path, Path]] = []
    for path in paths:
        target = trash / uuid.uuid4().hex
        try:
            give_write_permission(path)
            os.rename(path, target)
            moved.append((target, path))
        except FileNotFoundError:
            continue
        except OSError as error:
            if error.errno != errno.EXDEV:
                for moved_path, origin in reversed(moved):
                    os.rename(moved_path, origin)
                raise not_writable(path, error) from error
            delete_tree(path)  # the git directory is on another file system


def empty_trash(repository: Repository) -> None:
    """Delete the content of the trash, as far as possible. Another process may be doing the same."""
    trash = repository.state_dir / "trash"
    for name in names(trash):
        # RecursionError: a tree some thousand levels deep stays there, where it does no harm.
        with contextlib.suppress(OSError, RecursionError):
            delete_tree(trash / name)
