"""Branches and worktrees come into being here, and nothing that exists is ever taken over.

May not remove what somebody made (that is `remove`) nor look into trees (that is `snapshot`). The invariant: a branch
or a directory this module returns was created by it, just now, create-only, and says so in the branch's reflog.

The order within `add_worktree` is the safety: first the branch (`update-ref` with "must not exist", its reflog entry
names the run, so that a launcher killed right after can still prove what is its own), then the registration, both
under one lock between processes, because concurrent `git worktree add` fails in about one of a hundred; then the
checkout outside the lock, at most one per core, because more only fight for the disk.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from architect_parallel.errors import EnvironmentProblem, UsageError
from architect_parallel.system.files import locked, make_private_dir
from architect_parallel.system.git import Git, GitError, Repository

BRANCH_PREFIX = "architect/parallel-"
DIRECTORY_PREFIX = ".architect-parallel-"
EXCLUDE_ENTRIES = (b"/.architect-parallel-*/", b"/.architect/")

# At most nine digits: a longer number is nobody's worker and would push every later number out of reach.
_NUMBER = r"([1-9][0-9]{0,8})"
# With `/`: a branch architect/parallel-5/x makes architect/parallel-5 impossible.
_BRANCH = re.compile(rf"refs/heads/{re.escape(BRANCH_PREFIX)}{_NUMBER}(?:/.*)?", re.DOTALL)
_DIRECTORY = re.compile(rf"{re.escape(DIRECTORY_PREFIX)}{_NUMBER}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Worktree:
    """A linked worktree of ours, checked out at its base. All paths absolute."""

    path: Path
    branch: str
    """Short name, `architect/parallel-N`."""
    base_commit: str
    admin_dir: Path
    """git's own directory of this worktree, below `<common>/worktrees/`; git chose its name."""


@contextlib.contextmanager
def registration_lock(repository: Repository) -> Iterator[None]:
    """Holds the one lock under which branches and worktrees are registered or removed, between processes and threads.

    Not re-entrant: `add_worktree`, `reopen_worktree` and everything in `remove` take it themselves.

    Raises:
        EnvironmentProblem: When the repository cannot be written.
    """
    try:
        make_private_dir(repository.state_dir)
        lock = repository.state_dir / "worktrees.lock"
        lock.touch(mode=0o600)
    except OSError as error:
        raise _not_writable(repository.state_dir, error) from error
    with locked(lock):
        yield


def require_base(repository: Repository, ref: str | None = None) -> str:
    """Full id of the commit that `ref` names (`None`: the HEAD of the checkout the user stands in).

    Raises:
        EnvironmentProblem: There is no commit yet, or HEAD is broken.
        UsageError: `ref` names no commit.
    """
    name = "HEAD" if ref is None else ref
    found = repository.git.resolve(name) if name and "\0" not in name else None
    # Peeled in a second step: `^{commit}` would become part of the text in a `:/text` revision.
    commit = found and repository.git.resolve(f"{found}^{{commit}}")
    if commit:
        return commit
    if name not in ("HEAD", "@"):
        raise UsageError(f"there is no commit {name!r} in {repository.root}", hint="git log --oneline --all")
    branch = repository.git.run("symbolic-ref", "--quiet", "--short", "HEAD", check=False).text
    if branch and repository.git.resolve(f"refs/heads/{branch}") is None:
        raise EnvironmentProblem(
            f"{repository.root} has no commit yet (branch {branch!r} is empty)",
            hint='git commit --allow-empty -m "first commit"',
        )
    raise EnvironmentProblem(f"HEAD of {repository.root} does not name a commit", hint="git fsck")


def highest_number(repository: Repository) -> int:
    """The highest N in use by a branch `architect/parallel-N`, a directory `.architect-parallel-N` or a registered
    worktree of that name, whoever made it; 0 when there is none.

    Raises:
        EnvironmentProblem: A branch named `architect` makes all these names impossible.
    """
    refs = repository.store.text("for-each-ref", "--format=%(refname)", "refs/heads/architect").splitlines()
    if "refs/heads/architect" in refs:
        raise _blocked(repository)
    # The loose files as well: git leaves broken and dangling refs out of its list, yet they block the name.
    refs += [f"refs/heads/architect/{name}" for name in _names(repository.common_dir / "refs/heads/architect")]
    directories = _names(repository.root) + [path.name for path in registered_paths(repository).values()]
    found = [_BRANCH.fullmatch(ref) for ref in refs] + [_DIRECTORY.fullmatch(name) for name in directories]
    return max((int(match[1]) for match in found if match), default=0)


def registered_paths(repository: Repository) -> dict[Path, Path]:
    """Admin directory → path of the worktree, for every registration that names its place, existing or not.

    Read from the files: git's own list leaves half-made registrations out.
    """
    found = {}
    for name in _names(repository.common_dir / "worktrees"):
        admin = repository.common_dir / "worktrees" / name
        with contextlib.suppress(OSError):
            pointer = os.fsdecode((admin / "gitdir").read_bytes()).removesuffix("\n").removesuffix("\r")
            if pointer:
                found[admin] = Path(os.path.normpath(admin / pointer)).parent
    return found


