"""What one worker is told: a task, the flags above it and the settings below it, made into the draft of a worker.

Flags beat the task file, the file beats the agent's profile and the configuration. What the chosen backend cannot
honour, or what nothing acts on yet, becomes a warning of that worker, never silence.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from architect_parallel.backends.base import Backend
from architect_parallel.backends.registry import require_backend
from architect_parallel.domain import (
    AgentProfile,
    ApprovalMode,
    Complexity,
    Isolation,
    Limits,
    SandboxMode,
    Settings,
    Task,
    WorkerSpec,
)
from architect_parallel.errors import EnvironmentProblem, UsageError
from architect_parallel.runs.task_sources import TaskPlace
from architect_parallel.runs.workspace import Workspace
from architect_parallel.scheduling import graph
from architect_parallel.scheduling.scopes import is_literal, overlapping
from architect_parallel.system.git import Repository
from architect_parallel.text.quantities import quoted, show_workers
from architect_parallel.text.suggest import require_known

_MOST_OVERLAPS = 20
"""So many pairs of tasks are named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flags:
    """What was said on the command line and holds for every task."""

    backend: str | None
    agent: str | None
    limits: Limits
    """Of a worker, from flags and configuration."""
    limits_given: frozenset[str]
    """Names of those `Limits` that flags gave: they beat the task's own."""
    commit: bool
    run_budget: bool
    retries: int
    """From flag or configuration."""
    retries_given: bool
    """The flag was given: it beats the task's own."""
    refine: bool
    checks: tuple[str, ...]
    """From flag or configuration."""
    checks_given: bool
    """The flag was given: it beats the task's own."""
    check_timeout_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedTask:
    """A task that has met its backend, model and profile."""

    task: Task
    backend: Backend
    agent: AgentProfile
    """With the task's own prompt and modes in it; a mode that nobody wrote is `None`."""
    model: str | None
    limits: Limits


def resolve_task(
    task: Task,
    model: str | None,
    flags: Flags,
    here: Workspace,
    *,
    models_given: bool,
    default_model: str | None = None,
) -> ResolvedTask:
    """What `task` amounts to here.

    Args:
        model: What the assignment gave it; `None`: nothing.
        models_given: Models were named on the command line: a task without one then takes the backend's default.
        default_model: For a task where neither it nor its profile names one; `None` means the backend's default.

    Raises:
        UsageError: An unknown backend or agent.
    """
    profile = require_agent(here.settings, flags.agent or task.agent or here.settings.parallel.agent)
    name = flags.backend or task.backend or profile.backend or here.settings.parallel.backend
    prompts = [prompt for prompt in (profile.system_prompt, task.system_prompt) if prompt]
    agent = replace(
        profile,
        system_prompt="\n\n".join(prompts) or None,
        approval_mode=task.approval_mode or profile.approval_mode,
        sandbox_mode=task.sandbox_mode or profile.sandbox_mode,
    )
    own = {"timeout_s": task.timeout_s, "budget_usd": task.budget_usd, "max_steps": task.max_turns}
    limits = flags.limits
    for field, value in own.items():
        if value is not None and field not in flags.limits_given:
            limits = replace(limits, **{field: value})  # type: ignore[arg-type]  # names and values are those of Limits
    return ResolvedTask(
        task=task,
        backend=require_backend(here.backends, name),
        agent=agent,
        model=model or task.model or (None if models_given else profile.model or default_model),
        limits=limits,
    )


def require_agent(settings: Settings, name: str) -> AgentProfile:
    """The agent profile called `name`.

    Raises:
        UsageError: There is none; the nearest name is offered.
    """
    return settings.agents[require_known("agent", name, settings.agents)]


