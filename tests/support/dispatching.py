"""Workers, ends of theirs, and a dispatcher for them, without anything that runs."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime
from typing import cast

from hypothesis import strategies as st

from architect_parallel.domain import AgentProfile, OnPartial, Reason, Recovery, Retry, Status, WorkerResult, WorkerSpec
from architect_parallel.events import AttemptEnded, Entry, WorkerFinished
from architect_parallel.scheduling.admission import Rules
from architect_parallel.scheduling.scheduler import Scheduler

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


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
) -> Scheduler:
    dice = random.Random(1).random
    return Scheduler(specs, rules or Rules(), max_parallel=at_once, random=dice, now=lambda: NOON, debugger=debugger)


def own_end(entries: list[Entry], worker_id: int) -> AttemptEnded | WorkerFinished | None:
    """The end of the worker's attempt. `None` means the debugger, which has no end.

    The end of the worker itself follows in the same call if its group is given up with this failure.
    """
    own = [event for of, event in entries if of == worker_id]
    assert len(own) <= 1 or [type(event) for event in own] == [AttemptEnded, WorkerFinished]
    return cast(AttemptEnded | WorkerFinished, own[0]) if own else None


def results_of(entries: list[Entry]) -> list[WorkerResult]:
    """The results of the workers that ended."""
    return [event.result for _, event in entries if isinstance(event, WorkerFinished)]


@st.composite
def graphs(draw: st.DrawFn, *, most: int = 12, delay_s: float = 0.1) -> list[WorkerSpec]:
    """Workers of a random task graph."""
    count = draw(st.integers(1, most))
    recovery = draw(st.sampled_from([None, Recovery(), Recovery(escalate=False)]))
    retry = draw(st.sampled_from([None, Retry(max_attempts=2, initial_delay_s=delay_s)]))
    order = draw(st.permutations(range(1, count + 1)))
    made = {}
    for place, worker_id in enumerate(order):
        among = order[:place]
        needed = draw(st.lists(st.sampled_from(among), max_size=3, unique=True)) if among else []
        on_partial = draw(st.sampled_from(list(OnPartial)))
        made[worker_id] = spec(
            worker_id, name=f"t{worker_id}", dependencies=tuple(needed), on_partial=on_partial, recovery=recovery,
            retry=retry,
        )  # fmt: skip
    return [made[worker_id] for worker_id in sorted(made)]
