"""The content of `architect demo`: a small Python package with a failing test, and three scripted models.

`repository/` is copied, never imported. `models.yaml` holds the models that `scripted:NAME` means if nothing else is
configured. The commit has a fixed identity and date, so every demo starts from the same commit id.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from architect_parallel.system.git import Git

TASK = "The test for thousands separators fails. Mend parse_amount so that all tests pass."
MODELS = ("scripted:diligent", "scripted:hasty", "scripted:wanderer")
BUDGET_PER_WORKER_USD = 0.04
"""Stops the third model after about six replies. The other two stay below it."""
CHECK = "python3 -m unittest"
"""The repository's own tests. They fail at the start and need only Python."""

INTRODUCTION = (
    "This is a demonstration: the three models are scripted. Their replies are played back from a file, their prices\n"
    "are made up; no network and no key is used. All else is real: the repository, the worktrees and branches, the\n"
    "agent's processes and tools, the limits, the diffs."
)
WHAT_THEY_DO = {
    "scripted:diligent": "mends the parser and runs the tests",
    "scripted:hasty": "says that all tests pass, without having run them",
    "scripted:wanderer": f"never comes to an end; the budget of ${BUDGET_PER_WORKER_USD:.2f} stops it",
}
_WHO_AND_WHEN = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (
        ("NAME", "architect demo"),
        ("EMAIL", "demo@localhost"),
        ("DATE", "2026-01-01T12:00:00+00:00"),
    )
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoRepository:
    """A repository made for a demonstration, and the run to start in it."""

    path: Path
    base_commit: str
    task: str = TASK
    models: tuple[str, ...] = MODELS
    budget_per_worker_usd: float = BUDGET_PER_WORKER_USD
    check: str = CHECK


def prepare_demo(target: Path) -> DemoRepository:
    """Make `target` (new or empty) a git repository with one commit on `main` and a failing test.

    Raises:
        EnvironmentProblem: git is missing.
        OSError: `target` cannot be written.
    """
    with resources.as_file(resources.files(__name__).joinpath("repository")) as content:
        ignore = shutil.ignore_patterns("__pycache__", "*.pyc")
        shutil.copytree(content, target, dirs_exist_ok=True, ignore=ignore)
    # Stored under another name, lest it works on the package's own files.
    (target / "gitignore").rename(target / ".gitignore")
    git = Git(cwd=target)
    git.run("init", "--quiet", "--initial-branch=main", "--template=")
    git.run("add", "--all", settings=("core.autocrlf=false", "core.excludesFile=/dev/null"))
    git.run("commit", "--quiet", "--message=A price list", env=_WHO_AND_WHEN)
    return DemoRepository(path=target, base_commit=git.text("rev-parse", "HEAD"))
