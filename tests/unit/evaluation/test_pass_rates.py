"""Pass rates and their intervals, against published values."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from architect_parallel.domain import Status, WorkerResult
from architect_parallel.evaluation.pass_rates import pass_rates, wilson_interval


@pytest.mark.parametrize(
    ("passed", "runs", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_the_interval_is_the_published_one(passed: int, runs: int, low: float, high: float) -> None:
    """Table I, method 3 of R. G. Newcombe, Statistics in Medicine 17 (1998), 857-872."""
    assert wilson_interval(passed, runs) == pytest.approx((low, high), abs=5e-5)


@settings(deadline=None)
@given(st.integers(1, 500).flatmap(lambda runs: st.tuples(st.integers(0, runs), st.just(runs))))
def test_the_interval_holds_the_rate_and_narrows_with_more_of_the_same(tried: tuple[int, int]) -> None:
    passed, runs = tried
    low, high = wilson_interval(passed, runs)
    assert 0 <= low <= passed / runs <= high <= 1
    assert low < high
    more_low, more_high = wilson_interval(passed * 3, runs * 3)
    assert more_high - more_low < high - low
    assert wilson_interval(runs - passed, runs) == pytest.approx((1 - high, 1 - low))


def test_of_nothing_nothing_is_known() -> None:
    assert wilson_interval(0, 0) == (0.0, 1.0)


def outcome(worker_id: int, model: str, status: Status, *, ran: bool = True) -> WorkerResult:
    return WorkerResult(
        worker_id=worker_id, branch="", model=model, status=status, steps=1, cost=0.0, duration=1.0, files_modified=[],
        worktree_path="", started_at=datetime(2026, 1, 1, tzinfo=UTC) if ran else None,
    )  # fmt: skip


def test_what_others_stopped_does_not_count_against_a_model() -> None:
    results = [
        outcome(4, "a", Status.CANCELED),
        outcome(1, "b", Status.SUCCESS),
        outcome(2, "a", Status.SUCCESS),
        outcome(3, "b", Status.TIMEOUT),
        outcome(5, "b", Status.FAILED, ran=False),
        outcome(6, "c", Status.SKIPPED, ran=False),
    ]
    rates = pass_rates(results)
    assert [(each.model, each.runs, each.pass_rate) for each in rates] == [("b", 2, 0.5), ("a", 1, 1.0), ("c", 0, 0.0)]
    assert rates[2].interval == (0.0, 1.0)
