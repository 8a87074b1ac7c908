"""The model that a result counts for."""

from __future__ import annotations

from support.made_results import result, run_of

from architect_parallel.domain import Status
from architect_parallel.evaluation.pass_rates import pass_rates
from architect_parallel.evaluation.ranking import ranking_of


def test_results_count_for_the_model_that_was_asked_for_whatever_the_agent_reports() -> None:
    good = result(1, model="claude-sonnet-4-6", model_requested="sonnet")
    bad = result(2, Status.FAILED, model="claude-sonnet-4-6", model_requested="best")
    unnamed = result(3, model="reported")

    assert [rate.model for rate in pass_rates([good, bad, unnamed])] == ["sonnet", "best", "reported"]
    assert [rank.model for rank in ranking_of(run_of(good, bad))] == ["sonnet", "best"]
