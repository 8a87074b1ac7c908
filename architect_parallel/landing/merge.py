"""Landing one worker's result on a branch: plan → show → execute.

`plan_merge` computes everything and moves nothing; `execute` records the intent, then moves the target, last and by
compare-and-swap (`target`). A result lands wholly or not at all. What lands is the worker's branch, as long as the
branch is still the one its run made (numbers are given out again after a cleanup); else the commit that was collected.
Room for what comes later: `MergePlan` speaks of several workers, `plan_merge` fills in one.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from architect_parallel.domain import RunResult, RunStatus, Status, WorkerResult
from architect_parallel.errors import EnvironmentProblem, NothingToDo, UsageError
from architect_parallel.journal import Journal
from architect_parallel.landing import combine
from architect_parallel.landing.target import Target, find_target, move, require_movable
from architect_parallel.system.git import Repository
from architect_parallel.worktrees.create import BRANCH_PREFIX, owns_branch

_SUBJECT_LENGTH = 72


class Method(StrEnum):
    """How a result lands."""

    MERGE = "merge"
    SQUASH = "squash"
    REBASE = "rebase"


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """A worker whose result does not land."""

    worker_id: int
    reason: str
    """`conflict`; later also `check` and `not_successful`."""
    files: tuple[str, ...] = ()
    """Conflicting paths, sorted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MergePlan:
    """A decided merge; nothing has been moved."""

    run_id: str
    method: Method
    target: Target
    commit: str | None
    """Where the target goes; `None`: nowhere, everything was left out."""
    merged: tuple[int, ...]
    """Worker ids, in the order they land."""
    left_out: tuple[LeftOut, ...]
    files: tuple[str, ...]
    """Paths that change on the target, sorted."""
    fast_forward: bool
    warnings: tuple[str, ...] = ()


def plan_merge(
    repository: Repository,
    journal: Journal,
    run: str,
    worker_id: int,
    *,
    into: str | None = None,
    method: Method = Method.MERGE,
) -> MergePlan:
    """Computes what landing one worker would give.

    A result that did not succeed lands too, because the user named it; the plan's warnings say how it ended.

    Args:
        run: A run id or what `Journal.find` makes one of.
        into: Short name of a local branch; `None`: the current one.

    Raises:
        NothingToDo: No such run; the worker changed nothing, or the target has all of it already.
        UsageError: No such worker or branch.
        EnvironmentProblem: The run is live, git is too old, HEAD is detached, the target's checkout is dirty.
    """
    combine.require_merge_tree()
    run_id = journal.find(run)
    result = journal.result(run_id)
    if result.status is RunStatus.RUNNING or journal.is_live(run_id):
        raise EnvironmentProblem(f"run {run_id} is still going on", hint=f"architect status {run_id}")
    worker = _require_worker(result, worker_id)
    if not worker.branch:
        raise NothingToDo(f"worker {worker_id} worked in place, in {worker.worktree_path}: there is nothing to land")
    target = find_target(repository, into)
    if target.branch in {f"{BRANCH_PREFIX}{number}" for number in journal.live_numbers()}:
        raise EnvironmentProblem(f"an agent is at work on {target.branch}", hint="architect status")
    source = _source(repository, run_id, worker, result.base_commit)
    git = repository.git
    if git.ok("merge-base", "--is-ancestor", source, target.tip):
        raise NothingToDo(f"{target.branch} has all of worker {worker_id} already", hint=f"architect diff {run_id}")
    combined = _combined(repository, result, worker, source, target, method)
    if combined.commit is None:
        left = LeftOut(worker_id=worker_id, reason="conflict", files=combined.conflicts)
        return MergePlan(
            run_id=run_id, method=method, target=target, commit=None, merged=(), left_out=(left,), files=(),
            fast_forward=False, warnings=_warnings(worker),
        )  # fmt: skip
    if combine.tree_of(git, combined.commit) == combine.tree_of(git, target.tip):
        raise NothingToDo(f"{target.branch} has all of worker {worker_id} already", hint=f"architect diff {run_id}")
    require_movable(target, combined.commit)
    changed = git.run("diff-tree", "-r", "-z", "--name-only", "--no-renames", target.tip, combined.commit).fields
    return MergePlan(
        run_id=run_id, method=method, target=target, commit=combined.commit, merged=(worker_id,), left_out=(),
        files=tuple(sorted(changed)), fast_forward=combined.commit == source, warnings=_warnings(worker),
    )  # fmt: skip


