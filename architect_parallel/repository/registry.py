"""git's registrations of linked worktrees, read and taken away on the level of files.

On files, because git's own words do not reach what a killed `git worktree add` leaves: `worktree list` omits it,
`prune` and `remove --force` refuse it as locked. Callers that change anything hold `registration_lock`.

Taking away is one rename each into `<state>/trash`, the tree before its registration, and only then the slow deletion:
whoever is killed in between leaves either a whole tree or none, never half a tree that looks like lost work, and the
next removal empties the trash. Nothing here follows a symbolic link out of the directory it was told to take.

A path is a worktree of ours only when both directions agree: its registration names the path, and the path's `.git`
names the registration (`mismatch`). A name alone proves nothing: the agent may have made a repository of its own there,
and in a copied or moved repository one of the two directions leads to somebody else's tree.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shlex
import shutil
import stat
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from architect_parallel.errors import EnvironmentProblem
from architect_parallel.repository import heads
from architect_parallel.system.files import locked, make_shared_dir, ownership_hint
from architect_parallel.system.git import Repository, make_state_dir

INITIALIZING = "initializing"
"""git's own lock reason while it makes a worktree; when nobody is at it, the worktree is debris."""
_MARK = "architect-run"
"""File in an admin directory that names the run whose worktree it is; it goes when the registration goes."""


@contextlib.contextmanager
def registration_lock(repository: Repository) -> Iterator[int]:
    """Holds the one lock under which branches and worktrees are registered or removed, between processes and threads.

    Yields its descriptor, for git processes that must not be overtaken when their launcher is killed. Not re-entrant:
    every public function of `create` and `remove` that changes something takes it itself.

    Raises:
        EnvironmentProblem: When the repository cannot be written.
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


def not_writable(path: Path, error: OSError, hint: str | None = None) -> EnvironmentProblem:
    """The one line for a place that cannot be written. `None` means the usual hint."""
    hint = hint or "check its owner and the free space"
    return EnvironmentProblem(f"{path} cannot be written: {error.strerror}", hint=hint)


def admin_dirs(repository: Repository) -> list[Path]:
    """Every admin directory below `<common>/worktrees`, sound or not, sorted."""
    parent = repository.common_dir / "worktrees"
    return [path for name in sorted(names(parent)) if (path := parent / name).is_dir() and not path.is_symlink()]


def registered_path(admin_dir: Path) -> Path | None:
    """Where the worktree of an admin directory is (or was); `None`: half-made, it does not say."""
    with contextlib.suppress(OSError):
        pointer = os.fsdecode((admin_dir / "gitdir").read_bytes()).rstrip("\r\n")
        if pointer:  # relative since git 2.48, if so configured
            return Path(os.path.normpath(admin_dir / pointer)).parent
    return None


def admin_dir_from_dotgit(path: Path) -> Path | None:
    """The admin directory that the `.git` file of a worktree names; `None`: there is no such file."""
    with contextlib.suppress(OSError):
        text = os.fsdecode((path / ".git").read_bytes()).rstrip("\r\n")
        if text.startswith("gitdir: "):
            return Path(os.path.normpath(path / text.removeprefix("gitdir: ")))
    return None


def admin_dir_of(repository: Repository, path: Path) -> Path | None:
    """The admin directory registered for the worktree at `path`; `None`: none is."""
    wanted = _real(path)
    for admin in admin_dirs(repository):
        place = registered_path(admin)
        if place is not None and _real(place) == wanted:
            return admin
    return None


def lock_reason(admin_dir: Path) -> str | None:
    """Why `git worktree lock` holds it (may be empty); `None`: not locked. git's own `initializing` is debris."""
    try:
        return os.fsdecode((admin_dir / "locked").read_bytes()).strip()
    except OSError:
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkout:
    """A checkout that has a branch, as git counts it: no other one may check it out, and nobody may move it."""

    path: Path
    """Its top directory. It may be gone: then git counts it until `git worktree prune`."""
    admin_dir: Path
    operation: str | None = None
    """The operation in progress that left the branch and will come back to it (see `heads`); `None` means that HEAD is
    on the branch."""

    @property
    def words(self) -> str:
        """What is to be said of the branch."""
        if self.operation is not None:
            return f"has a {self.operation} in progress in {self.path}"
        return f"is checked out in {self.path}" + ("" if self.path.is_dir() else ", which is not there")

    @property
    def hint(self) -> str:
        """How the branch becomes free."""
        if self.operation is not None:
            return heads.ending_of(self.operation, self.path)
        if not self.path.is_dir():
            return "git worktree prune, or git worktree repair NEW-PLACE if it was moved"
        return f"git -C {shlex.quote(os.fspath(self.path))} switch --detach"


