"""GitPython through the door to git: `open_repository` returns a `git.Repo` for a tree that an agent had in its hands.

Plain GitPython starts git with the whole environment, runs the hooks of a commit itself, and finds a repository through
files that an agent can write. Here every git process starts with the environment, the settings and the sealed
configuration of `system.git`, and only git can be started. The differences to plain GitPython that a script notices:

- Where a worktree belongs to is read from the repository's registration, not from `.git` in the worktree. A repository
  that lies inside another one, or is reached as a submodule, runs no program of its own configuration.
- No hook runs, also not at `repo.index.commit()`. `config_reader()` shows the settings that git gets.
- `is_dirty()`, `diff` and `status` do not look at the files inside submodules: git would run the submodule's programs.
  Submodules can be read and are neither added nor updated. With a submodule checked out, `git add`, `commit`, `merge`
  and others are refused. `repo.index.add()` and `repo.index.commit()` start no git there.
- Path arguments are names, not patterns. `repo.git(no_literal_pathspecs=True).add("*.py")` asks for patterns.
- While git reads a sealed copy, settings that a git command writes on the way are lost. `repo.config_writer()` and
  `repo.git.config()` write to the file itself.

GitPython reads neither repositories with SHA-256 nor refs in a reftable. It costs 0.1 s at import: nothing imports this
module before a script asks for it.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import git
from git.compat import safe_decode
from git.util import remove_password_if_present, stream_copy

from architect_parallel.errors import UsageError
from architect_parallel.system.discovery import locate
from architect_parallel.system.git_command import Git, git_dir_at, programs_of, settings_of
from architect_parallel.system.git_environment import SAFE_SETTINGS
from architect_parallel.system.sealed_configuration import SealedConfiguration, without_programs

_NEED_THE_FILES = frozenset({"config", "init", "rev-parse", "worktree"})
"""Commands that have to read the configuration itself. `worktree add` is refused where it would run a program."""
_ELSEWHERE = frozenset({"clone", "init"})
"""Commands that make a repository: nothing of this one may redirect them."""
_LOCATION = ("GIT_DIR", "GIT_WORK_TREE", "GIT_COMMON_DIR")
_OPTIONS = {
    **dict.fromkeys(("diff", "diff-files", "diff-index"), ("--ignore-submodules=dirty", "--no-ext-diff")),
    "diff-tree": ("--no-ext-diff",),
    "status": ("--ignore-submodules=dirty",),
    **dict.fromkeys(("fetch", "pull"), ("--no-recurse-submodules",)),
}
"""Options that keep a command from starting git inside submodules, whatever `.gitmodules` says, or a diff program."""
_ENTER_SUBMODULES = frozenset({"add", "commit", "difftool", "merge", "pull", "rebase", "stash", "submodule"})
"""Commands that run `git status` inside every submodule that is checked out, and no option keeps them from it."""
_SETTINGS = ("diff.ignoreSubmodules=dirty", "push.recurseSubmodules=no", "status.submoduleSummary=false")
_SWITCHES = frozenset(
    {
        *("-P", "--no-pager", "--no-optional-locks", "--no-replace-objects", "--literal-pathspecs"),
        *("--no-literal-pathspecs", "--glob-pathspecs", "--noglob-pathspecs", "--icase-pathspecs"),
    }
)
"""Options before the command, beside `-c`, that do not take git to another place."""


def open_repository(path: str | os.PathLike[str]) -> git.Repo:
    """Open the repository that holds `path` with GitPython, safely on whatever agents left there.

    Args:
        path: Any directory of a checkout, a worker's worktree, or a bare repository.

    Raises:
        EnvironmentProblem: There is no such directory, no repository, one that cannot be used, or git is too old.
        GitError: The configuration cannot be read.
    """
    return SafeRepo(path)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Door(Git):
    """The door for commands that a script words: no command of it is known to start nothing."""

    configuration: Callable[[], SealedConfiguration | None]

    def _configuration(self, command: str) -> SealedConfiguration | None:
        return None if command in _NEED_THE_FILES else self.configuration()


class SafeGit(git.Git):
    """GitPython's command wrapper, with every process started by the door."""

    def __init__(self, working_dir: str | os.PathLike[str] | None = None) -> None:
        super().__init__()
        self._working_dir = os.path.abspath(working_dir or os.getcwd())  # GitPython would expand `$` and `~` in it
        self.door: Git = Git(cwd=Path(self._working_dir))

    def execute(  # type: ignore[override]  # GitPython's is a set of overloads; the arguments are the same
        self,
        command: str | list[Any] | tuple[Any, ...],
        istream: Any = None,
        with_extended_output: bool = False,
        with_exceptions: bool = True,
        as_process: bool = False,
        output_stream: Any = None,
        stdout_as_string: bool = True,
        kill_after_timeout: float | None = None,
        with_stdout: bool = True,
        universal_newlines: bool = False,
        shell: bool | None = None,
        env: Mapping[str, str] | None = None,
        max_chunk_size: int = io.DEFAULT_BUFFER_SIZE,
        strip_newline_in_stdout: bool = True,
        **subprocess_kwargs: Any,
    ) -> Any:
        """Run git as `git.Git.execute` does, with the same arguments and results.

        Raises:
            UsageError: The command is not git, names another place, or would run programs of a submodule.
        """
        argv, environment = self._command(command, shell)
        try:
            process = subprocess.Popen(
                argv,
                cwd=self.door.cwd,
                env={**environment, **self.environment(), **(env or {})},
                stdin=istream or subprocess.DEVNULL,
                stdout=subprocess.PIPE if with_stdout else subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                universal_newlines=universal_newlines,
                encoding="utf-8" if universal_newlines else None,
                process_group=None if kill_after_timeout is None else 0,
                **subprocess_kwargs,
            )
        except FileNotFoundError as error:
            raise git.GitCommandNotFound(command, error) from error
        if as_process:
            return self.AutoInterrupt(process, command)
        stdout, stderr = _communicate(process, output_stream, max_chunk_size, kill_after_timeout)
        newline: Any = "\n" if universal_newlines else b"\n"
        if stdout and strip_newline_in_stdout and output_stream is None:
            stdout = stdout.removesuffix(newline)
        stderr = stderr.removesuffix(newline)
        if with_exceptions and process.returncode != 0:
            raise git.GitCommandError(remove_password_if_present(command), process.returncode, stderr, stdout)
        if stdout_as_string and isinstance(stdout, bytes):
            stdout = safe_decode(stdout)
        return (process.returncode, stdout, safe_decode(stderr)) if with_extended_output else stdout

    def _command(
        self, command: str | list[Any] | tuple[Any, ...], shell: bool | None
    ) -> tuple[list[str], dict[str, str]]:
        """The argv and the environment for a command that begins with `git`, or with the path that GitPython has."""
        if shell or isinstance(command, str) or str(command[0]) not in ("git", str(self.GIT_PYTHON_GIT_EXECUTABLE)):
            raise UsageError(f"only git can be started here, and without a shell: {command!r}"[:200])
        options: list[str] = []
        words = [os.fspath(word) if isinstance(word, os.PathLike) else str(word) for word in command[1:]]
        while words and words[0].startswith("-"):
            if words[0] != "-c" and words[0] not in _SWITCHES:
                raise UsageError(f"git {words[0]} is not allowed here", hint="open the other place, or use -c")
            taken = 2 if words[0] == "-c" else 1
            options += words[:taken]
            words = words[taken:]
        if not words:
            raise UsageError("no git command given")
        name = words[0]
        if name in _ENTER_SUBMODULES and self._has_submodules():
            raise UsageError(f"git {name} runs programs of the submodules", hint="use repo.index or repo.submodules")
        words[1:1] = _OPTIONS.get(name, ())
        argv, environment = self.door.command(*words, settings=_SETTINGS)
        if name == "worktree" and "add" in words and "--no-checkout" not in words and self._is_sealed():
            raise UsageError("the configuration has unconfirmed programs", hint="add the worktree with --no-checkout")
        if name in _ELSEWHERE:
            for variable in _LOCATION:
                environment.pop(variable, None)
        return [*argv[: -len(words)], *options, *words], environment

    def _has_submodules(self) -> bool:
        """Tell whether a submodule is checked out."""
        entries = self.door.run("ls-files", "--stage", "-z", check=False).fields
        links = (entry.partition("\t")[2] for entry in entries if entry.startswith("160000 "))
        return any(git_dir_at(self.door.cwd / path) is not None for path in links)

    def _is_sealed(self) -> bool:
        return isinstance(self.door, _Door) and self.door.configuration() is not None


