"""The plan of a spec: its tasks go through the planner of every run, with the rules of the spec added."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from architect_parallel.api.local_launch import start_rules
from architect_parallel.domain import (
    SHELL,
    AgentProfile,
    ApprovalMode,
    Isolation,
    OnPartial,
    Role,
    RunPlan,
    SandboxMode,
    SpecFile,
    Task,
    TaskFile,
    WorkerSpec,
    Workflow,
)
from architect_parallel.errors import ArchitectParallelError, EnvironmentProblem, UsageError
from architect_parallel.runs.inputs import file_fault
from architect_parallel.runs.options import ParallelConfig
from architect_parallel.runs.plan import draft_plan
from architect_parallel.runs.task_sources import TaskList
from architect_parallel.runs.workspace import Workspace, load_workspace, validation_context
from architect_parallel.scheduling import graph
from architect_parallel.system.git import Repository
from architect_parallel.templates import references
from architect_parallel.templates.scanner import scan
from architect_parallel.text.quantities import quoted
from architect_parallel.text.suggest import require_known
from architect_parallel.worktrees.create import require_base

DEFAULT_PARALLEL = 4
COORDINATOR = "coordinator"


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecConfig:
    """The options of `architect spec run`."""

    file: str | os.PathLike[str]
    only: Sequence[str] = ()
    """Names of the tasks to run, with all they depend on. Empty means all tasks."""
    flags: ParallelConfig = field(default_factory=ParallelConfig)
    """Options for every task. Its own `tasks` are not used."""


def read(file: str | os.PathLike[str], here: Workspace | None, base: str | None = None) -> SpecFile:
    """The spec in `file`, checked against the workspace. `None` means that only its own text is checked.

    Args:
        base: The revision that must have the files it refers to. `None` means that they are not checked.

    Raises:
        UsageError: With every fault.
    """
    from architect_parallel.specs.loader import load_spec

    if here is None:
        return load_spec(Path(file), None)
    repository = here.repository
    commit = None
    if base is not None:
        with contextlib.suppress(ArchitectParallelError):  # reported where the run starts from it
            commit = require_base(repository, base)
    context = replace(
        validation_context(here),
        branches=lambda: _branches(repository),
        file_fault=lambda path: None if commit is None else file_fault(repository, commit, path),
    )
    path = Path(file)
    return load_spec(path if path.is_absolute() or here.start == Path.cwd() else here.start / path, context)


def _branches(repository: Repository) -> list[str]:
    """Short names of the local branches."""
    return repository.store.text("for-each-ref", "--format=%(refname:lstrip=2)", "refs/heads/").splitlines()


def validated(
    file: str | os.PathLike[str], workspace_root: Path, config_file: Path | None = None, base: str | None = None
) -> SpecFile:
    """The spec in `file`, checked as far as possible. Outside a repository only its own text is checked.

    Args:
        base: As for `read`.

    Raises:
        UsageError: With every fault.
    """
    try:
        here = load_workspace(workspace_root, config_file)
    except EnvironmentProblem:
        return read(file, None)
    return read(file, here, base)


def task_graph(spec: SpecFile) -> dict[str, tuple[str, ...]]:
    """Map each task to the tasks it depends on, by name and in the order of the file."""
    return {task.name or "": task.dependencies for task in spec.tasks}


def draft_spec_plan(config: SpecConfig, here: Workspace) -> RunPlan:
    """The plan of a spec before its numbers.

    Raises:
        UsageError: With every fault of the file, or a flag is wrong.
        EnvironmentProblem: As for `draft_plan`.
    """
    flags = config.flags
    # What `--only` leaves out may lack its files, and what is uncommitted is in no commit before the plan is.
    base = None if config.only or flags.include_dirty else flags.base
    spec = read(config.file, here, base)
    tasks = _tasks(spec, config.only, here)
    settings = here.settings.parallel
    max_parallel = spec.max_parallel or settings.max_parallel or min(DEFAULT_PARALLEL, settings.workers_ceiling)
    file = TaskFile(name=spec.file, tasks=tasks, max_parallel=max_parallel)
    plan = draft_plan(flags, here, TaskList(tasks=tasks, file=file, listed=True, warnings=spec.warnings))
    workers = tuple(_worker(worker, spec) for worker in plan.workers)
    if base is None:
        _require_files(workers, here, spec)
    debugger = None if spec.debugger is None else _debugger(spec.debugger, plan, flags, here)
    warnings = list(plan.warnings)
    if debugger is not None and debugger.backend == SHELL:
        warnings.append(f"recovery.debugger is left out: backend {SHELL} would run the question")
        debugger = None
    helpers = () if debugger is None else (debugger,)
    warnings += [f"{helper.name}: {warning}" for helper in helpers for warning in helper.warnings]
    warnings += _rate_warnings(spec, [*workers, *helpers], here)
    return replace(
        plan,
        workers=workers,
        warnings=tuple(warnings),
        workflow=Workflow(
            name=spec.name,
            state_file=None if spec.state_file is None else os.path.abspath(here.start / spec.state_file),
            coordinator=next(
                (candidate.worker_id for candidate in workers if candidate.role is Role.COORDINATOR), None
            ),
            rates=spec.rates,
            merge=spec.merge,
            debugger=debugger,
        ),
    )


def _tasks(spec: SpecFile, only: Sequence[str], here: Workspace) -> tuple[Task, ...]:
    """The tasks to run. The coordinator is the last of them, unless some tasks are left out."""
    chosen = chosen_tasks(spec, only)
    tasks = [task for task in spec.tasks if task.name in chosen]
    if spec.coordinator is not None and len(tasks) == len(spec.tasks):
        names = tuple(task.name for task in tasks if task.name)
        tasks.append(
            replace(
                spec.coordinator,
                name=coordinator_name(names),
                role=Role.COORDINATOR,
                dependencies=names,
                on_partial=OnPartial.CONTINUE,
                place=spec.file,
            )
        )
    return tuple(_with_role(task, here.settings.agents) for task in tasks)


def _worker(worker: WorkerSpec, spec: SpecFile) -> WorkerSpec:
    """A planned worker with the rules of the spec. The coordinator works on the base and checks nothing."""
    if worker.role is Role.COORDINATOR:
        return replace(_with_results(worker), fills=True, retry=spec.retry, inherits=False, checks=())
    return replace(worker, fills=True, retry=spec.retry, recovery=spec.recovery)


def _debugger(task: Task, plan: RunPlan, flags: ParallelConfig, here: Workspace) -> WorkerSpec:
    """The debugger of a plan: it reads, in a directory that is made when it starts."""
    return replace(
        helper_spec(_with_own_backend(task, here.settings.agents), Role.DEBUGGER, plan, flags, here),
        isolation=Isolation.NONE,
        commit=False,
        checks=(),
        files=(),
        approval_mode=ApprovalMode.DEFAULT,
        sandbox_mode=SandboxMode.READ_ONLY,
        retries=0,
    )


def helper_spec(task: Task, role: Role, plan: RunPlan, flags: ParallelConfig, here: Workspace) -> WorkerSpec:
    """The agent for `task` that helps a planned run. It is none of the plan's workers.

    Raises:
        UsageError: Its backend or agent does not exist.
        EnvironmentProblem: Its backend is not ready.
    """
    flags = replace(flags, base=plan.base_commit, include_dirty=False, workers=None, models=())
    task = replace(_with_role(task, here.settings.agents), role=role)
    (drafted,) = draft_plan(flags, here, TaskList(tasks=(task,), listed=True)).workers
    count = len(plan.workers)
    return replace(drafted, run_id=plan.run_id, worker_id=count + 1, index=count, number=count + 1)


def _rate_warnings(spec: SpecFile, workers: Sequence[WorkerSpec], here: Workspace) -> list[str]:
    """A warning for rates of providers that no agent uses."""
    provider_of = start_rules(here).provider_of
    used = list(dict.fromkeys(provider_of(worker) for worker in workers))
    idle = [quoted(rate.provider) for rate in spec.rates if rate.provider not in used]
    return [f"providers: no task goes to {', '.join(idle)}, they go to {', '.join(used)}"] if idle else []


def coordinator_name(names: Collection[str]) -> str:
    """A name for the coordinator that no task has."""
    numbered = (f"{COORDINATOR}-{number}" for number in itertools.count(2))
    return next(name for name in itertools.chain((COORDINATOR, f"{COORDINATOR}-of-all"), numbered) if name not in names)


def _with_results(coordinator: WorkerSpec) -> WorkerSpec:
    """The coordinator with the results at the end of its prompt, unless the prompt names them. A command must name
    them."""
    named = any(item.text == references.RESULTS for item in scan(coordinator.prompt))
    if named or coordinator.backend == SHELL:
        return coordinator
    return replace(coordinator, prompt=f"{coordinator.prompt}\n\n{{{{ {references.RESULTS} }}}}")


def chosen_tasks(spec: SpecFile, only: Sequence[str]) -> set[str]:
    """The names of the tasks to run: those of `only` with all they depend on, or all.

    Raises:
        UsageError: There is no such task.
    """
    needs = task_graph(spec)
    for name in only:
        require_known("task", name, needs)
    return graph.closure(needs, only or needs)


def _with_own_backend(task: Task, profiles: Mapping[str, AgentProfile]) -> Task:
    """A task without the backend and model of the spec's defaults, where its profile names its own."""
    profile = profiles.get(task.agent or "")
    if profile is None or (profile.backend is None and profile.model is None):
        return task
    return replace(task, backend=None, model=None)


def _with_role(task: Task, profiles: Mapping[str, AgentProfile]) -> Task:
    """A task whose agent has no profile goes to the default one, with the role in its system prompt."""
    if task.agent is None or task.agent in profiles:
        return task
    prompts = [f"Your role: {task.agent}.", *([task.system_prompt] if task.system_prompt else [])]
    return replace(task, agent=None, role_name=task.agent, system_prompt="\n\n".join(prompts))


def _require_files(workers: Sequence[WorkerSpec], here: Workspace, spec: SpecFile) -> None:
    """Check that the files in prompts exist, except for tasks with dependencies: those may make the files."""
    faults = []
    for worker in workers:
        for reference in references.references(worker.prompt):
            if reference.file is not None and not worker.dependencies:
                problem = file_fault(here.repository, worker.base_commit, reference.file)
                if problem is not None:
                    place = next((task.place for task in spec.tasks if task.name == worker.name), None)
                    faults.append(f"{place or spec.file}: {{{{ {reference.text} }}}}: {problem}")
    if faults:
        raise UsageError("\n".join(faults), hint="commit the files first")