def checkouts(repository: Repository) -> dict[str, list[Checkout]]:
    """Short branch name → checkouts that have it, the main one and linked ones."""
    places = [] if repository.bare else [(repository.common_dir, repository.root)]
    places += [(admin, path) for admin in admin_dirs(repository) if (path := registered_path(admin)) is not None]
    on = heads.head_branches(repository.common_dir, [admin for admin, _ in places])
    found: dict[str, list[Checkout]] = {}
    for admin, path in places:
        has: dict[str, str | None] = {**heads.occupied_branches(admin)}
        if admin in on:
            has[on[admin]] = None
        for branch, operation in has.items():
            found.setdefault(branch, []).append(Checkout(path=path, admin_dir=admin, operation=operation))
    return found


def checkout_of(repository: Repository, branch: str) -> Checkout | None:
    """A checkout that has the branch; `None` means that none has."""
    places = checkouts(repository).get(branch)
    return places[0] if places else None


def relink(path: Path, admin_dir: Path) -> None:
    """Write the `.git` file of the worktree at `path` again, whatever it names now.

    Only for a tree that this process made and has held since. A directory in the file's place is another repository
    and stays.
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
    """Writes down whose worktree this registration is."""
    (admin_dir / _MARK).write_text(f"{run_id}\n")


def marked_run(admin_dir: Path) -> str | None:
    """Id of the run that made this registration; `None`: not ours, or killed before it could say so."""
    try:
        return os.fsdecode((admin_dir / _MARK).read_bytes()).strip() or None
    except OSError:
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Mismatch:
    """Why the content of a path is not the worktree that should be there."""

    reason: str
    """In words; begins with what is there."""
    hint: str
    """A command or an act that loses nothing."""


def mismatch(repository: Repository, path: Path) -> Mismatch | None:
    """Compare the path with git's registration of it, in both directions.

    Returns:
        `None` when the two name each other, or when there is nothing to lose at the path: nothing at all, or an empty
        directory.
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
    """The command that makes path and registration name each other again; `None` where it would do harm.

    git 2.39 looks at every registration then. In a copied repository they name the trees of the original, and it bends
    those trees' `.git` files towards the copy.
    """
    for admin in admin_dirs(repository):
        place = registered_path(admin)
        pointer = None if place is None else admin_dir_from_dotgit(place)
        if pointer is not None and pointer.is_dir() and not _is_same(pointer, admin):
            return None
    return shlex.join(["git", "worktree", "repair", *map(str, paths)])


def _without_link(path: Path, repair: str | None) -> Mismatch | None:
    try:
        if not os.listdir(path):  # a `git worktree add` that was killed makes the directory first
            return None
    except OSError as error:
        return Mismatch(reason=f"it cannot be read: {error.strerror}", hint=f"chmod u+rwx {shlex.quote(str(path))}")
    if repair is not None:
        return Mismatch(reason="its .git file is gone", hint=repair)
    return Mismatch(reason="something else is in its place", hint=f"move {path} away")


def is_private_pointer(repository: Repository, pointer: Path) -> bool:
    """Whether `pointer` is a private git directory of a worker of this repository, `<state>/runs/<run>/repo/<worker>`.

    The `.git` file of a worktree names it while an agent runs there; the registration stays as it is.
    """
    runs = os.path.realpath(repository.state_dir / "runs")
    try:
        parts = Path(os.path.realpath(pointer)).relative_to(runs).parts
    except ValueError:
        return False
    return len(parts) == 3 and parts[1] == "repo"


def counterpart(repository: Repository, path: Path) -> Path | None:
    """The registration that the worktree at `path` had before its repository was moved or copied to where it is.

    It has the name that the path's `.git` file gives, and names another path. `None` means that there is none, or that
    it has a worktree.
    """
    pointer = admin_dir_from_dotgit(path)
    if pointer is None or pointer.parent.name != "worktrees":
        return None
    admin = repository.common_dir / "worktrees" / pointer.name
    place = registered_path(admin)
    if place is None or _is_same(admin_dir_from_dotgit(place), admin):
        return None
    return admin


def require_linked(repository: Repository, path: Path) -> None:
    """Check that the path and its registration name each other (see `mismatch`).

    Raises:
        EnvironmentProblem: They do not; the hint loses nothing.
    """
    found = mismatch(repository, path)
    if found is not None:
        raise EnvironmentProblem(f"{path} is not the worktree it was: {found.reason}", hint=found.hint)


