"""Rank the results of a task, with the reason for each rank. Pure.

Only workers of the same task are ranked against each other. The criteria apply in this order, each only if the one
before is equal: newly broken checks, failing checks, mended checks, status, the judge, cost, duration, size of the
diff. Model, head commit and worker id come last, so that no two results share a rank and the order of arrival means
nothing. `docs/ranking.md` explains it to users.

Costs within 1 % and durations within 10 % of each other are noise and count as equal. "Within" is not transitive, so
results that are equal so far are grouped in bands. A band begins at the smallest figure that no band has yet, and holds
all figures within the tolerance of that one.

A check that was not seen to pass counts as failing, and as newly broken if it passes on the base: a worker that crashed
before its checks ranks behind one that failed some of them. The set of checks is known from the results of the same
task.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, combinations, groupby

from architect_parallel.domain import (
    Isolation,
    Judgement,
    Rank,
    RunResult,
    Score,
    Status,
    WorkerResult,
    WorkerSpec,
)
from architect_parallel.evaluation.facts import (
    COST_NOISE,
    NO_CHANGES,
    TIME_NOISE,
    ResultFacts,
    bands,
    facts_of_task,
    preferences,
)
from architect_parallel.evaluation.reasons import reason_for

CHECK_POINTS, STATUS_POINTS, STEP_POINTS, COST_POINTS = 40.0, 30.0, 20.0, 10.0
"""Points of the weighted score, at most 100 in all."""

_SHARE_OF_STATUS = {0: 1.0, NO_CHANGES: 2 / 3, 2: 0.5}
"""Rank of the status → share of the points for status. All others get none."""


def rank(
    results: Sequence[WorkerResult], *, score: Score = Score.LEXICOGRAPHIC, judged: Sequence[Judgement] = ()
) -> tuple[Rank, ...]:
    """Order the results, best first, each with its reason.

    Args:
        results: Of one task, in any order.
        score: With `weighted`, points decide first (see `points`), and the criteria if they are equal.
        judged: The judge's answers, as in `RunResult.judged`.
    """
    facts = facts_of_task(results, judged)
    scores = points(results) if score is Score.WEIGHTED else {}
    ordered = _ordered(facts, scores)
    preferred = preferences(judged)
    return tuple(
        Rank(
            place=index + 1,
            worker_id=fact.worker_id,
            model=fact.result.competitor,
            reason=reason_for(index, ordered, scores, preferred),
            score=scores.get(fact.worker_id),
        )
        for index, fact in enumerate(ordered)
    )


def rankings_of(result: RunResult) -> tuple[tuple[Rank, ...], ...]:
    """Rank the workers of a run that ended, task by task: by its own score and judge in a competition.

    Ranks count from 1 within each task. The tasks come in the order of their first worker.
    """
    score = Score.LEXICOGRAPHIC if result.competition is None else result.competition.score
    tasks: dict[tuple[str, ...], list[WorkerResult]] = {}
    specs = {spec.worker_id: spec for spec in result.planned}
    for worker in result.results:
        key = () if result.competition is not None else _task_of(worker, specs.get(worker.worker_id))
        tasks.setdefault(key, []).append(worker)
    return tuple(rank(workers, score=score, judged=result.judged) for workers in tasks.values())


def _task_of(worker: WorkerResult, spec: WorkerSpec | None) -> tuple[str, ...]:
    """The identity of a task: its text and its directory."""
    if spec is None:
        return (worker.task,)
    directory = spec.worktree_path if spec.isolation is Isolation.NONE else ""
    return spec.first_prompt or spec.prompt, spec.subdirectory, directory


def ranking_of(result: RunResult) -> tuple[Rank, ...]:
    """The ranks of a run with one task, or with a task that several workers did.

    Empty if every task had one worker.
    """
    rankings = rankings_of(result)
    if len(rankings) > 1:
        rankings = tuple(places for places in rankings if len(places) > 1)
    return tuple(chain.from_iterable(rankings))


def tiers(results: Sequence[WorkerResult]) -> tuple[tuple[int, ...], ...]:
    """Group worker ids by equal checks and status, the best group first. Within a group the order is that of `rank`.

    Only a judge could order the members of a group.
    """
    ordered = _ordered(facts_of_task(results, ()), {})
    return tuple(tuple(item.worker_id for item in tier) for _, tier in groupby(ordered, key=lambda fact: fact.observed))


@dataclass(frozen=True, slots=True, kw_only=True)
class Duel:
    """A comparison of two results of one run."""

    a: int
    b: int
    share: float
    """The share of the win that goes to `a`: 1, 0, or 0.5 if neither is better."""


def duels(results: Sequence[WorkerResult], *, judged: Sequence[Judgement] = ()) -> tuple[Duel, ...]:
    """Compare every pair of results (worker ids ascending), for ratings.

    Checks and status decide, then the judge. Cost, time and size do not: an equal result for less is not a better one.
    """
    facts = sorted(facts_of_task(results, ()), key=lambda fact: fact.worker_id)
    preferred = preferences(judged)
    outcomes = []
    for a, b in combinations(facts, 2):
        best = preferred.get(frozenset((a.worker_id, b.worker_id)))
        if a.observed != b.observed:
            share = 1.0 if a.observed < b.observed else 0.0
        else:
            share = 0.5 if best is None else 1.0 if best == a.worker_id else 0.0
        outcomes.append(Duel(a=a.worker_id, b=b.worker_id, share=share))
    return tuple(outcomes)


def points(results: Sequence[WorkerResult]) -> dict[int, float]:
    """Worker id → points from 0 to 100, with two decimals.

    Checks: 40 times the share that passes, all 40 if there are none. Status: 30 for a success, 20 for one that changed
    nothing, 15 for a partial result. Steps: 20 times the fewest steps of any success over its own. Cost: 10 times the
    least cost of any success over its own, or over the least of those equal to it. An unknown cost earns none. Only
    successes earn points for steps and cost: an early failure is not thrift.
    """
    successes = [result for result in results if result.status is Status.SUCCESS]
    fewest = min((result.steps for result in successes), default=0)
    costs = bands((result.cost for result in successes if result.cost is not None), COST_NOISE)
    least = min(costs, default=0.0)
    earned = {}
    for fact in facts_of_task(results, ()):
        total = CHECK_POINTS * (fact.passed / fact.checks if fact.checks else 1.0)
        total += STATUS_POINTS * _SHARE_OF_STATUS.get(fact.standing, 0.0)
        if fact.result.status is Status.SUCCESS:
            total += STEP_POINTS * _share(fewest, fact.result.steps)
            total += COST_POINTS * (0.0 if fact.result.cost is None else _share(least, costs[fact.result.cost]))
        earned[fact.worker_id] = round(total, 2)
    return earned


def _share(least: float, own: float) -> float:
    return 1.0 if own <= least else least / own


def _ordered(facts: Sequence[ResultFacts], scores: Mapping[int, float]) -> list[ResultFacts]:
    """Order the facts, best first, each with its bands among the results that are equal before."""

    def before_figures(fact: ResultFacts) -> tuple[float, ...]:
        return -scores.get(fact.worker_id, 0.0), *fact.observed, -fact.judged

    ordered: list[ResultFacts] = []
    for _, even in groupby(sorted(facts, key=before_figures), key=before_figures):
        for cost_band, same_cost in _banded(list(even), lambda fact: fact.cost, COST_NOISE):
            for time_band, equal in _banded(same_cost, lambda fact: fact.result.duration, TIME_NOISE):
                banded = [replace(fact, cost_band=cost_band, time_band=time_band) for fact in equal]
                ordered += sorted(banded, key=lambda item: item.last_resort)
    return ordered


def _banded(
    facts: Sequence[ResultFacts], figure: Callable[[ResultFacts], float], noise: float
) -> list[tuple[float, list[ResultFacts]]]:
    """The smallest figure of each band and its members, the smallest band first."""
    smallest = bands(map(figure, facts), noise)
    by_band: dict[float, list[ResultFacts]] = {item: [] for item in sorted(set(smallest.values()))}
    for fact in facts:
        by_band[smallest[figure(fact)]].append(fact)
    return list(by_band.items())
