"""Run the recorded filter drivers of a repository on files that an agent wrote.

Git runs in a sealed git directory, in a directory that holds nothing but the files to filter, under supervision and
with a time limit.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from architect_parallel.repository.filters import STATE_DIRECTORIES, Filters, drivers_of, file_identity, search_path
from architect_parallel.supervision.consume import ProcessFacts, consume
from architect_parallel.supervision.messages import Launch, Stream
from architect_parallel.supervision.process import CHUNK_BYTES, SLICE_S, start_supervised
from architect_parallel.system.git import Git
from architect_parallel.system.git_settings import config_text
from architect_parallel.text.sanitize import one_line

TIME_LIMIT_S = 120.0
"""For each file that goes into git, and for all files that are written to disk in one step."""
MOST_FAILURES = 10
"""After this many failures of a driver its remaining files are left out without another attempt."""


class _GitEnd(NamedTuple):
    """The end of a supervised git command."""

    lines: list[str]
    """Whole lines of its stdout."""
    error: str
    """Why it failed, in words. Empty means that it succeeded."""
    timed_out: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterRunner:
    """Runs the recorded drivers on files of one worktree."""

    filters: Filters
    git: Git
    """Git of the private git directory. Its settings, ignore rules and attributes are used."""
    common_dir: Path
    work_tree: Path
    base_commit: str
    scratch: Path
    """A directory for temporary files."""

    def clean(self, paths: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
        """Store files through their filters.

        Args:
            paths: Path of a regular file → the driver that its attributes name.

        Returns:
            Path → blob of the files that were stored, and path → reason, in words, of the others.
        """
        failed = {path: reason for path, name in paths.items() if (reason := self._refusal(name))}
        left = [path for path in paths if path not in failed]
        oids: dict[str, str] = {}
        if not left:
            return oids, failed
        with self._sealed() as (git, tree):
            self._lay_out(tree, left)
            drivers = drivers_of(git, left)
            changed = [path for path in left if drivers.get(path) != paths[path]]
            failed |= {path: f"filter {paths[path]!r} cannot be told for it" for path in changed}
            left = [path for path in left if path not in failed]
            failures: dict[str, int] = {}
            while left:
                listed = self.scratch / "filtered.paths"
                listed.write_bytes(b"".join(_quoted(path) + b"\n" for path in left))
                end = _run(git, tree, "hash-object", "-w", "--stdin-paths", stdin_file=listed)
                oids |= dict(zip(left, end.lines, strict=False))
                left = left[len(end.lines) :]
                if not left:
                    break
                name = paths[left[0]]
                reason = f"filter {name!r} failed: {end.error or 'it stored nothing'}"
                failures[name] = failures.get(name, 0) + 1
                given_up = end.timed_out or failures[name] >= MOST_FAILURES
                over = {path for path in left if paths[path] == name} if given_up else {left[0]}
                failed |= dict.fromkeys(over | {left[0]}, reason)
                left = [path for path in left if path not in failed]
        return oids, failed

    @contextlib.contextmanager
    def smudged(self, tree: str, paths: Sequence[str]) -> Iterator[tuple[Path, str]]:
        """Yield a directory with these files of `tree` as a checkout would write them.

        The second value is why some are missing, in words. Empty means that none is missing.
        """
        with self._sealed() as (git, work_tree):
            git = replace(git, index_file=self.scratch / "smudged.index")
            git.run("read-tree", tree)
            drivers = drivers_of(git, paths, cached=True)
            refused = {path: why for path, name in drivers.items() if (why := self._refusal(name, writing=True))}
            listed = self.scratch / "filtered.paths"
            listed.write_bytes(b"".join(os.fsencode(path) + b"\0" for path in paths if path not in refused))
            error = _run(git, work_tree, "checkout-index", "--force", "-z", "--stdin", stdin_file=listed).error
            yield work_tree, error or next(iter(refused.values()), "")

    def _refusal(self, name: str, *, writing: bool = False) -> str:
        """The reason not to run the driver, in words. Empty means that it may run."""
        driver = self.filters.drivers.get(name)
        if driver is None or not self.filters.place:
            return f"filter {name!r} is not known from before the run"
        commands = (driver.process or (driver.smudge if writing else driver.clean),)
        if any(os.fspath(self.work_tree) in command for command in commands):
            return f"filter {name!r} is a program inside the worktree"
        changed = [path for path, numbers in driver.programs.items() if file_identity(path) != numbers]
        if changed:
            return f"{changed[0]} of filter {name!r} has changed since the run began"
        return ""

    @contextlib.contextmanager
    def _sealed(self) -> Iterator[tuple[Git, Path]]:
        """Yield git on a temporary directory with the drivers, and its empty work tree."""
        temporary = Path(tempfile.mkdtemp(prefix="filters-", dir=self.scratch))
        directory, tree = temporary / "git", temporary / "tree"
        try:
            for inner in (tree, directory / "refs", directory / "info"):
                inner.mkdir(parents=True)
            (directory / "HEAD").write_text(f"{self.base_commit}\n")
            private = self.scratch if self.git.git_dir is None else self.git.git_dir
            shutil.copyfile(private / "info" / "attributes", directory / "info" / "attributes")
            text = (private / "config").read_bytes() + os.fsencode(config_text(self._settings()))
            (directory / "config").write_bytes(text)
            for name in STATE_DIRECTORIES:
                recorded = Path(self.filters.place) / name
                if recorded.is_dir():
                    (directory / name).symlink_to(recorded)
            yield replace(self.git, cwd=tree, git_dir=directory, work_tree=tree, index_file=directory / "index"), tree
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

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
        """Create links to the files under their names. Nothing is copied, and a filter can read its file by name."""
        copied = set()
        for path in paths:
            for parent in Path(path).parents:
                attributes = parent / ".gitattributes"
                if attributes in copied:
                    continue
                copied.add(attributes)
                (tree / parent).mkdir(parents=True, exist_ok=True)
                with contextlib.suppress(OSError):
                    if not (self.work_tree / attributes).is_symlink():
                        shutil.copyfile(self.work_tree / attributes, tree / attributes)
            if not os.path.lexists(tree / path):
                (tree / path).symlink_to(self.work_tree / path)


def _quoted(path: str) -> bytes:
    """A name with any bytes, quoted for `hash-object --stdin-paths`."""
    plain = (chr(byte) if byte in _PLAIN else f"\\{byte:03o}" for byte in os.fsencode(path))
    return f'"{"".join(plain)}"'.encode()


_PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./")


def _run(git: Git, cwd: Path, *words: str, stdin_file: Path) -> _GitEnd:
    """Run git under supervision. It is stopped if it prints no line on stdout within the time limit."""
    argv, environment = git.command(*words)
    # `python -m` must not import modules from the directory of the files, and no program may come from there.
    environment |= {"PATH": search_path(), "PYTHONSAFEPATH": "1"}
    launch = Launch(argv=argv, cwd=cwd, env=environment, stdin_file=stdin_file, grace_s=1.0)
    streams: dict[Stream, bytes] = {"stdout": b"", "stderr": b""}
    until = time.monotonic() + TIME_LIMIT_S
    timed_out = False

    def on_output(stream: Stream, data: bytes) -> None:
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
        facts = consume(command, on_output, on_tick=check_time, tick_s=SLICE_S)
    lines = os.fsdecode(streams["stdout"]).split("\n")[:-1]
    if timed_out:
        return _GitEnd(lines, f"it took longer than {TIME_LIMIT_S:g} s", True)
    if facts.exit_code == 0:
        return _GitEnd(lines, "", False)
    errors = facts.spawn_error or os.fsdecode(streams["stderr"])
    messages = [line for line in errors.splitlines() if line.strip()]
    return _GitEnd(lines, one_line(messages[0], 200) if messages else f"exit code {facts.exit_code}", False)
