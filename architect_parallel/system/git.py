"""The door to git: every git process of the launcher starts here, with a scrubbed environment and safe settings.

It knows how to run git and where a repository is; it knows nothing of workers, branches or safety rules (those are
`worktrees`, `workers.collect` and `landing`). Paths execute as bytes through `os.fsencode`/`fsdecode`, so names that
are not UTF-8 survive. Exit codes and `-z` output are read; git's prose only for the reason of a failure (`git_errors`).

The environment: an inherited `GIT_*` variable is dropped unless `USER_VARIABLES` lists it (a hook or CI job that
exports `GIT_DIR` or `GIT_INDEX_FILE` must not redirect us), nothing prompts, messages are in C.UTF-8, nothing is
fetched and no object is replaced by another. The settings given with `-c` switch off what could run a program of the
repository's (hooks, fsmonitor) or rewrite the object store while workers run (gc). git lets `-c` win over configuration
by environment. Filters, merge drivers and whatever else the configuration names run only as `system.programs` recorded
them; every command but those in `_START_NOTHING` asks there.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import shlex
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from architect_parallel.errors import ArchitectParallelError, EnvironmentProblem, ExitCode
from architect_parallel.system.files import make_private_dir, share
from architect_parallel.system.git_errors import find_reason
from architect_parallel.system.git_settings import Setting, parse_settings
from architect_parallel.system.programs import ConfiguredPrograms
from architect_parallel.system.sealed_configuration import SealedConfiguration

MINIMUM_VERSION = (2, 31)
"""Oldest git everything but `merge` works with (`--path-format`)."""
MERGE_TREE_VERSION = (2, 38)
"""First git with `merge-tree --write-tree`, which `merge` needs."""

SAFE_SETTINGS = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.untrackedCache=false",
    "gc.auto=0",
    "maintenance.auto=false",
    "commit.gpgSign=false",
    "submodule.recurse=false",
    "core.quotePath=false",
    "diff.external=",
    "log.showSignature=false",
)
_START_NOTHING = frozenset(
    {
        *("cat-file", "check-ref-format", "commit-tree", "config", "for-each-ref", "init", "ls-tree", "merge-base"),
        *("mktree", "rev-list", "rev-parse", "show-ref", "symbolic-ref", "update-ref", "var", "version", "worktree"),
    }
)
"""Commands that start no program beyond what `SAFE_SETTINGS` switches off, as they are used here (`worktree add` only
with `--no-checkout`). They read the configuration itself; `config`, `rev-parse` and `worktree` have to."""
_FETCH = frozenset({"clone", "fetch", "lfs", "ls-remote", "pull", "push", "remote"})
_FETCH_MISSING = frozenset({"checkout", "checkout-index", "merge", "merge-tree", "read-tree", "reset"})
"""Commands that write files or merge them: in a partial clone they fetch the contents that are not there."""
_PROTOCOLS = "https:ssh:http:git:file"

USER_VARIABLES = (
    *("GIT_AUTHOR_*", "GIT_COMMITTER_*"),
    *("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM", "GIT_ATTR_NOSYSTEM"),
    *("GIT_CONFIG_COUNT", "GIT_CONFIG_KEY_*", "GIT_CONFIG_VALUE_*", "GIT_CONFIG_PARAMETERS"),
    *("GIT_SSH", "GIT_SSH_COMMAND", "GIT_SSH_VARIANT", "GIT_ASKPASS", "GIT_PROXY_COMMAND", "GIT_ALLOW_PROTOCOL"),
    *("GIT_SSL_*", "GIT_PROXY_SSL_*", "GIT_HTTP_*"),
)
"""The `GIT_*` variables of the user that git keeps. They say who the user is, which configuration applies and how a
server is reached. None of them redirects git to another repository, index or object store, and none changes output."""
_USER_CONFIGURATION = ("GIT_CONFIG_SYSTEM", "GIT_CONFIG_COUNT", "GIT_CONFIG_PARAMETERS")
"""Those that add configuration; a private git directory must not see it."""


class GitError(ArchitectParallelError):
    """A git command failed: the reason where it is known (`git_errors`), else git's own text."""

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
class Output:
    """What a git command left: its exit code and both streams."""

    code: int
    stdout: bytes
    stderr: str
    words: tuple[str, ...] = ()
    """The command, without `git` and its settings."""
    cwd: Path = Path("/")
    git_dir: Path | None = None

    @property
    def error(self) -> GitError:
        """The failure of this command as an exception to raise, or for its message."""
        return GitError(self.words, self.code, self.stderr, cwd=self.cwd, git_dir=self.git_dir)

    @property
    def text(self) -> str:
        """stdout without its last newline, undecodable bytes as surrogate escapes."""
        return os.fsdecode(self.stdout).removesuffix("\n")

    @property
    def fields(self) -> list[str]:
        """stdout split at NUL bytes (`-z` output), the empty tail dropped."""
        return [os.fsdecode(part) for part in self.stdout.split(b"\0")][:-1]


