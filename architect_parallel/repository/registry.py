"""git's registrations of linked worktrees, read from git's files.

This module reads files because git's commands do not show what a killed `git worktree add` leaves. `worktree list`
omits it, and `prune` and `remove --force` refuse it as locked. Callers that change anything hold `registration_lock`.

A path is a worktree of this program only if both directions agree: its registration names the path, and the path's
`.git` names the registration (`mismatch`). A name alone proves nothing. The agent may have made a repository at that
path, and in a copied or moved repository one of the two directions leads to another user's tree.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from architect_parallel.errors import EnvironmentProblem
from architect_parallel.repository import heads
from architect_parallel.system.files import locked, names, not_writable, ownership_hint
from architect_parallel.system.git import Repository, make_state_dir
from architect_parallel.system.own_files import READ_BY_GIT, write_own

INITIALIZING = "initializing"
"""git's own lock reason while it makes a worktree. If no process is doing that, the worktree is a leftover."""
_MARK = "architect-run"
"""File in an admin directory that names the run of the worktree. It is removed with the registration."""


@contextlib.contextmanager
def registration_lock(repository: Repository) -> Iterator[int]:
    """Hold the lock for registering or removing branches and worktrees, between processes and threads.

    It is not re-entrant: every public function of `create` and `remove` that changes something takes it itself.

    Yields:
        The descriptor, for git processes that must keep the lock if their launcher is killed.

    Raises:
        EnvironmentProblem: The repository cannot be written.
    """
    try:
        make_state_dir(repository.state_dir)
        lock = repository.state_dir / "worktrees.lock"
        if not os.access(lock, os.R_OK | os.W_OK):
            lock.touch(mode=0o600)
    except OSError as error:
        hint = ownership_hint(repository.state_dir)
        raise not_writable(repository.state_dir, error, hint) from error
    with locked(lock) as descriptor:
        yield descriptor


def admin_dirs(repository: Repository) -> list[Path]:
    """Every admin directory below `<common>/worktrees`, damaged ones included, sorted."""
    try:
        with os.scandir(repository.common_dir / "worktrees") as entries:
            return sorted(Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False))
    except OSError:
        return []


def registered_path(admin_dir: Path) -> Path | None:
    """The path of an admin directory's worktree, which may be gone. `None` means that it names no path yet."""
    with contextlib.suppress(OSError):
        pointer = os.fsdecode((admin_dir / "gitdir").read_bytes()).rstrip("\r\n")
        if pointer:  # git 2.48 and newer can write a relative path
            return Path(os.path.normpath(admin_dir / pointer)).parent
    return None


def admin_dir_from_dotgit(path: Path) -> Path | None:
    """The admin directory that the `.git` file of a worktree names. `None` means that there is no such file."""
    with contextlib.suppress(OSError):
        text = os.fsdecode((path / ".git").read_bytes()).rstrip("\r\n")
        if text.startswith("gitdir: "):
            return Path(os.path.normpath(path / text.removeprefix("gitdir: ")))
    return None


def admin_dir_of(repository: Repository, path: Path) -> Path | None:
    """The admin directory registered for the worktree at `path`. `None` means that there is none."""
    real = _real(path)
    worktrees = repository.common_dir / "worktrees"
    # git names it after the directory, unless that name is taken. So the others are rarely read.
    for likely in _stems(path):
        if _registers(worktrees / likely, real) and not (worktrees / likely).is_symlink():
            return worktrees / likely
    return next((admin for admin in admin_dirs(repository) if _registers(admin, real)), None)


def _stems(path: Path) -> tuple[str, str]:
    """The names that git gives the registration of a worktree, before a number: newer and older versions."""
    return re.sub(r"^\.+", "-", path.name), path.name


def _registers(admin_dir: Path, real: str) -> bool:
    registered = registered_path(admin_dir)
    return registered is not None and registered.name == os.path.basename(real) and _real(registered) == real


def lock_reason(admin_dir: Path) -> str | None:
    """The reason of `git worktree lock`, maybe empty. `None` means that it is not locked.

    `initializing` is git's own reason. See `INITIALIZING`.
    """
    try:
        return os.fsdecode((admin_dir / "locked").read_bytes()).strip()
    except OSError:
        return None


