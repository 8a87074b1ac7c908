"""Reasons to stop a run: each is given once, and the first one stays."""

from __future__ import annotations

from pathlib import Path
from signal import SIGINT, SIGTERM

import pytest

from architect_parallel.domain import Reason
from architect_parallel.journal.requests import request_cancel
from architect_parallel.runs import stop_control
from architect_parallel.runs.stop_control import StopControl


def test_a_further_signal_kills_and_the_first_one_stops(tmp_path: Path) -> None:
    stops = StopControl(tmp_path)
    assert stops.next_reason() is None
    assert not stops.receive(SIGTERM)
    assert stops.receive(SIGINT)
    assert (stops.next_reason(), stops.next_reason()) == ((Reason.INTERRUPTED, "SIGTERM"), None)
    assert (stops.stopped_by, stops.signal) == (Reason.INTERRUPTED, SIGTERM)


def test_each_limit_is_a_reason_once_and_the_first_reason_stays(tmp_path: Path) -> None:
    stops = StopControl(tmp_path, timeout_s=0.0, budget_usd=1.0)
    stops.spending.seen(1, 1.5)
    assert [stops.next_reason(), stops.next_reason(), stops.next_reason()] == [
        (Reason.RUN_TIMEOUT, "the run took longer than 0 s"),
        (Reason.RUN_BUDGET, "$1.5000 of the run's $1.0000 spent"),
        None,
    ]
    assert stops.stopped_by is Reason.RUN_TIMEOUT


def test_a_request_for_the_run_is_a_reason_and_one_for_a_worker_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stop_control, "LOOK_S", 0.0)  # look each time
    stops = StopControl(tmp_path)
    request_cancel(tmp_path, 2)
    assert stops.look_for_requests([1, 2]) == [2]
    assert stops.look_for_requests([1, 2]) == [], "seen already"
    assert stops.next_reason() is None
    request_cancel(tmp_path)
    assert stops.look_for_requests([1, 2]) == []
    assert stops.next_reason() == (Reason.CANCELED, "canceled on request")