def scrubbed_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """`environ` with no `GIT_*` but `USER_VARIABLES`, and with what makes git silent and unattended."""
    kept = {
        name: value
        for name, value in environ.items()
        if not name.startswith("GIT_") or any(fnmatchcase(name, pattern) for pattern in USER_VARIABLES)
    }
    return kept | {
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_EDITOR": "true",
        "GIT_PAGER": "cat",
        "GIT_LITERAL_PATHSPECS": "1",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "LC_ALL": "C.UTF-8",
        "LANGUAGE": "C",
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Git:
    """git bound to a place. Without `git_dir` git finds the repository from `cwd` itself."""

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
    ) -> Output:
        """Runs `git args…` to its end.

        Args:
            input: Bytes for stdin; `None`: empty.
            check: Raise when the exit code is not 0.
            env: Variables on top of the scrubbed environment.
            settings: Further `-c name=value` pairs.
            holding: Descriptors of locks that must not be free before git has ended, even if the launcher is killed.

        Raises:
            GitError: With `check`, for any exit code but 0.
            EnvironmentProblem: When there is no git program.
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
                process_group=0,  # the terminal's Ctrl-C is for the launcher, not for a git in the middle of its work
            )
        except FileNotFoundError as error:
            if not self.cwd.is_dir():
                raise EnvironmentProblem(f"{self.cwd} is not a directory") from error
            raise EnvironmentProblem("git is not installed", hint="install git 2.38 or newer") from error
        except OSError as error:
            raise EnvironmentProblem(f"git cannot be run in {self.cwd}: {error.strerror}") from error
        output = Output(done.returncode, done.stdout, os.fsdecode(done.stderr), words, self.cwd, self.git_dir)
        if check and output.code != 0:
            raise output.error
        return output

    def command(
        self, *args: str | Path, env: Mapping[str, str] | None = None, settings: tuple[str, ...] = ()
    ) -> tuple[tuple[str, ...], dict[str, str]]:
        """The argv and the environment with which `run` starts git, for a caller that has to supervise it itself.

        Raises:
            EnvironmentProblem: When there is no git program, or the record of programs cannot be read.
        """
        words = tuple(os.fspath(word) for word in args)
        environment = self._environment() | _transport(words[0])
        sealed, own = self._sealed(words[0])
        if sealed is not None:
            environment |= sealed.environment
            settings = (*own, *settings)
            place = next((each.partition("=")[2] for each in own if each.startswith("core.worktree=")), None)
            if place is not None and self.work_tree is None:
                environment["GIT_WORK_TREE"] = os.path.join(_git_dir_of(self) or self.cwd, place)
        return (_program(os.environ.get("PATH")), *_switches(settings), *words), environment | dict(env or {})

    def _sealed(self, command: str) -> tuple[SealedConfiguration | None, tuple[str, ...]]:
        """The configuration that `command` reads in place of the files, with `-c` settings of its worktree's own."""
        sealed = self._configuration(command)
        if sealed is None or not sealed.has_worktree_files or (git_dir := _git_dir_of(self)) is None:
            return sealed, ()
        found = _worktree_settings(git_dir)
        return sealed, tuple(
            each.key if each.value is None else f"{each.key}={each.value}" for each in found if sealed.allows(each)
        )

    def _configuration(self, command: str) -> SealedConfiguration | None:
        """The copy of the configuration that `command` has to read. `None` means the configuration itself."""
        if self.no_user_config or command in _START_NOTHING or (git_dir := _git_dir_of(self)) is None:
            return None
        return programs_of(common_dir_of(git_dir)).sealed()

    def text(self, *args: str | Path) -> str:
        """`run(...)` as text; raises like it."""
        return self.run(*args).text

    def ok(self, *args: str | Path) -> bool:
        """Whether `git args…` exits 0."""
        return self.run(*args, check=False).code == 0

    def resolve(self, name: str) -> str | None:
        """Full object id of a revision such as `main` or `HEAD^{commit}`; `None` when there is none."""
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
            for name in _USER_CONFIGURATION:
                environment.pop(name, None)
            environment |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "GIT_ATTR_NOSYSTEM": "1"}
        return environment


