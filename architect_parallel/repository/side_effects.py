"""Find side effects outside a worker's branch and tree: refs, stashes, changed settings of the repository.

The state before the agent ran is compared with the state after. Nothing is judged and nothing changes. Several workers
and the user share these places, so warnings name a difference, not its author. Files are read as data, and git commands
only read refs and reflogs.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from architect_parallel.repository import registry
from architect_parallel.repository.heads import read_reflog
from architect_parallel.repository.ownership import DEFAULT_BRANCHES, branches_of_runs
from architect_parallel.system.files import names
from architect_parallel.system.git import Repository
from architect_parallel.text.quantities import summarize

NOT_WATCHED = (
    *("refs/architect/", *DEFAULT_BRANCHES),
    *("refs/remotes/", "refs/prefetch/", "refs/stash"),
)
"""Refs of this program, of other workers, or moved by any fetch. `refs/stash` is read through its reflog."""
_SETTINGS = (
    *("config", "config.worktree", "shallow", "objects/info/alternates", "objects/info/http-alternates"),
    *("rebase-apply", "rebase-merge", "sequencer", "MERGE_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD", "BISECT_START"),
)
_WRITTEN_BY_GC = ("info/refs",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refs:
    """All refs of a repository."""

    oids: Mapping[str, str]
    of_runs: frozenset[str] = frozenset()
    """Full names of the branches that runs made."""


def read_refs(repository: Repository) -> Refs:
    """Read all refs. The owner refs are read last, so that no worker's new branch is without its owner.

    Raises:
        GitError: The repository cannot be read (its configuration is broken, say).
    """
    output = repository.store.run("for-each-ref", "--format=%(objectname) %(refname)")
    oids = {}
    for line in output.stdout.split(b"\n")[:-1]:
        oid, _, ref = os.fsdecode(line).partition(" ")
        oids[ref] = oid
    return Refs(oids=oids, of_runs=branches_of_runs(repository))


def watched(refs: Refs) -> dict[str, str]:
    """The refs that no worker should change."""
    oids = refs.oids.items()
    return {ref: oid for ref, oid in oids if not ref.startswith(NOT_WATCHED) and ref not in refs.of_runs}


def ref_warnings(before: Mapping[str, str], after: Mapping[str, str], moved_here: frozenset[str]) -> list[str]:
    """Warnings about watched refs that changed.

    Args:
        moved_here: Commits at which this worktree's HEAD has been. A ref that moved is named only if it moved to such a
            commit, because users commit on their branches during a run.
    """
    new = [ref for ref in after if ref not in before]
    gone = [ref for ref in before if ref not in after]
    moved = [ref for ref in before if after.get(ref, before[ref]) != before[ref] and after[ref] in moved_here]
    events = (("appeared", new), ("disappeared", gone), ("moved", moved))
    return [f"while it ran, {summarize(sorted(refs))} {event}" for event, refs in events if refs]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stash:
    """One entry of the stash list, which all worktrees share."""

    oid: str
    message: str
    """`WIP on <branch>: …` or `On <branch>: …`."""

    def is_of(self, branch: str) -> bool:
        """Return whether it was made on this branch, or on a detached HEAD, which may be any worktree's."""
        return any(f"n {name}:" in self.message for name in (branch, "(no branch)"))


def stashes(repository: Repository) -> tuple[Stash, ...]:
    """The stash list, oldest first, by its reflog."""
    return tuple(Stash(oid=oid, message=message) for oid, message in read_reflog(repository.common_dir, "refs/stash"))


def head_commits(admin_dir: Path) -> frozenset[str]:
    """Every commit at which the worktree's HEAD has been, by its reflog."""
    return frozenset(oid for oid, _ in read_reflog(admin_dir, "HEAD"))


def visited_branches(admin_dir: Path) -> frozenset[str]:
    """Short names of the branches (or commits) that were checked out in the worktree, by HEAD's reflog."""
    messages = (message for _, message in read_reflog(admin_dir, "HEAD"))
    return frozenset(text.rpartition(" to ")[2] for text in messages if text.startswith("checkout: moving from "))


def surroundings(repository: Repository, hooks: Path | None = None) -> dict[str, str]:
    """Digests of the files that can change what git does or runs, by path.

    Args:
        hooks: The directory that `core.hooksPath` names. `None` means that there is none.
    """
    paths = [repository.common_dir / name for name in setting_files(repository)]
    paths += [] if hooks is None else [hooks / name for name in names(hooks)]
    return {os.fspath(path): _digest(path) for path in paths if os.path.lexists(path)}


def setting_files(repository: Repository) -> list[str]:
    """The files that can change what git does or runs, relative to the common directory, sorted.

    They are settings, hooks and `info/*`, the same of submodules, settings of the user's other worktrees, and
    operations in progress. Some may be missing.
    """
    common = repository.common_dir
    files = {*_SETTINGS, *_below(common, "info"), *_hooks(common, "")}
    for admin in registry.admin_dirs(repository):
        if registry.marked_run(admin) is None:
            files.add(f"worktrees/{admin.name}/config.worktree")
    pending = [f"modules/{name}" for name in names(common / "modules")]
    while pending:
        module = pending.pop()
        if (common / module / "HEAD").exists():
            files |= {f"{module}/{name}" for name in ("config", "config.worktree", "objects/info/alternates")}
            files |= {*_below(common, f"{module}/info"), *_hooks(common, f"{module}/")}
            pending += [f"{module}/modules/{name}" for name in names(common / module / "modules")]
        else:  # a submodule's name may have slashes
            pending += [f"{module}/{name}" for name in names(common / module)]
    return sorted(files - set(_WRITTEN_BY_GC))


def _below(common: Path, directory: str) -> set[str]:
    return {f"{directory}/{name}" for name in names(common / directory)}


def _hooks(common: Path, prefix: str) -> set[str]:
    return {path for path in _below(common, f"{prefix}hooks") if not path.endswith(".sample")}


def surrounding_warnings(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """Warnings about the files that changed."""
    changed = sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))
    return [f"{path} changed while it ran: look at it before you run git there" for path in changed]


def excludes(repository: Repository, own: Sequence[bytes]) -> str:
    """A digest of `info/exclude` without this program's own lines."""
    lines = _content(repository.common_dir / "info" / "exclude").split(b"\n")
    return hashlib.sha256(b"\n".join(line for line in lines if line and line not in own)).hexdigest()


def _digest(path: Path) -> str:
    status = path.lstat()
    mode = stat.S_IFMT(status.st_mode) | (status.st_mode & 0o111)
    return f"{mode:o} {hashlib.sha256(_content(path)).hexdigest()}"


def _content(path: Path) -> bytes:
    """The content of a regular file. Anything else counts as empty, because reading a FIFO would block."""
    try:
        return path.read_bytes() if stat.S_ISREG(path.stat().st_mode) else b""
    except OSError:
        return b""