def relink(path: Path, admin_dir: Path) -> None:
    """Write the `.git` file of the worktree at `path` again, whatever it names now.

    Use it only for a tree that this process made and has held since. A directory in the file's place is another
    repository and stays.
    """
    link = path / ".git"
    if path.is_symlink() or not path.is_dir() or (link.is_dir() and not link.is_symlink()):
        return
    if not link.is_symlink() and _is_same(admin_dir_from_dotgit(path), admin_dir):
        return
    fresh = path / f".git.{uuid.uuid4().hex}"
    with contextlib.suppress(OSError):
        fresh.write_bytes(b"gitdir: " + os.fsencode(admin_dir) + b"\n")
        os.replace(fresh, link)


def write_owner(admin_dir: Path, run_id: str) -> None:
    """Record the run of this registration's worktree."""
    write_own(admin_dir / _MARK, f"{run_id}\n".encode(), READ_BY_GIT)


def marked_run(admin_dir: Path) -> str | None:
    """Id of the run that made this registration. `None` means another program, or a run killed before recording it."""
    try:
        return os.fsdecode((admin_dir / _MARK).read_bytes()).strip() or None
    except OSError:
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Mismatch:
    """The reason that the content of a path is not the expected worktree."""

    reason: str
    """In words, beginning with what is there."""
    hint: str
    """A command or an action that loses nothing."""


def mismatch(repository: Repository, path: Path) -> Mismatch | None:
    """Compare the path with git's registration of it, in both directions.

    Returns:
        `None` if the two name each other, or if the path is missing or an empty directory.
    """
    if not os.path.lexists(path):
        return None
    look = f"look at {path}"
    if path.is_symlink() or not path.is_dir():
        return Mismatch(reason="something else is in its place", hint=look)
    admin = admin_dir_of(repository, path)
    link = path / ".git"
    if not os.path.lexists(link):
        return _without_link(path, (_repair(repository) or look) if admin is not None else None)
    if link.is_symlink() or not link.is_file():
        return Mismatch(reason="another repository is in its place", hint=f"move {path} away")
    pointer = admin_dir_from_dotgit(path)
    linked = pointer is not None and (_is_same(pointer, admin) or is_private_pointer(repository, pointer))
    if admin is not None and linked:
        return None
    if pointer is not None and pointer.is_dir():
        return Mismatch(reason=f"its .git file names the worktree {pointer}", hint=look)
    reason = f"its .git file names {pointer}, which is gone" if pointer else "its .git file names no repository"
    if admin is not None:
        return Mismatch(reason=reason, hint=_repair(repository) or look)
    if counterpart(repository, path) is not None:
        return Mismatch(reason=reason, hint=_repair(repository, path) or look)
    return Mismatch(reason="git does not know it as a worktree any more", hint=look)


def _repair(repository: Repository, *paths: Path) -> str | None:
    """The command that makes path and registration name each other again. `None` means that it would do harm.

    git 2.39 then repairs every registration. In a copied repository they name the trees of the original, and git
    changes those trees' `.git` files to name the copy.
    """
    for admin in admin_dirs(repository):
        path = registered_path(admin)
        pointer = None if path is None else admin_dir_from_dotgit(path)
        if pointer is not None and pointer.is_dir() and not _is_same(pointer, admin):
            return None
    return shlex.join(["git", "worktree", "repair", *map(str, paths)])


def _without_link(path: Path, repair: str | None) -> Mismatch | None:
    try:
        if not os.listdir(path):  # left by a killed `git worktree add`, which makes the directory first
            return None
    except OSError as error:
        return Mismatch(reason=f"it cannot be read: {error.strerror}", hint=f"chmod u+rwx {shlex.quote(str(path))}")
    if repair is not None:
        return Mismatch(reason="its .git file is gone", hint=repair)
    return Mismatch(reason="something else is in its place", hint=f"move {path} away")


