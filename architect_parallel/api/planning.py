"""From a `ParallelConfig` to a plan: everything the user can get wrong is found here, before anything is made.

The order is from cheap to dear and from words to facts: flags, then the backend's prerequisites, then the repository.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from architect_parallel.api.place import Here
from architect_parallel.backends.base import Backend
from architect_parallel.backends.registry import require_backend
from architect_parallel.config.schema import MOST_RETRIES
from architect_parallel.domain import (
    AgentProfile,
    ApprovalMode,
    Limits,
    ParallelSettings,
    RunPlan,
    SandboxMode,
    Settings,
    WorkerSpec,
)
from architect_parallel.errors import EnvironmentProblem, UsageError
from architect_parallel.planning import assignment, naming, quantities
from architect_parallel.planning.suggest import require_known
from architect_parallel.system import clock
from architect_parallel.system.git import Repository
from architect_parallel.worktrees.create import require_base
from architect_parallel.worktrees.prepare import require_copy_entries
from architect_parallel.worktrees.snapshot import snapshot_dirty


@dataclass(frozen=True, slots=True, kw_only=True)
class ParallelConfig:
    """What `architect parallel` can be told; every field is a flag. `None`: as the configuration says.

    Durations and sizes may be numbers (seconds, bytes) or text as on the command line (`5m`, `2GiB`).
    """

    tasks: Sequence[str]
    """What to do; at least one, none empty."""
    workers: int | str | None = None
    max_parallel: int | str | None = None
    models: Sequence[str] = ()
    backend: str | None = None
    agent: str | None = None
    assign: str | None = None
    budget_per_worker: float | str | None = None
    """USD."""
    budget: float | str | None = None
    timeout_per_worker: float | str | None = None
    timeout: float | str | None = None
    idle_timeout: float | str | None = None
    memory_per_worker: int | str | None = None
    grace: float | str | None = None
    max_steps: int | str | None = None
    retries: int | str | None = None
    refine: bool | None = None
    base: str = "HEAD"
    include_dirty: bool = False
    fail_fast: bool | None = None
    allow_partial: bool | None = None
    commit: bool | None = None
    config_file: str | os.PathLike[str] | None = None


def draft_plan(config: ParallelConfig, here: Here) -> RunPlan:
    """The plan before its numbers: workers have no branch and no worktree path yet.

    Raises:
        UsageError: A flag, a name or a ref is wrong.
        EnvironmentProblem: The backend is not ready, or the repository has no commit to start from.
    """
    defaults = here.settings.parallel
    tasks = require_tasks(config.tasks)
    team = _team(config, defaults)
    agent = require_agent(here.settings, config.agent or defaults.agent)
    backend = require_backend(here.backends, config.backend or agent.backend or defaults.backend)
    models = list(naming.split_models(",".join(config.models))) if config.models else []
    if not models and agent.model is not None:
        models = [agent.model]
    count = assignment.worker_count(
        tasks=len(tasks), models=len(models), requested=team.workers, ceiling=team.ceiling, assign=team.assign
    )
    pairs = assignment.assign_workers(tasks=len(tasks), models=models, workers=count, assign=team.assign)
    limits = worker_limits(config, defaults)
    run_budget = _given(config.budget, defaults.budget, lambda value: quantities.parse_usd(value, "--budget"))
    run_timeout = _given(
        config.timeout, defaults.timeout_s, lambda value: quantities.parse_duration(value, "--timeout")
    )
    retries = _given(
        config.retries,
        defaults.retries,
        lambda value: quantities.parse_count(value, "--retries", low=0, high=MOST_RETRIES),
    )
    require_copy_entries(here.settings.worktrees)
    require_ready(here.backends, backend, {pair.model for pair in pairs}, here.environ)
    base_commit = _base(config, here.repository)
    lacking = backend.capabilities.cannot_honour(
        agent,
        model=any(pair.model for pair in pairs),
        budget=limits.budget_usd is not None or run_budget is not None,
    )
    warnings = tuple(f"backend {backend.name} {each}" for each in lacking)
    run_id = naming.run_id(clock.now(), secrets.token_hex(2))
    specs = tuple(
        WorkerSpec(
            run_id=run_id,
            worker_id=index + 1,
            index=index,
            number=index + 1,
            name=f"worker-{index + 1}",
            prompt=tasks[pair.task_index],
            backend=backend.name,
            model=pair.model,
            agent=agent,
            approval_mode=agent.approval_mode or ApprovalMode.NONE,
            sandbox_mode=agent.sandbox_mode or SandboxMode.DEFAULT,
            limits=limits,
            branch="",
            worktree_path="",
            base_commit=base_commit,
            commit=defaults.commit if config.commit is None else config.commit,
            retries=retries,
            refine=defaults.refine if config.refine is None else config.refine,
            warnings=warnings,
        )
        for index, pair in enumerate(pairs)
    )
    return RunPlan(
        run_id=run_id,
        repository=str(here.repository.root),
        base_commit=base_commit,
        base_ref=config.base,
        workers=specs,
        max_parallel=min(count, team.max_parallel),
        timeout_s=run_timeout,
        budget_usd=run_budget,
        fail_fast=defaults.fail_fast if config.fail_fast is None else config.fail_fast,
        allow_partial=defaults.allow_partial if config.allow_partial is None else config.allow_partial,
        warnings=(*here.settings.warnings, *warnings),
    )


def numbered(draft: RunPlan, repository: Repository, first: int) -> RunPlan:
    """The draft with its block of numbers from `first` on: branch and worktree of every worker."""
    workers = tuple(
        replace(
            spec,
            number=first + spec.index,
            branch=naming.branch_name(first + spec.index),
            worktree_path=str(repository.root / naming.worktree_name(first + spec.index)),
        )
        for spec in draft.workers
    )
    return replace(draft, workers=workers)


def require_tasks(tasks: Sequence[str]) -> list[str]:
    """The tasks, each checked.

    Raises:
        UsageError: None at all, an empty one, or one with a NUL byte (no program can be given that).
    """
    if not tasks:
        raise UsageError("there is no task", hint='architect parallel "what to do"')
    for position, task in enumerate(tasks, 1):
        if not task.strip():
            raise UsageError(f"task {position} is empty", hint='architect parallel "what to do"')
        if "\0" in task:
            raise UsageError(f"task {position} holds a NUL byte", hint="give the task as text")
    return list(tasks)


def require_agent(settings: Settings, name: str) -> AgentProfile:
    """The agent profile called `name`.

    Raises:
        UsageError: There is none; the nearest name is offered.
    """
    return settings.agents[require_known("agent", name, settings.agents)]


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


def worker_limits(config: ParallelConfig, defaults: ParallelSettings) -> Limits:
    """The limits of one worker: what the flags say, else the configuration.

    Raises:
        UsageError: Naming the flag.
    """
    duration, usd = quantities.parse_duration, quantities.parse_usd
    return Limits(
        timeout_s=_given(
            config.timeout_per_worker,
            defaults.timeout_per_worker_s,
            lambda value: duration(value, "--timeout-per-worker"),
        ),
        idle_timeout_s=_given(
            config.idle_timeout, defaults.idle_timeout_s, lambda value: duration(value, "--idle-timeout")
        ),
        memory_bytes=_given(
            config.memory_per_worker,
            defaults.memory_per_worker_bytes,
            lambda value: quantities.parse_size(value, "--memory-per-worker"),
        ),
        output_bytes=defaults.output_per_worker_bytes,
        max_steps=_given(
            config.max_steps, defaults.max_steps, lambda value: quantities.parse_count(value, "--max-steps")
        ),
        budget_usd=_given(
            config.budget_per_worker, defaults.budget_per_worker, lambda value: usd(value, "--budget-per-worker")
        ),
        grace_s=_given(config.grace, defaults.grace_s, lambda value: duration(value, "--grace")),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Team:
    """How many workers were asked for and how they meet their tasks."""

    workers: int | None
    max_parallel: int
    ceiling: int
    assign: assignment.Assign


def _team(config: ParallelConfig, defaults: ParallelSettings) -> _Team:
    ceiling = defaults.workers_ceiling
    more = f"set workers_ceiling in the configuration to allow more than {ceiling}"

    def count(value: int | str | None, default: int | None, flag: str) -> int | None:
        return default if value is None else quantities.parse_count(value, flag, high=ceiling, hint=more)

    workers = count(config.workers, defaults.workers, "--workers")
    max_parallel = count(config.max_parallel, defaults.max_parallel, "--max-parallel")
    how = config.assign or defaults.assign
    require_known("--assign", how, [each.value for each in assignment.Assign])
    return _Team(
        workers=workers,
        max_parallel=assignment.parallel_count(max_parallel=max_parallel, workers=workers, ceiling=ceiling),
        ceiling=ceiling,
        assign=assignment.Assign(how),
    )


def _base(config: ParallelConfig, repository: Repository) -> str:
    commit = require_base(repository, config.base)
    if not config.include_dirty:
        return commit
    if config.base != "HEAD":
        raise UsageError("--include-dirty starts from HEAD", hint="leave out --base")
    return snapshot_dirty(repository)


_T = TypeVar("_T")


def _given(value: float | str | None, default: _T, read: Callable[[float | str], _T]) -> _T:
    return default if value is None else read(value)
