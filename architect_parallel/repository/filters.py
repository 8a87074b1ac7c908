"""The filter drivers of a repository (Git LFS, git-crypt, transcrypt, the user's own), recorded before a run's agents.

A driver is run only as it was configured when the run began, and only by `Runner`: in a sealed git directory, in a
directory of its own that holds nothing but the files to filter, under supervision and with a time limit. So neither
configuration nor programs that an agent wrote are run, and nothing is left running. Every driver counts as `required`
there: where it fails, git stores nothing.

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
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from architect_parallel.errors import EnvironmentProblem
from architect_parallel.supervision.consume import ProcessFacts, consume
from architect_parallel.supervision.messages import Launch, Stream
from architect_parallel.supervision.process import CHUNK_BYTES, SLICE_S, start_supervised
from architect_parallel.system.files import make_private_dir
from architect_parallel.system.git import Git, Repository
from architect_parallel.text.sanitize import one_line

TIME_LIMIT_S = 120.0
"""For each file that goes into git, and for all files that are written to disk in one step."""
MOST_FAILURES = 10
"""After this many failures of a driver its remaining files are left out without another attempt."""
STATE_DIRECTORIES = ("git-crypt", "crypt")
"""Where git-crypt and transcrypt keep key and program, in the common git directory."""
_RECORD = "filters.json"
_GITS_SECTIONS = frozenset(
    """alias am apply branch browser color column commit core credential diff difftool extensions fetch format fsck
    gc gpg gui help http https include includeif index init interactive log mailinfo maintenance man merge mergetool
    notes pack pager pretty protocol pull push rebase receive remote rerere safe sendemail sequence showbranch
    splitindex ssh stash status submodule tag tar trace2 transfer uploadarchive uploadpack url user versionsort web
    worktree""".split()  # noqa: SIM905
)
"""Sections of git itself; the others belong to programs such as git-lfs or transcrypt, which read them."""


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
        """Reads what `dataclasses.asdict` made of it. Raises KeyError, TypeError or ValueError for anything else."""
        drivers = {}
        for name, values in dict(plain["drivers"]).items():
            programs = {path: tuple(map(int, numbers)) for path, numbers in dict(values["programs"]).items()}
            clean, smudge, process = (str(values[key]) for key in ("clean", "smudge", "process"))
            drivers[str(name)] = Driver(clean=clean, smudge=smudge, process=process, programs=programs)
        settings = tuple((str(name), str(value)) for name, value in plain["settings"])
        return cls(drivers=drivers, settings=settings, place=str(plain["place"]))


def configured(pairs: Iterable[tuple[str, str]]) -> Filters:
    """The drivers in git's configuration that have a command for what goes into git; none of them may be run.

    Args:
        pairs: Of `git config --list`, in its order.
    """
    pairs = tuple(pairs)
    found: dict[str, dict[str, str]] = {}
    for name, value in pairs:
        section, _, rest = name.partition(".")
        driver, _, key = rest.rpartition(".")
        if section == "filter" and driver:
            found.setdefault(driver, {})[key] = value
    drivers = {
        name: Driver(clean=values.get("clean", ""), smudge=values.get("smudge", ""), process=values.get("process", ""))
        for name, values in found.items()
        if values.get("clean")
        or values.get("process")
        or values.get("required", "").lower() in ("true", "yes", "on", "1")
    }
    if not drivers:
        return Filters()
    settings = tuple(pair for pair in pairs if pair[0].partition(".")[0] not in _GITS_SECTIONS | {"filter"})
    return Filters(drivers=drivers, settings=settings)


def record(repository: Repository, run_dir: Path) -> Filters:
    """The drivers as they were before the first agent of the run; the first call writes them down, for all workers.

    Raises:
        GitError: The configuration cannot be read.
        EnvironmentProblem: The record cannot be written.
    """
    place = run_dir / "filters"
    if not place.is_dir():
        fields = repository.git.run("config", "--list", "-z").fields
        filters = configured((name, value if separator else "true") for name, separator, value in map(_split, fields))
        drivers = {name: replace(driver, programs=_programs(driver)) for name, driver in filters.drivers.items()}
        unfinished = Path(tempfile.mkdtemp(prefix="filters-", dir=make_private_dir(run_dir)))
        try:
            for name in STATE_DIRECTORIES if drivers else ():
                with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                    shutil.copytree(repository.common_dir / name, unfinished / name)
            whole = replace(filters, drivers=drivers, place=os.fspath(place))
            (unfinished / _RECORD).write_text(json.dumps(asdict(whole), ensure_ascii=True))
            os.rename(unfinished, place)
        except OSError as error:
            shutil.rmtree(unfinished, ignore_errors=True)
            if not place.is_dir():  # else another worker was first
                raise EnvironmentProblem(f"the filters of the run cannot be recorded: {error}") from error
    return recorded(run_dir) or Filters()


def recorded(run_dir: Path) -> Filters | None:
    """What `record` wrote for the run. `None` means that there is no readable record."""
    try:
        return Filters.of(json.loads((run_dir / "filters" / _RECORD).read_text()))
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def share_filter_state(repository: Repository, admin_dir: Path) -> None:
    """Lets git-crypt find its key from a linked worktree; up to 0.7 it looks in that worktree's git directory only.

    https://github.com/AGWA/git-crypt/issues/105
    """
    kept, link = repository.common_dir / "git-crypt", admin_dir / "git-crypt"
    if kept.is_dir() and not os.path.lexists(link):
        link.symlink_to(os.path.relpath(kept, admin_dir))


def _split(line: str) -> tuple[str, str, str]:
    return line.partition("\n")


def _programs(driver: Driver) -> dict[str, tuple[int, ...]]:
    found = {}
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
                found[path] = _stamp(path)
    return found


def _stamp(path: str) -> tuple[int, ...]:
    """Changes when the file does; its ctime cannot be set. Empty means that it is not there."""
    try:
        file = os.stat(path)
    except OSError:
        return ()
    return (file.st_dev, file.st_ino, file.st_size, file.st_mtime_ns, file.st_ctime_ns)


def search_path() -> str:
    """`PATH` without entries that depend on the current directory."""
    words = os.environ.get("PATH", os.defpath).split(os.pathsep)
    return os.pathsep.join(word for word in words if os.path.isabs(word))


def config_text(pairs: Iterable[tuple[str, str]]) -> str:
    """The settings as a file that git reads."""
    lines = []
    for name, value in pairs:
        section, _, rest = name.partition(".")
        subsection, _, key = rest.rpartition(".")
        escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        inner = subsection.replace("\\", "\\\\").replace('"', '\\"')
        head = f'[{section} "{inner}"]' if subsection else f"[{section}]"
        lines.append(f'{head}\n\t{key} = "{escaped}"\n')
    return "".join(lines)


def drivers_of(git: Git, paths: Iterable[str], *, cached: bool = False) -> dict[str, str]:
    """The filter that the attributes name for each path. With `cached` they are those in git's index.

    Raises:
        GitError: git cannot read them.
    """
    names = b"".join(os.fsencode(path) + b"\0" for path in paths)
    if not names:
        return {}
    words = ("--cached",) if cached else ()
    fields = git.run("check-attr", *words, "-z", "--stdin", "filter", input=names).fields
    none = ("unspecified", "unset", "set")
    return {path: name for path, name in zip(fields[::3], fields[2::3], strict=True) if name not in none}


class _Ended(NamedTuple):
    """How a supervised git command ended."""

    lines: list[str]
    """Whole lines of its stdout."""
    why: str
    """Why it did not do its work, in words; empty: it did."""
    timed_out: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """Runs the recorded drivers on files of one worktree."""

    filters: Filters
    git: Git
    """Of the private git directory, whose settings, ignore rules and attributes are used."""
    common_dir: Path
    work_tree: Path
    base_commit: str
    scratch: Path
    """A directory for what is needed meanwhile."""

    def clean(self, paths: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
        """Stores files through their filters.

        Args:
            paths: Path of a regular file → the driver that its attributes name.

        Returns:
            Path → blob of those that were stored, and path → reason, in words, of the others.
        """
        failed = {path: why for path, name in paths.items() if (why := self._refusal(name))}
        left = [path for path in paths if path not in failed]
        oids: dict[str, str] = {}
        if not left:
            return oids, failed
        with self._sealed() as (git, tree):
            self._lay_out(tree, left)
            found = drivers_of(git, left)
            failed |= {path: f"filter {paths[path]!r} cannot be told for it" for path in left
                       if found.get(path) != paths[path]}  # fmt: skip
            left = [path for path in left if path not in failed]
            failures: dict[str, int] = {}
            while left:
                listed = self.scratch / "filtered.paths"
                listed.write_bytes(b"".join(_quoted(path) + b"\n" for path in left))
                ended = _run(git, tree, "hash-object", "-w", "--stdin-paths", stdin_file=listed)
                oids |= dict(zip(left, ended.lines, strict=False))
                left = left[len(ended.lines) :]
                if not left:
                    break
                name = paths[left[0]]
                why = f"filter {name!r} failed: {ended.why or 'it stored nothing'}"
                failures[name] = failures.get(name, 0) + 1
                given_up = ended.timed_out or failures[name] >= MOST_FAILURES
                over = {path for path in left if paths[path] == name} if given_up else {left[0]}
                failed |= dict.fromkeys(over | {left[0]}, why)
                left = [path for path in left if path not in failed]
        return oids, failed

    @contextlib.contextmanager
    def smudged(self, tree: str, paths: Sequence[str]) -> Iterator[tuple[Path, str]]:
        """A directory with these files of `tree` as a checkout would write them, and why some are missing, in words."""
        with self._sealed() as (git, place):
            git = replace(git, index_file=self.scratch / "smudged.index")
            git.run("read-tree", tree)
            found = drivers_of(git, paths, cached=True)
            refused = {path: why for path, name in found.items() if (why := self._refusal(name, writing=True))}
            listed = self.scratch / "filtered.paths"
            listed.write_bytes(b"".join(os.fsencode(path) + b"\0" for path in paths if path not in refused))
            words = ("checkout-index", "--force", "-z", "--stdin")
            why = _run(git, place, *words, stdin_file=listed).why
            yield place, why or next(iter(refused.values()), "")

    def _refusal(self, name: str, *, writing: bool = False) -> str:
        """Why the driver may not be run, in words; empty: it may."""
        driver = self.filters.drivers.get(name)
        if driver is None or not self.filters.place:
            return f"filter {name!r} is not known from before the run"
        commands = (driver.process or (driver.smudge if writing else driver.clean),)
        if any(os.fspath(self.work_tree) in command for command in commands):
            return f"filter {name!r} is a program inside the worktree"
        changed = [path for path, numbers in driver.programs.items() if _stamp(path) != numbers]
        if changed:
            return f"{changed[0]} of filter {name!r} has changed since the run began"
        return ""

    @contextlib.contextmanager
    def _sealed(self) -> Iterator[tuple[Git, Path]]:
        """git on a directory with the drivers, and an empty work tree."""
        place = Path(tempfile.mkdtemp(prefix="filters-", dir=self.scratch))
        directory, tree = place / "git", place / "tree"
        try:
            for inner in (tree, directory / "refs", directory / "info"):
                inner.mkdir(parents=True)
            (directory / "HEAD").write_text(f"{self.base_commit}\n")
            private = self.scratch if self.git.git_dir is None else self.git.git_dir
            shutil.copyfile(private / "info" / "attributes", directory / "info" / "attributes")
            text = (private / "config").read_bytes() + os.fsencode(config_text(self._settings()))
            (directory / "config").write_bytes(text)
            for name in STATE_DIRECTORIES:
                kept = Path(self.filters.place) / name
                if kept.is_dir():
                    (directory / name).symlink_to(kept)
            yield replace(self.git, cwd=tree, git_dir=directory, work_tree=tree, index_file=directory / "index"), tree
        finally:
            shutil.rmtree(place, ignore_errors=True)

    def _settings(self) -> Iterator[tuple[str, str]]:
        storage = self.common_dir / "lfs"
        for name, value in self.filters.settings:
            if name == "lfs.storage":
                storage = self.common_dir / os.path.expanduser(value)
            else:
                yield name, value
        yield "lfs.storage", os.fspath(storage)
        for name, driver in self.filters.drivers.items():
            for key in ("clean", "smudge", "process"):
                if command := getattr(driver, key):
                    yield f"filter.{name}.{key}", command
            yield f"filter.{name}.required", "true"

    def _lay_out(self, tree: Path, paths: Iterable[str]) -> None:
        """The files under their names, as links: nothing is copied, and a filter may read its file by name."""
        done = set()
        for path in paths:
            for parent in Path(path).parents:
                attributes = parent / ".gitattributes"
                if attributes in done:
                    continue
                done.add(attributes)
                (tree / parent).mkdir(parents=True, exist_ok=True)
                with contextlib.suppress(OSError):
                    if not (self.work_tree / attributes).is_symlink():
                        shutil.copyfile(self.work_tree / attributes, tree / attributes)
            if not os.path.lexists(tree / path):
                (tree / path).symlink_to(self.work_tree / path)


def _quoted(path: str) -> bytes:
    """As `hash-object --stdin-paths` reads names with any bytes in them."""
    plain = (chr(byte) if byte in _PLAIN else f"\\{byte:03o}" for byte in os.fsencode(path))
    return f'"{"".join(plain)}"'.encode()


_PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./")


def _run(git: Git, cwd: Path, *words: str, stdin_file: Path) -> _Ended:
    """Runs git to its end under supervision; a line of its stdout is progress, and without any it is stopped."""
    argv, environment = git.command(*words)
    # `python -m` must not find modules beside the files, and no program is looked up there.
    environment |= {"PATH": search_path(), "PYTHONSAFEPATH": "1"}
    launch = Launch(argv=argv, cwd=cwd, env=environment, stdin_file=stdin_file, grace_s=1.0)
    streams: dict[Stream, bytes] = {"stdout": b"", "stderr": b""}
    until = time.monotonic() + TIME_LIMIT_S
    timed_out = False

    def keep(stream: Stream, data: bytes) -> None:
        nonlocal until
        streams[stream] += data
        if stream == "stdout" and b"\n" in data:
            until = time.monotonic() + TIME_LIMIT_S
        streams["stderr"] = streams["stderr"][-CHUNK_BYTES:]

    def check_time(facts: ProcessFacts) -> None:
        nonlocal timed_out
        if not timed_out and facts.exit_code is None and time.monotonic() >= until:
            timed_out = True
            command.kill()

    with start_supervised(launch) as command:
        facts = consume(command, keep, on_tick=check_time, tick_s=SLICE_S)
    lines = os.fsdecode(streams["stdout"]).split("\n")[:-1]
    if timed_out:
        return _Ended(lines, f"it took longer than {TIME_LIMIT_S:g} s", True)
    if facts.exit_code == 0:
        return _Ended(lines, "", False)
    errors = facts.spawn_error or os.fsdecode(streams["stderr"])
    said = [line for line in errors.splitlines() if line.strip()]
    return _Ended(lines, one_line(said[0], 200) if said else f"exit code {facts.exit_code}", False)