def require_all_ready(orders: Sequence[ResolvedTask], here: Workspace) -> None:
    """Checks that every backend can be started here for every model it is to run.

    Raises:
        EnvironmentProblem: With all that is missing, each with its remedy.
    """
    models: dict[str, set[str | None]] = {}
    for order in orders:
        models.setdefault(order.backend.name, set()).add(order.model)
    problems = []
    for name, wanted in models.items():
        try:
            require_ready(here.backends, here.backends[name], wanted, here.environ)
        except EnvironmentProblem as error:
            problems.append(error)
    if len(problems) == 1:
        raise problems[0]
    if problems:
        lines = "\n".join(f"{each.message} ({each.hint})" if each.hint else each.message for each in problems)
        raise EnvironmentProblem(f"{len(problems)} backends cannot run:\n{lines}", hint="architect backends")


def require_ready(
    backends: Mapping[str, Backend], backend: Backend, models: set[str | None], environ: Mapping[str, str]
) -> None:
    """Checks that `backend` can be started here for every one of `models`.

    Raises:
        EnvironmentProblem: With what is missing, its remedy and the backends that are ready.
    """
    for model in sorted(models, key=lambda each: each or ""):
        found = backend.availability(environ, model=model)
        if found.missing is not None:
            ready = [each.name for each in backends.values() if each.availability(environ).ready]
            others = [f"--backend {name} is ready here" for name in sorted(ready) if name != backend.name]
            hint = "; or ".join([*([found.remedy] if found.remedy else []), *others[:3]])
            raise EnvironmentProblem(f"backend {backend.name} cannot run: {found.missing}", hint=hint or None)


def draft_spec(
    order: ResolvedTask, index: int, name: str, place: TaskPlace, flags: Flags, *, run_id: str, base_commit: str
) -> WorkerSpec:
    """The worker before it has a number: no branch, and no path unless it works in place."""
    task = order.task
    # In a worktree of its own an agent that cannot ask need not: what it changes is looked at before it lands.
    in_place = place.isolation is Isolation.NONE
    approval = ApprovalMode.DEFAULT if in_place else ApprovalMode.NONE
    return WorkerSpec(
        run_id=run_id,
        worker_id=index + 1,
        index=index,
        number=index + 1,
        name=name,
        prompt=task.prompt,
        backend=order.backend.name,
        model=order.model,
        agent=order.agent,
        approval_mode=order.agent.approval_mode or approval,
        sandbox_mode=order.agent.sandbox_mode or SandboxMode.DEFAULT,
        limits=order.limits,
        branch="",
        worktree_path=place.directory if in_place else "",
        subdirectory="" if in_place else place.directory,
        isolation=place.isolation,
        base_commit=base_commit,
        commit=flags.commit and not in_place,
        critical=task.critical,
        retries=flags.retries if flags.retries_given or task.retries is None else task.retries,
        refine=flags.refine,
        complexity=task.complexity or Complexity.LOW,
        on_partial=task.on_partial,
        role=task.role,
        role_name=task.role_name,
        checks=_checks(task, flags),
        check_timeout_s=flags.check_timeout_s,
        files=task.files,
        extra_argv=task.extra_argv,
        warnings=tuple(_warnings(order, flags, in_place=in_place)),
        tags=task.tags,
        meta=task.meta,
    )


def linked(specs: Sequence[WorkerSpec], tasks: Sequence[Task]) -> tuple[WorkerSpec, ...]:
    """The workers with the ids of those they depend on.

    Args:
        tasks: The task of each.

    Raises:
        UsageError: Several workers do one task of a graph: their work could not be told apart.
    """
    if not any(task.dependencies for task in tasks):
        return tuple(specs)
    ids: dict[str, int] = {}
    for spec, task in zip(specs, tasks, strict=True):
        for word in dict.fromkeys(each for each in (task.name, task.id) if each):
            if word in ids:
                raise UsageError(
                    f"{quoted(word)} is done by several workers, and tasks depend on one another",
                    hint="leave out --workers",
                )
            ids[word] = spec.worker_id
    return tuple(
        replace(spec, dependencies=tuple(dict.fromkeys(ids[each] for each in task.dependencies)))
        for spec, task in zip(specs, tasks, strict=True)
    )


def _checks(task: Task, flags: Flags) -> tuple[str, ...]:
    written = flags.checks if flags.checks_given or task.checks is None else task.checks
    return tuple(dict.fromkeys(written))


