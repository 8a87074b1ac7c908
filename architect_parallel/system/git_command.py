"""Start git: every git process of the launcher starts here, with a scrubbed environment and safe settings.

This module knows nothing of workers, branches or safety rules (those are `worktrees`, `snapshots` and `landing`). Paths
pass as bytes through `os.fsencode`/`fsdecode`, so names that are not UTF-8 survive. Callers read exit codes and `-z`
output. Only `git_errors` reads git's prose, for the reason of a failure.

Filters, merge drivers and other programs of the configuration run only as `system.programs` recorded them.
Every command except those in `_START_NOTHING` asks there.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from architect_parallel.errors import ArchitectParallelError, EnvironmentProblem, ExitCode
from architect_parallel.system.git_environment import (
    SAFE_SETTINGS,
    USER_CONFIGURATION,
    scrubbed_environment,
    transport_variables,
)
from architect_parallel.system.git_errors import find_reason
from architect_parallel.system.git_settings import Setting, parse_settings
from architect_parallel.system.programs import ConfiguredPrograms
from architect_parallel.system.sealed_configuration import SealedConfiguration

_START_NOTHING = frozenset(
    {
        *("cat-file", "check-ref-format", "commit-tree", "config", "for-each-ref", "init", "ls-tree", "merge-base"),
        *("mktree", "rev-list", "rev-parse", "show-ref", "symbolic-ref", "update-ref", "var", "version", "worktree"),
    }
)
"""Commands that, as used here, start no program beyond those that `SAFE_SETTINGS` switches off.

`worktree add` is used only with `--no-checkout`. These commands read the real configuration, as `config`, `rev-parse`
and `worktree` must.
"""


class GitError(ArchitectParallelError):
    """A git command failed. The message is the known reason (`git_errors`), otherwise git's own text."""

    exit_code = ExitCode.ENVIRONMENT

    def __init__(
        self, argv: tuple[str, ...], code: int, stderr: str, *, cwd: Path = Path("/"), git_dir: Path | None = None
    ) -> None:
        reason = find_reason(stderr, cwd=cwd, git_dir=git_dir)
        text = " ".join(stderr.split())[:500] or f"exit code {code}"
        message = reason.message if reason else f"git {' '.join(argv)[:200]} failed: {text}"
        super().__init__(message, hint=reason.hint if reason else None)
        self.reason = reason
        self.argv = argv
        self.code = code
        self.stderr = stderr


