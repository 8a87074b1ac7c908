"""Results and runs as reports get them, made by hand; nothing of them exists."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime

from architect_parallel.domain import AgentProfile, Reason, RunResult, RunStatus, Status, WorkerResult, WorkerSpec

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def spec(worker_id: int, **more: object) -> WorkerSpec:
    plain = WorkerSpec(
        run_id="20260102-030405-abcd",
        worker_id=worker_id,
        index=worker_id - 1,
        number=worker_id,
        name=f"worker-{worker_id}",
        prompt="do it",
        backend="claude",
        model=None,
        agent=AgentProfile(name="build"),
        branch=f"architect/parallel-{worker_id}",
        worktree_path=f"/repo/.architect-parallel-{worker_id}",
        base_commit="b" * 40,
    )
    return dataclasses.replace(plain, **more)  # type: ignore[arg-type]  # test data


def result(worker_id: int, status: Status = Status.SUCCESS, **more: object) -> WorkerResult:
    plain = WorkerResult(
        worker_id=worker_id,
        branch=f"architect/parallel-{worker_id}",
        model="default",
        status=status,
        steps=4,
        cost=0.0123,
        duration=2.5,
        files_modified=["a.py", "b.py"],
        worktree_path=f"/repo/.architect-parallel-{worker_id}",
        task="review the auth module",
        backend="claude",
        reason=Reason.COMPLETED if status is Status.SUCCESS else Reason.AGENT_ERROR,
        output="done",
        session_id="17067f7d-7301",
        started_at=START,
    )
    return dataclasses.replace(plain, **more)  # type: ignore[arg-type]  # test data


def run_of(*results: WorkerResult, planned: int | None = None) -> RunResult:
    return RunResult(
        run_id="20260102-030405-abcd",
        status=RunStatus.PARTIAL,
        exit_code=1,
        base_commit="b" * 40,
        base_ref="HEAD",
        started_at=START,
        finished_at=START,
        total_duration_seconds=3.2,
        max_parallel=2,
        results=list(results),
        planned=tuple(spec(number) for number in range(1, (planned or len(results)) + 1)),
    )