def _communicate(process: subprocess.Popen[Any], target: Any, chunk_bytes: int, timeout_s: float | None) -> Any:
    """stdout and stderr of a process at its end. With a `target` stdout is copied there and the target returned.

    A process that takes longer than `timeout_s` is killed with its children. `None` means no limit.
    """
    timed_out = threading.Event()

    def kill() -> None:
        timed_out.set()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)

    timer = None if timeout_s is None else threading.Timer(timeout_s, kill)
    with process:
        if timer is not None:
            timer.start()
        try:
            if target is None:
                stdout, stderr = process.communicate()
            else:
                if process.stdout is not None:
                    stream_copy(process.stdout, target, chunk_bytes if chunk_bytes > 0 else io.DEFAULT_BUFFER_SIZE)
                stdout, stderr = target, process.stderr.read() if process.stderr else b""
                process.wait()
        except BaseException:
            process.kill()
            raise
        finally:
            if timer is not None:
                timer.cancel()
    if timed_out.is_set():
        message = f"the command took longer than {timeout_s:g} s"
        stderr = message if isinstance(stderr, str) else message.encode()
    return stdout, stderr


class SafeRepo(git.Repo):
    """GitPython's repository behind the door. `SafeRepo(path)` raises like `open_repository`."""

    GitCommandWrapperType = SafeGit

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        odbt: Any = git.GitCmdObjectDB,
        search_parent_directories: bool = False,
        expand_vars: bool = True,
    ) -> None:
        """Like `git.Repo`, but no variable of the environment counts and parent directories are always searched."""
        place = locate(Path(path or os.getcwd()))
        self._configuration: Callable[[], SealedConfiguration | None] = programs_of(place.common_dir).sealed
        if not place.trusted:
            directory = Path(tempfile.mkdtemp(prefix="architect-git-"))
            weakref.finalize(self, shutil.rmtree, directory, ignore_errors=True)
            sealed = without_programs(place.common_dir, settings_of(place.common_dir), directory)
            self._configuration = lambda: sealed
        # GitPython's own `__init__` is not called: it follows GIT_DIR, GIT_OBJECT_DIRECTORY and other variables.
        self.git_dir = os.fspath(place.git_dir)
        self._common_dir = os.fspath(place.common_dir)
        self._working_tree_dir = None if place.checkout is None else os.fspath(place.checkout)
        self._bare = place.checkout is None
        self.working_dir = self._working_tree_dir or self._common_dir
        safe_git = SafeGit(self.working_dir)
        safe_git.door = _Door(
            cwd=Path(self.working_dir),
            git_dir=place.git_dir,
            work_tree=place.checkout,
            configuration=self._configuration,
        )
        self.git = safe_git
        objects = os.path.join(self._common_dir, "objects")
        self.odb = odbt(objects, self.git) if issubclass(odbt, git.GitCmdObjectDB) else odbt(objects)

    def _config_reader(self, config_level: Any = None, git_dir: Any = None) -> git.GitConfigParser:
        """The settings that git reads: the sealed copy if there is one, and the settings of the door."""
        sealed = self._configuration()
        levels = self.config_level if config_level is None else (config_level,)
        if sealed is None:
            files: list[Any] = [self._get_config_path(level, git_dir) for level in levels]
        else:
            _ = sealed.environment  # restores the copy
            copies = {"global": sealed.directory / "user", "repository": sealed.directory / "config"}
            files = [os.fspath(copies[level]) for level in levels if level in copies]
        if config_level is None:
            files.append(_safe_settings())
        return git.GitConfigParser(files, read_only=True, repo=self)


