"""A runner of a recorded plan, with a host of the test's own."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence

from architect_parallel.domain import Attempt, RunPlan, WorkerSpec
from architect_parallel.events import WorkerFinished
from architect_parallel.hosts.base import Emit, Host
from architect_parallel.journal import Journal
from architect_parallel.runs.recorder import Listener, Recorder
from architect_parallel.runs.resource_gate import ResourceGate
from architect_parallel.runs.runner import Runner
from architect_parallel.runs.stop_control import StopControl
from architect_parallel.scheduling.admission import FreeResources, Rules
from architect_parallel.scheduling.scheduler import Scheduler
from architect_parallel.system import clock


def make_runner(
    plan: RunPlan,
    journal: Journal,
    make_host: Callable[[Emit], Host],
    *,
    todo: Sequence[WorkerSpec] | None = None,
    earlier: Mapping[int, Sequence[Attempt]] | None = None,
    standing: Mapping[int, WorkerFinished] | None = None,
    rules: Rules | None = None,
    room: Callable[[], FreeResources] = FreeResources,
    listeners: Sequence[Listener] = (),
    debugger: WorkerSpec | None = None,
    kind: Callable[..., Runner] = Runner,
) -> Runner:
    rules, standing = rules or Rules(), standing or {}
    recorder = Recorder(journal, plan.run_id, listeners)
    scheduler = Scheduler(
        [*(plan.workers if todo is None else todo), *(spec for spec in plan.workers if spec.worker_id in standing)],
        rules,
        max_parallel=plan.max_parallel,
        random=random.random,
        now=clock.now,
        fail_fast=plan.fail_fast,
        earlier=earlier,
        standing=standing,
        debugger=debugger,
    )
    stops = StopControl(journal.run_dir(plan.run_id), timeout_s=plan.timeout_s, budget_usd=plan.budget_usd)
    return kind(plan, recorder, make_host, scheduler, stops, ResourceGate(rules, room, recorder.warn))
