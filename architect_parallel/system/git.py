"""git for the rest of the program: find the repository of a path, and run git in it (`git_command`)."""

from __future__ import annotations

import contextlib
import os
import shlex
import stat
from dataclasses import dataclass
from pathlib import Path

from architect_parallel.errors import EnvironmentProblem
from architect_parallel.system.files import make_private_dir, share
from architect_parallel.system.git_command import (
    Git,
    GitError,
    GitOutput,
    programs_of,
    version,
)
from architect_parallel.system.programs import ConfiguredPrograms

__all__ = [
    "MERGE_TREE_VERSION",
    "MINIMUM_VERSION",
    "Git",
    "GitError",
    "GitOutput",
    "Repository",
    "lender_of",
    "make_state_dir",
    "open_repository",
    "version",
]

MINIMUM_VERSION = (2, 31)
"""The oldest git that works with everything except `merge` (`--path-format`)."""
MERGE_TREE_VERSION = (2, 38)
"""First git with `merge-tree --write-tree`, which `merge` needs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """The directories of a repository, as absolute paths."""

    root: Path
    """The directory for worktrees: the main checkout's top directory.

    For a bare repository it is the git directory, or its parent if it is called `.git`.
    """
    checkout: Path | None
    """Top directory of the user's checkout, which may be a linked worktree. `None` means a bare repository."""
    common_dir: Path
    """git's common directory: refs, objects, `info/exclude`."""
    bare: bool = False
    """True if git says that it has no main checkout."""

    @property
    def main_checkout(self) -> Path | None:
        """Top directory of the main checkout. `None` means that there is none, or that git does not know it."""
        return None if self.bare or self.root == self.common_dir else self.root

    @property
    def git(self) -> Git:
        """git in the user's checkout: HEAD and status are the user's."""
        return Git(cwd=self.checkout) if self.checkout else self.store

    @property
    def store(self) -> Git:
        """git in the common directory: refs and objects, independent of any checkout."""
        return Git(cwd=self.common_dir, git_dir=self.common_dir)

    @property
    def programs(self) -> ConfiguredPrograms:
        """The record of the programs that its configuration names."""
        return programs_of(Path(os.path.realpath(self.common_dir)))

    @property
    def state_dir(self) -> Path:
        """The directory with this program's journal, logs and locks for the repository."""
        return self.common_dir / "architect"


def open_repository(path: Path) -> Repository:
    """Find the repository of `path`: a sub-directory, a linked worktree, a bare one, or inside `.git`.

    Raises:
        EnvironmentProblem: No such directory, no repository there, one that cannot be used, or git too old.
    """
    path = path.absolute()
    if version() < MINIMUM_VERSION:
        present, needed = ".".join(map(str, version())), ".".join(map(str, MINIMUM_VERSION))
        raise EnvironmentProblem(f"git {present} is too old", hint=f"install git {needed} or newer (2.38 for merge)")
    here = Git(cwd=path)
    question = (
        *("rev-parse", "--path-format=absolute", "--git-common-dir", "--git-dir"),
        *("--is-bare-repository", "--is-inside-work-tree"),
    )
    output = here.run(*question, check=False)
    if output.code != 0 and (path / "HEAD").is_file() and (path / "objects").is_dir():
        # `safe.bareRepository=explicit` hides bare repositories from discovery, not from being named.
        output = Git(cwd=path, git_dir=path).run(*question, check=False)
    if output.code != 0:
        raise _unusable(path, output)
    # A path may contain a newline; the two booleans at the end cannot.
    *paths, bare, inside = output.text.split("\n")
    if len(paths) != 2:
        raise EnvironmentProblem(f"the repository's path holds a newline: {os.fspath(path)!r}", hint="move it")
    common_dir, git_dir = Path(paths[0]), Path(paths[1])
    lender = lender_of(common_dir)
    if lender is not None:  # a worktree in which an agent runs: take the repository that it belongs to
        common_dir = lender
    if inside == "true":
        checkout = Path(here.text("rev-parse", "--path-format=absolute", "--show-toplevel"))
        root, is_bare = (checkout, False) if common_dir == git_dir else _main_root(common_dir)
        return Repository(root=root, checkout=checkout, common_dir=common_dir, bare=is_bare)
    root, is_bare = _main_root(common_dir)
    if bare == "true":
        return Repository(root=root, checkout=None, common_dir=common_dir, bare=is_bare)
    if root == common_dir or not _is_of(root, common_dir):
        elsewhere = "" if root == common_dir else f" (its work tree is {root})"
        raise EnvironmentProblem(f"{path} is not in a work tree of {common_dir}{elsewhere}", hint="cd to the checkout")
    return open_repository(root)  # inside .git: the same as from its checkout


