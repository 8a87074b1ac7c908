"""The screen of a run that goes on: what is at work comes first, and nothing is wider or taller than the terminal."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from support.made_results import START, result, spec
from support.run_views import STARTED, view_of

from architect_parallel.domain import Diff, Reason, Status, Usage
from architect_parallel.events import (
    AgentExited,
    AgentOutput,
    Collected,
    Event,
    LimitReached,
    RateLimited,
    UsageReported,
    WorkerFinished,
    WorkerStarting,
    WorktreeReady,
)
from architect_parallel.journal.view import RunView
from architect_parallel.reports.live_screen import FOOTER, STOPPING_FOOTER, frame
from architect_parallel.reports.progress_words import activity, totals

HOSTILE = "\x1b]0;title\x07\x1b[2Jred\u202e\nsecond\tline"
EXITED = AgentExited(exit_code=0, leaked=0, peak_memory_bytes=None)


def screen(
    run: RunView, *, width: int = 80, height: int = 24, seconds: int = 95, checking_base: bool = False
) -> list[str]:
    now = START + timedelta(seconds=seconds)
    lines = frame(run, now=now, width=width, height=height, started_at=START, checking_base=checking_base)
    return [line.plain.rstrip() for line in lines]


def test_a_run_on_its_way() -> None:
    crashed = result(2, Status.FAILED, reason=Reason.CRASHED, error="no final event")
    run = view_of(
        (1, WorkerStarting(attempt=1)), (1, STARTED), (1, UsageReported(usage=Usage(), cost=0.4077)),
        (2, WorkerFinished(result=crashed)), (1, AgentOutput(text="reading the tests")),
        specs=tuple(spec(number, prompt=f"task {number}") for number in (1, 2, 3)),
    )  # fmt: skip

    assert screen(run) == [
        "20260102-030405-abcd  1:35  1/3 done (1 not OK), 1 running, $0.42 of $5",
        "#  TASK    STATE        COST   TIME  NOW",
        "1  task 1  running   $0.4077   1:32  reading the tests",
        "2  task 2  FAILED    $0.0123   0:02  no final event",
        "3  task 3  waiting                   waits for its turn",
        FOOTER,
    ]


def test_a_wide_screen_shows_the_whole_name() -> None:
    name = "payments-and-refunds-in-the-checkout"
    run = view_of((1, WorkerStarting(attempt=1)), (1, STARTED), specs=(spec(1, name=name), spec(2, name="docs")))

    assert [line.split()[1] for line in screen(run, width=160)[2:4]] == [name, "docs"]
    assert screen(run, width=80)[2].split()[1] == "payments-and-refunds-in…"


def test_each_step_has_words_and_a_long_one_its_seconds() -> None:
    checked = spec(1, checks=("ruff check .", "pytest -q"))
    ready = WorktreeReady(worktree_path="/x", branch="b", base_commit="b" * 40, admin_dir="/a")
    collected = Collected(diff=Diff(base="b" * 40, head="c" * 40, files=()))
    events: list[tuple[int | None, Event]] = []
    seen = [activity(view_of(specs=(checked,)).workers[1], START)]
    for event in (
        WorkerStarting(attempt=1), ready, STARTED, RateLimited(message="429"), AgentOutput(text="editing"), EXITED,
        collected, LimitReached(reason=Reason.BUDGET, detail="budget of $1 spent"),
    ):  # fmt: skip
        events.append((1, event))
        seen.append(activity(view_of(*events, specs=(checked,)).workers[1], START, line="editing"))

    assert seen == [
        "waits for its turn", "creating its worktree", "preparing its worktree", "editing", "rate limited: 429",
        "editing", "committing its changes", "check 1 of 2: ruff check .", "stopping: budget of $1 spent",
    ]  # fmt: skip
    creating = view_of((1, WorkerStarting(attempt=1))).workers[1]
    assert activity(creating, START + timedelta(seconds=42)) == "creating its worktree (40 s)"


def test_the_words_for_waiting_name_what_is_waited_for() -> None:
    run = view_of(specs=(spec(1), spec(2, dependencies=(1,))))

    assert activity(run.workers[2], START) == "waits for worker 1"
    assert activity(run.workers[2], START, checking_base=True) == "waits for the checks of the base commit"


def test_worktrees_are_counted_while_making_one_takes_long() -> None:
    ready = WorktreeReady(worktree_path="/x", branch="b", base_commit="b" * 40, admin_dir="/a")
    run = view_of((1, WorkerStarting(attempt=1)), (1, ready), (2, WorkerStarting(attempt=1)))

    assert totals(run, START + timedelta(seconds=42)) == "0/3 done, 2 running, checked out 1/3 worktrees, $0 of $5"
    assert totals(run, START) == totals(run) == "0/3 done, 2 running, $0 of $5"


def test_an_unknown_cost_is_not_counted_as_none() -> None:
    free, unknown = result(1, cost=0.0), result(2, cost=None)

    assert totals(view_of((1, WorkerFinished(result=free)))) == "1/3 done, $0 of $5"
    assert totals(view_of((2, WorkerFinished(result=unknown)))) == "1/3 done, cost unknown for 1 worker of $5"
    both = view_of((1, WorkerFinished(result=result(1, cost=0.034))), (2, WorkerFinished(result=unknown)))
    assert totals(both) == "2/3 done, $0.03 + unknown for 1 worker of $5"


def test_what_does_not_fit_is_counted_and_running_workers_stay() -> None:
    events: list[tuple[int | None, Event]] = [
        (number, WorkerFinished(result=result(number))) for number in range(1, 20)
    ]
    events += [(number, event) for number in (38, 40) for event in (WorkerStarting(attempt=1), STARTED)]
    run = view_of(*events, workers=40)

    shown = screen(run, height=9)

    assert [line.split()[0] for line in shown[2:-2]] == ["38", "40", "20", "21", "22"]
    assert shown[-2] == "… and 16 waiting, 19 ended"
    assert len(shown) == 9


def test_a_narrow_screen_leaves_out_what_is_the_same_for_all() -> None:
    models = view_of(specs=(spec(1, model="opus"), spec(2, model="haiku")))
    backends = view_of(specs=(spec(1), spec(2, backend="codex")))

    assert screen(models)[1].split() == ["#", "MODEL", "STATE", "COST", "TIME", "NOW"]
    assert screen(backends)[1].split() == ["#", "BACKEND", "STATE", "COST", "TIME", "NOW"]
    assert screen(models, width=120)[1].split() == [
        "#", "TASK", "BACKEND", "MODEL", "STATE", "CHANGES", "STEPS", "COST", "TIME", "NOW",
    ]  # fmt: skip


def test_the_footer_tells_what_a_second_ctrl_c_does() -> None:
    stopping = LimitReached(reason=Reason.INTERRUPTED)

    assert screen(view_of((1, WorkerStarting(attempt=1)), (1, stopping)))[-1] == STOPPING_FOOTER


@given(
    st.integers(1, 220), st.integers(1, 60), st.integers(0, 30),
    st.sampled_from([HOSTILE, "日本語" * 40, "x" * 3000, "", "e\u0301\u200b" * 9]),
)  # fmt: skip
def test_no_line_is_wider_and_no_screen_taller_than_it_may_be(
    width: int, height: int, workers: int, words: str
) -> None:
    events: list[tuple[int | None, Event]] = []
    if workers > 2:
        done = result(2, output=words, error=words, model=words)
        events = [(1, LimitReached(reason=Reason.BUDGET, detail=words)), (2, WorkerFinished(result=done))]
        events += [(3, STARTED), (3, AgentOutput(text=words))]
    named = tuple(spec(number, name=words, prompt=words) for number in range(1, workers + 1))
    run = view_of(*events, specs=named, workers=0)

    shown = screen(run, width=width, height=height)

    assert len(shown) <= height
    assert all(cell_len(line) <= width for line in shown)
    assert not any(character in line for line in shown for character in "\x1b\x07\n\u202e")
