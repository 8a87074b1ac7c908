"""The commit of a worker that can land.

It is the tip of the worker's branch while that is still the branch that the run made: numbers are reused after a
cleanup. The tip includes what the user added. Otherwise it is the commit that was collected. A branch counts as moved
by the user if its reflog has the move after the end of the run, and the file of the reflog was written after it too.
An agent can write any time into a reflog, but not into a file's ctime. A move while agents ran, or one without a reflog
entry, was neither collected nor checked nor shown to the user. It does not land.
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from datetime import datetime

from architect_parallel.domain import RunResult, WorkerResult
from architect_parallel.errors import NothingToDo
from architect_parallel.system.git import Repository
from architect_parallel.worktrees.create import owns_branch

_CLOCK_S = 0.02
"""Seconds by which file times may lag."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A worker's result and the commit that lands."""

    worker: WorkerResult
    commit: str
    warnings: tuple[str, ...] = ()
    """Commits of the worker's branch that land beyond what was collected, or that do not land."""

    @property
    def worker_id(self) -> int:
        return self.worker.worker_id


def require_source(repository: Repository, run: RunResult, worker: WorkerResult) -> Source:
    """Return the commit to land.

    Raises:
        NothingToDo: The worker changed nothing, worked in place, or has no saved work.
    """
    number, run_id = worker.worker_id, run.run_id
    if not worker.branch:
        raise NothingToDo(f"worker {number} worked in place, in {worker.worktree_path}: there is nothing to land")
    store = repository.store
    tip = store.resolve(f"refs/heads/{worker.branch}")
    if tip is not None and not owns_branch(repository, worker.branch, run_id, run.base_commit):
        tip = None
    head = worker.diff.head if worker.diff else None
    if head is not None and head != tip and store.resolve(f"{head}^{{commit}}") is None:
        head = None
    # With `commit` off the collected state stands beside the branch. What the user added to the branch counts.
    newer = head is not None and (tip in (None, head) or store.ok("merge-base", "--is-ancestor", tip or "", head))
    source, warnings = head if newer else tip, tuple[str, ...]()
    if tip is not None and source == tip and head is not None and tip != head:
        if _moved_by_user(repository, worker.branch, tip, run.finished_at):
            warnings = (f"{worker.branch} has moved since worker {number} was collected: it lands as it is now",)
        else:
            source = head
            warnings = (
                f"{worker.branch} was moved to {tip[:12]} after its collection, and not by you: only what was collected"
                f" lands (git diff {head[:12]} {tip[:12]})",
            )
    if source is None:
        raise NothingToDo(f"worker {number} of run {run_id} has no saved work", hint="architect undo --list")
    if source == (worker.diff.base if worker.diff else run.base_commit):
        raise NothingToDo(f"worker {number} of run {run_id} changed nothing", hint=f"architect status {run_id}")
    return Source(worker=worker, commit=source, warnings=warnings)


def _moved_by_user(repository: Repository, branch: str, tip: str, ended: datetime | None) -> bool:
    """Tell whether the newest reflog entry of the branch moved it to `tip` at a time when no agent of the run ran.

    Args:
        ended: The end of the run. `None` means that its launcher was killed: its agents may have run until now.
    """
    if ended is None:
        return False
    words = ("reflog", "show", "-1", "--date=unix", "--format=%H %gd", f"refs/heads/{branch}", "--")
    output = repository.store.run(*words, check=False)
    entry = re.fullmatch(rf"{tip} .*@\{{(\d+)\}}", output.text)
    if entry is None:
        return False
    written_s = _written_s(repository, branch)
    return int(ended.timestamp()) <= int(entry[1]) <= written_s + 1.0 and written_s + _CLOCK_S >= ended.timestamp()


def _written_s(repository: Repository, branch: str) -> float:
    """The time of the last change of the branch's reflog, in seconds since the epoch. 0 means that there is none."""
    common = repository.common_dir
    for path in (common / "logs" / "refs" / "heads" / branch, common / "reftable" / "tables.list"):
        with contextlib.suppress(OSError):
            return path.lstat().st_ctime
    return 0.0
