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

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, combinations, groupby

from architect_parallel.domain import (
    CheckChange,
    Isolation,
    Judgement,
    Rank,
    Reason,
    RunResult,
    Score,
    Status,
    WorkerResult,
    WorkerSpec,
)
from architect_parallel.text.quantities import show_count

CHECK_POINTS, STATUS_POINTS, STEP_POINTS, COST_POINTS = 40.0, 30.0, 20.0, 10.0
"""Points of the weighted score, at most 100 in all."""
COST_NOISE, TIME_NOISE = 0.01, 0.10
"""Shares of the smaller figure within which two costs, or two durations, are equal."""

_STANDING = {
    Status.SUCCESS: 0,
    Status.PARTIAL: 2,
    Status.TIMEOUT: 3,
    Status.FAILED: 4,
    Status.CANCELED: 5,
    Status.SKIPPED: 6,
}
_NO_CHANGES = 1
"""The rank of a success that changed nothing: behind one that did, or doing nothing would win by its price."""
_SHARE_OF_STATUS = {0: 1.0, _NO_CHANGES: 2 / 3, 2: 0.5}
"""Rank of the status → share of the points for status. All others get none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Facts:
    """The figures of one result that are compared."""

    result: WorkerResult
    checks: int
    """Number of checks of its task, run or not."""
    newly_broken: int
    failing: int
    mended: int
    standing: int
    judged: int
    """Times the judge preferred it, minus times the judge preferred the other."""
    cost_band: float = 0.0
    """The smallest cost that counts as equal to its own. Set by ordering, as is `time_band`."""
    time_band: float = 0.0
    """The shortest duration that counts as equal to its own."""

    @property
    def worker_id(self) -> int:
        return self.result.worker_id

    @property
    def was_checked(self) -> bool:
        return bool(self.result.checks)

    @property
    def passed(self) -> int:
        return self.checks - self.failing

    @property
    def diff_lines(self) -> int:
        diff = self.result.diff
        return 0 if diff is None else diff.insertions + diff.deletions

    @property
    def observed(self) -> tuple[int, ...]:
        """Checks and status. Less is better, here and in `order`."""
        return self.newly_broken, self.failing, -self.mended, self.standing

    @property
    def cost(self) -> float:
        return math.inf if self.result.cost is None else self.result.cost

    @property
    def last_resort(self) -> tuple[int, str, str, int]:
        """The tie-breakers between results that are equal in everything else."""
        head = self.result.diff.head if self.result.diff is not None else ""
        return self.diff_lines, self.result.model, head, self.worker_id


def rank(
    results: Sequence[WorkerResult], *, score: Score = Score.LEXICOGRAPHIC, judged: Sequence[Judgement] = ()
) -> tuple[Rank, ...]:
    """Order the results, best first, each with its reason.

    Args:
        results: Of one task, in any order.
        score: With `weighted`, points decide first (see `points`), and the criteria if they are equal.
        judged: The judge's answers, as in `RunResult.judged`.
    """
    facts = _facts(results, judged)
    scores = points(results) if score is Score.WEIGHTED else {}
    ordered = _ordered(facts, scores)
    preferred = preferences(judged)
    return tuple(
        Rank(
            place=index + 1,
            worker_id=fact.worker_id,
            model=fact.result.model,
            reason=_reason(index, ordered, scores, preferred),
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
    ordered = _ordered(_facts(results, ()), {})
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
    facts = sorted(_facts(results, ()), key=lambda fact: fact.worker_id)
    preferred = preferences(judged)
    found = []
    for a, b in combinations(facts, 2):
        best = preferred.get(frozenset((a.worker_id, b.worker_id)))
        if a.observed != b.observed:
            share = 1.0 if a.observed < b.observed else 0.0
        else:
            share = 0.5 if best is None else 1.0 if best == a.worker_id else 0.0
        found.append(Duel(a=a.worker_id, b=b.worker_id, share=share))
    return tuple(found)


def preferences(judged: Iterable[Judgement]) -> dict[frozenset[int], int]:
    """Pair of workers → the one that the judge chose both times. A pair without a clear choice is left out.

    The last answer for each order of a pair counts.
    """
    answers = {(judgement.a, judgement.b): judgement.best for judgement in judged}
    return {
        frozenset((a, b)): best
        for (a, b), best in answers.items()
        if best is not None and best in (a, b) and answers.get((b, a)) == best
    }


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
    for fact in _facts(results, ()):
        total = CHECK_POINTS * (fact.passed / fact.checks if fact.checks else 1.0)
        total += STATUS_POINTS * _SHARE_OF_STATUS.get(fact.standing, 0.0)
        if fact.result.status is Status.SUCCESS:
            total += STEP_POINTS * _share(fewest, fact.result.steps)
            total += COST_POINTS * (0.0 if fact.result.cost is None else _share(least, costs[fact.result.cost]))
        earned[fact.worker_id] = round(total, 2)
    return earned


def _share(least: float, own: float) -> float:
    return 1.0 if own <= least else least / own


def bands(figures: Iterable[float], noise: float) -> dict[float, float]:
    """Figure → the smallest of those that count as equal to it.

    Args:
        figures: None below 0, in any order. What is infinite is equal to itself alone.
        noise: The share of the smallest figure of a band that the others may exceed it by.

    >>> bands([1.0, 1.09, 1.15, 1.2], 0.1)
    {1.0: 1.0, 1.09: 1.0, 1.15: 1.15, 1.2: 1.15}
    """
    found: dict[float, float] = {}
    smallest = -1.0
    for figure in sorted(set(figures)):
        # The last factor is for the rounding of decimal figures: 1.10 is within 10 % of 1.00.
        if smallest < 0 or math.isinf(figure) or figure > smallest * (1 + noise) * (1 + 1e-9):
            smallest = figure
        found[figure] = smallest
    return found


def _ordered(facts: Sequence[_Facts], scores: Mapping[int, float]) -> list[_Facts]:
    """Order the facts, best first, each with its bands among the results that are equal before."""

    def before_figures(fact: _Facts) -> tuple[float, ...]:
        return -scores.get(fact.worker_id, 0.0), *fact.observed, -fact.judged

    ordered: list[_Facts] = []
    for _, even in groupby(sorted(facts, key=before_figures), key=before_figures):
        for cost_band, same_cost in _banded(list(even), lambda fact: fact.cost, COST_NOISE):
            for time_band, equal in _banded(same_cost, lambda fact: fact.result.duration, TIME_NOISE):
                banded = [replace(fact, cost_band=cost_band, time_band=time_band) for fact in equal]
                ordered += sorted(banded, key=lambda item: item.last_resort)
    return ordered


def _banded(
    facts: Sequence[_Facts], figure: Callable[[_Facts], float], noise: float
) -> list[tuple[float, list[_Facts]]]:
    """The smallest figure of each band and its members, the smallest band first."""
    smallest = bands(map(figure, facts), noise)
    found: dict[float, list[_Facts]] = {item: [] for item in sorted(set(smallest.values()))}
    for fact in facts:
        found[smallest[figure(fact)]].append(fact)
    return list(found.items())


def _facts(results: Sequence[WorkerResult], judged: Iterable[Judgement]) -> list[_Facts]:
    known: dict[str, bool] = {}
    """Check → whether it passes on the base, if any result tells."""
    for result in results:
        for check in result.checks:
            on_base = check.change in (CheckChange.UNCHANGED, CheckChange.NEWLY_BROKEN)
            known[check.command] = known.get(check.command, False) or on_base
    balance: dict[int, int] = {}
    for pair, best in preferences(judged).items():
        for worker_id in pair:
            balance[worker_id] = balance.get(worker_id, 0) + (1 if worker_id == best else -1)
    return [_facts_of(result, known, balance.get(result.worker_id, 0)) for result in results]


def _facts_of(result: WorkerResult, known: Mapping[str, bool], balance: int) -> _Facts:
    own = {check.command: check for check in result.checks}
    not_run = [command for command in known if command not in own]
    standing = _STANDING[result.status]
    return _Facts(
        result=result,
        checks=len(known),
        newly_broken=sum(check.change is CheckChange.NEWLY_BROKEN for check in own.values())
        + sum(known[command] for command in not_run),
        failing=sum(not check.passed for check in own.values()) + len(not_run),
        mended=sum(check.change is CheckChange.MENDED for check in own.values()),
        standing=_NO_CHANGES if result.reason is Reason.NO_CHANGES and standing == 0 else standing,
        judged=balance,
    )


def _reason(
    index: int, ordered: Sequence[_Facts], scores: Mapping[int, float], preferred: Mapping[frozenset[int], int]
) -> str:
    """Compare the first result with the second, every other one with the one before it.

    In a dearer or slower band, the one before is the cheapest or fastest result: the difference exceeds the noise.
    """
    own = ordered[index]
    standing = (
        f"passes {own.passed} of {own.checks} check{'s' * (own.checks != 1)}" if own.was_checked else _status_words(own)
    )
    if own.checks and not own.was_checked:
        standing += " before any check ran"
    if len(ordered) == 1:
        return f"{standing}; the only result"
    other = ordered[1] if index == 0 else _compared_with(ordered[:index], own, scores)
    mine, its = scores.get(own.worker_id, 0.0), scores.get(other.worker_id, 0.0)
    if mine != its:
        more = "more" if mine > its else "fewer"
        return f"{standing}; {abs(mine - its):.2f} points {more} than worker {other.worker_id}"
    return f"{standing}; {_difference(own, other, preferred)}"


def _compared_with(better: Sequence[_Facts], own: _Facts, scores: Mapping[int, float]) -> _Facts:
    """The last of `better`, or the cheapest or fastest one if only cost or time puts this result in another band."""

    def even(fact: _Facts) -> tuple[object, ...]:
        return scores.get(fact.worker_id), fact.observed, fact.judged

    last = better[-1]
    if even(last) != even(own):
        return last
    alike = [item for item in reversed(better) if even(item) == even(own)]
    if last.cost_band != own.cost_band:
        return next(candidate for candidate in alike if candidate.cost == last.cost_band)
    if last.time_band != own.time_band:
        same_cost = [fact for fact in alike if fact.cost_band == own.cost_band]
        return next(entry for entry in same_cost if entry.result.duration == last.time_band)
    return last


def _difference(own: _Facts, other: _Facts, preferred: Mapping[frozenset[int], int]) -> str:
    """The first criterion on which two results differ, in words, seen from `own`."""
    name = f"worker {other.worker_id}"
    if own.was_checked != other.was_checked and own.observed[:3] != other.observed[:3]:
        passes = f"{other.passed} of {show_count(other.checks, 'check')}"
        return f"no check of {name} ran" if own.was_checked else f"{name} passes {passes}"
    if own.newly_broken != other.newly_broken:
        return f"newly breaks {own.newly_broken or 'none'}, {name} {other.newly_broken or 'none'}"
    if own.failing != other.failing:
        count = abs(own.failing - other.failing)
        words = "one" if count == 1 else str(count)
        return f"{words} {'more' if own.failing < other.failing else 'fewer'} than {name}"
    if own.mended != other.mended:
        return f"mends {own.mended or 'none'}, {name} {other.mended or 'none'}"
    if own.standing != other.standing:
        begin = f"{_status_words(own)}, " if own.checks else ""
        return f"{begin}{name} {_status_words(other)}"
    even = f"same checks and status as {name}" if own.checks else f"same status as {name}"
    if own.judged != other.judged:
        return f"{even}, {_judge_words(own, other, preferred)}"
    return f"{even}, {_figures(own, other)}"


def _judge_words(own: _Facts, other: _Facts, preferred: Mapping[frozenset[int], int]) -> str:
    best = preferred.get(frozenset((own.worker_id, other.worker_id)))
    if best is None:
        return f"the judge's answers speak {'more' if own.judged > other.judged else 'less'} for it"
    return "preferred by the judge" if best == own.worker_id else "the judge preferred that one"


def _figures(own: _Facts, other: _Facts) -> str:
    mine, its = own.result, other.result
    if own.cost_band != other.cost_band:
        if mine.cost is None or its.cost is None:
            return "its cost is not known" if mine.cost is None else "its cost is known"
        amount = abs(mine.cost - its.cost)
        shown = f"${amount:.2f}" if amount >= 0.01 else f"${amount:.4f}" if amount >= 0.0001 else f"${amount:.1e}"
        return f"{shown} {'cheaper' if mine.cost < its.cost else 'dearer'}"
    equal = [] if mine.cost is None else ["cost"]
    if own.time_band != other.time_band:
        words = f"{abs(mine.duration - its.duration):.3g} s {'faster' if mine.duration < its.duration else 'slower'}"
        return ", ".join([*(f"equal {fact}" for fact in equal), words])
    words = f"equal {' and '.join([*equal, 'time'])}"
    if own.diff_lines != other.diff_lines:
        smaller = "smaller" if own.diff_lines < other.diff_lines else "larger"
        return f"{words}, {smaller} change ({show_count(own.diff_lines, 'line')}, not {other.diff_lines})"
    return f"{words}, as large a change" + (", ordered by the name of the model" if mine.model != its.model else "")


def _status_words(facts: _Facts) -> str:
    result = facts.result
    reason = str(result.reason).replace("_", " ") if result.reason is not None else ""
    match result.status:
        case Status.SUCCESS:
            return "succeeded without a change" if facts.standing == _NO_CHANGES else "succeeded"
        case Status.PARTIAL:
            return f"is partial ({reason})" if reason else "is partial"
        case Status.TIMEOUT:
            return "ran out of time"
        case _:
            return (
                f"was {result.status}"
                if result.status is not Status.FAILED
                else f"failed ({reason})"
                if reason
                else "failed"
            )
