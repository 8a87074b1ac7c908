"""Remove what ended runs left behind and lose nothing: plan, show, execute.

Only what `inventory` proves to belong to a run may be removed. The order within `execute` is the safety:

1. Take the run's lock, so that nobody resumes the run meanwhile.
2. Look at everything again and save it under `refs/architect/keep/`.
3. Record the intent in the journal.
4. Remove the worktrees, then the branches, by compare-and-swap.

After a kill at any point, `undo` restores what was removed, and the next cleanup finds what is left.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Collection, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from architect_parallel.domain import Role, Status
from architect_parallel.errors import ArchitectParallelError
from architect_parallel.journal import Journal
from architect_parallel.journal.replay import replay
from architect_parallel.landing.chosen_leftovers import LeftoverKind, of_kind
from architect_parallel.landing.inventory import Leftover, leftovers, still_running
from architect_parallel.landing.removal import Item, Removal, Stays, forget_branch, keep_item, remove_item, stays_of
from architect_parallel.landing.traces import Traces, marked_worktrees
from architect_parallel.repository.ownership import branches_by_run
from architect_parallel.repository.registry import (
    INITIALIZING,
    Mismatch,
    admin_dir_of,
    lock_reason,
    mismatch,
)
from architect_parallel.system.files import delete_tree, names
from architect_parallel.system.git import Repository
from architect_parallel.worktrees import worker_repository
from architect_parallel.worktrees.temporary import find_temporary_worktree, remove_temporary_worktree


@dataclass(frozen=True, slots=True, kw_only=True)
class Scratch:
    """The temporary worktree of a killed launcher's baseline checks. It holds nobody's work and is removed without a
    copy.
    """

    run_id: str
    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanupPlan:
    """A decided cleanup. Nothing has been removed."""

    items: tuple[Item, ...]
    stays: tuple[Stays, ...]
    force: bool
    scratch: tuple[Scratch, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanupOutcome:
    """The removed parts and the kept ones."""

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
    kind: LeftoverKind = LeftoverKind.ALL,
    show: Callable[[str], None] = lambda line: None,
) -> CleanupPlan:
    """Decide which parts of ended runs may be removed.

    Args:
        run: Only this run. `None` means all.
        force: Remove what is dirty or unmerged as well.
        kind: Consider only these. A branch of a kind other than all is removed whether merged or not.
        show: Takes a line of progress before each worker.

    Raises:
        NothingToDo: There is no run `run`.
    """
    items: list[Item] = []
    stays: list[Stays] = []
    scratch: list[Scratch] = []
    runs = [journal.find(run)] if run is not None else journal.run_ids()
    summaries = journal.summaries(runs)
    traces = Traces.read(repository, journal)  # after the runs: what one leaves meanwhile is seen
    for summary in summaries:
        run_id = summary.run_id
        if journal.is_live(run_id):
            stays += _live(repository, journal, run_id)
            continue
        if not traces.may_have_left(summary):
            continue
        if (path := find_temporary_worktree(repository, run_id)) is not None:
            if (reason := _scratch_stays(repository, path)) is None:
                scratch.append(Scratch(run_id=run_id, path=path))
            else:
                stays.append(
                    Stays(
                        run_id=run_id,
                        worker_id=None,
                        what="worktree",
                        name=str(path),
                        reason=reason.reason,
                        hint=reason.hint,
                    )
                )
        for left in of_kind(journal, run_id, leftovers(repository, journal, run_id, show), kind):
            if kind is not LeftoverKind.ALL:
                left = replace(left, branch_stays=None)
            item, reasons = _decided(left, force=force, keep_branches=keep_branches)
            stays += reasons
            if item.worktree or item.branch:
                items.append(item)
    if run is None:
        stays += _unknown(repository, runs)
    return CleanupPlan(items=tuple(items), stays=tuple(stays), force=force, scratch=tuple(scratch))


def settle_runs(repository: Repository, journal: Journal, run: str | None = None) -> list[str]:
    """Collect what killed launchers left in worker repositories, so that `plan_cleanup` sees it in the worktrees.

    Returns:
        A line for each worker whose commits cannot be taken over. Its worktree then stays.

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
    """Keep the whole run, with each worktree that it has."""
    hint, reason = f"architect cancel {run_id}", "it is still running"
    ids = {
        spec.worktree_path: spec.worker_id for spec in replay(journal.recorded(run_id, files=False), live=True).planned
    }
    return [
        Stays(run_id=run_id, worker_id=None, what="run", name=run_id, reason=reason, hint=hint),
        *(
            Stays(
                run_id=run_id,
                worker_id=ids.get(path),
                what="worktree",
                name=path,
                hint=hint,
                reason="its run is still running",
            )
            for path in marked_worktrees(repository, run_id)
        ),
    ]


