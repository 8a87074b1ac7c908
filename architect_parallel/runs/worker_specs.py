"""Make a task and the options of the run into the draft of a worker.

Flags beat the task file, and the file beats the agent's profile and the configuration. A setting that the
chosen backend cannot honour becomes a warning of that worker.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from architect_parallel.backends.base import Backend
from architect_parallel.backends.registry import require_backend
from architect_parallel.containment.decision import Decision
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
from architect_parallel.errors import UsageError
from architect_parallel.options import RunOptions
from architect_parallel.runs.containment import containment_of
from architect_parallel.runs.options import worker_limits
from architect_parallel.runs.ready_backends import default_backend
from architect_parallel.runs.task_sources import TaskPlace
from architect_parallel.runs.workspace import Workspace
from architect_parallel.scheduling import graph
from architect_parallel.scheduling.assignment import Assignment
from architect_parallel.scheduling.scopes import is_literal, overlapping
from architect_parallel.system.git import Repository
from architect_parallel.text.quantities import quoted, show_workers
from architect_parallel.text.suggest import require_known

_MOST_OVERLAPS = 20
"""Pairs of tasks named in warnings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedTask:
    """A task with its backend, model and profile."""

    task: Task
    backend: Backend
    agent: AgentProfile
    """With the task's own prompt and modes. `None` means that the mode is not set anywhere."""
    model: str | None
    limits: Limits
    containment: Decision


def resolve_task(task: Task, given: Assignment, options: RunOptions, here: Workspace) -> ResolvedTask:
    """`task` with its backend, agent profile, model and limits.

    Args:
        given: Its model and backend by assignment. Without a model, and if `options` has models to compare, the task
            takes its own model or the backend's default.

    Raises:
        UsageError: An unknown backend or agent.
        EnvironmentProblem: The containment that was asked for cannot be had here.
        NoBackendChosen: No backend is named, and there is not exactly one that is ready.
    """
    profile = require_agent(here.settings, options.over("agent", task.agent))
    model = given.model
    prompts = [prompt for prompt in (profile.system_prompt, task.system_prompt) if prompt]
    agent = replace(
        profile,
        system_prompt="\n\n".join(prompts) or None,
        approval_mode=task.approval_mode or profile.approval_mode,
        sandbox_mode=task.sandbox_mode or profile.sandbox_mode,
    )
    if "model" in options.given:
        model = options.model
    elif model is None and given.backend is None:
        model = task.model or (None if options.models else profile.model or options.model)
    name = given.backend or options.over("backend", task.backend or profile.backend) or default_backend(here, model)
    backend = require_backend(here.backends, name)
    return ResolvedTask(
        task=task,
        backend=backend,
        agent=agent,
        model=model,
        limits=worker_limits(options, task),
        containment=containment_of(task, agent, backend, options, here.settings, here.environ),
    )


def require_agent(settings: Settings, name: str) -> AgentProfile:
    """The agent profile called `name`.

    Raises:
        UsageError: It is unknown. The message offers the nearest name.
    """
    return settings.agents[require_known("agent", name, settings.agents)]


def draft_specs(
    resolved: Sequence[ResolvedTask],
    places: Sequence[TaskPlace],
    options: RunOptions,
    run_id: str,
    base_commit: str,
) -> tuple[WorkerSpec, ...]:
    """The workers of a run before they have numbers, linked to those they depend on.

    Args:
        resolved: The task of each worker.
        places: Where each worker starts.
    """
    tasks = [order.task for order in resolved]
    names = worker_names(tasks)
    specs = [
        draft_spec(order, index, name, place, options, run_id=run_id, base_commit=base_commit)
        for index, (order, name, place) in enumerate(zip(resolved, names, places, strict=True))
    ]
    return linked(specs, tasks)


def draft_spec(
    order: ResolvedTask,
    index: int,
    name: str,
    place: TaskPlace,
    options: RunOptions,
    *,
    run_id: str,
    base_commit: str,
) -> WorkerSpec:
    """The worker before it has a number: no branch, and no path unless it works in place."""
    task = order.task
    # In its own worktree an agent need not ask: its changes are reviewed before they land.
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
        sandbox=order.containment.sandbox_of(order.limits, in_place=in_place),
        limits=order.limits,
        branch="",
        worktree_path=place.directory if in_place else "",
        subdirectory="" if in_place else place.directory,
        isolation=place.isolation,
        base_commit=base_commit,
        commit=options.commit and not in_place,
        critical=task.critical,
        retries=options.over("retries", task.retries),
        refine=options.refine,
        complexity=task.complexity or Complexity.LOW,
        needs=task.needs,
        on_partial=task.on_partial,
        role=task.role,
        role_name=task.role_name,
        checks=tuple(dict.fromkeys(options.over("checks", task.checks))),
        check_timeout_s=options.check_timeout,
        files=task.files,
        extra_argv=task.extra_argv,
        warnings=tuple(_warnings(order, options, in_place=in_place)),
        tags=task.tags,
        meta=task.meta,
    )


