"""A stop token passes a stop to its children and keeps the limits of an agent apart from a cancellation."""

from __future__ import annotations

import pytest

from architect_parallel.domain import Reason
from architect_parallel.supervision.stop import StopToken


@pytest.mark.parametrize("made", ["before", "after"])
def test_a_stop_reaches_every_child(made: str) -> None:
    parent = StopToken()
    child = parent.child() if made == "before" else None
    parent.stop(Reason.INTERRUPTED, "interrupted")
    child = child or parent.child()
    assert (child.reason, child.detail, child.is_cancelled()) == (Reason.INTERRUPTED, "interrupted", True)


def test_a_child_stops_alone() -> None:
    parent = StopToken()
    child, other = parent.child(), parent.child()
    child.stop(Reason.WORKER_TIMEOUT)
    assert child.is_cancelled()
    assert (parent.reason, other.reason) == (None, None)


def test_a_limit_of_the_agent_forbids_agents_but_no_checks() -> None:
    token = StopToken()
    token.stop(Reason.MAX_STEPS)
    assert token.reason is Reason.MAX_STEPS
    assert not token.is_cancelled()
    token.stop(Reason.CANCELED)
    assert token.reason is Reason.MAX_STEPS, "the first reason is kept"
    assert token.is_cancelled()


def test_the_runs_budget_does_not_undo_an_agent_that_has_ended() -> None:
    token, late = StopToken(), StopToken()
    token.agent_ended()
    token.stop(Reason.RUN_BUDGET)
    assert (token.reason, token.is_cancelled()) == (None, False)
    token.stop(Reason.INTERRUPTED)
    assert (token.reason, token.is_cancelled()) == (Reason.INTERRUPTED, True), "any other reason still does"
    late.stop(Reason.RUN_BUDGET)
    late.agent_ended()
    assert late.reason is Reason.RUN_BUDGET, "the control: it was stopped first"
