"""Views of runs that have seen the beginning and then some events; nothing of them exists."""

from __future__ import annotations

import dataclasses
from datetime import timedelta

from architect_parallel.domain import RunPlan, WorkerSpec
from architect_parallel.events import AgentStarted, Event, Recorded, RunStarted
from architect_parallel.journal.view import RunView
from support.made_results import START, spec

STARTED = AgentStarted(supervisor_pid=1, agent_pid=2, argv=("x",))
RUN_ID = "20260102-030405-abcd"


def recorded(seq: int, worker_id: int | None, event: Event) -> Recorded:
    """An event that happens `seq` seconds after `START`."""
    return Recorded(run_id=RUN_ID, seq=seq, time=START + timedelta(seconds=seq), worker_id=worker_id, event=event)


def view_of(*events: tuple[int | None, Event], specs: tuple[WorkerSpec, ...] = (), workers: int = 3) -> RunView:
    """A run of these specs, or else of so many plain ones. The plan is the first event, one second after `START`."""
    specs = specs or tuple(spec(number) for number in range(1, workers + 1))
    plan = RunPlan(
        run_id=RUN_ID, repository="/repo", base_commit="b" * 40, base_ref="HEAD", max_parallel=2, budget_usd=5.0,
        workers=tuple(dataclasses.replace(worker, run_id=RUN_ID) for worker in specs),
    )  # fmt: skip
    started: tuple[int | None, Event] = (None, RunStarted(plan=plan, launcher_pid=1))
    entries = enumerate([started, *events], start=1)
    return RunView.of(RUN_ID, [recorded(seq, worker_id, event) for seq, (worker_id, event) in entries])
