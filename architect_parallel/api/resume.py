"""Resume a run that was interrupted or did not succeed.

Final ends are not repeated (`scheduling.resumption`). The other workers start anew, each in its worktree from its base,
after the work of an earlier attempt there has been kept.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from architect_parallel.api.launch import hold, require_not_imported
from architect_parallel.api.local_launch import EarlierLaunches, run_plan
from architect_parallel.api.remote_launch import moved_to, placed_attempts
from architect_parallel.backends.registry import require_backend
from architect_parallel.domain import Isolation, RunPlan, RunResult, RunStatus, WorkerSpec
from architect_parallel.errors import EnvironmentProblem, NothingToDo
from architect_parallel.events import RunResumed, WorkerPlaced, WorkerStarting
from architect_parallel.journal import Journal
from architect_parallel.journal.replay import replay
from architect_parallel.journal.requests import forget_requests
from architect_parallel.journal.selection import Selection
from architect_parallel.journal.unrecorded import record_left
from architect_parallel.repository.registry import registration_lock
from architect_parallel.runs.containment import contained_again
from architect_parallel.runs.options import ParallelConfig, resolve
from architect_parallel.runs.ready_backends import require_ready
from architect_parallel.runs.recorder import Listener
from architect_parallel.runs.workspace import Workspace, load_workspace, open_journal
from architect_parallel.scheduling.resumption import ends_that_hold
from architect_parallel.scheduling.retries import history_of, lesson_of
from architect_parallel.text.quantities import show_workers
from architect_parallel.worktrees.places import Places, exclude_from_status, require_root

Choose = Callable[[RunPlan, Sequence[WorkerSpec]], Sequence[WorkerSpec]]
"""Selects from the workers that are left to do."""


def every(plan: RunPlan, todo: Sequence[WorkerSpec]) -> Sequence[WorkerSpec]:
    """All that is left to do."""
    return todo


def chosen(selection: Selection) -> Choose:
    """Select the named workers, or all where none is named.

    Raises (the selection):
        NothingToDo: One of them has succeeded.
    """

    def choose(plan: RunPlan, todo: Sequence[WorkerSpec]) -> Sequence[WorkerSpec]:
        left = {spec.worker_id for spec in todo}
        if over := [worker_id for worker_id in selection.worker_ids if worker_id not in left]:
            what = f"{show_workers(over)} of run {plan.run_id} {'has' if len(over) == 1 else 'have'} nothing left to do"
            raise NothingToDo(what, hint=f"architect retry {plan.run_id} {over[0]}")
        return [spec for spec in todo if spec.worker_id in selection.worker_ids]

    return choose if selection.worker_ids else every


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldRun:
    """A recorded run whose lock this process holds."""

    workspace: Workspace
    journal: Journal
    run_id: str


@contextmanager
def hold_run(
    workspace_root: Path, run: str, *, config_file: Path | None = None, environ: Mapping[str, str] | None = None
) -> Iterator[HeldRun]:
    """Find a run and hold its lock: the beginning of everything that goes on with one.

    Raises:
        NothingToDo: There is no such run.
        EnvironmentProblem: The run is still live.
    """
    workspace = load_workspace(workspace_root, config_file, environ)
    with Journal.of(workspace.repository) as journal:
        run_id = journal.find(run)
        lock = hold(journal, run_id)
        try:
            record_left(journal, run_id, is_held=True)
            yield HeldRun(workspace=workspace, journal=journal, run_id=run_id)
        finally:
            lock.release()


def resume(
    workspace_root: Path,
    run: str,
    *,
    config_file: Path | None = None,
    listeners: Sequence[Listener] = (),
    started: Callable[[RunPlan], None] = lambda plan: None,
    environ: Mapping[str, str] | None = None,
    choose: Choose = every,
    words: ParallelConfig | None = None,
    hosts: str | None = None,
) -> RunResult:
    """Go on with a run: run the workers that did not succeed again, each in its worktree from its base.

    In a task graph whose launcher died, failures are final as well as successes. A run that lacks only its end is
    ended.

    Args:
        choose: Which workers run.
        words: Its `sandbox`, `network` and `allow_hosts` beat the plan. `None` means the containment of the plan.
        hosts: The URL of the run's cluster, if it has moved. `None` means the recorded one.

    Raises:
        NothingToDo: There is no such run, or it has ended and every worker succeeded.
        UsageError: `words` are wrong, `hosts` is no URL, or the run's workers are on this machine.
        EnvironmentProblem: The run is still live, a backend is not ready, or the containment cannot be had here.
    """
    with hold_run(workspace_root, run, config_file=config_file, environ=environ) as held:
        plan, todo, before = unfinished(held.journal, held.run_id)
        todo = _require_work(list(choose(plan, todo)), before, held.run_id)
        if hosts is not None:
            plan = moved_to(plan, hosts)
        return run_again(held, plan, contained_todo(todo, plan, words, held.workspace), before, listeners, started)


def contained_todo(
    todo: Sequence[WorkerSpec], plan: RunPlan, words: ParallelConfig | None, here: Workspace
) -> list[WorkerSpec]:
    """The workers `todo` with the containment that they run again with. Arguments and errors as for `resume`."""
    options = resolve(words or ParallelConfig(), here.settings.parallel)
    planned = {spec.worker_id: spec.backend for spec in plan.workers}
    return [contained_again(spec, planned[spec.worker_id], options, here) for spec in todo]


def run_again(
    held: HeldRun,
    plan: RunPlan,
    todo: Sequence[WorkerSpec],
    before: EarlierLaunches,
    listeners: Sequence[Listener],
    started: Callable[[RunPlan], None],
) -> RunResult:
    """Run the workers `todo` of a run whose lock this process holds.

    Raises:
        EnvironmentProblem: A backend is not ready. Nothing was recorded.
    """
    here, journal, run_id = held.workspace, held.journal, held.run_id
    for spec in todo if plan.cluster is None else ():
        backend = require_backend(here.backends, spec.backend)
        require_ready(here.backends, backend, {spec.model}, here.environ)
    require_root(here.repository, here.settings.worktrees)
    exclude_from_status(here.repository, here.settings.worktrees)
    forget_requests(journal.run_dir(run_id))
    planned = {spec.worker_id: spec for spec in plan.workers}
    with registration_lock(here.repository):
        moved = _moved(todo, before.begun, here, journal, run_id)
        todo = [moved.get(spec.worker_id, spec) for spec in todo]
        changed = tuple(spec for spec in todo if spec.worker_id in moved or _differs(spec, planned[spec.worker_id]))
        ids = tuple(spec.worker_id for spec in todo if spec.worker_id not in before.placed)
        event = RunResumed(launcher_pid=os.getpid(), worker_ids=ids, workers=changed)
        journal.append([(run_id, None, event)])  # under the lock: from now on the new numbers are taken
    planned |= {spec.worker_id: spec for spec in changed}
    plan = replace(plan, workers=tuple(planned.values()))
    started(replace(plan, workers=tuple(todo)))
    return run_plan(plan, journal, here, listeners, todo=todo, before=before)


def _differs(spec: WorkerSpec, planned: WorkerSpec) -> bool:
    """More than the number of the attempt and what it learned from those before."""
    return replace(spec, attempt=planned.attempt, lesson=planned.lesson) != planned


def is_flow(workspace_root: Path, run: str) -> bool:
    """Return whether the run is a flow's. Raises `NothingToDo` when there is no such run."""
    with open_journal(workspace_root) as (_, journal):
        return journal.plan(journal.find(run)).flow is not None


