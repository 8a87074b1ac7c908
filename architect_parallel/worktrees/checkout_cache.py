"""The base commit's objects once more, uncompressed, for a run that checks many worktrees out of it.

Two thirds of a checkout's processor time go into inflating the same bytes for every worktree. A pack without
compression costs little more than one checkout to write and halves each that follows (6,500 files, 46 MB: 0.36 s
once, then 0.13 instead of 0.29 s each). It is a cache and nothing else: git reads it as an object directory whose
alternate is the repository's own, nothing is ever written to it, and whatever goes wrong with it leaves an ordinary
checkout. It goes with the run; what a killed launcher left goes with the next one.
"""

from __future__ import annotations

import contextlib
import enum
import logging
import os
import threading
from pathlib import Path

from architect_parallel.errors import ArchitectParallelError
from architect_parallel.repository.temporary_repository import alternate_of
from architect_parallel.system import machine
from architect_parallel.system.files import HeldLock, delete_tree, is_locked, make_private_dir, names
from architect_parallel.system.git import Git, Repository

WORTH_WORKTREES = 4
"""From so many on, beside those checked out while it is written."""
WORTH_BYTES = 4 * 2**20
MOST_BYTES = 2**29
"""It must not fill a disk for a repository of many gigabytes."""

_SETTINGS = ("pack.compression=0", "pack.threads=1", "core.fsync=none")
_log = logging.getLogger(__name__)


class _State(enum.Enum):
    WANTED = enum.auto()
    UNDER_WAY = enum.auto()
    READY = enum.auto()
    NOT_TO_BE_HAD = enum.auto()


class UnpackedBase:
    """The cache for one base commit; written by the second checkout that asks, because the first must not wait."""

    def __init__(self, repository: Repository, base_commit: str, *, worktrees: int) -> None:
        """Args:
        worktrees: How many will be checked out; too few, and it is never written.
        """
        self._repository = repository
        self.base_commit = base_commit
        self._place = repository.state_dir / "unpacked" / os.urandom(8).hex()
        self._lock = threading.Lock()
        self._turns = 0
        self._held: HeldLock | None = None
        worth = worktrees >= WORTH_WORKTREES + machine.processors()
        self._state = _State.WANTED if worth else _State.NOT_TO_BE_HAD

    def objects(self) -> Path | None:
        """The object directory to check out from; `None`: the repository's own. Called in the turn of a checkout."""
        with self._lock:
            self._turns += 1
            if self._state is not _State.WANTED or self._turns == 1:
                return self._place / "objects" if self._state is _State.READY else None
            self._state = _State.UNDER_WAY
        state = _State.NOT_TO_BE_HAD
        try:
            if self._is_worth_it():
                self._write()
                state = _State.READY
        except (ArchitectParallelError, OSError, ValueError):
            _log.info("no unpacked base", exc_info=True)
        with self._lock:
            self._state = state
        return self._place / "objects" if state is _State.READY else None

    def spoiled(self) -> None:
        """A checkout from it failed: nobody uses it any more."""
        with self._lock:
            self._state = _State.NOT_TO_BE_HAD

    def close(self) -> None:
        """Takes it away; nobody may be checking out any more."""
        self.spoiled()
        if self._held is not None:
            _remove(self._place)
            self._held.release()

    def _is_worth_it(self) -> bool:
        git = self._repository.store
        if git.ok("config", "--get", "extensions.partialClone"):
            return False  # it would fetch what is absent
        if "\n" in os.fspath(self._repository.common_dir):
            return False  # no alternate can be named so
        sizes = (field.split(None, 4)[3] for field in git.run("ls-tree", "-r", "-l", "-z", self.base_commit).fields)
        wanted = sum(int(size) for size in sizes if size != "-")
        return WORTH_BYTES <= wanted <= min(MOST_BYTES, machine.free_disk_bytes(self._repository.common_dir) // 4)

    def _write(self) -> None:
        make_private_dir(self._place.parent)
        _sweep(self._place.parent)
        self._held = HeldLock.try_acquire(_lock_of(self._place))
        objects = self._place / "objects"
        make_private_dir(objects / "info")
        make_private_dir(objects / "pack")
        (objects / "info" / "alternates").write_bytes(alternate_of(self._repository))
        git = self._repository.store
        # The commit and its trees too: git goes on looking where it found the last object.
        words = ("rev-list", "--objects", "--no-walk", "--no-object-names", self.base_commit)
        listed = git.run(*words).stdout
        git.run(
            "pack-objects", "-q", "--window=0", "--no-reuse-object", "--no-reuse-delta", objects / "pack" / "pack",
            input=listed, settings=_SETTINGS,
        )  # fmt: skip


def check_out(worktree: Path, base: UnpackedBase | None) -> None:
    """Writes the files of a fresh worktree's HEAD, sparse patterns respected.

    Raises:
        GitError: A full disk, a filter that fails.
    """
    words = ("reset", "--hard", "--quiet", "--no-recurse-submodules")
    objects = base.objects() if base is not None else None
    if base is not None and objects is not None:
        if Git(cwd=worktree, object_directory=objects).run(*words, check=False).code == 0:
            return
        base.spoiled()
    Git(cwd=worktree).run(*words)


def _sweep(folder: Path) -> None:
    """Takes away what killed launchers left."""
    for name in names(folder):
        if not name.endswith(".lock") and not is_locked(_lock_of(folder / name)):
            _remove(folder / name)


def _remove(place: Path) -> None:
    with contextlib.suppress(OSError):
        delete_tree(place)
    with contextlib.suppress(OSError):
        _lock_of(place).unlink(missing_ok=True)


def _lock_of(place: Path) -> Path:
    return place.with_name(f"{place.name}.lock")