def lender_of(git_dir: Path) -> Path | None:
    """The common directory of the repository that lent `git_dir` to a worker. `None` means that none did.

    A worker repository is `<common>/architect/runs/<run>/repo/<name>` (`worktrees.worker_repository`).
    """
    parents = git_dir.parents
    if len(parents) < 5 or (parents[0].name, parents[2].name, parents[3].name) != ("repo", "runs", "architect"):
        return None
    return parents[4] if (parents[4] / "objects").is_dir() else None


def make_state_dir(state_dir: Path) -> Path:
    """Create the directory `architect` in git's common directory, and return it.

    It is private (0700) unless `core.sharedRepository` shares the repository. Then it, the journal and the locks in it
    get the permissions that git gives, even if they existed before. Prompts and logs stay private.
    """
    parent_mode = state_dir.parent.stat().st_mode
    if not state_dir.is_dir():
        make_private_dir(state_dir)
    elif not parent_mode & stat.S_ISGID or state_dir.stat().st_mode & 0o077 or state_dir.stat().st_uid != os.geteuid():
        return state_dir
    if parent_mode & stat.S_ISGID and (bits := _shared_bits(state_dir.parent)):
        state_dir.chmod(0o700 | bits | (bits & 0o044) >> 2 | stat.S_ISGID)
        for pattern in ("*.lock", "runs.db*", "trash", "runs", "runs/*", "runs/*/lock"):
            for path in state_dir.glob(pattern):
                share(path)
    return state_dir


def _shared_bits(common_dir: Path) -> int:
    """The mode bits that `core.sharedRepository` grants to the group and others."""
    value = Git(cwd=common_dir, git_dir=common_dir).run("config", "--get", "core.sharedRepository", check=False).text
    named = {"group": 0o060, "true": 0o060, "yes": 0o060, "on": 0o060, "1": 0o060}
    named |= dict.fromkeys(("all", "world", "everybody", "2"), 0o064)
    with contextlib.suppress(ValueError):
        return named.get(value.lower()) or int(value, 8) & 0o066
    return 0


def _main_root(common_dir: Path) -> tuple[Path, bool]:
    """`Repository.root`, and whether git says that there is no main checkout.

    Raises:
        EnvironmentProblem: There is a main checkout, but a setting hides it. A merge would move its branch under it.
    """
    git = Git(cwd=common_dir, git_dir=common_dir)
    main = common_dir.parent if common_dir.name == ".git" else common_dir
    configured = git.run("config", "--get", "core.worktree", check=False)  # submodules have it
    if configured.code == 0:
        work_tree = Path(os.path.normpath(common_dir / configured.text))
        if main != common_dir and not _is_of(work_tree, common_dir):
            raise _hidden(main, f"core.worktree is {configured.text}", "--unset core.worktree")
        return work_tree, False
    # Not `git worktree list`: in a submodule it names the git directory, and it reads core.bare from the wrong file.
    bare = git.text("rev-parse", "--is-bare-repository") == "true"
    # An index alone may be from before the repository became bare.
    if bare and main != common_dir and any(os.path.lexists(main / path) for path in git.run("ls-files", "-z").fields):
        raise _hidden(main, "core.bare is true", "core.bare false")
    return main, bare


def _hidden(main: Path, setting: str, config_words: str) -> EnvironmentProblem:
    config = main / ".git" / "config"
    return EnvironmentProblem(
        f"git does not see the checkout {main}: {setting} in {config}",
        hint=f"git config --file {shlex.quote(os.fspath(config))} {config_words}",
    )


def _is_of(checkout: Path, common_dir: Path) -> bool:
    """Return whether git finds this repository and a work tree from `checkout`."""
    if not checkout.is_dir():
        return False
    output = Git(cwd=checkout).run(
        "rev-parse", "--path-format=absolute", "--is-inside-work-tree", "--git-common-dir", check=False
    )
    return output.text == f"true\n{common_dir}"


def _unusable(path: Path, output: GitOutput) -> EnvironmentProblem:
    if "dubious ownership" in output.stderr:  # git reports this only in prose
        top = next((directory for directory in (path, *path.parents) if (directory / ".git").exists()), path)
        hint = f"git config --global --add safe.directory {shlex.quote(os.fspath(top))}"
        return EnvironmentProblem(f"{top} belongs to another user", hint=hint)
    if any((directory / ".git").exists() for directory in (path, *path.parents)):
        message = " ".join(output.stderr.split())[:300]
        return EnvironmentProblem(f"git cannot use the repository of {path}: {message}", hint="git status")
    return EnvironmentProblem(f"{path} is not in a git repository", hint="cd to one, or git init")
