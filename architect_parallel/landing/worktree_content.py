"""The content of a worker's worktree, read through a private git directory."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from architect_parallel.domain import Role, WorkerSpec
from architect_parallel.errors import ArchitectParallelError
from architect_parallel.journal import Journal
from architect_parallel.repository import filters
from architect_parallel.repository.heads import head_branch
from architect_parallel.snapshots.hidden_files import Hidden, find_hidden
from architect_parallel.snapshots.private_git import PrivateGit
from architect_parallel.system.files import names
from architect_parallel.system.git import Repository, make_state_dir

INTEGRATION_ID = 0
"""The number of a merge's integration branch and worktree."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """The content of a worktree without ignored files."""

    tree: str
    """A tree in the object store, untracked files included."""
    changed: tuple[str, ...] = ()
    """Paths that differ from the worktree's commit."""
    left_out: tuple[str, ...] = ()
    """Files whose filter could not be run. They are not in the tree."""
    hidden: Hidden = field(default_factory=Hidden)
    """Files that only the agent's own ignore rules hide. They are not in the tree."""


def head_commit(repository: Repository, admin_dir: Path) -> str | None:
    """The commit that a worktree is on. `None` means that there is none."""
    on = head_branch(admin_dir)
    return repository.store.resolve(f"refs/heads/{on}" if on else f"worktrees/{admin_dir.name}/HEAD")


def read_tree(
    repository: Repository, journal: Journal, run_id: str, spec: WorkerSpec, path: Path, admin_dir: Path
) -> Content:
    """Read the worktree's content and compare it with the worktree's commit.

    Of a large result that is committed, the diff is empty.

    Raises:
        ArchitectParallelError, OSError: It cannot be read.
    """
    with private_of(repository, journal, run_id, spec, path, admin_dir) as private:
        head = head_commit(repository, admin_dir)
        tree = repository.store.resolve(f"{head}^{{tree}}") if head is not None else None
        hidden = Hidden() if spec.role is Role.INTEGRATION else find_hidden(private)
        if tree is not None and is_unchanged(private, tree):
            return Content(tree=tree, hidden=hidden)
        snapshot = private.write_tree(head)
        changed = tuple(change.path for change in snapshot.diff.files)
        return Content(tree=snapshot.tree, changed=changed, left_out=snapshot.left_out, hidden=hidden)


def holds_filtered(
    repository: Repository,
    journal: Journal,
    run_id: str,
    spec: WorkerSpec,
    path: Path,
    admin_dir: Path,
    tree: str,
    *,
    known: tuple[str, ...],
) -> bool:
    """Tell whether the agent's index `tree` has a filtered file that none of the `known` trees has in the same form.

    Raises:
        ArchitectParallelError, OSError: It cannot be read.
    """
    with private_of(repository, journal, run_id, spec, path, admin_dir) as private:
        if not private.facts.filters.drivers:
            return False
        other = [{change.path for change in private.diff(name, tree).files if change.status != "D"} for name in known]
        return bool(private.filtered().named(private.git, set.intersection(*other)))


def is_unchanged(private: PrivateGit, tree: str) -> bool:
    """Tell whether the worktree, its index and the last reading all equal `tree`. If so, nothing is read again.

    The answer is no in doubt: flags that hide changes, a submodule, an index with conflicts.
    """
    git = private.git
    listed = b"\0" + git.run("ls-files", "-s", "-v", "-z").stdout
    plain = listed.count(b"\0H 100") + listed.count(b"\0H 120")  # files and links without a flag
    if plain != listed.count(b"\0") - 1:
        return False
    with tempfile.TemporaryDirectory(prefix="index-", dir=private.directory.parent) as folder:
        own, last = Path(folder) / "own", Path(folder) / "last"
        shutil.copy2(private.admin_dir / "index", own)
        shutil.copy2(private.index, last)
        for index in (own, last):
            output = replace(git, index_file=index).run("write-tree", check=False)
            if output.code != 0 or output.text != tree:
                return False
        git = replace(git, index_file=last)
        if not git.ok("diff-files", "--quiet", "--ignore-submodules=all"):
            return False
        return not git.run("ls-files", "-z", "--others", "--exclude-standard", "--directory").stdout


@contextlib.contextmanager
def private_of(
    repository: Repository, journal: Journal, run_id: str, spec: WorkerSpec, path: Path, admin_dir: Path
) -> Iterator[PrivateGit]:
    """The private git directory made before the agent ran, if it belongs to this very worktree. Otherwise a new one."""
    place = journal.run_dir(run_id) / "git"
    recorded = [name for name in names(place) if name.startswith(f"worker-{spec.worker_id}-")]
    for name in sorted(recorded, key=lambda name: (len(name), name), reverse=True)[:1]:
        with contextlib.suppress(ArchitectParallelError):
            private = PrivateGit.open(place / name)
            if private.admin_dir == admin_dir and private.worktree == path:
                yield private
                return
    with tempfile.TemporaryDirectory(prefix="cleanup-", dir=make_state_dir(repository.state_dir)) as folder:
        known = filters.recorded(journal.run_dir(run_id))
        yield PrivateGit.create(repository, Path(folder) / "git", path, filters=known)