def copy_objects(source: Git, oids: Iterable[str], target: Git, *receive: str, reachable: bool = False) -> None:
    """Pack the objects `oids` of `source` and feed the pack to `git <receive…>` in `target`, without holding it.

    Args:
        reachable: Pack what `oids` reach as well. They may then be any arguments of `git rev-list`.

    Raises:
        GitError: One of the two failed; objects that arrived before are harmless.
    """
    packing_argv, packing_env = source.command(
        "pack-objects", "--quiet", "--stdout", *(("--revs",) if reachable else ())
    )
    taking_argv, taking_env = target.command(*receive)
    with tempfile.TemporaryFile() as wanted, tempfile.TemporaryFile() as errors:
        wanted.write("".join(f"{oid}\n" for oid in oids).encode())
        wanted.seek(0)
        packing = subprocess.Popen(
            packing_argv, cwd=source.cwd, env=packing_env, stdin=wanted, stderr=errors, stdout=subprocess.PIPE,
            process_group=0,
        )  # fmt: skip
        assert packing.stdout is not None
        with packing, packing.stdout as stream:
            taken = subprocess.run(
                taking_argv, cwd=target.cwd, env=taking_env, stdin=stream, capture_output=True, check=False,
                process_group=0,
            )  # fmt: skip
        errors.seek(0)
        for argv, code, stderr in (
            (packing_argv, packing.returncode, errors.read()), (taking_argv, taken.returncode, taken.stderr)
        ):  # fmt: skip
            if code != 0:
                raise GitError(argv[-3:], code, os.fsdecode(stderr))


def _switches(settings: tuple[str, ...]) -> list[str]:
    return [word for each in (*SAFE_SETTINGS, *settings) for word in ("-c", each)]


def _transport(command: str) -> dict[str, str]:
    """Variables that say whether git may talk to other repositories. git before 2.45 knows only the first one."""
    if command in _FETCH or command in _FETCH_MISSING:
        return {"GIT_ALLOW_PROTOCOL": _PROTOCOLS}
    return {"GIT_ALLOW_PROTOCOL": "none", "GIT_NO_LAZY_FETCH": "1"}


@functools.cache
def _program(path: str | None) -> str:
    """The git that the launcher's PATH names, as an absolute path; `git` where there is none, which cannot be run."""
    places = [place for place in (path or os.defpath).split(os.pathsep) if os.path.isabs(place)]
    return shutil.which("git", path=os.pathsep.join(places)) or "git"


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
    found = parse_settings(Git(cwd=common_dir, git_dir=common_dir).run(*listing).fields, common_dir)
    if any(each.key == "extensions.worktreeconfig" and each.value != "false" for each in found):
        with contextlib.suppress(OSError):
            for name in sorted(os.listdir(common_dir / "worktrees")):
                found += _worktree_settings(common_dir / "worktrees" / name)
    return found


def _worktree_settings(git_dir: Path) -> list[Setting]:
    """What the configuration file of one worktree says."""
    file = git_dir / "config.worktree"
    if not file.is_file():
        return []
    words = ("config", "--file", file, "--includes", "--list", "--show-origin", "-z")
    fields = Git(cwd=git_dir, git_dir=git_dir).run(*words).fields
    listed = [each for pair in zip(fields[::2], fields[1::2], strict=False) for each in ("worktree", *pair)]
    return [each for each in parse_settings(listed, git_dir) if not each.key.startswith("include")]


def _git_dir_of(git: Git) -> Path | None:
    """The git directory that a command will use, found as git finds it. `None` means that there is none."""
    if git.git_dir is not None:
        return git.git_dir
    return next(filter(None, map(git_dir_at, (git.cwd, *git.cwd.parents))), None)