def resumable(
    workspace_root: Path,
    run: str,
    *,
    choose: Choose = every,
    config_file: Path | None = None,
    words: ParallelConfig | None = None,
) -> tuple[str, list[WorkerSpec]]:
    """Return the id of a run and the workers that `resume` would run, each with its next attempt. Raises like it."""
    here = load_workspace(workspace_root, config_file)
    with Journal.of(here.repository) as journal:
        run_id = journal.find(run)
        if journal.is_live(run_id):
            raise EnvironmentProblem(f"run {run_id} is still live", hint=f"architect status {run_id}")
        plan, todo, before = unfinished(journal, run_id)
        todo = _require_work(list(choose(plan, todo)), before, run_id)
        return run_id, contained_todo(todo, plan, words, here)


def _require_work(todo: list[WorkerSpec], before: EarlierLaunches, run_id: str) -> list[WorkerSpec]:
    if not todo and before.ended:
        raise NothingToDo(f"every worker of run {run_id} succeeded", hint=f"architect status {run_id}")
    return todo


def unfinished(journal: Journal, run_id: str) -> tuple[RunPlan, list[WorkerSpec], EarlierLaunches]:
    """Return the current plan, the workers that are left to do (maybe none), and the state of earlier launches."""
    recorded = journal.recorded(run_id)
    # Not `journal.result`: the run's lock may be held by ourselves, and that would pass for a live launcher.
    before = replay(recorded, live=False)
    # A worker that went on with further instructions gets those again.
    plan = replace(require_not_imported(journal.plan(run_id)), workers=before.planned)
    results = {result.worker_id: result for result in before.results}
    attempts = {worker_id: history_of(result) for worker_id, result in results.items()}
    stand = ends_that_hold(recorded, failures=plan.is_graph)
    placed = placed_attempts(recorded)
    todo = []
    for spec in plan.workers:
        if spec.worker_id in stand:
            continue
        if (place := placed.get(spec.worker_id)) is not None:  # its agent runs, or its result is not taken over yet
            earlier = attempts[spec.worker_id]
            attempts[spec.worker_id] = tuple(attempt for attempt in earlier if attempt.number < place.attempt)
            todo.append(replace(spec, attempt=place.attempt))
            continue
        lesson = lesson_of(results[spec.worker_id]) if spec.refine else ""
        last = max((attempt.number for attempt in attempts[spec.worker_id]), default=0)
        todo.append(replace(spec, attempt=last + 1, lesson=lesson))
    starting = (event.worker_id for event in recorded if isinstance(event.event, WorkerStarting | WorkerPlaced))
    begun = {worker_id for worker_id in starting if worker_id is not None}
    ended = before.status is not RunStatus.INTERRUPTED
    return plan, todo, EarlierLaunches(standing=stand, attempts=attempts, begun=begun, ended=ended, placed=placed)


def _moved(
    todo: Sequence[WorkerSpec], begun: Collection[int], here: Workspace, journal: Journal, run_id: str
) -> dict[int, WorkerSpec]:
    """Return the workers whose place was taken before they began, with the next free places."""
    others = journal.live_workers(besides=run_id)
    taken = {spec.branch for spec in others} | {spec.worktree_path for spec in others}
    gone = [
        spec
        for spec in todo
        if spec.worker_id not in begun
        and spec.isolation is Isolation.WORKTREE
        and (
            not taken.isdisjoint((spec.branch, spec.worktree_path))
            or os.path.lexists(spec.worktree_path)
            or here.repository.store.resolve(f"refs/heads/{spec.branch}") is not None
        )
    ]
    if not gone:
        return {}
    places = Places(here.repository, here.settings.worktrees, journal.live_workers())
    return {spec.worker_id: places.give(spec) for spec in gone}
