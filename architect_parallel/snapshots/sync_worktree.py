"""Update the worktree's own index, HEAD and `.git` after its result is published.

This changes only git's directory of the worktree and runs no program of the repository. It may fail at any point
without loss, because the branch already has the result. Nothing with work in it is replaced: an unfinished rebase or
merge of the agent stays, and so does a `.git` that has become another repository. Warnings name both.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile

from architect_parallel.errors import EnvironmentProblem
from architect_parallel.repository.heads import head_branch, operation_in, put_head_on
from architect_parallel.snapshots.baseline import git_dir_of, is_real_directory
from architect_parallel.snapshots.private_git import PrivateGit
from architect_parallel.system.files import replace_file
from architect_parallel.system.git import GitError


def tidy(private: PrivateGit, branch: str) -> list[str]:
    """Make the worktree show the published result. Returns warnings about what prevents that.

    The commit of HEAD must be part of the published history.
    """
    admin = private.admin_dir
    if not is_real_directory(admin):
        return [f"git's directory of the worktree is gone ({admin}); the files are there, git does not work there"]
    if (operation := operation_in(admin)) is not None:
        return [f"a {operation} was left unfinished in the worktree"]
    warnings = _restore_link(private)
    with contextlib.suppress(OSError, GitError):
        for lock in ("index.lock", "HEAD.lock"):  # no process is left that could hold them
            (admin / lock).unlink(missing_ok=True)
        if head_branch(admin) != branch:
            put_head_on(admin, branch)
        descriptor, name = tempfile.mkstemp(prefix="index.", dir=admin)
        os.close(descriptor)
        # With its date, by which git recognizes changed files.
        shutil.copy2(private.index, name)
        os.replace(name, admin / "index")
    return warnings


def _restore_link(private: PrivateGit) -> list[str]:
    """Write the worktree's `.git` file again if it is missing. Returns a warning if it was replaced."""
    link = private.worktree / ".git"
    if link == private.admin_dir or not is_real_directory(private.worktree):
        return []
    if not os.path.lexists(link):
        with contextlib.suppress(OSError):
            replace_file(link, os.fsencode(f"gitdir: {private.admin_dir}\n"))
        return []
    with contextlib.suppress(OSError, EnvironmentProblem):
        if stat.S_ISREG(link.lstat().st_mode) and git_dir_of(private.worktree) == private.admin_dir:
            return []
    return [f"{link} was replaced; commits made in another repository there are not collected"]
