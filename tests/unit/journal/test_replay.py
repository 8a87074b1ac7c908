"""Replay is pure: the same events give the same result, and every planned worker has one when the run is over."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from architect_parallel.domain import (
    AgentProfile,
    Attempt,
    Competition,
    Diff,
    FileChange,
    Judgement,
    Reason,
    RunPlan,
    RunStatus,
    Status,
    Usage,
    WorkerResult,
    WorkerSpec,
)
from architect_parallel.errors import InternalError
from architect_parallel.events import (
    AgentExited,
    AgentOutput,
    AgentStarted,
    AttemptEnded,
    Collected,
    DebuggerEnded,
    Event,
    Judged,
    Recorded,
    RunFinished,
    RunResumed,
    RunStarted,
    SessionKnown,
    StepTaken,
    UsageReported,
    Warned,
    WorkerFinished,
    WorkerStarting,
    WorktreeReady,
)
from architect_parallel.journal.replay import replay

RUN = "run-1"
BEGAN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
STARTED = AgentStarted(supervisor_pid=1, agent_pid=2, argv=("agent",))


def spec(worker_id: int) -> WorkerSpec:
    return WorkerSpec(
        run_id=RUN, worker_id=worker_id, index=worker_id - 1, number=worker_id + 10, name=f"worker-{worker_id}",
        prompt="do it", backend="shell", model=None, agent=AgentProfile(name="build"),
        branch=f"architect/parallel-{worker_id + 10}", worktree_path=f"/r/.architect-parallel-{worker_id + 10}",
        base_commit="b" * 40, tags=("t",), meta={"k": "v"},
    )  # fmt: skip


PLAN = RunPlan(
    run_id=RUN, repository="/r", base_commit="b" * 40, base_ref="HEAD", workers=(spec(1), spec(2)), max_parallel=2,
    warnings=("of the plan",),
)  # fmt: skip
START = (None, RunStarted(plan=PLAN, launcher_pid=7))


def story(*entries: tuple[int | None, Event]) -> list[Recorded]:
    """The events a second apart."""
    return [
        Recorded(run_id=RUN, seq=n, time=BEGAN + timedelta(seconds=n - 1), worker_id=worker_id, event=event)
        for n, (worker_id, event) in enumerate(entries, start=1)
    ]


def finished(worker_id: int, status: Status = Status.SUCCESS, steps: int = 3) -> tuple[int, WorkerFinished]:
    result = WorkerResult(
        worker_id=worker_id, branch=f"architect/parallel-{worker_id + 10}", model="default", status=status, steps=steps,
        cost=0.5, duration=2.0, files_modified=["a"], worktree_path="/w", started_at=BEGAN,
    )  # fmt: skip
    return worker_id, WorkerFinished(result=result)


def end(status: RunStatus, code: int) -> tuple[None, RunFinished]:
    return None, RunFinished(status=status, exit_code=code, warnings=("of the end",))


def test_the_model_of_an_old_result_is_the_one_that_was_requested_or_reported() -> None:
    """Older versions recorded `default` for what the agent had reported, and nothing of what was requested."""
    story_of = (START, (1, WorkerStarting(attempt=1)), (1, SessionKnown(session_id="s", model="reported")))
    first, second = replay(story(*story_of, finished(1), finished(2)), live=True).results
    assert (first.model, first.model_requested) == ("reported", None)
    assert (second.model, second.model_requested) == ("default", None), "still unknown"


def test_finished_run_has_the_recorded_results_and_end() -> None:
    run = replay(story(START, finished(2), finished(1), end(RunStatus.SUCCESS, 0)), live=False)
    assert (run.status, run.exit_code, run.total_duration_seconds) == (RunStatus.SUCCESS, 0, 3.0)
    assert [result.worker_id for result in run.results] == [1, 2]
    assert run.finished_at == BEGAN + timedelta(seconds=3)
    assert run.warnings == ["of the plan", "of the end"]
    assert run.total_cost == 1.0


def test_live_run_shows_only_the_workers_that_ended() -> None:
    run = replay(story(START, (1, WorkerStarting(attempt=1)), finished(2)), live=True)
    assert (run.status, run.exit_code, run.finished_at) == (RunStatus.RUNNING, None, None)
    assert [result.worker_id for result in run.results] == [2]
    assert run.total_tasks == 2


def test_run_that_has_ended_is_over_before_its_launcher_has_gone() -> None:
    run = replay(story(START, finished(1), finished(2), end(RunStatus.PARTIAL, 1)), live=True)
    assert (run.status, run.exit_code) == (RunStatus.PARTIAL, 1)


def test_worker_of_a_dead_launcher_is_interrupted_with_what_is_known() -> None:
    diff = Diff(
        base="b" * 40, head="c" * 40, files=(FileChange(path="z", status="A"), FileChange(path="a", status="M"))
    )
    ready = WorktreeReady(
        worktree_path="/elsewhere", branch="architect/parallel-11", base_commit="b" * 40, admin_dir="/g"
    )
    usage = Usage(input_tokens=5)
    run = replay(
        story(
            START, (1, WorkerStarting(attempt=1)), (1, ready), (1, STARTED), (1, StepTaken(steps=4)),
            (1, SessionKnown(session_id="s-1", model="m")), (1, UsageReported(usage=usage, cost=0.25)),
            (1, AgentExited(exit_code=-9, leaked=2, peak_memory_bytes=100)), (1, Collected(diff=diff)),
        ),
        live=False,
    )  # fmt: skip
    assert (run.status, run.exit_code, run.finished_at) == (RunStatus.INTERRUPTED, None, None)
    first, second = run.results
    assert (first.status, first.reason) == (Status.CANCELED, Reason.INTERRUPTED)
    assert (first.session_id, first.steps, first.cost, first.usage) == ("s-1", 4, 0.25, usage)
    assert (first.worktree_path, first.model, first.exit_code, first.leaked) == ("/elsewhere", "m", -9, 2)
    assert first.files_modified == ["a", "z"]
    assert (first.duration, first.duration_seconds) == (4.0, 4.0)
    assert (second.status, second.started_at, second.duration, second.tags) == (Status.CANCELED, None, 0.0, ["t"])
    assert second.meta == {"k": "v"}
    # The one that never ran costs nothing to the total; the one that did counts.
    assert run.total_cost == 0.25


def test_resumed_worker_shows_its_latest_attempt_and_the_others_keep_theirs() -> None:
    before = (START, finished(1, Status.FAILED), finished(2), end(RunStatus.PARTIAL, 1))
    resumed = (None, RunResumed(launcher_pid=8, worker_ids=(1,)))
    again = (1, WorkerStarting(attempt=2))

    live = replay(story(*before, resumed, again), live=True)
    assert (live.status, [result.worker_id for result in live.results]) == (RunStatus.RUNNING, [2])

    dead = replay(story(*before, resumed, again, (1, STARTED)), live=False)
    assert dead.status is RunStatus.INTERRUPTED
    assert [(r.status, r.attempts, r.steps) for r in dead.results] == [(Status.CANCELED, 2, 3), (Status.SUCCESS, 1, 3)]

    done = replay(story(*before, resumed, again, finished(1, steps=9), end(RunStatus.SUCCESS, 0)), live=False)
    assert (done.status, done.exit_code) == (RunStatus.SUCCESS, 0)
    assert [(r.status, r.attempts, r.steps) for r in done.results] == [(Status.SUCCESS, 2, 9), (Status.SUCCESS, 1, 3)]
    assert done.warnings == ["of the plan", "of the end"]


def attempts_story() -> list[Recorded]:
    """A worker of three attempts in one launch, a launcher that dies in the third, and a resume that ends well."""
    ready = WorktreeReady(worktree_path="/w", branch="b", base_commit="b" * 40, admin_dir="/g")

    def ended(number: int, reason: Reason, cost: float) -> tuple[int, AttemptEnded]:
        attempt = Attempt(
            number=number, status=Status.FAILED, reason=reason, steps=2, cost=cost, started_at=BEGAN, duration=1.0,
            waited_seconds=0.0 if number == 1 else 3.0, next_in_seconds=3.0,
        )  # fmt: skip
        return 1, AttemptEnded(attempt=attempt, because="test")

    def begins(number: int) -> tuple[tuple[int, Event], ...]:
        usage = UsageReported(usage=Usage(input_tokens=5, output_tokens=1), cost=0.25)
        return (1, WorkerStarting(attempt=number)), (1, ready), (1, STARTED), (1, StepTaken(steps=2)), (1, usage)

    last = WorkerResult(
        worker_id=1, branch="b", model="m", status=Status.SUCCESS, steps=8, cost=1.0, duration=9.0, files_modified=[],
        worktree_path="/w", started_at=BEGAN, attempts=4,
        attempt_history=[Attempt(number=n, status=Status.FAILED, started_at=BEGAN) for n in (1, 2, 3, 4)],
    )  # fmt: skip
    return story(
        START, finished(2), *begins(1), ended(1, Reason.RATE_LIMITED, 0.25), *begins(2),
        ended(2, Reason.CRASHED, 0.25), *begins(3), (None, RunResumed(launcher_pid=8, worker_ids=(1,))), *begins(4),
        (1, WorkerFinished(result=last)), end(RunStatus.SUCCESS, 0),
    )  # fmt: skip


def test_a_launcher_killed_at_any_moment_leaves_every_attempt_once_and_no_cost_lost() -> None:
    events = attempts_story()
    numbers, cost = 0, 0.0
    for length in range(1, len(events) + 1):
        run = replay(events[:length], live=False)
        assert [result.worker_id for result in run.results] == [1, 2]
        result = run.results[0]
        history = [each.number for each in result.attempt_history]
        assert history == list(range(1, len(history) + 1))
        assert result.attempts == max(1, len(history))
        known = result.cost if result.cost is not None else cost
        assert len(history) >= numbers
        assert known >= cost
        numbers, cost = len(history), known
    assert (numbers, cost) == (4, 1.0)


def test_a_worker_between_two_attempts_is_interrupted_with_the_sums_of_those_that_ended() -> None:
    events = attempts_story()
    second = [n for n, each in enumerate(events) if isinstance(each.event, AttemptEnded)][1]
    result = replay(events[: second + 1], live=False).results[0]
    assert (result.status, result.reason, result.attempts) == (Status.CANCELED, Reason.INTERRUPTED, 2)
    assert (result.steps, result.cost, result.working_seconds, result.duration) == (4, 0.5, 2.0, 5.0)
    assert [each.reason for each in result.attempt_history] == [Reason.RATE_LIMITED, Reason.CRASHED]


def test_time_between_an_end_and_a_resume_is_not_counted() -> None:
    events = story(START, finished(1), end(RunStatus.FAILED, 1), (None, RunResumed(launcher_pid=8, worker_ids=(2,))))
    later = [
        Recorded(run_id=RUN, seq=4 + n, time=BEGAN + timedelta(hours=1, seconds=n), worker_id=None, event=event)
        for n, event in enumerate((events[3].event, RunFinished(status=RunStatus.FAILED, exit_code=1)))
    ]
    assert replay([*events[:3], *later], live=False).total_duration_seconds == 3.0


def test_live_output_changes_nothing() -> None:
    events = story(START, finished(1), finished(2), end(RunStatus.SUCCESS, 0))
    shown = Recorded(run_id=RUN, seq=0, time=events[-1].time, worker_id=1, event=AgentOutput(text="hello"))
    assert replay([*events[:2], shown, *events[2:]], live=False) == replay(events, live=False)


def test_replay_leaves_the_recorded_results_alone() -> None:
    events = story(START, (1, WorkerStarting(attempt=2)), finished(1), finished(2))
    assert replay(events, live=False) == replay(events, live=False)
    assert isinstance(events[2].event, WorkerFinished)
    assert events[2].event.result.attempts == 1


def test_what_a_debugger_cost_is_part_of_the_runs_cost() -> None:
    events = (START, finished(1), (None, DebuggerEnded(cost=0.25)), finished(2), end(RunStatus.FAILED, 1))
    assert replay(story(*events), live=False).total_cost == 1.25
    unknown = replay(story(*events[:-1], (None, DebuggerEnded(cost=None)), events[-1]), live=False)
    assert unknown.total_cost is None


def test_events_without_a_plan_are_refused() -> None:
    with pytest.raises(InternalError):
        replay(story(finished(1)), live=False)
    with pytest.raises(InternalError):
        replay([], live=False)


def test_the_judge_comes_after_the_run_and_is_none_of_its_time() -> None:
    plan = replace(PLAN, competition=Competition(judge="claude"))
    began: tuple[int | None, Event] = (None, RunStarted(plan=plan, launcher_pid=7))
    ended = [began, finished(1), finished(2), end(RunStatus.SUCCESS, 0)]
    one = Judgement(a=1, b=2, best=2, backend="claude", cost=0.25)
    judging: list[tuple[int | None, Event]] = [
        (None, Judged(judgement=one)),
        (None, Warned(message="cut")),
        (None, Judged(judgement=replace(one, a=2, b=1))),
    ]
    whole = replay(story(*ended, *judging), live=False)
    assert whole.competition == plan.competition
    assert [(each.a, each.b) for each in whole.judged] == [(1, 2), (2, 1)]
    assert whole.total_cost == 1.5, "two workers and two answers"
    assert "cut" in whole.warnings

    killed = replay(story(*ended, judging[0]), live=False)
    assert (killed.status, killed.exit_code, len(killed.judged)) == (RunStatus.SUCCESS, 0, 1)
    assert killed.total_duration_seconds == whole.total_duration_seconds == 3.0
    assert whole.finished_at == killed.finished_at


def test_what_was_said_of_work_that_is_done_again_is_forgotten() -> None:
    one = Judgement(a=1, b=2, best=2, backend="claude")
    before: list[tuple[int | None, Event]] = [
        START, finished(1), finished(2), end(RunStatus.PARTIAL, 1), (None, Judged(judgement=one)),
    ]  # fmt: skip
    again = RunResumed(launcher_pid=8, worker_ids=(2,))
    assert replay(story(*before, (None, again)), live=True).judged == []
    assert replay(story(*before, (None, replace(again, worker_ids=()))), live=True).judged == [one]
