"""Show changes in the user's own `git difftool`.

The tool runs in a temporary repository that borrows the objects of the real one. So its command comes from the user's
own configuration, and neither the configuration nor the attributes of the repository can name a program.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from architect_parallel.repository.temporary_repository import temporary_repository
from architect_parallel.system.git import Repository
from architect_parallel.system.pager import own_environment
from architect_parallel.system.terminal import run_in_front

CONFIGURED = "default"
"""The name of a tool that means `diff.tool` of the user's configuration."""


def show_in_tool(repository: Repository, base: str, head: str, tool: str, environ: Mapping[str, str]) -> int:
    """Open each changed file in a tool, one after the other, and return the exit code of `git difftool`.

    Args:
        tool: Name of the tool, or `CONFIGURED`.
    """
    named = () if tool == CONFIGURED else (f"--tool={tool}",)
    with temporary_repository(repository) as git, tempfile.TemporaryDirectory(prefix="architect-diff-") as empty:
        place = {"GIT_DIR": str(git.git_dir), "GIT_WORK_TREE": empty}
        argv = ("git", "difftool", "--no-prompt", *named, base, head)
        return run_in_front(argv, cwd=Path(empty), env=own_environment(environ) | place)
