"""Removing what ended runs left behind, losing nothing: plan → show → execute.

May take only what `leftovers` proves to be a run's own. The order within `execute` is the safety: the run's lock is
taken, so that nobody resumes it meanwhile; everything is looked at again and stands under `refs/architect/keep/`; the
intent is in the journal; only then worktrees go, then branches, by compare-and-swap. Killed at any point, what is gone
can be restored by `undo` and what is left is found by the next cleanup.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from architect_parallel.domain import Role, Status, WorkerSpec
from architect_parallel.errors import ArchitectParallelError, EnvironmentProblem
from architect_parallel.journal import Journal
from architect_parallel.journal.replay import replay
from architect_parallel.landing.inventory import (
    Leftover,
    head_commit,
    holds_filtered,
    keep_hidden,
    leftovers,
    read_tree,
    still_running,
)
from architect_parallel.repository.heads import head_branch
from architect_parallel.repository.ownership import owner_ref
from architect_parallel.repository.registry import (
    INITIALIZING,
    Mismatch,
    admin_dir_of,
    admin_dirs,
    delete_tree,
    lock_reason,
    marked_run,
    mismatch,
    names,
    registered_path,
)
from architect_parallel.snapshots.baseline import OWN
from architect_parallel.snapshots.filtered_paths import put_aside
from architect_parallel.snapshots.keep_refs import keep
from architect_parallel.snapshots.nested_repositories import keep_all_nested
from architect_parallel.system.git import Git, Repository
from architect_parallel.worktrees import worker_repository
from architect_parallel.worktrees.remove import branch_settings, delete_branch, recover, remove_worktree
from architect_parallel.worktrees.temporary import find_temporary_worktree, remove_temporary_worktree


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A leftover and what shall go of it."""

    leftover: Leftover
    worktree: bool
    branch: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Stays:
    """Something that does not go, and why."""

    run_id: str
    worker_id: int | None
    """`None`: the whole run."""
    what: str
    """`run`, `worktree` or `branch`."""
    name: str
    """The run's id, the worktree's path or the branch's short name."""
    reason: str
    hint: str | None = None
    """What to type; `None`: nothing special."""
    failed: bool = False
    """It could have gone, but removing it failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scratch:
    """The tree a killed launcher checked the base commit in; nobody's work, so it goes without being kept."""

    run_id: str
    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanupPlan:
    """A decided cleanup; nothing has been removed."""

    items: tuple[Item, ...]
    stays: tuple[Stays, ...]
    force: bool
    scratch: tuple[Scratch, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """What goes (or went) of one worker, and all that `undo` needs to bring it back; kept in the journal."""

    run_id: str
    worker_id: int
    """0: what a merge of several made, here and in `number`."""
    number: int
    branch: str
    worktree_path: str | None
    """`None`: no worktree goes, or only debris."""
    head: str | None = None
    """Commit the worktree was on."""
    on_branch: str | None = None
    """Branch the worktree was on; `None`: detached."""
    content: str | None = None
    """Commit with the worktree's content where it was not that of `head`."""
    index_tree: str | None = None
    """Tree of its index where that was not that of `head`."""
    tip: str | None = None
    """Where the branch stood; `None`: the branch does not go."""
    settings: tuple[tuple[str, str], ...] = ()
    """What the configuration says of the branch, if that goes."""
    kept: tuple[str, ...] = ()
    """Refs that hold all this; one of a submodule's git directory begins with the directory and a colon."""
    aside: str | None = None
    """Directory with files that may not be put into git, because their filter could not be run; `None`: none."""
    left_out: tuple[str, ...] = ()
    """The paths of those files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanupOutcome:
    """What has gone and what has not."""

    removed: tuple[Removal, ...]
    stays: tuple[Stays, ...]
    scratch: tuple[Scratch, ...] = ()


def plan_cleanup(
    repository: Repository,
    journal: Journal,
    *,
    run: str | None = None,
    force: bool = False,
    keep_branches: bool = False,
) -> CleanupPlan:
    """Decides what of the ended runs (of one: `run`) may go. With `force` also what is dirty or unmerged.

    Raises:
        NothingToDo: There is no run `run`.
    """
    items: list[Item] = []
    stays: list[Stays] = []
    scratch: list[Scratch] = []
    runs = [journal.find(run)] if run is not None else journal.run_ids()
    for run_id in runs:
        if journal.is_live(run_id):
            stays += _live(repository, journal, run_id)
            continue
        if (path := find_temporary_worktree(repository, run_id)) is not None:
            if (found := _scratch_stays(repository, path)) is None:
                scratch.append(Scratch(run_id=run_id, path=path))
            else:
                stays.append(
                    Stays(run_id=run_id, worker_id=None, what="worktree", name=str(path), reason=found.reason,
                          hint=found.hint)
                )  # fmt: skip
        for left in leftovers(repository, journal, run_id):
            item, reasons = _decided(left, force=force, keep_branches=keep_branches)
            stays += reasons
            if item.worktree or item.branch:
                items.append(item)
    if run is None:
        stays += _unknown(repository, runs)
    return CleanupPlan(items=tuple(items), stays=tuple(stays), force=force, scratch=tuple(scratch))


def settle_runs(repository: Repository, journal: Journal, run: str | None = None) -> list[str]:
    """Take over what killed launchers left in worker repositories, so that `plan_cleanup` sees it in the worktrees.

    Returns:
        A line for each worker whose commits cannot be taken over; its worktree then stays.

    Raises:
        NothingToDo: There is no run `run`.
    """
    problems = []
    for run_id in [journal.find(run)] if run is not None else journal.run_ids():
        place = journal.run_dir(run_id) / worker_repository.DIRECTORY
        if not names(place) or (lock := journal.hold(run_id)) is None:
            continue
        try:
            recorded = journal.recorded(run_id)
            running = still_running(recorded)
            for spec in replay(recorded, live=False).planned:
                if spec.branch and spec.worker_id not in running:
                    try:
                        worker_repository.settle(repository, journal.run_dir(run_id), spec)
                    except ArchitectParallelError as error:
                        what = f"the commits of worker {spec.worker_id} of run {run_id} stay in {place}"
                        problems.append(f"{what}: {error.message}")
            if not any(name.startswith("worker-") and not name.endswith((".new", ".refs")) for name in names(place)):
                delete_tree(place)  # what is left is of checks, or was never finished
        finally:
            lock.release()
    return problems


def _live(repository: Repository, journal: Journal, run_id: str) -> list[Stays]:
    """The run and each worktree it has."""
    hint, reason = f"architect cancel {run_id}", "it is still going on"
    ids = {
        spec.worktree_path: spec.worker_id for spec in replay(journal.recorded(run_id, files=False), live=True).planned
    }
    return [
        Stays(run_id=run_id, worker_id=None, what="run", name=run_id, reason=reason, hint=hint),
        *(
            Stays(run_id=run_id, worker_id=ids.get(path), what="worktree", name=path, hint=hint,
                  reason="its run is still going on")
            for path in _marked(repository, run_id)
        ),
    ]  # fmt: skip


def _marked(repository: Repository, run_id: str | None = None) -> dict[str, str]:
    """Path → run of the existing worktrees whose registration names a run (the run `run_id`)."""
    found = {}
    for admin in admin_dirs(repository):
        path, marked = registered_path(admin), marked_run(admin)
        if path is None or marked is None or run_id not in (None, marked) or not path.exists():
            continue
        if mismatch(repository, path) is None:  # in a copied repository it is the original's
            found[str(path)] = marked
    return found


def _unknown(repository: Repository, known: Collection[str]) -> list[Stays]:
    """Worktrees of runs that the journal does not have."""
    return [
        Stays(run_id=run_id, worker_id=None, what="worktree", name=path, hint=f"git worktree remove {path}",
              reason=f"the journal has no run {run_id}")
        for path, run_id in _marked(repository).items()
        if run_id not in known
    ]  # fmt: skip


def _decided(left: Leftover, *, force: bool, keep_branches: bool) -> tuple[Item, list[Stays]]:
    goes = left.path is not None and (left.worktree_stays is None or (force and left.forcible))
    if left.path is not None and not goes:
        return Item(leftover=left, worktree=False, branch=False), [_worktree_stays(left, force=force)]
    branch = left.tip is not None and not keep_branches and (left.branch_stays is None or force)
    stays = []
    if left.tip is not None and not branch and not keep_branches:
        why = left.branch_stays or ""
        land = f"git merge {left.spec.branch}"
        if left.spec.role is not Role.INTEGRATION:
            land = f"architect merge {left.run_id} {left.spec.worker_id}"
        hint = f"{land}, or --force"
        stays.append(_stays(left, "branch", left.spec.branch, why, hint))
    return Item(leftover=left, worktree=goes, branch=branch), stays


def _worktree_stays(left: Leftover, *, force: bool) -> Stays:
    hint = left.hint or ("--force (its state is kept)" if left.forcible and not force else None)
    return _stays(left, "worktree", str(left.path), left.worktree_stays or "", hint)


def _stays(left: Leftover, what: str, name: str, reason: str, hint: str | None = None, failed: bool = False) -> Stays:
    return Stays(
        run_id=left.run_id, worker_id=left.spec.worker_id, what=what, name=name, reason=reason, hint=hint, failed=failed
    )


def execute(repository: Repository, journal: Journal, plan: CleanupPlan) -> CleanupOutcome:
    """Keeps, then removes what the plan names; whatever has changed since the plan, or fails, stays and is named.

    Raises:
        EnvironmentProblem: The journal cannot be written; nothing was removed.
    """
    stays = list(plan.stays)
    with contextlib.ExitStack() as held:
        runs = dict.fromkeys([*(item.leftover.run_id for item in plan.items), *(each.run_id for each in plan.scratch)])
        live = {run_id for run_id in runs if not _hold(journal, run_id, held)}
        stays += [each for run_id in live for each in _live(repository, journal, run_id)]
        scratch = tuple(each for each in plan.scratch if each.run_id not in live and _gone(repository, each, stays))
        decided: list[tuple[Item, Removal]] = []
        for item in plan.items:
            if item.leftover.run_id not in live:
                with _failure_stays(item.leftover, stays):
                    decided.append((item, keep_item(repository, journal, item)))
        if not decided:
            return CleanupOutcome(removed=(), stays=tuple(stays), scratch=scratch)
        run_id = next(iter(runs)) if len(runs) == 1 else None
        operation = journal.begin_operation("cleanup", run_id, {"removals": [asdict(each) for _, each in decided]})
        removed = []
        for item, intended in decided:
            done = None
            with _failure_stays(item.leftover, stays):
                done = remove_item(repository, item, intended, stays)
            gone = done or _gone_of(repository, intended)
            if gone.worktree_path is not None or gone.tip is not None or (done is not None and item.leftover.debris):
                removed.append(gone)
        if removed:
            journal.finish_operation(operation, {"removals": [asdict(each) for each in removed]})
        else:
            journal.withdraw_operation(operation)
        for run_id in runs:
            if run_id not in live:
                _remove_bulk(repository, journal, run_id)
    return CleanupOutcome(removed=tuple(removed), stays=tuple(stays), scratch=scratch)


def _gone_of(repository: Repository, intended: Removal) -> Removal:
    """What has gone of a removal that failed on the way, for an undo to bring back."""
    path, tip = intended.worktree_path, intended.tip
    return replace(
        intended,
        worktree_path=None if path is None or os.path.lexists(path) else path,
        tip=None if tip is None or repository.store.resolve(f"refs/heads/{intended.branch}") is not None else tip,
    )


def _scratch_stays(repository: Repository, path: Path) -> Mismatch | None:
    admin = admin_dir_of(repository, path)
    reason = lock_reason(admin) if admin is not None else None
    if reason is not None and reason != INITIALIZING:
        return Mismatch(reason=f"it is locked: {reason or 'no reason given'}", hint=f"git worktree unlock {path}")
    return mismatch(repository, path)


def _gone(repository: Repository, scratch: Scratch, stays: list[Stays]) -> bool:
    try:
        remove_temporary_worktree(repository, scratch.run_id)
    except (ArchitectParallelError, OSError) as error:
        what, name = "worktree", str(scratch.path)
        stays.append(Stays(run_id=scratch.run_id, worker_id=None, what=what, name=name, reason=str(error), failed=True))
        return False
    return True


def _hold(journal: Journal, run_id: str, held: contextlib.ExitStack) -> bool:
    lock = journal.hold(run_id)
    if lock is not None:
        held.callback(lock.release)
    return lock is not None


@contextlib.contextmanager
def _failure_stays(left: Leftover, stays: list[Stays]) -> Iterator[None]:
    """One worker's removal that fails does not stop the others'."""
    try:
        yield
    except (ArchitectParallelError, OSError) as error:
        message = error.message if isinstance(error, ArchitectParallelError) else str(error)
        hint = error.hint if isinstance(error, ArchitectParallelError) else None
        what, name = ("worktree", str(left.path)) if left.path else ("branch", left.spec.branch)
        stays.append(_stays(left, what, name, message, hint, failed=True))


class _Changed(ArchitectParallelError):
    """What was planned is not what is there any more."""


def keep_item(repository: Repository, journal: Journal, item: Item) -> Removal:
    """Looks again and puts everything that goes under keep refs."""
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
        run_id=left.run_id, worker_id=spec.worker_id, number=spec.number, branch=spec.branch,
        worktree_path=str(left.path) if head is not None else None, head=head, on_branch=left.on_branch,
        content=content, index_tree=index_tree, tip=tip, kept=tuple(refs), aside=aside,
        left_out=left.left_out if aside else (),
        settings=branch_settings(repository, spec.branch) if tip is not None else (),
    )  # fmt: skip


def _content(repository: Repository, left: Leftover, index_tree: str | None) -> str:
    """A commit of the worktree's content on top of its HEAD; its second parent, as in a stash, is its index."""
    parents = [left.head or ""]

    def commit(tree: str, what: str) -> str:
        words = [word for parent in parents for word in ("-p", parent)]
        message = f"architect: {what} of {left.spec.branch} of run {left.run_id}\n".encode()
        return repository.store.run("commit-tree", tree, *words, "-F", "-", input=message, env=OWN.environment).text

    if index_tree is not None:
        parents.append(commit(index_tree, "index"))
    return commit(left.tree or "", "uncommitted state")


def _index_tree(repository: Repository, admin_dir: Path, head: str) -> str | None:
    """Tree of the worktree's index; `None`: as in `head`, or in the middle of a conflict."""
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
    """Removes one worker's worktree, then its branch; returns what has really gone."""
    left = item.leftover
    spec = left.spec
    tip = intended.tip
    if item.worktree and left.path is not None:
        if left.debris:
            recover(
                repository, path=left.path, branch=spec.branch, base_commit=spec.base_commit, run_id=left.run_id
            )  # fmt: skip
            if left.path.exists():
                stays.append(_stays(left, "worktree", str(left.path), "something is in it", f"look at {left.path}"))
                tip = None
        else:
            remove_worktree(repository, path=left.path, branch=spec.branch, run_id=left.run_id)
    if tip is not None and (why := delete_branch(repository, spec.branch, tip)) is not None:
        stays.append(_stays(left, "branch", spec.branch, why, failed=True))
        tip = None
    return replace(intended, tip=tip)


def remove_leftover(repository: Repository, journal: Journal, left: Leftover) -> list[str]:
    """Keeps and removes one leftover with its branch, whatever state it is in; why something of it stays, in words.

    Raises:
        ArchitectParallelError: It could not be kept, or not be removed.
    """
    if left.path is not None and left.worktree_stays is not None and not left.forcible:
        raise EnvironmentProblem(f"worktree {left.path} stays: {left.worktree_stays}", hint=left.hint)
    item = Item(leftover=left, worktree=left.path is not None, branch=left.tip is not None)
    stays: list[Stays] = []
    remove_item(repository, item, keep_item(repository, journal, item), stays)
    return [f"{each.what} {each.name} stays: {each.reason}" for each in stays]


def _forget_branch(repository: Repository, spec: WorkerSpec) -> None:
    """Where somebody deleted the run's branch, what the run left on it is kept, and the record of it goes."""
    if not spec.branch or repository.store.resolve(f"refs/heads/{spec.branch}") is not None:
        return
    ref = owner_ref(spec.run_id, spec.branch)
    commit = repository.store.resolve(ref)
    if commit is not None:
        if commit != spec.base_commit:
            keep(repository, commit, spec.run_id, spec.number)
        repository.store.run("update-ref", "-d", ref, commit)


def _remove_bulk(repository: Repository, journal: Journal, run_id: str) -> None:
    """Once no worktree of a run is left, the agents' homes and the private git directories go; logs stay.

    The private directory of a worker that did not succeed stays: after an undo, `resume` reads its tree with it.
    """
    run = replay(journal.recorded(run_id, files=False), live=False)
    if any(admin_dir_of(repository, Path(spec.worktree_path)) for spec in run.planned if spec.branch):
        return
    for spec in run.planned:
        _forget_branch(repository, spec)
    place = journal.run_dir(run_id)
    over = {str(each.worker_id) for each in run.results if each.status is Status.SUCCESS}
    spent = [place / "git" / name for name in names(place / "git") if f"{name}--".split("-")[1] in over]
    for path in [*spent, place / "state"]:
        with contextlib.suppress(OSError):
            delete_tree(path)
    with contextlib.suppress(OSError):
        (place / "git").rmdir()
        delete_tree(place / "filters")  # with the copy of git-crypt's key
