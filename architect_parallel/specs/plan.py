"""A spec becomes a plan: its tasks are those of any run, with dependencies and what is said of them all put in."""

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
from architect_parallel.runs.workspace import Workspace, load_workspace
from architect_parallel.scheduling import graph
from architect_parallel.system.git import Repository
from architect_parallel.templates import references
from architect_parallel.text.quantities import quoted
from architect_parallel.text.suggest import require_known
from architect_parallel.worktrees.create import require_base

DEFAULT_PARALLEL = 4
COORDINATOR = "coordinator"


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecConfig:
    """What `architect spec run` can be told."""

    file: str | os.PathLike[str]
    only: Sequence[str] = ()
    """Names of tasks: these and all they depend on, and nothing else; empty: all."""
    flags: ParallelConfig = field(default_factory=ParallelConfig)
    """What holds for every task; its tasks are left alone."""


def read(file: str | os.PathLike[str], here: Workspace | None, base: str | None = None) -> SpecFile:
    """The spec in `file`, held against what is here (`None`: against nothing).

    Args:
        base: The revision in which the files it refers to have to be; `None`: they are not looked for.

    Raises:
        UsageError: With every fault.
    """
    from architect_parallel.config.task_common import ValidationContext
    from architect_parallel.specs.loader import load_spec

    if here is None:
        return load_spec(Path(file), None)
    repository, checkout = here.repository, here.repository.checkout
    commit = None
    if base is not None:
        with contextlib.suppress(ArchitectParallelError):  # whoever starts from there hears of it
            commit = require_base(repository, base)
    around = ValidationContext(
        directory=here.start,
        checkout=None if checkout is None else Path(os.path.realpath(checkout)),
        backends=tuple(here.backends),
        agents=tuple(here.settings.agents),
        ceiling=here.settings.parallel.workers_ceiling,
        branches=lambda: _branches(repository),
        file_fault=lambda path: None if commit is None else file_fault(repository, commit, path),
    )
    path = Path(file)
    return load_spec(path if path.is_absolute() or here.start == Path.cwd() else here.start / path, around)


def _branches(repository: Repository) -> list[str]:
    """Short names of the local branches."""
    return repository.store.text("for-each-ref", "--format=%(refname:lstrip=2)", "refs/heads/").splitlines()