def _unknown(repository: Repository, known: Collection[str]) -> list[Stays]:
    """Worktrees of runs that the journal does not have."""
    return [
        Stays(
            run_id=run_id,
            worker_id=None,
            what="worktree",
            name=path,
            hint=f"git worktree remove {path}",
            reason=f"the journal has no run {run_id}",
        )
        for path, run_id in marked_worktrees(repository, without=known).items()
    ]


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
        stays.append(stays_of(left, "branch", left.spec.branch, why, hint))
    return Item(leftover=left, worktree=goes, branch=branch), stays


def _worktree_stays(left: Leftover, *, force: bool) -> Stays:
    hint = left.hint or ("--force (its state is kept)" if left.forcible and not force else None)
    return stays_of(left, "worktree", str(left.path), left.worktree_stays or "", hint)


def execute(
    repository: Repository, journal: Journal, plan: CleanupPlan, show: Callable[[str], None] = lambda line: None
) -> CleanupOutcome:
    """Save, then remove what the plan names. Whatever has changed since the plan, or fails, is kept and named.

    Args:
        show: Takes a line of progress before each step.

    Raises:
        EnvironmentProblem: The journal cannot be written. Nothing was removed.
    """
    stays = list(plan.stays)
    with contextlib.ExitStack() as held:
        runs = dict.fromkeys(
            [*(item.leftover.run_id for item in plan.items), *(candidate.run_id for candidate in plan.scratch)]
        )
        live = {run_id for run_id in runs if not _hold(journal, run_id, held)}
        stays += [entry for run_id in live for entry in _live(repository, journal, run_id)]
        scratch = tuple(
            element for element in plan.scratch if element.run_id not in live and _gone(repository, element, stays)
        )
        decided: list[tuple[Item, Removal]] = []
        for number, item in enumerate(plan.items, start=1):
            show(f"saving {number} of {len(plan.items)}: {item.leftover.words}")
            if item.leftover.run_id not in live:
                with _failure_stays(item.leftover, stays):
                    decided.append((item, keep_item(repository, journal, item)))
        if not decided:
            return CleanupOutcome(removed=(), stays=tuple(stays), scratch=scratch)
        run_id = next(iter(runs)) if len(runs) == 1 else None
        operation = journal.begin_operation(
            "cleanup", run_id, {"removals": [asdict(removal) for _, removal in decided]}
        )
        removed = []
        for number, (item, intended) in enumerate(decided, start=1):
            show(f"removing {number} of {len(decided)}: {item.leftover.words}")
            done = None
            with _failure_stays(item.leftover, stays):
                done = remove_item(repository, item, intended, stays)
            gone = done or _gone_of(repository, intended)
            if gone.worktree_path is not None or gone.tip is not None or (done is not None and item.leftover.debris):
                removed.append(gone)
        if removed:
            journal.finish_operation(operation, {"removals": [asdict(removal) for removal in removed]})
        else:
            journal.withdraw_operation(operation)
        for run_id in runs:
            if run_id not in live:
                _remove_bulk(repository, journal, run_id)
    return CleanupOutcome(removed=tuple(removed), stays=tuple(stays), scratch=scratch)


def _gone_of(repository: Repository, intended: Removal) -> Removal:
    """The parts that a failed removal had already removed, so that an undo can restore them."""
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
    """The failure of one worker's removal. It does not stop the others."""
    try:
        yield
    except (ArchitectParallelError, OSError) as error:
        message = error.message if isinstance(error, ArchitectParallelError) else str(error)
        hint = error.hint if isinstance(error, ArchitectParallelError) else None
        what, name = ("worktree", str(left.path)) if left.path else ("branch", left.spec.branch)
        stays.append(stays_of(left, what, name, message, hint, failed=True))


def _remove_bulk(repository: Repository, journal: Journal, run_id: str) -> None:
    """Remove the agents' homes and the private git directories once no worktree of a run is left. Logs stay.

    The private directory of a worker that did not succeed stays: after an undo, `resume` reads its tree with it.
    """
    run = replay(journal.recorded(run_id, files=False), live=False)
    if any(admin_dir_of(repository, Path(spec.worktree_path)) for spec in run.planned if spec.branch):
        return
    recorded = branches_by_run(repository)
    for spec in run.planned:
        if (run_id, spec.branch) in recorded:
            forget_branch(repository, spec)
    place = journal.run_dir(run_id)
    over = {str(result.worker_id) for result in run.results if result.status is Status.SUCCESS}
    spent = [place / "git" / name for name in names(place / "git") if f"{name}--".split("-")[1] in over]
    scratches = [place / name for name in names(place) if name.startswith("scratch-")]  # of killed supervisors
    for path in [*spent, *scratches, place / "state"]:
        with contextlib.suppress(OSError):
            delete_tree(path)
    with contextlib.suppress(OSError):
        (place / "git").rmdir()
        delete_tree(place / "filters")  # with the copy of git-crypt's key
