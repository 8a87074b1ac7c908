"""What an agent may leave outside its branch and tree: refs, stashes, altered settings of the repository.

Two looks, one before the agent ran and one after; the second says what is different. It judges nothing and changes
nothing: several workers and the user share these places, so a difference is named, not ascribed. Files are read as
data; the git commands only read refs and reflogs.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from architect_parallel.repository.checkouts import checkouts
from architect_parallel.repository.heads import read_reflog
from architect_parallel.system.git import Repository
from architect_parallel.text.quantities import summarize

NOT_WATCHED = (
    *("refs/architect/", "refs/heads/architect/parallel-", "refs/heads/architect/merged-"),
    *("refs/remotes/", "refs/prefetch/", "refs/stash"),
)
"""Ours, other workers', or moved by any fetch. `refs/stash` is looked at through its reflog."""
_SETTINGS = (
    *("config", "config.worktree", "shallow", "objects/info/alternates", "objects/info/http-alternates"),
    *("rebase-apply", "rebase-merge", "sequencer"),
)
_WRITTEN_BY_GC = ("info/refs",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refs:
    """All refs of a repository."""

    oids: Mapping[str, str]
    checkouts: Mapping[str, tuple[Path, ...]]
    """Ref → paths of the checkouts that have it."""


def read_refs(repository: Repository) -> Refs:
    """The refs as they are; one process.

    Raises:
        GitError: The repository cannot be read (its configuration is broken, say).
    """
    output = repository.store.run("for-each-ref", "--format=%(objectname) %(refname)")
    oids = {}
    for line in output.stdout.split(b"\n")[:-1]:
        oid, _, ref = os.fsdecode(line).partition(" ")
        oids[ref] = oid
    places = {
        f"refs/heads/{branch}": tuple(checkout.path for checkout in found)
        for branch, found in checkouts(repository).items()
    }
    return Refs(oids=oids, checkouts=places)


def watched(refs: Refs) -> dict[str, str]:
    """The refs no worker has business with."""
    return {ref: oid for ref, oid in refs.oids.items() if not ref.startswith(NOT_WATCHED)}


def ref_warnings(before: Mapping[str, str], after: Mapping[str, str], moved_here: frozenset[str]) -> list[str]:
    """What happened to watched refs meanwhile. `moved_here`: commits this worktree's HEAD has been at.

    A ref that moved is only named when it moved to such a commit: users commit on their branches meanwhile.
    """
    new = [ref for ref in after if ref not in before]
    gone = [ref for ref in before if ref not in after]
    moved = [ref for ref in before if after.get(ref, before[ref]) != before[ref] and after[ref] in moved_here]
    said = (("appeared", new), ("disappeared", gone), ("moved", moved))
    return [f"while it ran, {summarize(sorted(refs))} {what}" for what, refs in said if refs]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stash:
    """One entry of the stash list, which all worktrees share."""

    oid: str
    message: str
    """`WIP on <branch>: …` or `On <branch>: …`."""

    def is_of(self, branch: str) -> bool:
        """Whether it was made on this branch, or on a detached HEAD (which may be any worktree's)."""
        return any(f"n {name}:" in self.message for name in (branch, "(no branch)"))


def stashes(repository: Repository) -> tuple[Stash, ...]:
    """The stash list, oldest first, by its reflog."""
    return tuple(Stash(oid=oid, message=message) for oid, message in read_reflog(repository.common_dir, "refs/stash"))


def head_commits(admin_dir: Path) -> frozenset[str]:
    """Every commit the worktree's HEAD has been at, by its reflog."""
    return frozenset(oid for oid, _ in read_reflog(admin_dir, "HEAD"))


def visited_branches(admin_dir: Path) -> frozenset[str]:
    """Short names of the branches (or commits) the worktree's HEAD was moved to by a checkout, by its reflog."""
    messages = (message for _, message in read_reflog(admin_dir, "HEAD"))
    return frozenset(text.rpartition(" to ")[2] for text in messages if text.startswith("checkout: moving from "))


def surroundings(repository: Repository) -> dict[str, str]:
    """Digest of each file by which git can be made to run or do something else, by its path."""
    paths = (repository.common_dir / name for name in setting_files(repository))
    return {os.fspath(path): _digest(path) for path in paths if os.path.lexists(path)}


def setting_files(repository: Repository) -> list[str]:
    """Those files, relative to the common directory, sorted: settings, hooks, `info/*`, the same of submodules, and
    operations under way. Some may not be there."""
    common = repository.common_dir
    found = {*_SETTINGS, *_hooks(common, ""), *(f"info/{name}" for name in _names(common / "info"))}
    pending = [f"modules/{name}" for name in _names(common / "modules")]
    while pending:
        module = pending.pop()
        if (common / module / "HEAD").exists():
            found |= {f"{module}/config", *_hooks(common, f"{module}/")}
            pending += [f"{module}/modules/{name}" for name in _names(common / module / "modules")]
        else:  # a submodule's name may have slashes
            pending += [f"{module}/{name}" for name in _names(common / module)]
    return sorted(found - set(_WRITTEN_BY_GC))


def _hooks(common: Path, prefix: str) -> set[str]:
    return {f"{prefix}hooks/{name}" for name in _names(common / prefix / "hooks") if not name.endswith(".sample")}


def _names(directory: Path) -> list[str]:
    try:
        return os.listdir(directory)
    except OSError:
        return []


def surrounding_warnings(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """Names what of it is not as it was."""
    changed = sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))
    return [f"{path} changed while it ran: look at it before you run git there" for path in changed]


def excludes(repository: Repository, own: Sequence[bytes]) -> str:
    """Digest of `info/exclude` without the lines that are the launcher's own."""
    lines = _content(repository.common_dir / "info" / "exclude").split(b"\n")
    return hashlib.sha256(b"\n".join(line for line in lines if line and line not in own)).hexdigest()


def _digest(path: Path) -> str:
    found = path.lstat()
    mode = stat.S_IFMT(found.st_mode) | (found.st_mode & 0o111)
    return f"{mode:o} {hashlib.sha256(_content(path)).hexdigest()}"


def _content(path: Path) -> bytes:
    """What a regular file holds; nothing for anything else (a FIFO would never end)."""
    try:
        return path.read_bytes() if stat.S_ISREG(path.stat().st_mode) else b""
    except OSError:
        return b""