def is_private_pointer(repository: Repository, pointer: Path) -> bool:
    """Return whether `pointer` is a worker's private git directory, `<state>/runs/<run>/repo/<worker>`.

    The `.git` file of a worktree names it while an agent runs there. The registration does not change.
    """
    runs = os.path.realpath(repository.state_dir / "runs")
    try:
        parts = Path(os.path.realpath(pointer)).relative_to(runs).parts
    except ValueError:
        return False
    return len(parts) == 3 and parts[1] == "repo"


def counterpart(repository: Repository, path: Path) -> Path | None:
    """The registration that the worktree at `path` had before its repository was moved or copied.

    It has the name in the path's `.git` file, and names another path. `None` means that there is no such registration,
    or that it has a worktree.
    """
    pointer = admin_dir_from_dotgit(path)
    if pointer is None or pointer.parent.name != "worktrees":
        return None
    admin = repository.common_dir / "worktrees" / pointer.name
    registered = registered_path(admin)
    if registered is None or _is_same(admin_dir_from_dotgit(registered), admin):
        return None
    return admin


def require_linked(repository: Repository, path: Path) -> None:
    """Check that the path and its registration name each other (see `mismatch`).

    Raises:
        EnvironmentProblem: They do not. Following the hint loses nothing.
    """
    difference = mismatch(repository, path)
    if difference is not None:
        raise EnvironmentProblem(f"{path} is not the worktree it was: {difference.reason}", hint=difference.hint)


def is_ours(repository: Repository, path: Path, branch: str, run_id: str) -> bool:
    """Return whether `path` may be removed as the worktree of run `run_id` on `branch`. True also if nothing is there.

    Path and registration must name each other. The registration names the run. If the run was killed before recording
    that, the registration must be on the run's branch, or on none yet.
    """
    if mismatch(repository, path) is not None:
        return False
    admin = admin_dir_of(repository, path)
    if admin is None:
        return True
    marked = marked_run(admin)
    if marked is not None:
        return marked == run_id
    unfinished = lock_reason(admin) == INITIALIZING or not (admin / "HEAD").exists()
    return unfinished or heads.head_branch(admin) == branch


def require_ours(repository: Repository, path: Path, branch: str, run_id: str) -> Path | None:
    """The admin directory of this run's worktree at `path`. `None` means that nothing is registered there.

    Raises:
        EnvironmentProblem: The path is not this run's (see `is_ours`), or its user locked it.
    """
    admin = admin_dir_of(repository, path)
    reason = lock_reason(admin) if admin else None
    if reason is not None and reason != INITIALIZING:
        raise EnvironmentProblem(f"{path} is locked: {reason or 'no reason given'}", hint=f"git worktree unlock {path}")
    if (difference := mismatch(repository, path)) is not None:
        message = f"{path} is not the worktree run {run_id} made: {difference.reason}"
        raise EnvironmentProblem(message, hint=difference.hint)
    if not is_ours(repository, path, branch, run_id):
        raise EnvironmentProblem(f"{path} is not the worktree run {run_id} made", hint="move it away")
    return admin


def partial_worktrees(repository: Repository, path: Path) -> list[Path]:
    """Admin directories of a killed `worktree add` for `path` that name no path yet.

    git names them after the directory, with unsuitable characters replaced, and maybe a number at the end. Under the
    registration lock no live process is making one.
    """
    pattern = re.compile(rf"(?:{'|'.join(map(re.escape, _stems(path)))})[0-9]*")
    named = (name for name in sorted(names(repository.common_dir / "worktrees")) if pattern.fullmatch(name))
    admins = (repository.common_dir / "worktrees" / name for name in named)
    return [admin for admin in admins if admin.is_dir() and not admin.is_symlink() and registered_path(admin) is None]


def _is_same(pointer: Path | None, admin_dir: Path | None) -> bool:
    return pointer is not None and admin_dir is not None and os.path.realpath(pointer) == os.path.realpath(admin_dir)


def _real(path: Path) -> str:
    """The path with its parents resolved, but not its last part: a link in a worktree's place is not the worktree."""
    return os.path.join(os.path.realpath(path.parent), path.name)
