"""The worker repository: a whole git directory that belongs to one worktree while an agent or a check runs in it.

A linked worktree shares refs, configuration, hooks and objects with the user's repository. What `git commit` needs of
them is what lets an agent move branches, flip `core.bare` or plant programs that run later. So `lend` makes a git
directory with everything the agent needs. It borrows the common objects, and `.git` of the worktree names it. The
registration below `<common>/worktrees/` stays untouched meanwhile.

`take_back` reads what is in the worker repository as data. It copies the objects, moves the worker's branch, keeps
every other commit under `refs/architect/keep/`, carries index and HEAD over to the registration, and lets `.git` name
that again. Every step can be repeated. The directory is removed last, so a killed launcher leaves it, and
`settle` finishes the work for the next command. Pointers are relative: a repository that is moved or copied meanwhile
still works.

Layout: `<run dir>/repo/<name>` is the git directory, `<run dir>/repo/<name>.refs` the refs it began with.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from architect_parallel.domain import WorkerSpec
from architect_parallel.repository import heads, registry
from architect_parallel.repository.filters import STATE_DIRECTORIES
from architect_parallel.repository.git_dir_files import (
    copy_regular_file,
    files_below,
    is_same_path,
    parse_packed_refs,
    read_refs,
    read_regular_file,
    size_and_time,
)
from architect_parallel.repository.objects import bring_objects, bring_shallow
from architect_parallel.snapshots.baseline import is_real_directory
from architect_parallel.system.files import delete_tree, make_private_dir, names, not_writable
from architect_parallel.system.git import Git, Repository
from architect_parallel.system.own_files import READ_BY_GIT, write_own
from architect_parallel.worktrees.worker_commits import NOT_LENT, CommitTransfer

DIRECTORY = "repo"
"""Name of the directory of worker repositories below a run's directory."""
_OPERATION_FILES = (
    *("MERGE_HEAD", "MERGE_MODE", "MERGE_MSG", "AUTO_MERGE", "SQUASH_MSG", "CHERRY_PICK_HEAD", "REVERT_HEAD"),
    *("REBASE_HEAD", "ORIG_HEAD", "BISECT_LOG", "BISECT_START", "BISECT_NAMES", "BISECT_TERMS"),
)
_OPERATION_DIRS = ("rebase-merge", "rebase-apply", "sequencer")
_ADMIN = b"# registration: "
"""Prefix of the line, in the file of initial refs, that names the directory of git's registration."""
_BARE = re.compile(rb"(?im)^([ \t]*bare[ \t]*=[ \t]*).*$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """The result of `take_back`, besides the worker's branch."""

    warnings: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    """Keep refs that were made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerRepository:
    """The worker repository of one worktree. It exists from `lend` to `take_back` or `discard`."""

    repository: Repository
    directory: Path
    worktree: Path
    admin_dir: Path | None
    """git's registration of the worktree. `None` means that it is gone. Then only commits are taken."""
    branch: str = ""
    """Short name of the worker's branch. An empty name means that there is none."""

    @property
    def exists(self) -> bool:
        """True if the directory exists, or if another user made it and this user cannot see it."""
        try:
            return self.directory.is_dir()
        except PermissionError:
            return True

    @property
    def _initial_refs_file(self) -> Path:
        return self.directory.with_name(f"{self.directory.name}.refs")

    def lend(self) -> None:
        """Make the worker repository as the worktree is now, and let `.git` of the worktree name it.

        Raises:
            GitError: The repository cannot be read.
            EnvironmentProblem: The directory cannot be written.
        """
        with self._writable():
            self._lend()

    @contextlib.contextmanager
    def _writable(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise not_writable(Path(error.filename or self.directory), error) from error

    def _lend(self) -> None:
        assert self.admin_dir is not None
        target = self.directory.with_name(f"{self.directory.name}.new")
        for stale in (target, self.directory):
            delete_tree(stale)
        make_private_dir(target)
        for name in ("objects/info", "objects/pack", "refs/heads", "refs/tags", "info", "hooks"):
            (target / name).mkdir(parents=True, exist_ok=True)
        common, admin = self.repository.common_dir, self.admin_dir
        objects = os.path.relpath(os.path.realpath(common / "objects"), os.path.realpath(target / "objects"))
        alternates = [objects]  # relative: it outlives a move of the checkout
        if "\n" not in (absolute := os.path.realpath(common / "objects")):
            alternates.append(absolute)  # GitPython (aider) reads no relative ones, and git takes both for one
        (target / "objects" / "info" / "alternates").write_bytes(os.fsencode("\n".join(alternates)) + b"\n")
        self._write_refs(target)
        self._write_head(target)
        self._write_configuration(target)
        for name in ("info/exclude", "info/attributes", "shallow"):
            copy_regular_file(common / name, target / name)
        index_names = [name for name in names(admin) if name == "index" or name.startswith("sharedindex.")]
        for name in ("config.worktree", "info/sparse-checkout", *index_names):
            copy_regular_file(admin / name, target / name)
        _copy_operations(admin, target)
        for name in names(common / "hooks"):
            hook = common / "hooks" / name
            if hook.is_dir():
                shutil.copytree(hook, target / "hooks" / name, symlinks=True)
            elif hook.is_file() and not name.endswith(".sample"):  # `is_file` includes a link to a script elsewhere
                shutil.copy2(hook, target / "hooks" / name)
        (admin / "modules").mkdir(exist_ok=True)
        os.symlink(os.path.relpath(os.path.realpath(admin / "modules"), os.path.realpath(target)), target / "modules")
        for name in STATE_DIRECTORIES:
            if (common / name).is_dir():
                os.symlink(os.path.relpath(os.path.realpath(common / name), os.path.realpath(target)), target / name)
        os.rename(target, self.directory)
        self._point_at(self.directory, relative=True)

    def _write_refs(self, target: Path) -> None:
        output = self.repository.store.run("for-each-ref", "--format=%(objectname) %(refname) %(symref)")
        # git skips the first word, as it does not know it. GitPython (aider) refuses a header without these letters.
        packed = [b"# pack-refs with: not-peeled sorted \n"]
        for line in output.stdout.split(b"\n")[:-1]:
            oid, ref, symbolic = line.split(b" ", 2)
            if os.fsdecode(ref).startswith(NOT_LENT):
                continue
            if symbolic:
                file = target / os.fsdecode(ref)
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(b"ref: " + symbolic + b"\n")
            else:
                packed.append(oid + b" " + ref + b"\n")
        (target / "packed-refs").write_bytes(b"".join(packed))
        assert self.admin_dir is not None
        write_own(self._initial_refs_file, _ADMIN + os.fsencode(self.admin_dir.name) + b"\n" + b"".join(packed))

    def _write_head(self, target: Path) -> None:
        assert self.admin_dir is not None
        head = heads.read_head(self.admin_dir) or f"ref: refs/heads/{self.branch}"
        (target / "HEAD").write_bytes(os.fsencode(f"{head}\n"))

    def _write_configuration(self, target: Path) -> None:
        """Write a copy of the repository's configuration, adapted to this directory: not bare, no other work tree."""
        common = self.repository.common_dir
        text = b""
        with contextlib.suppress(FileNotFoundError):
            text = (common / "config").read_bytes()
        text, replacements = _BARE.subn(rb"\1false", text)
        own = b"" if replacements else b"[core]\n\tbare = false\n"
        if shutil.which("git-lfs") and not self.repository.git.ok("config", "--get", "lfs.storage"):
            own += f"[lfs]\n\tstorage = {_quoted(os.path.realpath(common / 'lfs'))}\n".encode(errors="surrogateescape")
        config = target / "config"
        config.write_bytes(text + (b"" if not text or text.endswith(b"\n") else b"\n") + own)
        git = Git(cwd=target, git_dir=target)
        lower = text.lower()
        for key in ("core.worktree", "extensions.refstorage"):
            if key.rpartition(".")[2].encode() in lower:
                git.run("config", "--file", config, "--unset-all", key, check=False)
        if b"include" in lower:
            pattern = r"^include(if\..*)?\.path$"
            for field in git.run("config", "--file", config, "-z", "--get-regexp", pattern, check=False).fields:
                key, _, path = field.partition("\n")
                if path and not path.startswith(("/", "~")):
                    same_value = f"^{re.escape(path)}$"
                    git.run("config", "--file", config, "--replace-all", key, os.fspath(common / path), same_value)

    def take_back(self, run_id: str, number: int, *, label: str = "", follows: bool = True) -> Taken:
        """Take everything the agent put into the worker repository, and let `.git` name the registration again.

        The processes that used it must have ended. Without a worker repository, only `.git` is restored.

        Args:
            number: The worker's number, for the names of keep refs.
            label: Prefix of the names of keep refs.
            follows: Move the worker's branch, HEAD and index as the agent did. Otherwise a branch that moved is kept
                like any other, and the worktree stays as it was before.

        Raises:
            GitError: The commits cannot be read. The worker repository stays and `.git` names it.
            EnvironmentProblem: Something cannot be written.
        """
        with self._writable():
            return self._take_back(run_id, number, label, follows)

    def _take_back(self, run_id: str, number: int, label: str, follows: bool) -> Taken:
        if not self.exists:
            self._point_back()
            return Taken()
        bring_objects(self.repository, self.directory / "objects")
        bring_shallow(self.repository, self.directory)
        initial_refs = parse_packed_refs(read_regular_file(self._initial_refs_file, largest=None))
        transfer = CommitTransfer(
            repository=self.repository,
            directory=self.directory,
            branch=self.branch,
            run_id=run_id,
            number=number,
            label=label,
            initial_refs=initial_refs,
            refs=read_refs(self.directory),
        )
        transfer.run(follows=follows)
        if self.admin_dir is not None and follows:
            self._carry_over(transfer.detached_at)
        self._point_back()
        if self.admin_dir is not None:
            with contextlib.suppress(OSError):
                (self.admin_dir / "modules").rmdir()
        self._forget()
        return Taken(warnings=tuple(transfer.warnings), kept=tuple(transfer.kept))

    def discard(self) -> None:
        """Remove the worker repository with all its content, and let `.git` name the registration again."""
        self._point_back()
        self._forget()

    def _forget(self) -> None:
        delete_tree(self.directory)
        self._initial_refs_file.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # other workers may still have theirs
            self.directory.parent.rmdir()

    def _carry_over(self, detached_at: str | None) -> None:
        """Copy HEAD, index and operations in progress to the registration, all of it as data."""
        admin = self.admin_dir
        assert admin is not None
        if not admin.is_dir():
            return
        if detached_at is not None:
            git = Git(cwd=self.repository.common_dir, git_dir=admin)
            git.run("update-ref", "--no-deref", "HEAD", detached_at, check=False)
        with contextlib.suppress(OSError):
            ours, theirs = (size_and_time(git_dir / "index") for git_dir in (admin, self.directory))
            if theirs is not None and ours != theirs:
                for name in names(self.directory):
                    if name.startswith("sharedindex."):
                        copy_regular_file(self.directory / name, admin / name)
                copy_regular_file(self.directory / "index", admin / "index")
        (admin / "info").mkdir(exist_ok=True)
        copy_regular_file(self.directory / "info" / "sparse-checkout", admin / "info" / "sparse-checkout")
        with contextlib.suppress(OSError):
            (admin / "info").rmdir()
        for name in (*_OPERATION_FILES, *_OPERATION_DIRS):
            delete_tree(admin / name)
        _copy_operations(self.directory, admin)

    def _point_back(self) -> None:
        """Let `.git` name the registration, if it names this directory or is missing."""
        link = self.worktree / ".git"
        pointed = registry.admin_dir_from_dotgit(self.worktree)
        is_lent = pointed is not None and is_same_path(pointed, self.directory)
        if self.admin_dir is None or not is_real_directory(self.worktree) or (os.path.lexists(link) and not is_lent):
            return
        relative = not os.path.isabs(os.fsdecode(read_regular_file(self.admin_dir / "gitdir")).strip() or "/")
        self._point_at(self.admin_dir, relative=relative)

    def _point_at(self, git_dir: Path, *, relative: bool) -> None:
        name = (
            os.path.relpath(os.path.realpath(git_dir), os.path.realpath(self.worktree))
            if relative
            else os.fspath(git_dir)
        )
        # One fixed name: after a kill between the two steps, the next call replaces the leftover.
        unfinished = self.worktree / ".git.architect-new"
        write_own(unfinished, os.fsencode(f"gitdir: {name}\n"), READ_BY_GIT)
        os.replace(unfinished, self.worktree / ".git")


def ceiling(worktree: Path) -> dict[str, str]:
    """Variables for what runs in a worktree: git without a `.git` there must not find the repository around it.

    https://git-scm.com/docs/git#Documentation/git.txt-GITCEILINGDIRECTORIES
    """
    above = {os.fspath(worktree.parent), os.path.realpath(worktree.parent)}
    return {"GIT_CEILING_DIRECTORIES": os.pathsep.join(sorted(above))}


def place_of(run_dir: Path, name: str) -> Path:
    """The directory of the worker repository `name` of a run."""
    return run_dir / DIRECTORY / name


def of_worker(repository: Repository, run_dir: Path, spec: WorkerSpec) -> WorkerRepository:
    """The repository of a worker, with the registration as it is now."""
    worktree = Path(spec.worktree_path)
    directory = place_of(run_dir, f"worker-{spec.worker_id}")
    admin = registry.admin_dir_of(repository, worktree)
    if admin is None:  # the repository was moved or copied: git looks for the worktree elsewhere
        line = read_regular_file(directory.with_name(f"{directory.name}.refs"), largest=None).partition(b"\n")[0]
        name = os.fsdecode(line.removeprefix(_ADMIN)) if line.startswith(_ADMIN) else ""
        known = {admin.name: admin for admin in registry.admin_dirs(repository)}
        pointed = registry.admin_dir_from_dotgit(worktree)
        admin = known.get(name) if pointed is not None and is_same_path(pointed, directory) else None
    return WorkerRepository(
        repository=repository, directory=directory, worktree=worktree, admin_dir=admin, branch=spec.branch
    )


def settle(repository: Repository, run_dir: Path, spec: WorkerSpec) -> tuple[str, ...]:
    """Take back what the launcher of `spec` left in the worker repository when it was killed. Return the warnings.

    Raises:
        GitError, EnvironmentProblem: As `take_back`.
    """
    worker = of_worker(repository, run_dir, spec)
    return worker.take_back(spec.run_id, spec.number).warnings if worker.exists else ()


def _copy_operations(source: Path, target: Path) -> None:
    for name in _OPERATION_FILES:
        copy_regular_file(source / name, target / name)
    for name in _OPERATION_DIRS:
        for file in files_below(source / name):
            copy_regular_file(file, target / os.path.relpath(file, source))


def _quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