def _safe_settings() -> io.BytesIO:
    """The door's settings as a configuration file. GitPython runs a commit's hooks itself, where these say they are."""
    lines = []
    for setting in SAFE_SETTINGS:
        key, _, value = setting.partition("=")
        section, _, name = key.partition(".")
        lines.append(f"[{section}]\n\t{name} = {value}\n")
    file = io.BytesIO("".join(lines).encode())
    file.name = "settings of architect-parallel"  # named in GitPython's messages
    return file


def _guard_submodules() -> None:
    """Let submodules of a safe repository open safe ones. GitPython names the class `git.Repo` there."""
    plain_module, plain_update, plain_add = git.Submodule.module, git.Submodule.update, vars(git.Submodule)["add"]

    def module(self: git.Submodule) -> git.Repo:
        if not isinstance(self.repo, SafeRepo):
            return plain_module(self)
        if git_dir_at(Path(self.abspath)) is None:
            raise git.InvalidGitRepositoryError(self.abspath)
        return SafeRepo(self.abspath)

    def update(self: git.Submodule, *args: Any, **kwargs: Any) -> git.Submodule:
        _refuse_in(self.repo, "git submodule update")
        return plain_update(self, *args, **kwargs)

    def add(cls: type[git.Submodule], repo: git.Repo, *args: Any, **kwargs: Any) -> git.Submodule:
        _refuse_in(repo, "git submodule add")
        added: git.Submodule = plain_add.__get__(None, cls)(repo, *args, **kwargs)
        return added

    for name, function in (("module", module), ("update", update), ("add", classmethod(add))):
        setattr(git.Submodule, name, function)


def _refuse_in(repo: git.Repo, command: str) -> None:
    if isinstance(repo, SafeRepo):
        raise UsageError(f"{command} runs programs of the submodule", hint=f"{command}, by hand")


_guard_submodules()