def exclude_from_status(repository: Repository) -> None:
    """Adds our directories to `<common>/info/exclude`, once; everything that stands there stays as it is.

    Raises:
        EnvironmentProblem: The file is needed but cannot be written.
    """
    if repository.root == repository.common_dir:  # no checkout, no status
        return
    file = repository.common_dir / "info" / "exclude"
    with registration_lock(repository):
        try:
            old = file.read_bytes() if file.exists() else b""
            present = {line.rstrip(b"\r \t") for line in old.split(b"\n")}
            missing = [entry for entry in EXCLUDE_ENTRIES if entry not in present]
            if not missing:
                return
            file.parent.mkdir(exist_ok=True)
            # Appended, not replaced: the file may be a link into somebody's dotfiles.
            with file.open("ab") as stream:
                stream.write(b"" if not old or old.endswith(b"\n") else b"\n")
                stream.write(b"".join(entry + b"\n" for entry in missing))
        except OSError as error:
            raise _not_writable(file, error) from error


def add_worktree(repository: Repository, *, path: Path, branch: str, base_commit: str, run_id: str) -> Worktree:
    """Creates `branch` at `base_commit` and a worktree at `path` with its files checked out.

    Whatever it made is taken back when it fails. Blocks while other registrations or too many checkouts go on.

    Args:
        path: Absolute; nothing may be there, not even a dangling link.
        branch: Short name; no such branch may exist.
        base_commit: Full commit id.
        run_id: Stands in the branch's reflog as the proof of ownership (see `owns_branch`).

    Raises:
        EnvironmentProblem: The place or the branch is taken, or the repository cannot be written.
        GitError: git failed; its words are in the message.
    """
    with registration_lock(repository):
        _require_free(repository, path, branch)
        _create_branch(repository, branch, base_commit, run_id)
        try:
            admin_dir = _register(repository, path, branch)
        except BaseException:
            _take_back(repository, path, branch, base_commit)
            raise
    worktree = Worktree(path=path, branch=branch, base_commit=base_commit, admin_dir=admin_dir)
    try:
        check_out(worktree)
    except BaseException:
        with registration_lock(repository):
            _take_back(repository, path, branch, base_commit)
        raise
    return worktree


def owns_branch(repository: Repository, branch: str, run_id: str) -> bool:
    """Whether the branch was created by run `run_id`, according to the oldest entry of its reflog.

    A branch that somebody deleted and made anew has a new reflog and is not ours any more.
    """
    return _creation_messages(repository, branch)[-1:] == [_creation_message(run_id)]


def check_out(worktree: Worktree) -> None:
    """Writes the files of a registered worktree's HEAD, sparse patterns respected; waits for a free core.

    Raises:
        GitError: The checkout failed: a full disk, a filter that fails.
    """
    with _checkout_slots():
        Git(cwd=worktree.path).run("reset", "--hard", "--quiet", "--no-recurse-submodules")


@functools.cache
def _checkout_slots() -> threading.Semaphore:
    return threading.Semaphore(
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )


def _require_free(repository: Repository, path: Path, branch: str) -> None:
    if os.path.lexists(path):
        raise EnvironmentProblem(f"{path} exists already and is not taken over", hint="move it away")
    if repository.store.resolve("refs/heads/architect") is not None:
        raise _blocked(repository)
    if repository.store.resolve(f"refs/heads/{branch}") is not None:
        raise EnvironmentProblem(
            f"branch {branch} exists already and is not taken over", hint=f"git branch -m {branch} NEW"
        )


def _create_branch(repository: Repository, branch: str, base_commit: str, run_id: str) -> None:
    zero = "0" * len(base_commit)
    repository.store.run(
        "update-ref", "--no-deref", "--create-reflog", "-m", _creation_message(run_id),
        f"refs/heads/{branch}", base_commit, zero,
    )  # fmt: skip


def _register(repository: Repository, path: Path, branch: str) -> Path:
    # From where the user stands: git copies the sparse patterns and the worktree configuration of that checkout.
    repository.git.run("worktree", "add", "--quiet", "--no-checkout", path, branch)
    return Path(Git(cwd=path).text("rev-parse", "--absolute-git-dir"))


def _take_back(repository: Repository, path: Path, branch: str, base_commit: str) -> None:
    with contextlib.suppress(GitError):
        repository.git.run("worktree", "remove", "--force", "--force", path)
    with contextlib.suppress(GitError):
        repository.store.run("update-ref", "-d", f"refs/heads/{branch}", base_commit)


def _creation_message(run_id: str) -> str:
    return f"architect-parallel: created by run {run_id}"


def _creation_messages(repository: Repository, branch: str) -> list[str]:
    output = repository.store.run("log", "-g", "--format=%gs", "-z", f"refs/heads/{branch}", "--", check=False)
    return output.text.rstrip("\0").split("\0") if output.code == 0 else []


def _names(directory: Path) -> list[str]:
    try:
        return os.listdir(directory)
    except OSError:
        return []


def _blocked(repository: Repository) -> EnvironmentProblem:
    return EnvironmentProblem(
        f"a branch named 'architect' in {repository.root} makes branches named architect/… impossible",
        hint="git branch -m architect architect-old",
    )


def _not_writable(path: Path, error: OSError) -> EnvironmentProblem:
    return EnvironmentProblem(f"{path} cannot be written: {error.strerror}", hint="check its owner and the disk")