def linked(specs: Sequence[WorkerSpec], tasks: Sequence[Task]) -> tuple[WorkerSpec, ...]:
    """The workers with the ids of the workers they depend on.

    Args:
        tasks: The task of each worker.

    Raises:
        UsageError: Several workers do one task of a graph, so their results could not be told apart.
    """
    if not any(task.dependencies for task in tasks):
        return tuple(specs)
    ids: dict[str, int] = {}
    for spec, task in zip(specs, tasks, strict=True):
        for word in dict.fromkeys(filter(None, (task.name, task.id))):
            if word in ids:
                raise UsageError(
                    f"{quoted(word)} is done by several workers, but tasks depend on one another",
                    hint="leave out --workers",
                )
            ids[word] = spec.worker_id
    return tuple(
        replace(spec, dependencies=tuple(dict.fromkeys(ids[name] for name in task.dependencies)))
        for spec, task in zip(specs, tasks, strict=True)
    )


def worker_names(tasks: Sequence[Task]) -> list[str]:
    """A name for every worker, given the task of each: the task's own (a second worker of it gets `-2`), its id, or
    `worker-<id>`."""
    names: list[str] = []
    taken = {name for task in tasks for name in (task.name, task.id) if name}
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
    """The warnings of all workers for the plan. One that all workers share comes once, another names its workers."""
    owners: dict[str, list[int]] = {}
    for spec in workers:
        for warning in spec.warnings:
            owners.setdefault(warning, []).append(spec.worker_id)
    warnings = []
    for warning, ids in owners.items():
        warnings.append(warning if len(ids) == len(workers) else f"{show_workers(ids)}: {warning}")
    return warnings


def scope_warnings(workers: Sequence[tuple[int, WorkerSpec]], repository: Repository, base_commit: str) -> list[str]:
    """Warn of every two tasks whose scopes overlap. Workers of one task share its scope, and a task may change what a
    task it depends on changed before.

    Args:
        workers: Each worker with the number of its task, from 0.
        base_commit: A path that is a file in it is not taken for a directory.
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

    overlaps = list(overlapping(scopes, most=_MOST_OVERLAPS + 1, may=ordered))
    literal = (
        {pattern for patterns in scopes.values() for pattern in patterns if is_literal(pattern)} if overlaps else ()
    )
    if literal:
        listed = repository.store.run("ls-tree", "-r", "-z", "--name-only", base_commit).fields
        files = frozenset(literal).intersection(listed)
        overlaps = list(overlapping(scopes, files=files, most=_MOST_OVERLAPS + 1, may=ordered))
    lines = [
        f"the scopes of {names[pair.one]} and {names[pair.other]} overlap: {pair.patterns[0]} and {pair.patterns[1]}"
        for pair in overlaps[:_MOST_OVERLAPS]
    ]
    return lines + (["further scopes overlap"] if len(overlaps) > _MOST_OVERLAPS else [])


def _warnings(order: ResolvedTask, options: RunOptions, *, in_place: bool) -> Iterator[str]:
    backend, task = order.backend, order.task
    budget = order.limits.budget_usd is not None or options.budget is not None
    for lack in backend.capabilities.cannot_honour(order.agent, model=order.model is not None, budget=budget):
        yield f"backend {backend.name} {lack}"
    has_modes = ApprovalMode.AUTO in backend.capabilities.approval_modes
    if in_place and has_modes and order.agent.approval_mode is None and order.agent.sandbox_mode is None:
        yield f"in place, without an approval_mode: {backend.name} may be denied what it would have to ask for"
    if order.containment.warning is not None:
        yield order.containment.warning
    requested = task.output_format
    if requested is not None and requested is not backend.capabilities.output_format:
        used = backend.capabilities.output_format
        yield f"backend {backend.name} is read as {used}: output_format {requested} is ignored"
    if task.max_tokens is not None:
        yield f"backend {backend.name} cannot limit output tokens: max_tokens is ignored"
    if task.files and in_place:
        yield "files: the task works in place, so its changes are not compared with its scope"
