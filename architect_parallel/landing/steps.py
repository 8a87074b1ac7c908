"""One step of a merge: a result on top of a commit, computed in the object store, and its commit message."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from architect_parallel.errors import EnvironmentProblem
from architect_parallel.landing import strategies
from architect_parallel.landing.sources import Source
from architect_parallel.system.git import Git, GitError, Repository
from architect_parallel.text.quantities import show_workers

_SUBJECT_LENGTH = 72


class Method(StrEnum):
    """The way in which a result lands."""

    MERGE = "merge"
    SQUASH = "squash"
    REBASE = "rebase"


def step(
    repository: Repository, run_id: str, source: Source, tip: str, target: str, method: Method
) -> strategies.Combined:
    """Compute what landing `source` on commit `tip` gives. Moves nothing.

    Args:
        target: Short name of the branch, for the commit's message.

    Raises:
        UsageError: It has merges and shall be rebased.
        EnvironmentProblem: git does not know who commits, or `merge.ff` forbids it.
    """
    git = repository.git
    if method is Method.REBASE:
        strategies.require_identity(git)
        return strategies.rebase(git, tip, source.commit)
    if method is Method.SQUASH:
        strategies.require_identity(git)
        return strategies.squash(git, tip, source.commit, message=message(run_id, source, target, method))
    wanted = git.run("config", "--get", "merge.ff", check=False).text
    can = git.ok("merge-base", "--is-ancestor", tip, source.commit)
    if wanted == "only" and not can:
        raise EnvironmentProblem(
            f"{target} cannot be fast-forwarded and merge.ff is 'only'", hint="--rebase or --squash"
        )
    if not can or wanted in ("false", "no"):
        strategies.require_identity(git)
    fast_forward = wanted not in ("false", "no")
    words = message(run_id, source, target, method)
    return strategies.merge(git, tip, source.commit, message=words, fast_forward=fast_forward)


def try_step(
    repository: Repository, run_id: str, source: Source, tip: str, target: str, method: Method
) -> strategies.Combined:
    """Like `step`, but count a merge that git refuses (no common history) as a conflict, because others may land."""
    try:
        return step(repository, run_id, source, tip, target, method)
    except GitError:
        return strategies.Combined(commit=None)


def message(run_id: str, source: Source, target: str, method: Method, *, resolved_by: str | None = None) -> str:
    """The message of the commit. `resolved_by` is the agent that resolved conflicts. `None` means that there were
    none.
    """
    worker = source.worker
    title = subject(source)
    origin = f"Run {run_id}, worker {worker.worker_id}, {worker.backend} {worker.model}"
    if resolved_by is not None:
        origin += f"\nConflicts resolved by {resolved_by}"
    if method is Method.MERGE:
        return f"Merge branch '{worker.branch}' into {target}\n\n{title}\n\n{origin}\n"
    return f"{title or worker.branch}\n\n{origin}\n"


def subject(source: Source) -> str:
    """The task on one line, no longer than the first line of a commit message may be."""
    words = " ".join(source.worker.task.split())
    return words if len(words) <= _SUBJECT_LENGTH else words[: _SUBJECT_LENGTH - 1].rstrip() + "…"


def changed_files(git: Git, old: str, new: str) -> tuple[str, ...]:
    """Paths that differ between two commits, sorted."""
    return tuple(sorted(git.run("diff-tree", "-r", "-z", "--name-only", "--no-renames", old, new).fields))


def so_far(target: str, merged: Sequence[int]) -> str:
    """`main`, or `main with workers 1, 2` during a merge."""
    return f"{target} with {show_workers(merged)}" if merged else target