def validated(
    file: str | os.PathLike[str], workspace_root: Path, config_file: Path | None = None, base: str | None = None
) -> SpecFile:
    """The spec in `file`, checked as far as this place allows: outside a repository only its own text.

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
    """Name of each task → names of those it depends on, in the order of the file."""
    return {task.name or "": task.dependencies for task in spec.tasks}


def draft_spec_plan(config: SpecConfig, here: Workspace) -> RunPlan:
    """The plan of a spec before its numbers.

    Raises:
        UsageError: With every fault of the file, or a flag is wrong.
        EnvironmentProblem: As for `draft_plan`.
    """
    flags = config.flags
    # What `--only` leaves out may be without its files yet; what is uncommitted is in no commit before the plan is.
    base = None if config.only or flags.include_dirty else flags.base
    spec = read(config.file, here, base)
    chosen = chosen_tasks(spec, config.only)
    profiles = here.settings.agents
    tasks = [_with_role(task, profiles) for task in spec.tasks if task.name in chosen]
    last = spec.coordinator if len(chosen) == len(spec.tasks) else None
    if last is not None:
        names = tuple(task.name for task in tasks if task.name)
        last_task = replace(
            last, name=coordinator_name(names), dependencies=names, on_partial=OnPartial.CONTINUE, place=spec.file
        )
        tasks.append(_with_role(last_task, profiles))
    coordinator_id = len(tasks) if last is not None else None
    if spec.debugger is not None:
        tasks.append(_with_role(_with_own_backend(spec.debugger, profiles), profiles))
    settings = here.settings.parallel
    at_once = spec.max_parallel or settings.max_parallel or min(DEFAULT_PARALLEL, settings.workers_ceiling)
    given = TaskList(
        tasks=tuple(tasks),
        file=TaskFile(name=spec.file, tasks=tuple(tasks), max_parallel=at_once),
        listed=True,
        warnings=spec.warnings,
    )
    plan = draft_plan(config.flags, here, given)
    debugger, warnings = None, plan.warnings
    if spec.debugger is not None:
        debugger = plan.workers[-1]
        plan = replace(plan, workers=plan.workers[:-1])
        if debugger.backend == SHELL:
            debugger = None
            warnings = (*warnings, f"recovery.debugger is left out: backend {SHELL} runs what it is told")
    workers = tuple(
        replace(
            each,
            role=Role.COORDINATOR if each.worker_id == coordinator_id else Role.WORKER,
            fills=True,
            retry=spec.retry,
            recovery=spec.recovery if each.worker_id != coordinator_id else None,
            inherits=each.worker_id != coordinator_id,
            checks=each.checks if each.worker_id != coordinator_id else (),
        )
        for each in plan.workers
    )
    if coordinator_id is not None:
        workers = (*workers[:-1], _told_all(workers[-1]))
    if base is None:
        _require_files(workers, here, spec)
    provider_of = start_rules(here).provider_of
    used = {provider_of(each): None for each in (*workers, *([debugger] if debugger is not None else []))}
    idle = [quoted(each.provider) for each in spec.rates if each.provider not in used]
    if idle:
        warnings = (*warnings, f"providers: no task goes to {', '.join(idle)}, they go to {', '.join(used)}")
    state = spec.state_file
    return replace(
        plan,
        workers=workers,
        warnings=warnings,
        max_parallel=min(plan.max_parallel, len(workers)),
        workflow=Workflow(
            name=spec.name,
            state_file=None if state is None else os.path.abspath(here.start / state),
            coordinator=coordinator_id,
            rates=spec.rates,
            merge=spec.merge,
            debugger=None if debugger is None else _asked(debugger),
        ),
    )


def coordinator_name(names: Collection[str]) -> str:
    """What the coordinator beside tasks of these names is called."""
    numbered = (f"{COORDINATOR}-{number}" for number in itertools.count(2))
    return next(name for name in itertools.chain((COORDINATOR, f"{COORDINATOR}-of-all"), numbered) if name not in names)


def _told_all(coordinator: WorkerSpec) -> WorkerSpec:
    """The coordinator is given the results wherever it does not say itself; a command has to name them."""
    named = references.Reference(text=references.RESULTS) in references.references(coordinator.prompt)
    if named or coordinator.backend == SHELL:
        return coordinator
    return replace(coordinator, prompt=f"{coordinator.prompt}\n\n{{{{ {references.RESULTS} }}}}")


def _asked(debugger: WorkerSpec) -> WorkerSpec:
    """The debugger as it is asked: in a directory of its own, to look and not to touch."""
    return replace(
        debugger,
        role=Role.DEBUGGER,
        isolation=Isolation.NONE,
        commit=False,
        checks=(),
        files=(),
        approval_mode=ApprovalMode.DEFAULT,
        sandbox_mode=SandboxMode.READ_ONLY,
        retries=0,
    )


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
    """A task that has its backend and model from the spec's defaults only: the profile's own come first."""
    profile = profiles.get(task.agent or "")
    if profile is None or (profile.backend is None and profile.model is None):
        return task
    return replace(task, backend=None, model=None)


def _with_role(task: Task, profiles: Mapping[str, AgentProfile]) -> Task:
    """A task whose agent has no profile is the default one's, who is told its role."""
    if task.agent is None or task.agent in profiles:
        return task
    prompts = [f"Your role: {task.agent}.", *([task.system_prompt] if task.system_prompt else [])]
    return replace(task, agent=None, role_name=task.agent, system_prompt="\n\n".join(prompts))


def _require_files(workers: Sequence[WorkerSpec], here: Workspace, spec: SpecFile) -> None:
    """Files that prompts refer to have to be there, unless a task before it may still make them."""
    faults = []
    for each in workers:
        for reference in references.references(each.prompt):
            if reference.file is not None and not each.dependencies:
                problem = file_fault(here.repository, each.base_commit, reference.file)
                if problem is not None:
                    place = next((task.place for task in spec.tasks if task.name == each.name), None)
                    faults.append(f"{place or spec.file}: {{{{ {reference.text} }}}}: {problem}")
    if faults:
        raise UsageError("\n".join(faults), hint="commit the files first")
