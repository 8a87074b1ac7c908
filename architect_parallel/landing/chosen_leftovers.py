"""The workers that a cleanup is restricted to: those that were merged, or the losers of a run."""

from __future__ import annotations

from enum import StrEnum

from architect_parallel.domain import RunResult
from architect_parallel.evaluation.ranking import rankings_of
from architect_parallel.journal import Journal
from architect_parallel.journal.replay import replay
from architect_parallel.landing.inventory import Leftover


class LeftoverKind(StrEnum):
    """The leftovers that a cleanup considers."""

    ALL = "all"
    MERGED = "merged"
    """Workers whose result was merged, and branches with commits that were."""
    LOSERS = "losers"
    """Workers that were neither merged nor are the best of their task."""


def of_kind(journal: Journal, run_id: str, left: list[Leftover], kind: LeftoverKind) -> list[Leftover]:
    """The leftovers of an ended run that are of this kind."""
    if kind is LeftoverKind.ALL:
        return left
    if kind is LeftoverKind.MERGED:
        merged = merged_workers(journal, run_id, pull_requests=False)
        return [entry for entry in left if entry.spec.worker_id in merged or _is_merged(entry)]
    plan, result = journal.plan(run_id), replay(journal.recorded(run_id, files=False), live=False)
    if plan.is_graph or plan.flow is not None:  # parts of one whole: none lost against another
        return []
    keep = merged_workers(journal, run_id) | best_workers(result)
    return [entry for entry in left if entry.spec.worker_id in _ids(result) - keep]


def merged_workers(journal: Journal, run_id: str, *, pull_requests: bool = True) -> set[int]:
    """Ids of the workers whose results were merged, and not undone since.

    Args:
        pull_requests: Count a pull request as a merge.
    """
    return {
        int(worker_id)
        for operation in journal.operations(run_id)
        if operation.kind == "merge" and operation.finished and not operation.undone
        if pull_requests or not operation.payload.get("pull_request")
        for worker_id in operation.payload.get("workers", ())
    }


def best_workers(result: RunResult) -> set[int]:
    """Ids of the first worker in the ranking of each task."""
    return {places[0].worker_id for places in rankings_of(result) if places}


def _ids(result: RunResult) -> set[int]:
    return {worker.worker_id for worker in result.results}


def _is_merged(left: Leftover) -> bool:
    """Its branch has commits, and nothing of them is missing elsewhere."""
    return left.tip not in (None, left.spec.base_commit) and left.branch_stays is None