@dataclass(frozen=True, slots=True)
class GitOutput:
    """The exit code of a git command, and its output."""

    code: int
    stdout: bytes
    stderr: str
    words: tuple[str, ...] = ()
    """The command, without `git` and its settings."""
    cwd: Path = Path("/")
    git_dir: Path | None = None

    @property
    def error(self) -> GitError:
        """The failure of this command as an exception."""
        return GitError(self.words, self.code, self.stderr, cwd=self.cwd, git_dir=self.git_dir)

    @property
    def text(self) -> str:
        """stdout without its last newline, undecodable bytes as surrogate escapes."""
        return os.fsdecode(self.stdout).removesuffix("\n")

    @property
    def fields(self) -> list[str]:
        """stdout split at NUL bytes (`-z` output), without the empty last part."""
        return [os.fsdecode(part) for part in self.stdout.split(b"\0")][:-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Git:
    """Runs git in a directory. Without `git_dir`, git finds the repository from `cwd` itself."""

    cwd: Path
    git_dir: Path | None = None
    work_tree: Path | None = None
    index_file: Path | None = None
    object_directory: Path | None = None
    no_user_config: bool = False
    """Ignore the user's and the system's configuration (for private git directories)."""

    def run(
        self,
        *args: str | Path,
        input: bytes | None = None,
        check: bool = True,
        env: Mapping[str, str] | None = None,
        settings: tuple[str, ...] = (),
        holding: tuple[int, ...] = (),
    ) -> GitOutput:
        """Run `git args…` and wait for its end.

        Args:
            input: Bytes for stdin. `None` means an empty stdin.
            check: Raise if the exit code is not 0.
            env: Variables in addition to the scrubbed environment.
            settings: Further `-c name=value` pairs.
            holding: Descriptors of locks to hold until git has ended, even if the launcher is killed.

        Raises:
            GitError: With `check`, for any exit code except 0.
            EnvironmentProblem: There is no git program.
        """
        words = tuple(os.fspath(word) for word in args)
        argv, environment = self.command(*words, env=env, settings=settings)
        try:
            done = subprocess.run(
                argv,
                cwd=self.cwd,
                env=environment,
                capture_output=True,
                check=False,
                input=input or b"",
                pass_fds=holding,
                process_group=0,  # Ctrl-C in the terminal is for the launcher; it must not interrupt git
            )
        except FileNotFoundError as error:
            if not self.cwd.is_dir():
                raise EnvironmentProblem(f"{self.cwd} is not a directory") from error
            raise EnvironmentProblem("git is not installed", hint="install git 2.38 or newer") from error
        except OSError as error:
            raise EnvironmentProblem(f"git cannot be run in {self.cwd}: {error.strerror}") from error
        output = GitOutput(done.returncode, done.stdout, os.fsdecode(done.stderr), words, self.cwd, self.git_dir)
        if check and output.code != 0:
            raise output.error
        return output

    def command(
        self, *args: str | Path, env: Mapping[str, str] | None = None, settings: tuple[str, ...] = ()
    ) -> tuple[tuple[str, ...], dict[str, str]]:
        """The argv and the environment with which `run` starts git, for a caller that supervises it.

        Raises:
            EnvironmentProblem: There is no git program, or the record of programs cannot be read.
        """
        words = tuple(os.fspath(word) for word in args)
        environment = self._environment() | transport_variables(words[0], os.environ)
        sealed, own = self._sealed(words[0])
        if sealed is not None:
            environment |= sealed.environment
            settings = (*own, *settings)
            values = (setting.partition("=")[2] for setting in own if setting.startswith("core.worktree="))
            work_tree = next(values, None)
            if work_tree is not None and self.work_tree is None:
                environment["GIT_WORK_TREE"] = os.path.join(_git_dir_of(self) or self.cwd, work_tree)
        return (_program(os.environ.get("PATH")), *_switches(settings), *words), environment | dict(env or {})

    def _sealed(self, command: str) -> tuple[SealedConfiguration | None, tuple[str, ...]]:
        """The sealed configuration for `command`, and the worktree's own settings for `-c`."""
        sealed = self._configuration(command)
        if sealed is None or not sealed.has_worktree_files or (git_dir := _git_dir_of(self)) is None:
            return sealed, ()
        allowed = [setting for setting in _worktree_settings(git_dir) if sealed.allows(setting)]
        return sealed, tuple(
            setting.key if setting.value is None else f"{setting.key}={setting.value}" for setting in allowed
        )

    def _configuration(self, command: str) -> SealedConfiguration | None:
        """The copy of the configuration that `command` must read. `None` means the configuration itself."""
        if self.no_user_config or command in _START_NOTHING or (git_dir := _git_dir_of(self)) is None:
            return None
        return programs_of(common_dir_of(git_dir)).sealed()

    def text(self, *args: str | Path) -> str:
        """The stdout of `run(…)` as text. Raises like it."""
        return self.run(*args).text

    def ok(self, *args: str | Path) -> bool:
        """Return whether `git args…` exits 0."""
        return self.run(*args, check=False).code == 0

    def resolve(self, name: str) -> str | None:
        """Full object id of a revision such as `main` or `HEAD^{commit}`. `None` means that there is none."""
        output = self.run("rev-parse", "--verify", "--quiet", "--end-of-options", name, check=False)
        return output.text if output.code == 0 else None

    def _environment(self) -> dict[str, str]:
        environment = scrubbed_environment(os.environ)
        for name, value in (
            ("GIT_DIR", self.git_dir),
            ("GIT_WORK_TREE", self.work_tree),
            ("GIT_INDEX_FILE", self.index_file),
            ("GIT_OBJECT_DIRECTORY", self.object_directory),
        ):
            if value is not None:
                environment[name] = os.fspath(value)
        if self.no_user_config:
            for name in USER_CONFIGURATION:
                environment.pop(name, None)
            environment |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "GIT_ATTR_NOSYSTEM": "1"}
        return environment


