"""The figures of results that a ranking compares, and bands of equal figures. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from architect_parallel.domain import (
    CheckChange,
    Judgement,
    Reason,
    Status,
    WorkerResult,
)

COST_NOISE, TIME_NOISE = 0.01, 0.10
"""Shares of the smaller figure within which two costs, or two durations, are equal."""


STANDING = {
    Status.SUCCESS: 0,
    Status.PARTIAL: 2,
    Status.TIMEOUT: 3,
    Status.FAILED: 4,
    Status.CANCELED: 5,
    Status.SKIPPED: 6,
}


NO_CHANGES = 1
"""The rank of a success that changed nothing: behind one that did, or doing nothing would win by its price."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultFacts:
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
        return self.diff_lines, self.result.competitor, head, self.worker_id


def bands(figures: Iterable[float], noise: float) -> dict[float, float]:
    """Figure → the smallest of those that count as equal to it.

    Args:
        figures: None below 0, in any order. What is infinite is equal to itself alone.
        noise: The share of the smallest figure of a band that the others may exceed it by.

    >>> bands([1.0, 1.09, 1.15, 1.2], 0.1)
    {1.0: 1.0, 1.09: 1.0, 1.15: 1.15, 1.2: 1.15}
    """
    band_of: dict[float, float] = {}
    smallest = -1.0
    for figure in sorted(set(figures)):
        # The last factor is for the rounding of decimal figures: 1.10 is within 10 % of 1.00.
        if smallest < 0 or math.isinf(figure) or figure > smallest * (1 + noise) * (1 + 1e-9):
            smallest = figure
        band_of[figure] = smallest
    return band_of


def facts_of_task(results: Sequence[WorkerResult], judged: Iterable[Judgement]) -> list[ResultFacts]:
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
    return [facts_of(result, known, balance.get(result.worker_id, 0)) for result in results]


def facts_of(result: WorkerResult, known: Mapping[str, bool], balance: int) -> ResultFacts:
    own = {check.command: check for check in result.checks}
    not_run = [command for command in known if command not in own]
    standing = STANDING[result.status]
    return ResultFacts(
        result=result,
        checks=len(known),
        newly_broken=sum(check.change is CheckChange.NEWLY_BROKEN for check in own.values())
        + sum(known[command] for command in not_run),
        failing=sum(not check.passed for check in own.values()) + len(not_run),
        mended=sum(check.change is CheckChange.MENDED for check in own.values()),
        standing=NO_CHANGES if result.reason is Reason.NO_CHANGES and standing == 0 else standing,
        judged=balance,
    )


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
