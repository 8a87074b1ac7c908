"""Another attempt of workers of an ended run (`architect retry`), each from its base, also after a success.

It is a further attempt of the same worker: number, branch and worktree stay the same. The work of the attempts before
is kept under `refs/architect/keep/`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from architect_parallel.api.launch import require_not_imported
from architect_parallel.api.local_launch import EarlierLaunches
from architect_parallel.api.resume import contained_todo, hold_run, run_again, unfinished
from architect_parallel.backends.registry import require_backend
from architect_parallel.domain import RunPlan, RunResult, WorkerSpec
from architect_parallel.errors import EnvironmentProblem, UsageError
from architect_parallel.journal import Journal
from architect_parallel.journal.replay import replay
from architect_parallel.journal.selection import Selection
from architect_parallel.landing.inventory import still_running
from architect_parallel.runs.recorder import Listener
from architect_parallel.runs.workspace import Workspace, load_workspace
from architect_parallel.scheduling import graph
from architect_parallel.scheduling.retries import lesson_of
from architect_parallel.text.names import read_model
from architect_parallel.text.quantities import quoted, show_workers


def retry(
    workspace_root: Path,
    selection: Selection,
    *,
    model: str | None = None,
    backend: str | None = None,
    config_file: Path | None = None,
    listeners: Sequence[Listener] = (),
    started: Callable[[RunPlan], None] = lambda plan: None,
    environ: Mapping[str, str] | None = None,
) -> RunResult:
    """Run the selected workers again from their base, and return the whole run.

    Args:
        model: The model of this attempt and of later ones. `None` keeps the worker's. With another backend it means
            the default model of that backend.
        backend: `None` keeps the worker's.

    Raises:
        UsageError: The run is a flow, another worker builds on one of these, or a name is wrong.
        EnvironmentProblem: The run is live, or a backend is not ready.
    """
    with hold_run(workspace_root, selection.run_id, config_file=config_file, environ=environ) as held:
        plan, todo, before = _attempts(held.workspace, held.journal, selection, model, backend)
        return run_again(held, plan, todo, before, listeners, started)


def retried(
    workspace_root: Path,
    selection: Selection,
    *,
    model: str | None = None,
    backend: str | None = None,
    config_file: Path | None = None,
) -> Sequence[WorkerSpec]:
    """The attempts that `retry` would run. Raises like it, and changes nothing."""
    here = load_workspace(workspace_root, config_file)
    with Journal.of(here.repository) as journal:
        if journal.is_live(selection.run_id):
            problem = f"run {selection.run_id} is still live"
            raise EnvironmentProblem(problem, hint=f"architect status {selection.run_id}")
        return _attempts(here, journal, selection, model, backend)[1]


def _attempts(
    here: Workspace, journal: Journal, selection: Selection, model: str | None, backend: str | None
) -> tuple[RunPlan, Sequence[WorkerSpec], EarlierLaunches]:
    run_id, ids = selection.run_id, selection.worker_ids
    if require_not_imported(journal.plan(run_id)).flow is not None:
        raise UsageError("a flow goes on as a whole: no worker of it is retried", hint=f"architect resume {run_id}")
    if model is not None:
        try:
            read_model(model)
        except ValueError as error:
            raise UsageError(f"--model {quoted(model)} {error}") from None
    if backend is not None:
        require_backend(here.backends, backend)
    recorded = journal.recorded(run_id)
    if running := sorted(set(ids) & still_running(recorded)):
        raise EnvironmentProblem(f"the agent of {show_workers(running)} is still being stopped", hint="try again")
    plan, _, before = unfinished(journal, run_id)
    results = {result.worker_id: result for result in replay(recorded, live=False).results}
    _require_all_dependents(plan, before, ids)
    todo = []
    for spec in (spec for spec in plan.workers if spec.worker_id in ids):
        last = max((attempt.number for attempt in before.attempts.get(spec.worker_id, ())), default=0)
        again = replace(
            _changed(here, spec, model, backend),
            prompt=spec.first_prompt or spec.prompt,
            first_prompt="",
            continues=False,
            session_id=None,
            attempt=last + 1,
            lesson=lesson_of(results[spec.worker_id]) if spec.refine else "",
        )
        todo.append(again)
    todo = contained_todo(todo, plan, None, here)
    standing = {worker_id: end for worker_id, end in before.standing.items() if worker_id not in ids}
    return plan, todo, replace(before, standing=standing)


def _require_all_dependents(plan: RunPlan, before: EarlierLaunches, ids: Sequence[int]) -> None:
    """Raise `UsageError` if a result that stands was built on one that would change."""
    needs = {spec.worker_id: spec.dependencies for spec in plan.workers}
    changing = set(ids)

    def builds_on_them(other: int) -> bool:
        closed: set[int] = graph.closure(needs, [other])
        return bool(changing & closed)

    built = [other for other in before.standing if other not in changing and builds_on_them(other)]
    if built:
        words = " ".join(map(str, sorted({*ids, *built})))
        what = f"{show_workers(built)} built on the result of {show_workers(sorted(ids))}"
        raise UsageError(what, hint=f"architect retry {plan.run_id} {words}")


def _changed(here: Workspace, spec: WorkerSpec, model: str | None, backend: str | None) -> WorkerSpec:
    """The worker with another model or backend, and the warnings of that choice."""
    if model is None and backend in (None, spec.backend):
        return spec
    name = backend or spec.backend
    chosen = require_backend(here.backends, name)
    budget = spec.limits.budget_usd is not None
    lacks = chosen.capabilities.cannot_honour(spec.agent, model=model is not None, budget=budget)
    before = tuple(warning for warning in spec.warnings if not warning.startswith(f"backend {spec.backend} "))
    return replace(spec, backend=name, model=model, warnings=(*before, *(f"backend {name} {lack}" for lack in lacks)))
