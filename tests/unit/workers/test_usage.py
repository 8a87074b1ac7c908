"""What an agent says it used is counted, priced and held to its limits."""

from __future__ import annotations

import pytest

from architect_parallel.backends.base import Session, Step, Text, Throttled, Tokens
from architect_parallel.domain import CostBasis, Limits, Price, Reason, Usage
from architect_parallel.events import AgentOutput, Event, RateLimited, SessionKnown, StepTaken, UsageReported, Warned
from architect_parallel.workers.usage import UsageMeter

PRICES = {"priced": Price(input_per_mtok=1.0, output_per_mtok=10.0)}


class Heard:
    def __init__(self, limits: Limits, model: str | None = "priced") -> None:
        self.events: list[Event] = []
        self.stops: list[Reason] = []
        self.meter = UsageMeter(
            limits=limits,
            requested_model=model,
            prices=PRICES,
            emit=self.events.append,
            stop=lambda reason, detail: self.stops.append(reason),
        )


def tokens(count: int, **more: object) -> Tokens:
    return Tokens(usage=Usage(input_tokens=count, output_tokens=0, **more))  # type: ignore[arg-type]  # test data


def test_facts_of_one_look_become_one_event_each() -> None:
    heard = Heard(Limits())
    heard.meter.take([Step(count=1), Step(count=2), tokens(1000), tokens(2000), Session(session_id="s", model="m")])
    heard.meter.show(0.0)
    heard.meter.show(1.0)

    assert [type(event) for event in heard.events] == [SessionKnown, StepTaken, UsageReported]
    assert heard.events[1] == StepTaken(steps=2)


def test_cost_is_tokens_times_price_and_says_so() -> None:
    heard = Heard(Limits())
    heard.meter.take([tokens(2_000_000, reported_cost=99.0)])

    assert heard.meter.cost == pytest.approx(2.0)
    assert heard.meter.usage.cost_basis is CostBasis.TOKENS
    assert heard.meter.usage.reported_cost == 99.0


def test_an_unknown_price_stays_unknown_whatever_the_agent_says() -> None:
    heard = Heard(Limits(budget_usd=1.0), model="nobody-knows-this")
    heard.meter.take([tokens(2_000_000, reported_cost=0.0)])
    heard.meter.take([tokens(3_000_000, reported_cost=0.0)])

    assert heard.meter.cost is None
    assert heard.meter.usage.cost_basis is CostBasis.UNKNOWN
    assert [type(event) for event in heard.events] == [Warned]
    assert heard.stops == []


def test_a_reported_cost_counts_where_the_reader_vouches_for_it() -> None:
    heard = Heard(Limits(budget_usd=1.0), model=None)
    heard.meter.take([Tokens(usage=Usage(reported_cost=1.5, cost_basis=CostBasis.REPORTED))])

    assert (heard.meter.cost, heard.meter.usage.cost_basis) == (1.5, CostBasis.REPORTED)
    assert heard.stops == [Reason.BUDGET]


def test_steps_may_be_used_up_and_not_exceeded() -> None:
    heard = Heard(Limits(max_steps=2))
    heard.meter.take([Step(count=2)])
    assert heard.stops == []

    heard.meter.take([Step(count=3)])
    assert heard.stops == [Reason.MAX_STEPS]


def test_a_flood_of_lines_is_shown_ten_times_a_second() -> None:
    heard = Heard(Limits())
    for moment in range(1000):
        heard.meter.take([Text(text=str(moment))])
        heard.meter.show(moment / 1000)

    shown = [event for event in heard.events if isinstance(event, AgentOutput)]
    assert 5 <= len(shown) <= 11


def test_a_rate_limit_is_passed_on() -> None:
    heard = Heard(Limits())
    heard.meter.take([Throttled(message="later", retry_after_s=2.0)])

    assert heard.events == [RateLimited(message="later", retry_after_s=2.0)]
