"""The full-screen view: it fills the screen exactly, whatever the screen and whatever agents say."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from support.made_results import START, result, spec

from architect_parallel.domain import Reason, RunPlan, RunStatus, Status, Usage
from architect_parallel.events import (
    AgentStarted,
    AttemptEnded,
    Event,
    LimitReached,
    Recorded,
    RunFinished,
    RunResumed,
    RunStarted,
    UsageReported,
    WorkerFinished,
    WorkerStarting,
)
from architect_parallel.journal.view import RunView
from architect_parallel.reports.screen import MODES, View, frame
from architect_parallel.reports.watch_events import WatchedEvent, as_data, as_line, take
from architect_parallel.scheduling.retries import attempt_of

HOSTILE = "\x1b]0;title\x07\x1b[2Jred\u202e\nsecond\tline"


def board_of(*events: tuple[int | None, Event | None], workers: int = 3, name: str = "") -> RunView:
    """A board that has seen the beginning of a run and then these; `None` is the launcher's death."""
    specs = tuple(
        dataclasses.replace(spec(number), name=name or f"worker-{number}") for number in range(1, workers + 1)
    )
    plan = RunPlan(
        run_id="20260102-030405-abcd", repository="/repo", base_commit="b" * 40, base_ref="HEAD", workers=specs,
        max_parallel=2, budget_usd=5.0,
    )  # fmt: skip
    board = RunView(plan.run_id)
    for seq, (worker_id, event) in enumerate([(None, RunStarted(plan=plan, launcher_pid=1)), *events], start=1):
        time = START + timedelta(seconds=seq)
        recorded = None
        if event is not None:
            recorded = Recorded(run_id=plan.run_id, seq=seq, time=time, worker_id=worker_id, event=event)
        seen = WatchedEvent(seq=seq, time=time, recorded=recorded)
        take(board, seen)
        as_data(board, seen), as_line(board, seen)
    return board


def picture(board: RunView, view: View | None = None, *, width: int = 100, height: int = 24,
            printed: Sequence[str] = ()) -> list[str]:  # fmt: skip
    lines = dict.fromkeys(board.workers, printed)
    shown = frame(view or View(), board, now=START + timedelta(seconds=95), width=width, height=height, lines=lines)
    return [line.plain for line in shown]


STARTED = AgentStarted(supervisor_pid=1, agent_pid=2, argv=("x",))


def test_a_run_on_its_way() -> None:
    failed = result(2, Status.FAILED, reason=Reason.CRASHED, error="no final event")
    board = board_of(
        (1, WorkerStarting(attempt=1)), (1, STARTED), (1, UsageReported(usage=Usage(), cost=0.5)),
        (2, WorkerFinished(result=failed)),
    )  # fmt: skip

    shown = picture(board, printed=["first", "second"])

    assert shown[0] == "20260102-030405-abcd running  1:34  0 of 3 OK  1 not  1 running  $0.5123 of $5.00"
    assert [line.split()[-1] for line in shown[3:6]] == ["second", "event", "second"]
    assert shown[3].startswith(">   1 worker-1")
    assert "FAILED" in shown[4]
    assert shown[-1].endswith("q quit")


def test_attempts_add_up_and_a_resume_begins_anew() -> None:
    first = attempt_of(result(1, Status.FAILED, cost=0.25), waited_s=0.0)
    crashed = AttemptEnded(attempt=first, because="it crashed")
    events: list[tuple[int | None, Event | None]] = [(1, WorkerStarting(attempt=1)), (1, STARTED), (1, crashed)]

    board = board_of(*events, (1, WorkerStarting(attempt=2)), (1, UsageReported(usage=Usage(), cost=0.5)))
    assert board.workers[1].spent == 0.75

    board = board_of(*events, (None, None))
    assert (board.status, board.workers[1].state, board.workers[3].state) == (
        RunStatus.INTERRUPTED,
        *["interrupted"] * 2,
    )
    board = board_of(*events, (None, None), (None, RunResumed(launcher_pid=1, worker_ids=(1,))))
    assert (board.status, board.workers[1].state, board.workers[1].spent) == (RunStatus.RUNNING, "waiting", 0.25)


def test_a_resume_names_the_workers_that_run_again() -> None:
    board = board_of()
    for again, line in (((), "resumed"), ((2,), "resumed: worker 2"), ((1, 3), "resumed: workers 1, 3")):
        event = RunResumed(launcher_pid=1, worker_ids=again)
        recorded = Recorded(run_id=board.run_id, seq=2, time=START, worker_id=None, event=event)
        assert as_line(board, WatchedEvent(seq=2, time=START, recorded=recorded)) == f"{START:%H:%M:%S} {line}"


@settings(deadline=None, max_examples=60)
@given(
    st.integers(1, 220), st.integers(1, 60), st.integers(0, 30), st.sampled_from(MODES), st.booleans(),
    st.sampled_from([HOSTILE, "日本語" * 40, "x" * 3000, "", "e\u0301\u200b" * 9]), st.integers(0, 500),
)  # fmt: skip
def test_no_line_is_wider_and_no_screen_higher_than_it_may_be(
    width: int, height: int, workers: int, mode: str, asks: bool, words: str, up: int
) -> None:
    events: list[tuple[int | None, Event | None]] = []
    if workers > 1:
        done = result(2, output=words, error=words, model=words)
        events = [(1, LimitReached(reason=Reason.BUDGET, detail=words)), (2, WorkerFinished(result=done))]
    board = board_of(*events, (None, RunFinished(status=RunStatus.FAILED, exit_code=1)), workers=workers, name=words)
    view = View(mode=mode, selected=max(1, workers // 2), up=up, asks_cancel=asks, message=words)

    shown = picture(board, view, width=width, height=height, printed=["printed"] * 100)

    assert len(shown) <= max(height, 1)
    assert all(cell_len(line) <= width for line in shown)
    assert not any(character in line for line in shown for character in "\x1b\x07\n\u202e")


@pytest.mark.parametrize("selected", [1, 50, 100])
def test_the_selected_worker_is_always_on_the_screen(selected: int) -> None:
    shown = picture(board_of(workers=100), View(selected=selected), height=12)

    assert sum(line.startswith(f"> {selected:>3} ") for line in shown) == 1


def test_the_log_is_scrolled_within_what_there_is() -> None:
    view = View(mode="log", up=10**9)

    shown = picture(board_of(), view, height=10, printed=[f"line {number}" for number in range(100)])

    assert shown[3] == " line 0"
    view.up = 0
    assert picture(board_of(), view, height=10, printed=[f"line {n}" for n in range(100)])[-2] == " line 99"