def git_dir_at(directory: Path) -> Path | None:
    """The git directory that `directory` names or is. `None` means that git goes on to its parent."""
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
        EnvironmentProblem: When there is none.
    """
    return _version_of(shutil.which("git"))


@functools.cache
def _version_of(program: str | None) -> tuple[int, int]:
    found = re.search(r"(\d+)\.(\d+)", Git(cwd=Path("/")).text("version"))
    if found is None:
        raise EnvironmentProblem(f"{program} does not tell its version")
    return int(found[1]), int(found[2])


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """Where a repository is. All paths absolute."""

    root: Path
    """Where worktrees are put: the main checkout's top directory. Of a bare repository its git directory, or the
    directory that has it, if it is called `.git`."""
    checkout: Path | None
    """Top directory of the checkout the user stands in (may be a linked worktree); `None`: bare."""
    common_dir: Path
    """git's common directory: refs, objects, `info/exclude`."""
    bare: bool = False
    """Whether git says that it has no main checkout."""

    @property
    def main_checkout(self) -> Path | None:
        """Top directory of the main checkout; `None` means that there is none, or that git does not know where."""
        return None if self.bare or self.root == self.common_dir else self.root

    @property
    def git(self) -> Git:
        """git where the user stands: HEAD and status are the user's."""
        return Git(cwd=self.checkout) if self.checkout else self.store

    @property
    def store(self) -> Git:
        """git on the common directory: refs and objects, whatever the checkouts look like."""
        return Git(cwd=self.common_dir, git_dir=self.common_dir)

    @property
    def programs(self) -> ConfiguredPrograms:
        """The record of the programs that its configuration names."""
        return programs_of(Path(os.path.realpath(self.common_dir)))

    @property
    def state_dir(self) -> Path:
        """Where this tool keeps journal, logs and locks of the repository."""
        return self.common_dir / "architect"


def open_repository(path: Path) -> Repository:
    """The repository that holds `path` (any sub-directory, a linked worktree, a bare one, inside `.git`).

    Raises:
        EnvironmentProblem: No such directory, no repository there, one that cannot be used, or git too old.
    """
    path = path.absolute()
    if version() < MINIMUM_VERSION:
        found, needed = ".".join(map(str, version())), ".".join(map(str, MINIMUM_VERSION))
        raise EnvironmentProblem(f"git {found} is too old", hint=f"install git {needed} or newer (2.38 for merge)")
    here = Git(cwd=path)
    question = (
        "rev-parse", "--path-format=absolute", "--git-common-dir", "--git-dir", "--is-bare-repository",
        "--is-inside-work-tree",
    )  # fmt: skip
    output = here.run(*question, check=False)
    if output.code != 0 and (path / "HEAD").is_file() and (path / "objects").is_dir():
        # `safe.bareRepository=explicit` hides bare repositories from discovery, not from being named.
        output = Git(cwd=path, git_dir=path).run(*question, check=False)
    if output.code != 0:
        raise _unusable(path, output)
    # A path may hold a newline; the two booleans at the end cannot.
    *paths, bare, inside = output.text.split("\n")
    if len(paths) != 2:
        raise EnvironmentProblem(f"the repository's path holds a newline: {os.fspath(path)!r}", hint="move it")
    common_dir, git_dir = Path(paths[0]), Path(paths[1])
    lender = lender_of(common_dir)
    if lender is not None:  # a worktree in which an agent works: the repository is the one it belongs to
        common_dir = lender
    if inside == "true":
        checkout = Path(here.text("rev-parse", "--path-format=absolute", "--show-toplevel"))
        root, is_bare = (checkout, False) if common_dir == git_dir else _main_place(common_dir)
        return Repository(root=root, checkout=checkout, common_dir=common_dir, bare=is_bare)
    root, is_bare = _main_place(common_dir)
    if bare == "true":
        return Repository(root=root, checkout=None, common_dir=common_dir, bare=is_bare)
    if root == common_dir or not _is_of(root, common_dir):
        elsewhere = "" if root == common_dir else f" (its work tree is {root})"
        raise EnvironmentProblem(f"{path} is not in a work tree of {common_dir}{elsewhere}", hint="cd to the checkout")
    return open_repository(root)  # inside .git: behave as from its checkout


def lender_of(git_dir: Path) -> Path | None:
    """The common directory of the repository that lent `git_dir` to a worker; `None` means that none did.

    A worker repository is `<common>/architect/runs/<run>/repo/<name>` (`worktrees.worker_repository`).
    """
    places = git_dir.parents
    if len(places) < 5 or (places[0].name, places[2].name, places[3].name) != ("repo", "runs", "architect"):
        return None
    return places[4] if (places[4] / "objects").is_dir() else None


