"""The filter drivers of a repository (Git LFS, git-crypt, transcrypt, the user's own), recorded before a run's agents.

A driver runs only as it was configured when the run began, and only through `filter_runner`. So git runs neither
configuration nor programs that an agent wrote, and leaves nothing running. Every driver counts as `required` there:
where it fails, git stores nothing.

git-crypt and transcrypt keep a key or a program in the git directory (`git-crypt`, `crypt`). Their copies from before
the first agent are used.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from architect_parallel.errors import EnvironmentProblem
from architect_parallel.system.files import make_private_dir
from architect_parallel.system.git import Git, Repository
from architect_parallel.system.own_files import is_intact, seal

STATE_DIRECTORIES = ("git-crypt", "crypt")
"""Directories of the common git directory in which git-crypt and transcrypt keep key and program."""
_RECORD = "filters.json"
_GITS_SECTIONS = frozenset(
    """alias am apply branch browser color column commit core credential diff difftool extensions fetch format fsck
    gc gpg gui help http https include includeif index init interactive log mailinfo maintenance man merge mergetool
    notes pack pager pretty protocol pull push rebase receive remote rerere safe sendemail sequence showbranch
    splitindex ssh stash status submodule tag tar trace2 transfer uploadarchive uploadpack url user versionsort web
    worktree""".split()  # noqa: SIM905
)
"""Sections of git itself. The others belong to programs that read them, such as git-lfs or transcrypt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Driver:
    """`filter.<name>.*` of git's configuration."""

    clean: str = ""
    smudge: str = ""
    process: str = ""
    programs: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Path → device, inode, size and times of each program and file that the commands name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """The drivers that change what goes into git."""

    drivers: Mapping[str, Driver] = field(default_factory=dict)
    settings: tuple[tuple[str, str], ...] = ()
    """Settings of programs other than git, in the order of the configuration."""
    place: str = ""
    """Directory with the copies of `STATE_DIRECTORIES`. Empty means that no driver may be run."""

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Filters:
        """The filters from their `dataclasses.asdict` form. Raises KeyError, TypeError or ValueError for other data."""
        drivers = {}
        for name, values in dict(plain["drivers"]).items():
            programs = {path: tuple(map(int, numbers)) for path, numbers in dict(values["programs"]).items()}
            clean, smudge, process = (str(values[key]) for key in ("clean", "smudge", "process"))
            drivers[str(name)] = Driver(clean=clean, smudge=smudge, process=process, programs=programs)
        settings = tuple((str(name), str(value)) for name, value in plain["settings"])
        return cls(drivers=drivers, settings=settings, place=str(plain["place"]))


def configured(pairs: Iterable[tuple[str, str]]) -> Filters:
    """The drivers in git's configuration that have a command for what goes into git. None of them may be run.

    Args:
        pairs: The entries of `git config --list`, in its order.
    """
    pairs = tuple(pairs)
    sections: dict[str, dict[str, str]] = {}
    for name, value in pairs:
        section, _, rest = name.partition(".")
        driver, _, key = rest.rpartition(".")
        if section == "filter" and driver:
            sections.setdefault(driver, {})[key] = value
    drivers = {
        name: Driver(clean=values.get("clean", ""), smudge=values.get("smudge", ""), process=values.get("process", ""))
        for name, values in sections.items()
        if values.get("clean")
        or values.get("process")
        or values.get("required", "").lower() in ("true", "yes", "on", "1")
    }
    if not drivers:
        return Filters()
    settings = tuple(pair for pair in pairs if pair[0].partition(".")[0] not in _GITS_SECTIONS | {"filter"})
    return Filters(drivers=drivers, settings=settings)


def record(repository: Repository, run_dir: Path) -> Filters:
    """The drivers as they were before the first agent of the run. The first call records them for all workers.

    Raises:
        GitError: The configuration cannot be read.
        EnvironmentProblem: The record cannot be written.
    """
    directory = run_dir / "filters"
    if not directory.is_dir():
        fields = repository.git.run("config", "--list", "-z").fields
        filters = configured((name, value if separator else "true") for name, separator, value in map(_split, fields))
        drivers = {name: replace(driver, programs=_programs(driver)) for name, driver in filters.drivers.items()}
        unfinished = Path(tempfile.mkdtemp(prefix="filters-", dir=make_private_dir(run_dir)))
        try:
            for name in STATE_DIRECTORIES if drivers else ():
                with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                    shutil.copytree(repository.common_dir / name, unfinished / name)
            whole = replace(filters, drivers=drivers, place=os.fspath(directory))
            text = json.dumps(asdict(whole), ensure_ascii=True)
            (unfinished / _RECORD).write_text(text)
            os.rename(unfinished, directory)
            seal(directory / _RECORD, text.encode())
        except OSError as error:
            shutil.rmtree(unfinished, ignore_errors=True)
            if not directory.is_dir():  # else another worker was first
                raise EnvironmentProblem(f"the filters of the run cannot be recorded: {error}") from error
    return recorded(run_dir) or Filters()


def recorded(run_dir: Path) -> Filters | None:
    """The drivers that `record` wrote for the run.

    `None` means that there is no readable record, or that another program changed the one that this process wrote.
    """
    path = run_dir / "filters" / _RECORD
    try:
        data = path.read_bytes()
        return Filters.of(json.loads(data)) if is_intact(path, data) else None
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def share_filter_state(repository: Repository, admin_dir: Path) -> None:
    """Let git-crypt find its key from a linked worktree. Up to 0.7 it looks only in that worktree's git directory.

    https://github.com/AGWA/git-crypt/issues/105
    """
    keys, link = repository.common_dir / "git-crypt", admin_dir / "git-crypt"
    if keys.is_dir() and not os.path.lexists(link):
        link.symlink_to(os.path.relpath(keys, admin_dir))


def _split(line: str) -> tuple[str, str, str]:
    return line.partition("\n")


def _programs(driver: Driver) -> dict[str, tuple[int, ...]]:
    programs = {}
    for command in (driver.clean, driver.smudge, driver.process):
        try:
            words = shlex.split(command)
        except ValueError:
            words = command.split()
        for position, word in enumerate(words):
            path = os.path.expanduser(os.path.expandvars(word))
            if position == 0 and "/" not in path:
                path = shutil.which(path, path=search_path()) or ""
            if os.path.isabs(path) and os.path.isfile(path):
                programs[path] = file_identity(path)
    return programs


def file_identity(path: str) -> tuple[int, ...]:
    """Numbers that change when the file does, as no program can set its ctime. Empty means that it is missing."""
    try:
        status = os.stat(path)
    except OSError:
        return ()
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def search_path() -> str:
    """`PATH` without entries that depend on the current directory."""
    words = os.environ.get("PATH", os.defpath).split(os.pathsep)
    return os.pathsep.join(word for word in words if os.path.isabs(word))


def drivers_of(git: Git, paths: Iterable[str], *, cached: bool = False) -> dict[str, str]:
    """The filter that the attributes name for each path. With `cached` the attributes are read from git's index.

    Raises:
        GitError: git cannot read them.
    """
    names = b"".join(os.fsencode(path) + b"\0" for path in paths)
    if not names:
        return {}
    source = ("--cached",) if cached else ()
    fields = git.run("check-attr", *source, "-z", "--stdin", "filter", input=names).fields
    none = ("unspecified", "unset", "set")
    return {path: name for path, name in zip(fields[::3], fields[2::3], strict=True) if name not in none}
