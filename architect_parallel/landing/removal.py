"""Save and remove one worker's worktree and branch, without losing anything."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from architect_parallel.domain import WorkerSpec
from architect_parallel.errors import ArchitectParallelError, EnvironmentProblem
from architect_parallel.journal import Journal
from architect_parallel.landing.inventory import Leftover
from architect_parallel.landing.worktree_content import head_commit, holds_filtered, private_of, read_tree
from architect_parallel.repository.heads import head_branch
from architect_parallel.repository.ownership import owner_ref
from architect_parallel.repository.registry import (
    admin_dir_of,
)
from architect_parallel.snapshots.baseline import OWN
from architect_parallel.snapshots.hidden_files import Hidden, commit_hidden
from architect_parallel.snapshots.keep_refs import keep
from architect_parallel.snapshots.nested_repositories import keep_all_nested
from architect_parallel.snapshots.put_aside import put_aside
from architect_parallel.system.git import Git, Repository
from architect_parallel.worktrees.remove import branch_settings, delete_branch, recover, remove_worktree


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A leftover and the parts of it to remove."""

    leftover: Leftover
    worktree: bool
    branch: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Stays:
    """Something that is kept, and the reason."""

    run_id: str
    worker_id: int | None
    """`None` means the whole run."""
    what: str
    """`run`, `worktree` or `branch`."""
    name: str
    """The run's id, the worktree's path or the branch's short name."""
    reason: str
    hint: str | None = None
    """A command to type. `None` means that there is none."""
    failed: bool = False
    """It was to be removed, but removing it failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """The parts of one worker that a cleanup removes, with all that `undo` needs to restore them. Stored in the
    journal.
    """

    run_id: str
    worker_id: int
    """0 for the integration of a merge, here and in `number`."""
    number: int
    branch: str
    worktree_path: str | None
    """`None` means that no worktree is removed, or only an incomplete one."""
    head: str | None = None
    """Commit that the worktree was on."""
    on_branch: str | None = None
    """Branch that the worktree was on. `None` means a detached HEAD."""
    content: str | None = None
    """Commit with the worktree's content, if that differed from `head`."""
    index_tree: str | None = None
    """Tree of the worktree's index, if that differed from `head`."""
    tip: str | None = None
    """Commit of the branch. `None` means that the branch is not removed."""
    settings: tuple[tuple[str, str], ...] = ()
    """Configuration of the branch, if the branch is removed."""
    kept: tuple[str, ...] = ()
    """Refs that hold all this. The ref of a submodule's git directory has that directory and a colon in front."""
    aside: str | None = None
    """Directory with files that may not be put into git because their filter could not be run. `None` means no such
    file.
    """
    left_out: tuple[str, ...] = ()
    """The paths of those files."""


def stays_of(left: Leftover, what: str, name: str, reason: str, hint: str | None = None, failed: bool = False) -> Stays:
    return Stays(
        run_id=left.run_id, worker_id=left.spec.worker_id, what=what, name=name, reason=reason, hint=hint, failed=failed
    )


class _Changed(ArchitectParallelError):
    """Something differs from the plan."""


def keep_item(repository: Repository, journal: Journal, item: Item) -> Removal:
    """Look again and save everything that is to be removed under keep refs."""
    left = item.leftover
    spec = left.spec
    head, content, index_tree, admin_dir, aside = None, None, None, None, None
    commits = []
    if item.worktree and not left.debris and left.path is not None:
        admin_dir = admin_dir_of(repository, left.path)
        if (
            admin_dir is None
            or (head := head_commit(repository, admin_dir)) is None
            or (head, head_branch(admin_dir)) != (left.head, left.on_branch)
            or read_tree(repository, journal, left.run_id, spec, left.path, admin_dir) != left.content
        ):
            raise _Changed("it has changed meanwhile", hint="architect parallel-cleanup")
        index_tree = _index_tree(repository, admin_dir, head)
        if index_tree and holds_filtered(
            repository, journal, left.run_id, spec, left.path, admin_dir, index_tree, known=(head, left.tree or head)
        ):
            index_tree = None  # it may be in plain form there
        if left.dirty or index_tree:
            content = _content(repository, left, index_tree)
        commits.append(content or head)
        if left.left_out:
            place = journal.run_dir(left.run_id) / "aside" / f"worker-{spec.worker_id}"
            aside = str(put_aside(left.path, left.left_out, place))
    tip = left.tip if item.branch else None
    if tip is not None and tip != head:  # else the worktree's state stands on it
        commits.append(tip)
    refs = [keep(repository, commit, left.run_id, spec.number) for commit in dict.fromkeys(commits)]
    if admin_dir is not None and left.path is not None:
        refs += keep_hidden(repository, journal, left, left.path, admin_dir, head or left.spec.base_commit)
        refs += keep_all_nested(repository, left.path, admin_dir, left.run_id, spec.number)
    return Removal(
        run_id=left.run_id,
        worker_id=spec.worker_id,
        number=spec.number,
        branch=spec.branch,
        worktree_path=str(left.path) if head is not None else None,
        head=head,
        on_branch=left.on_branch,
        content=content,
        index_tree=index_tree,
        tip=tip,
        kept=tuple(refs),
        aside=aside,
        left_out=left.left_out if aside else (),
        settings=branch_settings(repository, spec.branch) if tip is not None else (),
    )