def is_ours(repository: Repository, path: Path, branch: str, run_id: str) -> bool:
    """Whether what is at `path` may be removed as the worktree of run `run_id` on `branch`; also when nothing is there.

    Path and registration have to name each other. The registration says whose it is; killed before it could, it is on
    the run's branch or nowhere yet.
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
    """The admin directory of this run's worktree at `path`; `None` when nothing is registered there.

    Raises:
        EnvironmentProblem: Something is there that is not this run's (see `is_ours`), or it is locked by its user.
    """
    admin = admin_dir_of(repository, path)
    reason = lock_reason(admin) if admin else None
    if reason is not None and reason != INITIALIZING:
        raise EnvironmentProblem(f"{path} is locked: {reason or 'no reason given'}", hint=f"git worktree unlock {path}")
    if (found := mismatch(repository, path)) is not None:
        raise EnvironmentProblem(f"{path} is not the worktree run {run_id} made: {found.reason}", hint=found.hint)
    if not is_ours(repository, path, branch, run_id):
        raise EnvironmentProblem(f"{path} is not the worktree run {run_id} made", hint="move it away")
    return admin


def partial_worktrees(repository: Repository, path: Path) -> list[Path]:
    """Admin directories of a killed `worktree add` for `path` that do not name their place yet.

    git names them after the directory, unsuitable characters replaced, perhaps with a number behind. Under the
    registration lock nobody alive is in the middle of making one.
    """
    stem = re.escape(re.sub(r"^\.+", "-", path.name))
    pattern = re.compile(rf"(?:{stem}|{re.escape(path.name)})[0-9]*")
    return [
        admin for admin in admin_dirs(repository) if registered_path(admin) is None and pattern.fullmatch(admin.name)
    ]


def move_to_trash(repository: Repository, *paths: Path) -> None:
    """Moves the directories out of the way, in that order; a missing one is fine, a link is moved, not followed.

    Their space is freed by `empty_trash`, which callers run after they gave up the lock.

    Raises:
        EnvironmentProblem: One could not be moved; then all stay, except what another file system made us delete.
    """
    trash = make_shared_dir(make_state_dir(repository.state_dir) / "trash")
    moved: list[tuple[Path, Path]] = []
    for path in paths:
        place = trash / uuid.uuid4().hex
        try:
            _give_write_permission(path)
            os.rename(path, place)
            moved.append((place, path))
        except FileNotFoundError:
            continue
        except OSError as error:
            if error.errno != errno.EXDEV:
                for there, origin in reversed(moved):
                    os.rename(there, origin)
                raise not_writable(path, error) from error
            delete_tree(path)  # the git directory is on another file system


def empty_trash(repository: Repository) -> None:
    """Deletes what was moved away, as far as it can be deleted; another process may be doing the same."""
    trash = repository.state_dir / "trash"
    for name in names(trash):
        # Recursion: a tree some thousand levels deep stays there, out of everybody's way.
        with contextlib.suppress(OSError, RecursionError):
            delete_tree(trash / name)


def delete_tree(path: Path) -> None:
    """Deletes what an agent had its hands on: modes that forbid it are mended, links are not followed.

    Raises:
        OSError: Something in it cannot be deleted.
    """
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
        return
    with contextlib.suppress(OSError):
        # As rmtree does it, in two thirds of its time: large results are tens of thousands of files.
        for _, inner, files, descriptor in os.fwalk(path, topdown=False):
            for name in files:
                os.unlink(name, dir_fd=descriptor)
            for name in inner:
                _remove_entry(name, descriptor)
        path.rmdir()
        return
    for directory, inner, _ in os.walk(path):  # top down: tool caches are often read-only, and agents chmod to 000
        for name in inner:
            _give_write_permission(Path(directory, name))
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(path)


def _remove_entry(name: str, descriptor: int) -> None:
    """A directory that is empty, or a link to one."""
    try:
        os.rmdir(name, dir_fd=descriptor)
    except NotADirectoryError:
        os.unlink(name, dir_fd=descriptor)


def names(directory: Path) -> list[str]:
    """What is in `directory`; nothing when it cannot be read or is not there."""
    try:
        return os.listdir(directory)
    except OSError:
        return []


def _give_write_permission(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        mode = path.lstat().st_mode
        if stat.S_ISDIR(mode) and mode & stat.S_IRWXU != stat.S_IRWXU:
            path.chmod(stat.S_IMODE(mode) | stat.S_IRWXU)


def _is_same(pointer: Path | None, admin_dir: Path | None) -> bool:
    return pointer is not None and admin_dir is not None and os.path.realpath(pointer) == os.path.realpath(admin_dir)


def _real(path: Path) -> str:
    """The path with its parents resolved, its own last part not: a link put in a worktree's place is not it."""
    return os.path.join(os.path.realpath(path.parent), path.name)