def worker_names(tasks: Sequence[Task]) -> list[str]:
    """A name for every worker, given the task of each: the task's own (a second worker of it gets `-2`), its id, or
    `worker-<id>`."""
    names: list[str] = []
    taken = {each for task in tasks for each in (task.name, task.id) if each}
    for index, task in enumerate(tasks):
        own = task.name or task.id
        name = own or f"worker-{index + 1}"
        count = 1
        while name in names or (name != own and name in taken):
            count += 1
            name = f"{own or f'worker-{index + 1}'}-{count}"
        names.append(name)
    return names


def shared_warnings(workers: Sequence[WorkerSpec]) -> list[str]:
    """The warnings of all workers for the plan: one that is everybody's once, else with whose it is."""
    owners: dict[str, list[int]] = {}
    for spec in workers:
        for warning in spec.warnings:
            owners.setdefault(warning, []).append(spec.worker_id)
    found = []
    for warning, ids in owners.items():
        found.append(warning if len(ids) == len(workers) else f"{show_workers(ids)}: {warning}")
    return found


def scope_warnings(workers: Sequence[tuple[int, WorkerSpec]], repository: Repository, base_commit: str) -> list[str]:
    """Every two tasks whose scopes overlap, named with the patterns that do. Workers of one task share its scope, and a
    task may change what a task that it waits for changed before.

    Args:
        workers: Each with the number of its task, from 0.
        base_commit: What is a file in it is not taken for a directory that might hold more.
    """
    names: dict[int, str] = {}
    scopes: dict[int, tuple[str, ...]] = {}
    for task, spec in workers:
        if spec.files and spec.isolation is not Isolation.NONE and task not in scopes:
            names[task] = f"tasks[{task}]" if spec.name == f"worker-{spec.worker_id}" else f"{quoted(spec.name)}"
            scopes[task] = spec.files
    task_of = {spec.worker_id: task for task, spec in workers}
    needs = {task: [task_of[worker_id] for worker_id in spec.dependencies] for task, spec in workers}

    @functools.cache
    def before(task: int) -> set[int]:
        return graph.closure(needs, [task])

    def ordered(one: int, other: int) -> bool:
        return one in before(other) or other in before(one)

    found = list(overlapping(scopes, most=_MOST_OVERLAPS + 1, may=ordered))
    literal = {pattern for patterns in scopes.values() for pattern in patterns if is_literal(pattern)} if found else ()
    if literal:
        listed = repository.store.run("ls-tree", "-r", "-z", "--name-only", base_commit).fields
        files = frozenset(literal).intersection(listed)
        found = list(overlapping(scopes, files=files, most=_MOST_OVERLAPS + 1, may=ordered))
    lines = [
        f"the scopes of {names[each.one]} and {names[each.other]} overlap: {each.patterns[0]} and {each.patterns[1]}"
        for each in found[:_MOST_OVERLAPS]
    ]
    return lines + (["further scopes overlap"] if len(found) > _MOST_OVERLAPS else [])


def _warnings(order: ResolvedTask, flags: Flags, *, in_place: bool) -> Iterator[str]:
    backend, task = order.backend, order.task
    budget = order.limits.budget_usd is not None or flags.run_budget
    for each in backend.capabilities.cannot_honour(order.agent, model=order.model is not None, budget=budget):
        yield f"backend {backend.name} {each}"
    has_modes = ApprovalMode.AUTO in backend.capabilities.approval_modes
    if in_place and has_modes and order.agent.approval_mode is None and order.agent.sandbox_mode is None:
        yield f"in place, without an approval_mode: what {backend.name} would have to ask for may be denied"
    wanted = task.output_format
    if wanted is not None and wanted is not backend.capabilities.output_format:
        used = backend.capabilities.output_format
        yield f"backend {backend.name} is read as {used}: output_format {wanted} is left out"
    if task.max_tokens is not None:
        yield f"backend {backend.name} cannot be told a number of tokens: max_tokens is left out"
    if task.files and in_place:
        yield "files: it works in place, where nobody sees what it changes; its scope is not looked at"
