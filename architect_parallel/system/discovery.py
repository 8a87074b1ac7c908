"""Find the repository of a path where an agent may have written the files that git would follow.

git reads `.git` of the worktree, and an agent can replace that. So the search begins at the outermost directory: its
repository says which worktrees it registered, and a repository that nobody registered is one an agent may have made.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

from architect_parallel.system.git import lender_of, open_repository
from architect_parallel.system.git_command import common_dir_of, git_dir_at


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a repository is."""

    checkout: Path | None
    """`None` means a bare repository."""
    git_dir: Path
    common_dir: Path
    trusted: bool
    """Program entries of the repository's own configuration may count."""


def locate(path: Path) -> Place:
    """Find the repository of `path` from the outermost directory inwards, so that no planted `.git` decides.

    Raises:
        EnvironmentProblem: There is no repository, or it cannot be used.
    """
    place = Path(os.path.realpath(path))
    line = (place, *place.parents)
    around: set[Path] = set()
    for outer in reversed(place.parents):
        common_dir = _common_dir_at(outer)
        if common_dir is None:
            continue
        registered = _registered(common_dir)
        top = next((directory for directory in line if directory in registered), None)
        if top is not None and not any(map(_common_dir_at, line[: line.index(top)])):
            open_repository(outer)  # says what is wrong with it, for instance that it belongs to another user
            return Place(
                checkout=top, git_dir=registered[top], common_dir=common_dir, trusted=not around - {common_dir}
            )
        if (common_dir / "architect").is_dir():
            around.add(common_dir)
        if top is not None:
            break  # what lies inside the worktree was made by whoever works there
    repository = open_repository(place)
    common_dir = Path(os.path.realpath(repository.common_dir))
    git_dir = common_dir
    if repository.checkout is not None:
        git_dir = Path(repository.git.text("rev-parse", "--absolute-git-dir"))
    if lender_of(git_dir) is not None:  # an agent works here, and its git directory is its own
        return Place(checkout=repository.checkout, git_dir=git_dir, common_dir=git_dir, trusted=False)
    return Place(
        checkout=repository.checkout, git_dir=git_dir, common_dir=common_dir, trusted=not around - {common_dir}
    )


def _common_dir_at(directory: Path) -> Path | None:
    try:
        git_dir = git_dir_at(directory)
    except OSError:  # not ours to read
        return None
    return None if git_dir is None else common_dir_of(git_dir)


def _registered(common_dir: Path) -> dict[Path, Path]:
    """Worktree → git's registration of it."""
    registered: dict[Path, Path] = {}
    with contextlib.suppress(OSError):
        for name in sorted(os.listdir(common_dir / "worktrees")):
            admin_dir = common_dir / "worktrees" / name
            with contextlib.suppress(OSError):
                link = os.fsdecode((admin_dir / "gitdir").read_bytes()).removesuffix("\n")
                registered[Path(os.path.realpath(admin_dir / link)).parent] = admin_dir
    return registered
