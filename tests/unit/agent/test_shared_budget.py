"""The purse of a run: what embedded agents share, and what they do when it is empty."""

from __future__ import annotations

from pathlib import Path

import pytest

from architect_parallel.agent.shared_budget import PURSE_VARIABLE, SharedBudget
from architect_parallel.domain import Outcome, Reason, Status
from architect_parallel.scheduling.verdict import decide


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "purse"
    path.write_text("1.0\n")
    return path


def test_all_agents_pay_into_one_account(file: Path) -> None:
    one, other = SharedBudget.of({PURSE_VARIABLE: str(file)}), SharedBudget(file)
    one.pay(0.4)
    other.pay(0.5)
    assert one.spent_of() is None
    other.pay(0.25)
    assert one.spent_of() == other.spent_of() == (1.15, 1.0)


def test_without_a_purse_nothing_is_held() -> None:
    purse = SharedBudget.of({})
    purse.pay(1e9)
    assert purse.spent_of() is None


@pytest.mark.parametrize("content", ["", "words\n", "1.0\n0.5\nnan\n", "1.0\n-5\n", "inf\n"])
def test_what_cannot_be_meant_stops_nobody(file: Path, content: str) -> None:
    file.write_text(content)
    assert SharedBudget(file).spent_of() is None


def test_an_unknown_or_no_cost_is_not_written_and_a_purse_that_is_gone_is_given_up(file: Path) -> None:
    purse = SharedBudget(file)
    purse.pay(None)
    purse.pay(0.0)
    assert file.read_text() == "1.0\n"
    file.unlink()
    purse.pay(1.0)
    assert not file.exists()
    assert purse.spent_of() is None


def test_an_agent_that_found_it_empty_is_canceled_as_the_launcher_would_have_done() -> None:
    verdict = decide(outcome=Outcome.RUN_BUDGET, exit_code=1, files_changed=3)
    assert verdict == (Status.CANCELED, Reason.RUN_BUDGET)