def execute(repository: Repository, journal: Journal, plan: MergePlan) -> None:
    """Moves the target to the planned commit; does nothing for a plan in which everything was left out.

    Raises:
        EnvironmentProblem: The target or its checkout has changed since the plan; nothing was moved.
    """
    if plan.commit is None:
        return
    operation = journal.begin_operation(
        "merge",
        plan.run_id,
        {
            "branch": plan.target.branch, "old": plan.target.tip, "new": plan.commit,
            "workers": list(plan.merged), "method": plan.method.value,
        },
    )  # fmt: skip
    workers = ",".join(map(str, plan.merged))
    move(repository, plan.target, plan.commit, message=f"architect {plan.method}: run {plan.run_id} worker {workers}")
    journal.finish_operation(operation)


def _require_worker(result: RunResult, worker_id: int) -> WorkerResult:
    for worker in result.results:
        if worker.worker_id == worker_id:
            return worker
    last = max((spec.worker_id for spec in result.planned), default=0)
    raise UsageError(
        f"run {result.run_id} has no worker {worker_id}, it has 1 to {last}", hint=f"architect status {result.run_id}"
    )


def _source(repository: Repository, run_id: str, worker: WorkerResult, base: str) -> str:
    """The commit to land."""
    store = repository.store
    tip = store.resolve(f"refs/heads/{worker.branch}") if owns_branch(repository, worker.branch, run_id) else None
    head = worker.diff.head if worker.diff else None
    if head is not None and store.resolve(f"{head}^{{commit}}") is None:
        head = None
    # With `commit` off the collected state stands beside the branch. What the user added to the branch counts.
    source = head if head and (tip is None or store.ok("merge-base", "--is-ancestor", tip, head)) else tip
    if source is None:
        raise NothingToDo(
            f"the work of worker {worker.worker_id} of run {run_id} is gone", hint="architect undo --list"
        )
    if source == (worker.diff.base if worker.diff else base):
        raise NothingToDo(
            f"worker {worker.worker_id} of run {run_id} changed nothing", hint=f"architect status {run_id}"
        )
    return source


def _combined(
    repository: Repository, result: RunResult, worker: WorkerResult, source: str, target: Target, method: Method
) -> combine.Combined:
    git = repository.git
    if method is Method.REBASE:
        combine.require_identity(git)
        return combine.rebase(git, target.tip, source)
    words = " ".join(worker.task.split())
    subject = words if len(words) <= _SUBJECT_LENGTH else words[: _SUBJECT_LENGTH - 1].rstrip() + "…"
    origin = f"Run {result.run_id}, worker {worker.worker_id}, {worker.backend} {worker.model}"
    if method is Method.SQUASH:
        combine.require_identity(git)
        return combine.squash(git, target.tip, source, message=f"{subject or worker.branch}\n\n{origin}\n")
    wanted = git.run("config", "--get", "merge.ff", check=False).text
    can = git.ok("merge-base", "--is-ancestor", target.tip, source)
    if wanted == "only" and not can:
        raise EnvironmentProblem(
            f"{target.branch} cannot be fast-forwarded and merge.ff is 'only'", hint="--rebase or --squash"
        )
    if not can or wanted in ("false", "no"):
        combine.require_identity(git)
    message = f"Merge branch '{worker.branch}' into {target.branch}\n\n{subject}\n\n{origin}\n"
    fast_forward = wanted not in ("false", "no")
    return combine.merge(git, target.tip, source, message=message, fast_forward=fast_forward)


def _warnings(worker: WorkerResult) -> tuple[str, ...]:
    if worker.status is Status.SUCCESS:
        return ()
    why = f" ({worker.reason})" if worker.reason else ""
    return (f"worker {worker.worker_id} did not succeed: {worker.status}{why}",)
