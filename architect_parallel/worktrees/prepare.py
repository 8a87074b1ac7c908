"""A fresh worktree is made ready for work: ignored files it needs are linked or copied, setup commands run.

git decides what matches (`ls-files --others`), so only what git does not track is ever copied and patterns mean what
they mean in `.gitignore`. The invariant: nothing is read from outside the main checkout, nothing is written outside the
worktree, and nothing the base commit brought is overwritten. Copies come before the commands, which may need them.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Protocol

from architect_parallel.backends.environment import CommandEnvironment
from architect_parallel.domain import WorktreeSettings
from architect_parallel.errors import EnvironmentProblem, UsageError
from architect_parallel.system.copying import copy_directory
from architect_parallel.system.git import Git, GitError, Repository
from architect_parallel.worktrees.create import Worktree
from architect_parallel.worktrees.places import DIRECTORY_PREFIX, registered_worktrees

_TAIL_CHARACTERS = 400


class SetupOutcome(Protocol):
    """The part of a command's outcome that `prepare` uses (`system.shell.CommandOutcome`)."""

    @property
    def exit_code(self) -> int | None: ...

    @property
    def output(self) -> str: ...

    @property
    def timed_out(self) -> bool: ...


def require_copy_entries(settings: WorktreeSettings) -> None:
    """Check everything that can be checked before anything is created.

    Raises:
        UsageError: An entry of `worktrees.copy` is absolute, leaves the repository, or is empty.
    """
    for entry in settings.copy:
        if not entry or "\0" in entry or entry.startswith(("/", "~")) or ".." in PurePosixPath(entry).parts:
            raise UsageError(
                f"worktrees.copy: {entry!r} is not a path inside the repository",
                hint="write it relative to the repository's root",
            )


def require_links(repository: Repository, settings: WorktreeSettings) -> list[str]:
    """Check the entries of `worktrees.link`, and return a warning if there are any.

    Raises:
        UsageError: An entry is not a directory that git ignores.
    """
    source = repository.main_checkout or repository.checkout
    if source is None or not settings.link:
        return []
    for entry in settings.link:
        # `./`: a name that begins with `:` or `-` is a name too.
        words = ("check-ignore", "-q", "--", f"./{entry.rstrip('/')}/")
        ignored = Git(cwd=source).run(*words, check=False, env={"GIT_LITERAL_PATHSPECS": "0"})
        if (source / entry).is_symlink() or ignored.code != 0:
            why = "is a link itself" if (source / entry).is_symlink() else "is not ignored by git"
            raise UsageError(f"worktrees.link: {entry!r} {why}", hint=f"git -C {source} check-ignore -v {entry}/")
    return [f"worktrees.link: agents can write through {', '.join(settings.link)} into {source}"]


def prepare(
    repository: Repository,
    worktree: Worktree,
    settings: WorktreeSettings,
    *,
    run: Callable[[str], SetupOutcome],
    environment: CommandEnvironment | None = None,
) -> list[str]:
    """Link and copy what the settings and the include file name, then run the setup commands in order.

    Args:
        run: Runs one shell command in the worktree to its end.
        environment: What `run` gives to commands. One that fails then says what it did not get.

    Returns:
        Warnings: what could not be copied, and what the setup changed that will look like the agent's work.

    Raises:
        UsageError: See `require_copy_entries`.
        EnvironmentProblem: A file could not be copied or a command failed. The worktree stays for inspection.
    """
    require_copy_entries(settings)
    warnings: list[str] = []
    source = repository.main_checkout or repository.checkout
    if source is not None:
        for entry in settings.link:
            _link(source, worktree.path, os.path.normpath(entry), warnings)
        others = registered_worktrees(repository)
        whole = []
        for name in _whole_directories(source, worktree.path, settings, others):
            with _copying(name, worktree.path):
                (worktree.path / name).parent.mkdir(parents=True, exist_ok=True)
                if copy_directory(source / name, worktree.path / name):
                    whole.append(name)
        for name in _wanted(source, settings, warnings, others, whole):
            with _copying(name, worktree.path):
                _copy(source, worktree.path, name, warnings)
    for command in settings.setup:
        outcome = run(command)
        if outcome.exit_code != 0:
            held_back = environment and environment.held_back(command, outcome.output, "worktrees.setup_env")
            problem = _failed(command, worktree, outcome) + (f"; {held_back}" if held_back else "")
            raise EnvironmentProblem(problem, hint="correct worktrees.setup, then start or resume the run")
    if settings.setup:
        warnings += _left_by_setup(worktree)
    return warnings


