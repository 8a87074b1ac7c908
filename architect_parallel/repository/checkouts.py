"""The checkouts of a repository and the branches that they have."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from pathlib import Path

from architect_parallel.repository import heads
from architect_parallel.repository.registry import admin_dirs, registered_path
from architect_parallel.system.git import Repository


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkout:
    """A checkout that has a branch. No other checkout may have the branch, and nothing may move it."""

    path: Path
    """Its top directory. It may be gone: then git counts it until `git worktree prune`."""
    admin_dir: Path
    operation: str | None = None
    """The operation in progress that left the branch and will return to it (see `heads`).

    `None` means that HEAD is on the branch.
    """

    @property
    def words(self) -> str:
        """The end of a sentence about the branch."""
        if self.operation is not None:
            return f"has a {self.operation} in progress in {self.path}"
        return f"is checked out in {self.path}" + ("" if self.path.is_dir() else ", which is not there")

    @property
    def hint(self) -> str:
        """The command that frees the branch."""
        if self.operation is not None:
            return heads.ending_of(self.operation, self.path)
        if not self.path.is_dir():
            return "git worktree prune, or git worktree repair NEW-PLACE if it was moved"
        return f"git -C {shlex.quote(os.fspath(self.path))} switch --detach"


def checkouts(repository: Repository) -> dict[str, list[Checkout]]:
    """Short branch name → checkouts that have it, the main one and linked ones."""
    return _by_branch(repository, None)


def checkouts_of(repository: Repository, branch: str) -> list[Checkout]:
    """The checkouts that have the branch. The paths of the others are not read."""
    return _by_branch(repository, branch).get(branch, [])


def checkout_of(repository: Repository, branch: str) -> Checkout | None:
    """A checkout that has the branch. `None` means that none has."""
    return next(iter(checkouts_of(repository, branch)), None)


def _by_branch(repository: Repository, only: str | None) -> dict[str, list[Checkout]]:
    admins = [*([] if repository.bare else [repository.common_dir]), *admin_dirs(repository)]
    head_branches = heads.head_branches(repository.common_dir, admins)
    by_branch: dict[str, list[Checkout]] = {}
    for admin in admins:
        occupied: dict[str, str | None] = {**heads.occupied_branches(admin)}
        if admin in head_branches:
            occupied[head_branches[admin]] = None
        if not occupied or (only is not None and only not in occupied):
            continue
        path = repository.root if admin == repository.common_dir else registered_path(admin)
        if path is None:
            continue
        for branch, operation in occupied.items():
            by_branch.setdefault(branch, []).append(Checkout(path=path, admin_dir=admin, operation=operation))
    return by_branch
