"""The state file while a run goes on: always whole, always of now."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from support.console import wait_until
from support.dispatching import ended, spec

from architect_parallel.config.validation import ValidationContext
from architect_parallel.domain import Attempt, Reason, RunPlan, RunStatus, Status, TaskText, Workflow
from architect_parallel.errors import EnvironmentProblem
from architect_parallel.events import AttemptEnded, Event, Recorded, RunFinished, RunResumed, WorkerStarting
from architect_parallel.reports.state_file import StateFile
from architect_parallel.specs.loader import read_spec


def test_each_change_is_written_at_once_or_a_moment_later(tmp_path: Path) -> None:
    path = tmp_path / "state.md"
    one, two = spec(1, name="design", role_name="product"), spec(2, name="<b>\n# api", dependencies=(1,))
    plan = RunPlan(
        run_id="r", repository="/nowhere", base_commit="0" * 40, base_ref="HEAD", workers=(one, two), max_parallel=2,
        workflow=Workflow(name="Login", state_file=str(path)),
    )  # fmt: skip
    state = StateFile.of(plan)
    assert state is not None

    def hear(event: Event, worker_id: int | None = None) -> None:
        state.take(Recorded(run_id="r", seq=1, time=datetime.now(UTC), worker_id=worker_id, event=event))

    hear(WorkerStarting(attempt=1), 1)
    assert "- product (design) → ⏳ running" in path.read_text()
    assert "- build (&#60;b&#62; # api) → waiting" in path.read_text()

    failed = Attempt(number=1, status=Status.FAILED, reason=Reason.AGENT_ERROR, error="no disk")
    hear(AttemptEnded(attempt=failed, because="retry"), 1)
    wait_until(lambda: "🔁 attempt 1 failed: no disk" in path.read_text(), "the second version")

    end = ended(one, Reason.COMPLETED, Status.SUCCESS)
    hear(replace(end, result=replace(end.result, output="a plan\nof many lines", files_modified=["a b.md"])), 1)
    hear(RunFinished(status=RunStatus.ESCALATED, exit_code=1, briefing="What was asked: all"))
    text = path.read_text()
    assert "- product (design) → ✅ a plan of many lines" in text
    assert "**escalated**, 1 of 2 tasks ended" in text
    assert "- <code>a b.md</code> (design)" in text
    assert "What was asked: all" in text
    assert list(tmp_path.iterdir()) == [path]


def test_what_an_earlier_launch_did_stands_and_saves_this_one_no_time(tmp_path: Path) -> None:
    path = tmp_path / "state.md"
    workers = (spec(1, name="good"), spec(2, name="bad"), spec(3, name="slow"))
    plan = RunPlan(
        run_id="r", repository="/nowhere", base_commit="0" * 40, base_ref="HEAD", workers=workers, max_parallel=2,
        workflow=Workflow(name="Login", state_file=str(path)),
    )  # fmt: skip
    begin = datetime(2026, 3, 4, tzinfo=UTC)
    first = Attempt(number=1, status=Status.FAILED, started_at=begin - timedelta(seconds=200), duration=100.0)
    second = Attempt(number=2, status=Status.SUCCESS, started_at=begin + timedelta(seconds=2), duration=3.0)
    statuses = (Status.SUCCESS, Status.FAILED, Status.CANCELED)
    ends = [ended(worker, Reason.COMPLETED, status) for worker, status in zip(workers, statuses, strict=True)]
    earlier = [
        Recorded(
            run_id="r",
            seq=seq,
            time=begin - timedelta(seconds=100),
            worker_id=seq,
            event=replace(end, result=replace(end.result, attempt_history=[first])),
        )
        for seq, end in enumerate(ends, start=1)
    ]
    state = StateFile.of(plan, earlier)
    assert state is not None

    def hear(second: int, event: Event, worker_id: int | None = None) -> None:
        time = begin + timedelta(seconds=second)
        state.take(Recorded(run_id="r", seq=second, time=time, worker_id=worker_id, event=event))

    hear(1, RunResumed(launcher_pid=1, worker_ids=(3,)))
    hear(1, WorkerStarting(attempt=2), 3)
    text = path.read_text()
    assert "2 of 3 tasks ended" in text
    assert "(bad) → ❌" in text
    assert "(slow) → ⏳ running, attempt 2" in text

    again = ended(workers[2], Reason.COMPLETED, Status.SUCCESS)
    hear(5, replace(again, result=replace(again.result, attempt_history=[first, second])), 3)
    hear(6, RunFinished(status=RunStatus.PARTIAL, exit_code=1))
    assert "- 5.0 s; one by one 3.0 s: 0.0 s saved" in path.read_text()


def test_what_cannot_be_written_is_said_in_words_whoever_would_have_written_it(tmp_path: Path) -> None:
    place = tmp_path / "place"
    plan = RunPlan(
        run_id="r", repository="/nowhere", base_commit="0" * 40, base_ref="HEAD", workers=(spec(1),), max_parallel=1,
        workflow=Workflow(name="Login", state_file=str(place / "state.md")),
    )  # fmt: skip
    state = StateFile.of(plan)
    assert state is not None

    def hear(attempt: int) -> None:
        event = WorkerStarting(attempt=attempt)
        state.take(Recorded(run_id="r", seq=attempt, time=datetime.now(UTC), worker_id=1, event=event))

    hear(1)
    hear(2)  # written a moment later
    shutil.rmtree(place)
    place.write_text("in the way")
    failed: list[str] = []

    def fails() -> bool:
        try:
            hear(3)
        except EnvironmentProblem as problem:
            failed.append(problem.message)
        return bool(failed)

    wait_until(fails, "a word about it")
    assert failed == [f"the state file {place}/state.md cannot be written: File exists"]


def test_what_it_writes_is_known_as_a_state_file(tmp_path: Path) -> None:
    path = tmp_path / "state.md"
    plan = RunPlan(
        run_id="20260304-050607-ab12", repository="/nowhere", base_commit="0" * 40, base_ref="HEAD", workers=(spec(1),),
        max_parallel=1, workflow=Workflow(name="\n Ä", state_file=str(path)),
    )  # fmt: skip
    state = StateFile.of(plan)
    assert state is not None
    state.take(Recorded(run_id="r", seq=1, time=datetime.now(UTC), worker_id=1, event=WorkerStarting(attempt=1)))
    around = ValidationContext(directory=tmp_path, checkout=None, backends=("shell",), agents=None, ceiling=10)
    text = TaskText(name="spec.yaml", data=b"state_file: state.md\ntasks: [{name: a}]")

    assert read_spec(text, around).state_file == "state.md"


def test_a_plan_without_a_workflow_has_none() -> None:
    plan = RunPlan(
        run_id="r", repository="/nowhere", base_commit="0" * 40, base_ref="HEAD", workers=(spec(1),), max_parallel=1
    )
    assert StateFile.of(plan) is None