@contextlib.contextmanager
def _copying(name: str, target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise EnvironmentProblem(f"{name} cannot be copied to {target}: {error.strerror}") from error


def _whole_directories(source: Path, target: Path, settings: WorktreeSettings, others: Sequence[Path]) -> Iterator[str]:
    """The entries that name a directory of which everything is wanted, and nothing is in its way in the worktree."""
    reserved = [
        *(path for path in others if path != source),
        *(source / os.path.normpath(entry) for entry in settings.link),
    ]
    for entry in settings.copy:
        name = PurePosixPath(os.path.normpath(entry))
        directory = source / name
        if (
            not set(entry) & set("*?[\\")
            and ".git" not in name.parts
            and not entry.startswith(DIRECTORY_PREFIX)
            and directory != source
            and directory.is_dir()
            and not any((source / part).is_symlink() for part in (name, *name.parents))
            and not any((target / part).is_symlink() for part in name.parents)
            and not os.path.lexists(target / name)
            and not any(path.is_relative_to(directory) or path in directory.parents for path in reserved)
            and not Git(cwd=source).run("ls-files", "-z", "--", os.fspath(name)).stdout  # git tracks nothing there
        ):
            yield os.fspath(name)


def _wanted(
    source: Path, settings: WorktreeSettings, warnings: list[str], others: Sequence[Path], whole: Collection[str]
) -> Iterator[str]:
    """Untracked paths to copy, relative to `source`. One that ends in `/` is a repository inside this one.

    Args:
        others: Worktrees. Nothing in them is copied.
        whole: Directories that are copied already.
    """
    names: dict[str, None] = {}
    git = Git(cwd=source)
    include = source / settings.include_file
    if include.is_file():
        listed = git.run("ls-files", "-z", "--others", "--ignored", f"--exclude-from={include}")
        names |= dict.fromkeys(listed.fields)
    for entry in settings.copy:
        if os.path.normpath(entry) in whole:
            continue
        # `top,glob`: relative to the root, `*` stays within a directory, `**` does not, a directory means all below.
        pathspec = f":(top,glob){entry.removeprefix('./')}"
        listed = git.run("ls-files", "-z", "--others", "--", pathspec, env={"GIT_LITERAL_PATHSPECS": "0"})
        names |= dict.fromkeys(listed.fields)
        if not listed.fields and not os.path.lexists(source / entry) and not set(entry) & set("*?["):
            warnings.append(f"worktrees.copy: {entry} is not in {source}")
    left_out = tuple(f"{os.path.normpath(entry)}/" for entry in (*settings.link, *whole))
    left_out += tuple(f"{path.relative_to(source)}/" for path in others if path.is_relative_to(source))
    return (name for name in names if not name.startswith((DIRECTORY_PREFIX, *left_out)))


def _link(source: Path, target: Path, name: str, warnings: list[str]) -> None:
    here, there = source / name, target / name
    if not here.is_dir():
        warnings.append(f"worktrees.link: {name} is not in {source}")
    elif os.path.lexists(there) or any((target / parent).is_symlink() for parent in PurePosixPath(name).parents):
        warnings.append(f"worktrees.link: {name} is not linked: something is in its way in the worktree")
    else:
        try:
            there.parent.mkdir(parents=True, exist_ok=True)
            there.symlink_to(here, target_is_directory=True)
        except OSError as error:
            raise EnvironmentProblem(f"{name} cannot be linked in {target}: {error.strerror}") from error


def _copy(source: Path, target: Path, name: str, warnings: list[str]) -> None:
    here, there = source / name, target / name
    if any((target / parent).is_symlink() for parent in PurePosixPath(name).parents):
        warnings.append(f"{name} is not copied: a symbolic link is in its way in the worktree")
        return
    if os.path.lexists(there):
        if not there.is_dir():
            return  # the base commit has it
        if not here.is_dir():
            warnings.append(f"{name} is not copied: a directory is in its way in the worktree")
            return
    there.parent.mkdir(parents=True, exist_ok=True)
    if name.endswith("/"):
        shutil.copytree(here, there, symlinks=True, copy_function=_copy_file, dirs_exist_ok=True)
    elif here.is_symlink() or stat.S_ISREG(here.lstat().st_mode):
        _copy_file(os.fspath(here), os.fspath(there))
    else:
        warnings.append(f"{name} is not copied: it is neither a file nor a link")


def _copy_file(source: str, target: str) -> None:
    """Copy one file with its mode and times, sharing its blocks where the file system can.

    A link stays a link. A pipe, socket or device is left out.
    """
    mode = os.lstat(source).st_mode
    if stat.S_ISLNK(mode):
        os.symlink(os.readlink(source), target)
        return
    if not stat.S_ISREG(mode):  # opening a pipe would wait for ever
        return
    if not _clone(source, target):
        shutil.copyfile(source, target)
    with contextlib.suppress(OSError):
        shutil.copystat(source, target)


def _clone(source: str, target: str) -> bool:
    if not hasattr(os, "copy_file_range"):
        return False
    with open(source, "rb") as reader, open(target, "wb") as writer:
        remaining = os.fstat(reader.fileno()).st_size
        try:
            while remaining > 0:
                copied = os.copy_file_range(reader.fileno(), writer.fileno(), remaining)
                if copied == 0:
                    break
                remaining -= copied
        except OSError:
            return False
    return remaining == 0


def _failed(command: str, worktree: Worktree, outcome: SetupOutcome) -> str:
    tail = " ".join(outcome.output.split())[-_TAIL_CHARACTERS:]
    end = "ran out of time" if outcome.timed_out else f"ended with {outcome.exit_code}"
    return f"worktrees.setup: {command!r} {end} in {worktree.path}" + (f": {tail}" if tail else "")


def _left_by_setup(worktree: Worktree) -> list[str]:
    try:
        changed = Git(cwd=worktree.path).run("status", "--porcelain", "-z", "--no-renames").fields
    except GitError as error:
        return [f"worktrees.setup: {error.message}"]
    if not changed:
        return []
    shown = ", ".join(entry[3:] for entry in changed[:5]) + (", …" if len(changed) > 5 else "")
    return [f"worktrees.setup changed what git sees and will stand in the result: {shown}"]
