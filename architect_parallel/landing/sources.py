"""What there is to land of a worker: which commit, as long as there is one.

It is the worker's branch while that is still the one its run made (numbers are given out again after a cleanup), with
what the user added to it; else the commit that was collected.
"""

from __future__ import annotations

from dataclasses import dataclass

from architect_parallel.domain import WorkerResult
from architect_parallel.errors import NothingToDo
from architect_parallel.system.git import Repository
from architect_parallel.worktrees.create import owns_branch


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A worker's result and the commit that lands."""

    worker: WorkerResult
    commit: str

    @property
    def worker_id(self) -> int:
        return self.worker.worker_id


def require_source(repository: Repository, run_id: str, worker: WorkerResult, base: str) -> Source:
    """The commit to land.

    Args:
        base: The commit the run started from.

    Raises:
        NothingToDo: The worker changed nothing or worked in place, or its work is gone.
    """
    number = worker.worker_id
    if not worker.branch:
        raise NothingToDo(f"worker {number} worked in place, in {worker.worktree_path}: there is nothing to land")
    store = repository.store
    tip = store.resolve(f"refs/heads/{worker.branch}")
    if tip is not None and not owns_branch(repository, worker.branch, run_id, base):
        tip = None
    head = worker.diff.head if worker.diff else None
    if head is not None and head != tip and store.resolve(f"{head}^{{commit}}") is None:
        head = None
    # With `commit` off the collected state stands beside the branch. What the user added to the branch counts.
    newer = head is not None and (tip in (None, head) or store.ok("merge-base", "--is-ancestor", tip or "", head))
    source = head if newer else tip
    if source is None:
        raise NothingToDo(f"the work of worker {number} of run {run_id} is gone", hint="architect undo --list")
    if source == (worker.diff.base if worker.diff else base):
        raise NothingToDo(f"worker {number} of run {run_id} changed nothing", hint=f"architect status {run_id}")
    return Source(worker=worker, commit=source)
