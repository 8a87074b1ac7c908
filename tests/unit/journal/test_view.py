"""A run as its events describe it, on the way."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from support.dispatching import ended, spec

from architect_parallel.domain import Attempt, Diff, Reason, RunPlan, RunStatus, Status, WorkerSpec
from architect_parallel.events import (
    AgentExited,
    AgentOutput,
    AgentStarted,
    AttemptEnded,
    Collected,
    Event,
    LimitReached,
    RateLimited,
    Recorded,
    RunExtended,
    RunResumed,
    RunStarted,
    WorkerStarting,
    WorktreeReady,
)
from architect_parallel.journal.view import RunView
from architect_parallel.journal.worker_view import Phase

BEGAN = datetime(2026, 1, 2, tzinfo=UTC)
STARTED = AgentStarted(supervisor_pid=1, agent_pid=2, argv=())
READY = WorktreeReady(worktree_path="/w", branch="b", base_commit="0" * 40, admin_dir="/g")


def view_of(
    *events: tuple[int | None, Event], workers: tuple[WorkerSpec, ...] = (spec(1, checks=("true",)),)
) -> RunView:
    plan = RunPlan(run_id="r", repository="/r", base_commit="0" * 40, base_ref="HEAD", workers=workers, max_parallel=2)
    started: tuple[int | None, Event] = (None, RunStarted(plan=plan, launcher_pid=1))
    return RunView.of("r", [
        Recorded(run_id="r", seq=0 if isinstance(event, AgentOutput) else seq, time=BEGAN + timedelta(seconds=seq),
                 worker_id=worker_id, event=event)
        for seq, (worker_id, event) in enumerate([started, *events], start=1)
    ])  # fmt: skip


def test_a_worker_goes_through_its_phases() -> None:
    collected = Collected(diff=Diff(base="0" * 40, head="1" * 40))
    exited = AgentExited(exit_code=0, leaked=0, peak_memory_bytes=None)
    end = ended(spec(1), Reason.COMPLETED, Status.SUCCESS)
    events: list[Event] = [WorkerStarting(attempt=1), READY, STARTED, exited, collected, end]
    seen = [view_of(*((1, event) for event in events[:count])).workers[1] for count in range(len(events) + 1)]
    assert [worker.phase for worker in seen] == [
        Phase.WAITING,
        Phase.CREATING,
        Phase.PREPARING,
        Phase.RUNNING,
        Phase.COLLECTING,
        Phase.CHECKING,
        Phase.ENDED,
    ]
    # The words of `architect watch --json`.
    assert [worker.state for worker in seen] == [
        "waiting", "starting", "starting", "running", "collecting", "collecting", "success",
    ]  # fmt: skip


def test_a_stop_shows_until_the_agent_is_gone() -> None:
    limit = LimitReached(reason=Reason.BUDGET, detail="$1")
    stopping = view_of((1, WorkerStarting(attempt=1)), (1, STARTED), (1, limit)).workers[1]
    assert (stopping.state, stopping.note, stopping.phase) == ("stopping", "$1", Phase.RUNNING)
    exited = AgentExited(exit_code=0, leaked=0, peak_memory_bytes=None)
    assert view_of((1, STARTED), (1, limit), (1, exited)).workers[1].state == "collecting"


def test_output_ends_the_note_about_a_rate_limit_and_is_no_part_of_the_result() -> None:
    refused = (1, STARTED), (1, RateLimited(message="later"))
    assert view_of(*refused).workers[1].note == "rate limited: later"
    printed = view_of(*refused, (1, AgentOutput(text="hello")))
    assert (printed.workers[1].note, printed.workers[1].line) == ("", "hello")
    assert printed.result(live=False) == view_of(*refused).result(live=False)


def test_a_run_has_begun_with_its_first_worker_or_with_a_later_launch() -> None:
    assert not view_of().has_begun
    assert view_of((1, WorkerStarting(attempt=1))).has_begun
    assert view_of((None, RunResumed(launcher_pid=2, worker_ids=()))).has_begun


def test_a_new_attempt_keeps_the_worktree_and_the_history_and_nothing_else() -> None:
    first = Attempt(number=1, status=Status.FAILED, cost=0.25)
    failed = (1, AttemptEnded(attempt=first, because="x"))
    between = view_of((1, WorkerStarting(attempt=1)), (1, READY), (1, STARTED), failed)
    worker = between.workers[1]
    assert (worker.state, worker.note, worker.spent, worker.running_since) == ("retrying", "x", 0.25, None)
    again = view_of(
        (1, WorkerStarting(attempt=1)), (1, READY), (1, STARTED), failed,
        (1, WorkerStarting(attempt=2)),
    ).workers[1]  # fmt: skip
    assert (again.attempt, again.worktree_path, again.history, again.started_at) == (2, "/w", (first,), None)


def test_added_workers_open_a_run_that_had_ended_again() -> None:
    added = view_of((None, RunExtended(workers=(spec(2), spec(3)))), workers=())
    assert list(added.workers) == [2, 3]
    assert added.status is RunStatus.RUNNING
