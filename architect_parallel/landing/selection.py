"""The results that a merge lands: those that the user named, the best one of each task, or every success."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from architect_parallel.domain import LeftOut, Rank, RunResult, Status, WorkerResult
from architect_parallel.errors import NothingToDo, UsageError
from architect_parallel.evaluation.ranking import rankings_of
from architect_parallel.journal.selection import find_workers
from architect_parallel.landing.sources import Source, require_source
from architect_parallel.system.git import Repository


class Pick(StrEnum):
    """The rule by which results are chosen."""

    NAMED = "named"
    BEST = "best"
    ALL = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The chosen results."""

    sources: tuple[Source, ...]
    """At least one."""
    left_out: tuple[LeftOut, ...] = ()
    """With `Pick.ALL`, the results that did not succeed. With `Pick.BEST`, the first of each task without a success."""
    warnings: tuple[str, ...] = ()
    because: str | None = None
    """With `Pick.BEST`, the reason of the choice. In a run of several tasks there is one per worker."""


def choose(repository: Repository, result: RunResult, pick: Pick, named: Sequence[int]) -> Choice:
    """Choose the results to land.

    Args:
        named: Worker ids, for `Pick.NAMED`. If several are named, those without changes are skipped with a warning.

    Raises:
        UsageError: There is no such worker.
        NothingToDo: Nothing can land.
    """
    if pick is Pick.BEST:
        return _best(repository, result)
    if pick is Pick.ALL:
        wanted = [worker for worker in result.results if worker.status is Status.SUCCESS]
        failed = [worker for worker in result.results if worker.status is not Status.SUCCESS]
        left_out = tuple(
            LeftOut(worker_id=entry.worker_id, reason="not_successful", detail=_ended(entry)) for entry in failed
        )
        if not wanted:
            raise NothingToDo(
                f"no worker of run {result.run_id} succeeded",
                hint=f"architect merge {result.run_id} N lands one anyway",
            )
        return _with_work(repository, result, wanted, left_out)
    return _with_work(repository, result, [_require_worker(result, item) for item in dict.fromkeys(named)], ())


def _best(repository: Repository, result: RunResult) -> Choice:
    """Choose the first result in the ranking of each task that has something to land.

    Workers of different tasks are not rivals. In a run of several tasks the best success of each task lands, and a task
    without a success is left out. In a run of one task the best other result lands if there is no success.
    """
    rankings = rankings_of(result)
    if len(rankings) > 1:
        return _best_of_each(repository, result, rankings)
    places = next(iter(rankings), ())
    for successful in (True, False):
        best = _first_with_work(repository, result, places, successful=successful)
        if best is not None:
            place, source = best
            warnings = () if successful else ("no worker with changes succeeded; the best of the others is taken",)
            warnings = (*warnings, *source.warnings, *did_not_succeed(source))
            return Choice(sources=(source,), warnings=warnings, because=place.reason)
    raise NothingToDo(f"no worker of run {result.run_id} changed anything", hint=f"architect status {result.run_id}")


def _best_of_each(repository: Repository, result: RunResult, rankings: Sequence[Sequence[Rank]]) -> Choice:
    by_id = {worker.worker_id: worker for worker in result.results}
    sources: list[Source] = []
    reasons: list[str] = []
    left_out: list[LeftOut] = []
    for places in rankings:
        best = _first_with_work(repository, result, places, successful=True)
        if best is not None:
            sources.append(best[1])
            reasons.append(f"worker {best[0].worker_id}: {best[0].reason}")
        elif all(by_id[place.worker_id].status is not Status.SUCCESS for place in places):
            first = by_id[places[0].worker_id]
            left_out.append(LeftOut(worker_id=first.worker_id, reason="not_successful", detail=_ended(first)))
    if not sources:
        hint = f"architect merge {result.run_id} N lands one anyway"
        raise NothingToDo(f"no worker of run {result.run_id} with changes succeeded", hint=hint)
    warnings = tuple(warning for source in sources for warning in source.warnings)
    because = " / ".join(reasons)
    return Choice(sources=tuple(sources), left_out=tuple(left_out), warnings=warnings, because=because)


def _first_with_work(
    repository: Repository, result: RunResult, places: Sequence[Rank], *, successful: bool
) -> tuple[Rank, Source] | None:
    """The best result with something to land, among those that succeeded or among those that did not."""
    by_id = {worker.worker_id: worker for worker in result.results}
    for place in places:
        worker = by_id[place.worker_id]
        if (worker.status is Status.SUCCESS) is successful:
            with contextlib.suppress(NothingToDo):
                return place, require_source(repository, result, worker)
    return None


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
    """A warning for a named result that did not succeed."""
    if source.worker.status is Status.SUCCESS:
        return ()
    return (f"worker {source.worker_id} did not succeed: {_ended(source.worker)}",)


def _ended(worker: WorkerResult) -> str:
    return str(worker.status) + (f" ({worker.reason})" if worker.reason else "")


def _require_worker(result: RunResult, worker_id: int) -> WorkerResult:
    find_workers(result.run_id, result.planned, [worker_id])
    for worker in result.results:
        if worker.worker_id == worker_id:
            return worker
    raise UsageError(f"worker {worker_id} has no result", hint=f"architect status {result.run_id}")
