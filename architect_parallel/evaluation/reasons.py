"""The reason for a result's rank, in words. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from architect_parallel.domain import (
    Status,
)
from architect_parallel.evaluation.facts import NO_CHANGES, ResultFacts
from architect_parallel.text.quantities import show_count


def reason_for(
    index: int, ordered: Sequence[ResultFacts], scores: Mapping[int, float], preferred: Mapping[frozenset[int], int]
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


def _compared_with(better: Sequence[ResultFacts], own: ResultFacts, scores: Mapping[int, float]) -> ResultFacts:
    """The last of `better`, or the cheapest or fastest one if only cost or time puts this result in another band."""

    def even(fact: ResultFacts) -> tuple[object, ...]:
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


def _difference(own: ResultFacts, other: ResultFacts, preferred: Mapping[frozenset[int], int]) -> str:
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


def _judge_words(own: ResultFacts, other: ResultFacts, preferred: Mapping[frozenset[int], int]) -> str:
    best = preferred.get(frozenset((own.worker_id, other.worker_id)))
    if best is None:
        return f"the judge's answers speak {'more' if own.judged > other.judged else 'less'} for it"
    return "preferred by the judge" if best == own.worker_id else "the judge preferred that one"


def _figures(own: ResultFacts, other: ResultFacts) -> str:
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
    return f"{words}, as large a change" + (
        ", ordered by the name of the model" if mine.competitor != its.competitor else ""
    )


def _status_words(facts: ResultFacts) -> str:
    result = facts.result
    reason = str(result.reason).replace("_", " ") if result.reason is not None else ""
    match result.status:
        case Status.SUCCESS:
            return "succeeded without a change" if facts.standing == NO_CHANGES else "succeeded"
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