def _content(repository: Repository, left: Leftover, index_tree: str | None) -> str:
    """Make a commit of the worktree's content on top of its HEAD. As in a stash, its second parent is the index."""
    parents = [left.head or ""]

    def commit(tree: str, what: str) -> str:
        words = [word for parent in parents for word in ("-p", parent)]
        message = f"architect: {what} of {left.spec.branch} of run {left.run_id}\n".encode()
        return repository.store.run("commit-tree", tree, *words, "-F", "-", input=message, env=OWN.environment).text

    if index_tree is not None:
        parents.append(commit(index_tree, "index"))
    return commit(left.tree or "", "uncommitted state")


def _index_tree(repository: Repository, admin_dir: Path, head: str) -> str | None:
    """The tree of the worktree's index. `None` means that it equals `head` or has conflicts."""
    with tempfile.TemporaryDirectory(prefix="cleanup-", dir=repository.state_dir) as folder:
        index = Path(folder) / "index"
        with contextlib.suppress(OSError):
            shutil.copy2(admin_dir / "index", index)
        git = Git(cwd=repository.common_dir, git_dir=repository.common_dir, index_file=index)
        output = git.run("write-tree", check=False)
    if output.code != 0 or output.text == repository.store.resolve(f"{head}^{{tree}}"):
        return None
    return output.text


def remove_item(repository: Repository, item: Item, intended: Removal, stays: list[Stays]) -> Removal:
    """Remove one worker's worktree, then its branch. Return what was really removed."""
    left = item.leftover
    spec = left.spec
    tip = intended.tip
    if item.worktree and left.path is not None:
        if left.debris:
            recover(repository, path=left.path, branch=spec.branch, base_commit=spec.base_commit, run_id=left.run_id)
            if left.path.exists():
                stays.append(stays_of(left, "worktree", str(left.path), "something is in it", f"look at {left.path}"))
                tip = None
        else:
            remove_worktree(repository, path=left.path, branch=spec.branch, run_id=left.run_id)
    if tip is not None and (why := delete_branch(repository, spec.branch, tip)) is not None:
        stays.append(stays_of(left, "branch", spec.branch, why, failed=True))
        tip = None
    return replace(intended, tip=tip)


def remove_leftover(repository: Repository, journal: Journal, left: Leftover) -> list[str]:
    """Save and remove one leftover with its branch in any state. Return why a part of it is kept.

    Raises:
        ArchitectParallelError: It could not be kept, or not be removed.
    """
    if left.path is not None and left.worktree_stays is not None and not left.forcible:
        raise EnvironmentProblem(f"worktree {left.path} stays: {left.worktree_stays}", hint=left.hint)
    item = Item(leftover=left, worktree=left.path is not None, branch=left.tip is not None)
    stays: list[Stays] = []
    remove_item(repository, item, keep_item(repository, journal, item), stays)
    return [f"{stay.what} {stay.name} stays: {stay.reason}" for stay in stays]


def forget_branch(repository: Repository, spec: WorkerSpec) -> None:
    """Save what the run left on a branch that somebody deleted, and drop the record of the branch."""
    if not spec.branch or repository.store.resolve(f"refs/heads/{spec.branch}") is not None:
        return
    ref = owner_ref(spec.run_id, spec.branch)
    commit = repository.store.resolve(ref)
    if commit is not None:
        if commit != spec.base_commit:
            keep(repository, commit, spec.run_id, spec.number)
        repository.store.run("update-ref", "-d", ref, commit)


def keep_hidden(
    repository: Repository, journal: Journal, left: Leftover, path: Path, admin_dir: Path, head: str
) -> list[str]:
    """Save the files that only the agent's own ignore rules hide. Return the refs, or an empty list.

    Raises:
        ArchitectParallelError: They cannot be kept.
    """
    hidden = left.content.hidden if left.content is not None else Hidden()
    if not hidden.files:
        return []
    with private_of(repository, journal, left.run_id, left.spec, path, admin_dir) as private:
        commit = commit_hidden(private, hidden, head)
    return [keep(repository, commit, left.run_id, left.spec.number, "hidden")] if commit else []
