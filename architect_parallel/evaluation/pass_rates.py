"""The share of successes of each model, with an interval. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

from architect_parallel.domain import ModelRate, Status, WorkerResult

Z_95 = 1.959963984540054
"""The standard normal's 97.5 % quantile: 95 % lie between the two."""


def wilson_interval(passed: int, runs: int) -> tuple[float, float]:
    """The 95 % score interval of a proportion, (0, 1) where nothing was tried.

    Unlike `p ± z·√(p(1-p)/n)` it stays within 0 and 1 and says something for 0 or all of a few. E. B. Wilson,
    "Probable inference, the law of succession, and statistical inference", JASA 22 (1927), and method 3 of R. G.
    Newcombe, "Two-sided confidence intervals for the single proportion", Statistics in Medicine 17 (1998).

    >>> [round(bound, 4) for bound in wilson_interval(81, 263)]
    [0.2553, 0.3662]
    >>> [round(bound, 4) for bound in wilson_interval(0, 20)]
    [0.0, 0.1611]
    """
    if runs == 0:
        return 0.0, 1.0
    rate, share = passed / runs, Z_95**2 / runs
    middle = (rate + share / 2) / (1 + share)
    reach = Z_95 * math.sqrt(rate * (1 - rate) / runs + share / (4 * runs)) / (1 + share)
    return (0.0 if passed == 0 else middle - reach), (1.0 if passed == runs else middle + reach)


def counts(result: WorkerResult) -> bool:
    """Tell whether a result says something about its model.

    Its agent ran, and nobody stopped it from outside (a person, or the run's budget).
    """
    return result.started_at is not None and result.status not in (Status.CANCELED, Status.SKIPPED)


def pass_rates(results: Sequence[WorkerResult]) -> tuple[ModelRate, ...]:
    """For every model, in order of worker ids, the share of successes among the results that count."""
    rates = []
    ordered = sorted(results, key=lambda result: result.worker_id)
    for model in dict.fromkeys(fact.competitor for fact in ordered):
        own = [item for item in ordered if item.competitor == model and counts(item)]
        passed = sum(entry.status is Status.SUCCESS for entry in own)
        rates.append(
            ModelRate(
                model=model,
                runs=len(own),
                pass_rate=passed / len(own) if own else 0.0,
                interval=wilson_interval(passed, len(own)),
            )
        )
    return tuple(rates)
