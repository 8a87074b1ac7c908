"""Attacks on the budget: an agent that takes back what it said it used."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from architect_parallel.backends.base import Tokens
from architect_parallel.domain import CostBasis, Limits, Price, Reason, Usage
from architect_parallel.events import Event, UsageReported, Warned
from architect_parallel.workers.cost import CostMeter
from architect_parallel.workers.usage import UsageMeter

PRICES = {"cheap": Price(input_per_mtok=1.0, output_per_mtok=10.0)}


def used(millions: float, *, output: float = 0.0, model: str | None = "cheap") -> Tokens:
    usage = Usage(input_tokens=int(millions * 10**6), output_tokens=int(output * 10**6))
    return Tokens(usage=usage, model=model)


def reported(usd: float) -> Tokens:
    return Tokens(usage=Usage(reported_cost=usd, cost_basis=CostBasis.REPORTED), model=None)


TAKEN_BACK: dict[str, Sequence[Tokens]] = {
    "the-last-word-is-nothing": (used(3), used(0)),
    "the-last-word-is-less": (used(3), used(1)),
    "output-becomes-input": (used(0, output=0.3), used(0.3)),
    "a-little-each-time": (used(1), used(0), used(1), used(0), used(3), used(0)),
    "the-reported-cost-is-nothing": (reported(3.0), reported(0.0)),
    "the-reported-cost-is-negative": (reported(3.0), reported(-100.0)),
    "the-model-is-unknown-now": (used(3), used(4, model="nobody-knows-this")),
}


@pytest.mark.parametrize("name", TAKEN_BACK)
def test_a_cost_is_taken_back(name: str) -> None:
    events: list[Event] = []
    stops: list[Reason] = []
    meter = UsageMeter(
        limits=Limits(budget_usd=100.0),
        requested_model=None,
        prices=PRICES,
        emit=events.append,
        stop=lambda reason, detail: stops.append(reason),
    )
    for tokens in TAKEN_BACK[name]:
        meter.take([tokens])
    meter.show(0.0)
    costs = [event.cost for event in events if isinstance(event, UsageReported)]
    assert costs[-1] is None or costs[-1] >= 3.0
    assert any(isinstance(event, Warned) for event in events)
    meter.limits = Limits(budget_usd=2.0)
    meter.check()
    assert stops == [Reason.BUDGET]


def test_control_the_last_word_alone_is_cheap() -> None:
    meter = CostMeter(PRICES)
    meter.cost(used(3).usage, "cheap", 1)
    assert meter.cost(used(0).usage, "cheap", 1) == pytest.approx(0.0)