def make_state_dir(state_dir: Path) -> Path:
    """Creates the directory `architect` in git's common directory; returns it.

    It is private (0700) unless `core.sharedRepository` shares the repository: then it has the rights git gives, also
    where its owner made it before, and so have the journal and the locks in it. Prompts and logs stay private.
    """
    around = state_dir.parent.stat().st_mode
    if not state_dir.is_dir():
        make_private_dir(state_dir)
    elif not around & stat.S_ISGID or state_dir.stat().st_mode & 0o077 or state_dir.stat().st_uid != os.geteuid():
        return state_dir
    if around & stat.S_ISGID and (bits := _shared_bits(state_dir.parent)):
        state_dir.chmod(0o700 | bits | (bits & 0o044) >> 2 | stat.S_ISGID)
        for pattern in ("*.lock", "runs.db*", "trash", "runs", "runs/*", "runs/*/lock"):
            for path in state_dir.glob(pattern):
                share(path)
    return state_dir


def _shared_bits(common_dir: Path) -> int:
    """What `core.sharedRepository` lets the group and others do with a file, as bits of its mode."""
    value = Git(cwd=common_dir, git_dir=common_dir).run("config", "--get", "core.sharedRepository", check=False).text
    words = {"group": 0o060, "true": 0o060, "yes": 0o060, "on": 0o060, "1": 0o060}
    words |= dict.fromkeys(("all", "world", "everybody", "2"), 0o064)
    with contextlib.suppress(ValueError):
        return words.get(value.lower()) or int(value, 8) & 0o066
    return 0


def _main_place(common_dir: Path) -> tuple[Path, bool]:
    """Where worktrees are put (see `Repository.root`), and whether git says that there is no main checkout.

    Raises:
        EnvironmentProblem: There is a main checkout, but a setting hides it: its branch would be moved under it.
    """
    git = Git(cwd=common_dir, git_dir=common_dir)
    main = common_dir.parent if common_dir.name == ".git" else common_dir
    configured = git.run("config", "--get", "core.worktree", check=False)  # submodules have it
    if configured.code == 0:
        place = Path(os.path.normpath(common_dir / configured.text))
        if main != common_dir and not _is_of(place, common_dir):
            raise _hidden(main, f"core.worktree is {configured.text}", "--unset core.worktree")
        return place, False
    # Not `git worktree list`: in a submodule it names the git directory, and core.bare it reads from the wrong place.
    bare = git.text("rev-parse", "--is-bare-repository") == "true"
    # An index alone may be from before it became a bare one.
    if bare and main != common_dir and any(os.path.lexists(main / path) for path in git.run("ls-files", "-z").fields):
        raise _hidden(main, "core.bare is true", "core.bare false")
    return main, bare


def _hidden(main: Path, setting: str, words: str) -> EnvironmentProblem:
    config = main / ".git" / "config"
    return EnvironmentProblem(
        f"git does not see the checkout {main}: {setting} in {config}",
        hint=f"git config --file {shlex.quote(os.fspath(config))} {words}",
    )


def _is_of(checkout: Path, common_dir: Path) -> bool:
    """Whether git, asked in `checkout`, finds that very repository and a work tree; else there is nothing to go to."""
    if not checkout.is_dir():
        return False
    found = Git(cwd=checkout).run(
        "rev-parse", "--path-format=absolute", "--is-inside-work-tree", "--git-common-dir", check=False
    )
    return found.text == f"true\n{common_dir}"


def _unusable(path: Path, output: Output) -> EnvironmentProblem:
    if "dubious ownership" in output.stderr:  # the one case git tells only in prose
        top = next((place for place in (path, *path.parents) if (place / ".git").exists()), path)
        hint = f"git config --global --add safe.directory {shlex.quote(os.fspath(top))}"
        return EnvironmentProblem(f"{top} belongs to another user", hint=hint)
    if any((place / ".git").exists() for place in (path, *path.parents)):
        said = " ".join(output.stderr.split())[:300]
        return EnvironmentProblem(f"git cannot use the repository of {path}: {said}", hint="git status")
    return EnvironmentProblem(f"{path} is not in a git repository", hint="cd to one, or git init")
