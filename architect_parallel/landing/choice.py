"""Which results a merge is about: the ones the user named, the best one, or every success."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from architect_parallel.domain import LeftOut, RunResult, Status, WorkerResult
from architect_parallel.errors import NothingToDo, UsageError
from architect_parallel.landing.sources import Source, require_source
from architect_parallel.planning.ranking import ranking_of
from architect_parallel.system.git import Repository


class Pick(StrEnum):
    """How the results are chosen."""

    NAMED = "named"
    BEST = "best"
    ALL = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The chosen results."""

    sources: tuple[Source, ...]
    """At least one."""
    left_out: tuple[LeftOut, ...] = ()
    """With `Pick.ALL`, those that did not succeed."""
    warnings: tuple[str, ...] = ()
    because: str | None = None
    """With `Pick.BEST`, why it is this one."""


def choose(repository: Repository, result: RunResult, pick: Pick, named: Sequence[int]) -> Choice:
    """The results to land.

    Args:
        named: Worker ids, for `Pick.NAMED`; several that have nothing to land are passed over with a warning.

    Raises:
        UsageError: There is no such worker.
        NothingToDo: Nothing of it can land.
    """
    if pick is Pick.BEST:
        return _best(repository, result)
    if pick is Pick.ALL:
        wanted = [worker for worker in result.results if worker.status is Status.SUCCESS]
        failed = [worker for worker in result.results if worker.status is not Status.SUCCESS]
        left_out = tuple(
            LeftOut(worker_id=each.worker_id, reason="not_successful", detail=_ended(each)) for each in failed
        )
        if not wanted:
            raise NothingToDo(
                f"no worker of run {result.run_id} succeeded",
                hint=f"architect merge {result.run_id} N lands one anyway",
            )
        return _with_work(repository, result, wanted, left_out)
    return _with_work(repository, result, [_require_worker(result, each) for each in dict.fromkeys(named)], ())


def _best(repository: Repository, result: RunResult) -> Choice:
    """The first in the ranking that has something to land; a success, unless there is none."""
    by_id = {worker.worker_id: worker for worker in result.results}
    places = ranking_of(result)
    for successful in (True, False):
        for place in places:
            worker = by_id[place.worker_id]
            if (worker.status is Status.SUCCESS) is not successful:
                continue
            try:
                source = require_source(repository, result, worker)
            except NothingToDo:
                continue
            warnings = () if successful else ("no worker with changes succeeded; the best of the others is taken",)
            warnings = (*warnings, *source.warnings, *did_not_succeed(source))
            return Choice(sources=(source,), warnings=warnings, because=place.reason)
    raise NothingToDo(f"no worker of run {result.run_id} changed anything", hint=f"architect status {result.run_id}")


def _with_work(
    repository: Repository, result: RunResult, workers: Sequence[WorkerResult], left_out: tuple[LeftOut, ...]
) -> Choice:
    sources: list[Source] = []
    warnings: list[str] = []
    problem: NothingToDo | None = None
    for worker in workers:
        try:
            source = require_source(repository, result, worker)
        except NothingToDo as nothing:
            problem = problem or nothing
            warnings.append(nothing.message)
            continue
        sources.append(source)
        warnings += [*source.warnings, *did_not_succeed(source)]
    if not sources and problem is not None:
        raise problem
    return Choice(sources=tuple(sources), left_out=left_out, warnings=tuple(warnings))


def did_not_succeed(source: Source) -> tuple[str, ...]:
    """A warning for a result that lands because somebody named it."""
    if source.worker.status is Status.SUCCESS:
        return ()
    return (f"worker {source.worker_id} did not succeed: {_ended(source.worker)}",)


def _ended(worker: WorkerResult) -> str:
    return str(worker.status) + (f" ({worker.reason})" if worker.reason else "")


def _require_worker(result: RunResult, worker_id: int) -> WorkerResult:
    for worker in result.results:
        if worker.worker_id == worker_id:
            return worker
    last = max((spec.worker_id for spec in result.planned), default=0)
    raise UsageError(
        f"run {result.run_id} has no worker {worker_id}, it has 1 to {last}", hint=f"architect status {result.run_id}"
    )
