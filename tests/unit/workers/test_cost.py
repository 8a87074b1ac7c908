"""Tokens are priced as the requests they were, each by its model; what is unknown stays so."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from architect_parallel.domain import Price, Usage
from architect_parallel.system.prices import cost_usd
from architect_parallel.workers.cost import CostMeter

PRICES = {
    "cheap": Price(input_per_mtok=1.0, output_per_mtok=10.0),
    "dear": Price(input_per_mtok=5.0, output_per_mtok=50.0),
}
TIERED = "claude-sonnet-4-5"
"""Costs twice as much per token in a request of more than 200,000."""


def used(given: int, out: int = 0, cached: int = 0) -> Usage:
    return Usage(input_tokens=given, cached_tokens=cached, output_tokens=out)


def test_many_short_requests_are_not_one_long_one() -> None:
    one = cost_usd(used(50_000, 500), TIERED, {})
    assert one is not None
    growing, at_once = CostMeter({}), CostMeter({})
    for steps in range(1, 21):
        cost = growing.cost(used(50_000 * steps, 500 * steps), TIERED, steps)
    assert cost == pytest.approx(20 * one)
    assert at_once.cost(used(1_000_000, 10_000), TIERED, 20) == pytest.approx(20 * one)
    # The control: the sum, priced as if it were a request, and a request that is really that long.
    assert cost_usd(used(1_000_000, 10_000), TIERED, {}) == CostMeter({}).cost(used(1_000_000, 10_000), TIERED, 1)
    assert CostMeter({}).cost(used(1_000_000, 10_000), TIERED, 1) > 1.9 * 20 * one  # type: ignore[operator]  # known


def test_each_model_has_its_own_price() -> None:
    account = CostMeter(PRICES)
    assert account.cost(used(1_000_000), "cheap", 1) == pytest.approx(1.0)
    assert account.cost(used(2_000_000), "dear", 2) == pytest.approx(6.0)
    assert account.cost(used(2_000_000, 100_000), "cheap", 2) == pytest.approx(7.0)


def test_a_correction_takes_back_what_was_counted() -> None:
    account = CostMeter(PRICES)
    account.cost(used(1_000_000), "cheap", 1)
    assert account.cost(used(400_000), "cheap", 1) == pytest.approx(0.4)


def test_what_had_no_price_is_counted_when_there_is_one() -> None:
    account = CostMeter(PRICES)
    assert account.cost(used(1_000_000), None, 1) is None
    assert account.cost(used(1_500_000), "nobody-knows-this", 2) is None
    assert account.cost(used(2_000_000), "cheap", 2) == pytest.approx(2.0)
    assert account.cost(Usage(output_tokens=5), "cheap", 3) is None


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**5), st.integers(1, 4)), min_size=1, max_size=8))
def test_however_they_come_the_sum_is_the_same(growth: list[tuple[int, int, int]]) -> None:
    account, given_tokens, out, steps = CostMeter(PRICES), 0, 0, 0
    for more, words, replies in growth:
        given_tokens, out, steps = given_tokens + more, out + words, steps + replies
        cost = account.cost(used(given_tokens, out), "cheap", steps)
    assert cost == pytest.approx(cost_usd(used(given_tokens, out), "cheap", PRICES))
