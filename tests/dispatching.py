"""Workers, ends of theirs, and a dispatcher for them, without anything that runs."""

from __future__ import annotations

import random
from dataclasses import replace

from architect_parallel.domain import AgentProfile, Reason, Status, WorkerResult, WorkerSpec
from architect_parallel.events import WorkerFinished
from architect_parallel.planning.admission import Rules
from architect_parallel.planning.dispatch import Dispatch


def spec(worker_id: int, **more: object) -> WorkerSpec:
    made = WorkerSpec(
        run_id="r", worker_id=worker_id, index=worker_id - 1, number=worker_id, name="w", prompt="do", backend="b",
        model=None, agent=AgentProfile(name="build"), branch=f"b-{worker_id}", worktree_path="/w",
        base_commit="0" * 40,
    )  # fmt: skip
    return replace(made, **more)  # type: ignore[arg-type]  # test data


def ended(started: WorkerSpec, reason: Reason, status: Status = Status.FAILED, **more: object) -> WorkerFinished:
    result = WorkerResult(
        worker_id=started.worker_id, branch=started.branch, model="m", status=status, steps=1, cost=0.1, duration=1.0,
        files_modified=[], worktree_path="/w", reason=reason, attempts=started.attempt, error="e",
    )  # fmt: skip
    return replace(WorkerFinished(result=result), **more)  # type: ignore[arg-type]  # test data


def dispatch(
    *specs: WorkerSpec, rules: Rules | None = None, at_once: int = 8, debugger: WorkerSpec | None = None
) -> Dispatch:
    dice = random.Random(1).random
    return Dispatch(specs, rules or Rules(), max_parallel=at_once, random=dice, debugger=debugger)