def copy_objects(source: Git, oids: Iterable[str], target: Git, *receive: str, reachable: bool = False) -> None:
    """Pack the objects `oids` of `source` and pipe the pack to `git <receive…>` in `target`.

    Args:
        reachable: Also pack what `oids` reach. They may then be any arguments of `git rev-list`.

    Raises:
        GitError: One of the two failed. Objects that arrived before that are harmless.
    """
    packing = ("pack-objects", "--quiet", "--stdout", *(("--revs",) if reachable else ()))
    packing_argv, packing_env = source.command(*packing)
    receiving_argv, receiving_env = target.command(*receive)
    with tempfile.TemporaryFile() as names, tempfile.TemporaryFile() as errors:
        names.write("".join(f"{oid}\n" for oid in oids).encode())
        names.seek(0)
        packer = subprocess.Popen(
            packing_argv,
            cwd=source.cwd,
            env=packing_env,
            stdin=names,
            stderr=errors,
            stdout=subprocess.PIPE,
            process_group=0,
        )
        assert packer.stdout is not None
        with packer, packer.stdout as stream:
            receiver = subprocess.run(
                receiving_argv,
                cwd=target.cwd,
                env=receiving_env,
                stdin=stream,
                capture_output=True,
                check=False,
                process_group=0,
            )
        errors.seek(0)
        if packer.returncode != 0:
            raise GitError(packing_argv[-3:], packer.returncode, os.fsdecode(errors.read()))
        if receiver.returncode != 0:
            raise GitError(receiving_argv[-3:], receiver.returncode, os.fsdecode(receiver.stderr))


def _switches(settings: tuple[str, ...]) -> list[str]:
    return [word for setting in (*SAFE_SETTINGS, *settings) for word in ("-c", setting)]


@functools.cache
def _program(path: str | None) -> str:
    """The absolute path of git on the launcher's PATH. Without one it is `git`, which cannot be run."""
    directories = [directory for directory in (path or os.defpath).split(os.pathsep) if os.path.isabs(directory)]
    return shutil.which("git", path=os.pathsep.join(directories)) or "git"


@functools.cache
def programs_of(common_dir: Path) -> ConfiguredPrograms:
    """The record of the programs that the configuration of the repository names."""
    return ConfiguredPrograms(common_dir, lambda: settings_of(common_dir))


def settings_of(common_dir: Path) -> list[Setting]:
    """The configuration of a repository as it is now, in git's order.

    Raises:
        GitError: The configuration cannot be read.
    """
    listing = ("config", "--list", "--show-scope", "--show-origin", "-z")
    settings = parse_settings(Git(cwd=common_dir, git_dir=common_dir).run(*listing).fields, common_dir)
    if any(setting.key == "extensions.worktreeconfig" and setting.value != "false" for setting in settings):
        with contextlib.suppress(OSError):
            for name in sorted(os.listdir(common_dir / "worktrees")):
                settings += _worktree_settings(common_dir / "worktrees" / name)
    return settings


def _worktree_settings(git_dir: Path) -> list[Setting]:
    """The entries of the configuration file of one worktree."""
    file = git_dir / "config.worktree"
    if not file.is_file():
        return []
    listing = ("config", "--file", file, "--includes", "--list", "--show-origin", "-z")
    fields = Git(cwd=git_dir, git_dir=git_dir).run(*listing).fields
    listed = [part for pair in zip(fields[::2], fields[1::2], strict=False) for part in ("worktree", *pair)]
    return [setting for setting in parse_settings(listed, git_dir) if not setting.key.startswith("include")]


def _git_dir_of(git: Git) -> Path | None:
    """The git directory that a command will use, found as git finds it. `None` means that there is none."""
    if git.git_dir is not None:
        return git.git_dir
    return next(filter(None, map(git_dir_at, (git.cwd, *git.cwd.parents))), None)


def git_dir_at(directory: Path) -> Path | None:
    """The git directory that `directory` names or is. `None` means that git looks in the parent next."""
    entry = directory / ".git"
    try:
        return directory / os.fsdecode(entry.read_bytes()).removeprefix("gitdir: ").removesuffix("\n")
    except IsADirectoryError:
        return entry
    except OSError:
        is_bare = (directory / "HEAD").is_file() and (directory / "objects").is_dir()
        return directory if is_bare else None


def common_dir_of(git_dir: Path) -> Path:
    """The directory with the refs and objects of `git_dir`, without symbolic links."""
    try:
        named = os.fsdecode((git_dir / "commondir").read_bytes()).removesuffix("\n")
    except OSError:
        named = "."
    return Path(os.path.realpath(git_dir / named))


def version() -> tuple[int, int]:
    """(major, minor) of the git on PATH.

    Raises:
        EnvironmentProblem: There is none.
    """
    return _version_of(shutil.which("git"))


@functools.cache
def _version_of(program: str | None) -> tuple[int, int]:
    match = re.search(r"(\d+)\.(\d+)", Git(cwd=Path("/")).text("version"))
    if match is None:
        raise EnvironmentProblem(f"{program} does not tell its version")
    return int(match[1]), int(match[2])
