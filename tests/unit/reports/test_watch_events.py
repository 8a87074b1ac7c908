"""The events of a run as `architect watch` prints them, and the view that they add up to."""

from __future__ import annotations

from support.made_results import START, result
from support.run_views import STARTED, recorded, view_of

from architect_parallel.domain import RunStatus, Status, Usage
from architect_parallel.events import AttemptEnded, Event, RunResumed, UsageReported, WorkerStarting
from architect_parallel.reports.watch_events import WatchedEvent, as_line, take
from architect_parallel.scheduling.retries import attempt_of


def test_attempts_add_up_and_a_resume_begins_anew() -> None:
    first = attempt_of(result(1, Status.FAILED, cost=0.25), waited_s=0.0)
    crashed = AttemptEnded(attempt=first, because="it crashed")
    events: list[tuple[int | None, Event]] = [(1, WorkerStarting(attempt=1)), (1, STARTED), (1, crashed)]

    run = view_of(*events, (1, WorkerStarting(attempt=2)), (1, UsageReported(usage=Usage(), cost=0.5)))
    assert run.workers[1].spent == 0.75

    run = view_of(*events)
    take(run, WatchedEvent(seq=5, time=START, recorded=None))
    states = [run.workers[worker_id].state for worker_id in (1, 3)]
    assert (run.status, states) == (RunStatus.INTERRUPTED, ["interrupted", "interrupted"])
    take(run, WatchedEvent(seq=6, time=START, recorded=recorded(6, None, RunResumed(launcher_pid=1, worker_ids=(1,)))))
    assert (run.status, run.workers[1].state, run.workers[1].spent) == (RunStatus.RUNNING, "waiting", 0.25)


def test_a_resume_names_the_workers_that_run_again() -> None:
    run = view_of()
    for again, line in (((), "resumed"), ((2,), "resumed: worker 2"), ((1, 3), "resumed: workers 1, 3")):
        seen = WatchedEvent(seq=2, time=START, recorded=recorded(2, None, RunResumed(launcher_pid=1, worker_ids=again)))
        assert as_line(run, seen) == f"{START:%H:%M:%S} {line}"
