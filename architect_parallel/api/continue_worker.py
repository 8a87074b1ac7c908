"""Continue one ended worker in its worktree, with further instructions (`--continue`).

It is a further attempt of the same run. Number, branch, worktree, the agent's home and the run's lock stay the same, so
that landing, cleanup and undo are not affected. The content of the worktree is kept under `refs/architect/keep/` before
the agent starts. The journal has the instructions as a change to the plan.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from architect_parallel.api.artifacts import require_place
from architect_parallel.api.launch import add_artifacts, require_not_imported
from architect_parallel.api.local_launch import EarlierLaunches, run_plan
from architect_parallel.api.resume import hold_run
from architect_parallel.backends.registry import require_backend
from architect_parallel.domain import Attempt, Isolation, RunPlan, RunResult, WorkerSpec
from architect_parallel.errors import EnvironmentProblem
from architect_parallel.events import RunResumed
from architect_parallel.journal import Journal
from architect_parallel.journal.replay import replay
from architect_parallel.journal.requests import forget_requests
from architect_parallel.journal.selection import find_workers
from architect_parallel.landing.inventory import still_running
from architect_parallel.repository.registry import require_linked
from architect_parallel.runs.containment import require_containment
from architect_parallel.runs.ready_backends import require_ready
from architect_parallel.runs.recorder import Listener
from architect_parallel.runs.task_sources import require_tasks
from architect_parallel.runs.workspace import Workspace, load_workspace
from architect_parallel.scheduling.retries import history_of
from architect_parallel.text.names import read_session


def continue_worker(
    workspace_root: Path,
    run: str,
    worker_id: int,
    instructions: str,
    *,
    config_file: Path | None = None,
    artifacts: Path | None = None,
    listeners: Sequence[Listener] = (),
    started: Callable[[RunPlan], None] = lambda plan: None,
    environ: Mapping[str, str] | None = None,
) -> RunResult:
    """Run one worker of an ended run again in its worktree as it is, in the same session where its backend can.

    Args:
        artifacts: Where the run's artifacts go at its end. Those it wrote before are replaced. `None` means nowhere.

    Returns:
        The whole run, with the sums over all attempts in the worker's place. Its exit code is that of this worker.

    Raises:
        NothingToDo: No such run.
        UsageError: It has no such worker, the instructions are empty, or something else is at `artifacts`.
        EnvironmentProblem: The run is live, the worktree is gone, or the backend is not ready.
    """
    with hold_run(workspace_root, run, config_file=config_file, environ=environ) as held:
        here, journal, run_id = held.workspace, held.journal, held.run_id
        spec, earlier = _next_attempt(here, journal, run_id, worker_id, instructions)
        place = None if artifacts is None else require_place(here.start / artifacts, run_id)
        plan = journal.plan(run_id)
        # The exit code is that of this worker, independent of the others.
        others = [replace(worker, critical=False) for worker in plan.workers if worker.worker_id != worker_id]
        workers = sorted([*others, replace(spec, critical=True)], key=lambda other: other.worker_id)
        plan = replace(plan, workers=tuple(workers), allow_partial=False)
        forget_requests(journal.run_dir(run_id))
        event = RunResumed(launcher_pid=os.getpid(), worker_ids=(worker_id,), workers=(spec,))
        started(replace(plan, workers=(spec,), warnings=spec.warnings))
        before = EarlierLaunches(standing={}, attempts={worker_id: earlier}, begun=(), ended=True)
        result = run_plan(plan, journal, here, listeners, todo=[spec], first_event=event, before=before)
        if place is not None:
            add_artifacts(result, place, here.repository, journal, listeners)
        return result


def continued(
    workspace_root: Path, run: str, worker_id: int, instructions: str, *, config_file: Path | None = None
) -> WorkerSpec:
    """Return the attempt that `continue_worker` would run. Raises like it, and changes nothing."""
    here = load_workspace(workspace_root, config_file)
    with Journal.of(here.repository) as journal:
        run_id = journal.find(run)
        if journal.is_live(run_id):
            raise EnvironmentProblem(f"run {run_id} is still live", hint=f"architect status {run_id}")
        return _next_attempt(here, journal, run_id, worker_id, instructions)[0]


def _next_attempt(
    here: Workspace, journal: Journal, run_id: str, worker_id: int, instructions: str
) -> tuple[WorkerSpec, tuple[Attempt, ...]]:
    """Return the worker's next attempt, and the earlier ones."""
    (task,) = require_tasks([instructions])
    recorded = journal.recorded(run_id)
    # Not `journal.result`: the run's lock may be held by ourselves, and that would pass for a live launcher.
    before = replay(recorded, live=False)
    find_workers(run_id, before.planned, [worker_id])
    require_not_imported(journal.plan(run_id))
    spec = next(candidate for candidate in before.planned if candidate.worker_id == worker_id)
    result = next(item for item in before.results if item.worker_id == worker_id)
    if worker_id in still_running(recorded):
        raise EnvironmentProblem(f"the agent of worker {worker_id} is still being stopped", hint="try again")
    if not Path(spec.worktree_path).is_dir():
        hint = "`architect undo` brings back what a cleanup took" if spec.isolation is Isolation.WORKTREE else None
        raise EnvironmentProblem(f"worker {worker_id} has no directory {spec.worktree_path} any more", hint=hint)
    if spec.isolation is Isolation.WORKTREE:
        require_linked(here.repository, Path(spec.worktree_path))
    backend = require_backend(here.backends, spec.backend)
    require_ready(here.backends, backend, {spec.model}, here.environ)
    require_containment(spec, here)
    session = _resumable(result.session_id) if backend.capabilities.sessions else None
    lost = (
        f"backend {backend.name} has no session to go on with: the agent sees its files, not the earlier conversation"
    )
    following = replace(
        spec,
        prompt=task.prompt,
        first_prompt=spec.first_prompt or spec.prompt,
        values={},
        session_id=session,
        attempt=result.attempts + 1,
        continues=True,
        warnings=tuple(warning for warning in spec.warnings if warning != lost) + (() if session else (lost,)),
    )
    return following, history_of(result)


def _resumable(session_id: str | None) -> str | None:
    """The id where it is safe in a command line: an agent named it, and may have meant an option."""
    try:
        return None if session_id is None else read_session(session_id)
    except ValueError:
        return None
