"""From a `ParallelConfig` to a plan. Every mistake of the user is reported here, before anything is made.

The cheap checks come first: flags, then the backend's prerequisites, then the repository.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from architect_parallel.backends.registry import require_backend
from architect_parallel.domain import Cluster, Competition, Isolation, RunPlan, TripwireMode, WorkerSpec
from architect_parallel.errors import UsageError
from architect_parallel.options import RunOptions
from architect_parallel.reports.result_files import require_result_directory
from architect_parallel.runs.judge_profile import judge_warnings, require_judge
from architect_parallel.runs.options import ParallelConfig, read_cluster, read_tripwire, resolve
from architect_parallel.runs.ready_backends import require_all_ready
from architect_parallel.runs.task_sources import (
    TaskList,
    place_warnings,
    require_tasks,
    task_places,
    tasks_for_each,
    tasks_of_file,
    tripwire_warnings,
)
from architect_parallel.runs.worker_specs import (
    draft_specs,
    require_agent,
    resolve_task,
    scope_warnings,
    shared_warnings,
)
from architect_parallel.runs.workspace import Workspace
from architect_parallel.scheduling import assignment
from architect_parallel.snapshots.keep_refs import snapshot_dirty
from architect_parallel.system import clock
from architect_parallel.system.git import Git, Repository
from architect_parallel.text import names as naming
from architect_parallel.text.quantities import quoted, show_count, show_workers
from architect_parallel.worktrees.create import require_base
from architect_parallel.worktrees.places import require_root
from architect_parallel.worktrees.prepare import require_copy_entries, require_links


def draft_plan(config: ParallelConfig, here: Workspace, given: TaskList | None = None) -> RunPlan:
    """The plan before its numbers: workers have no branch and no worktree path yet.

    Args:
        given: The tasks. `None` means those of `config`.

    Raises:
        UsageError: A flag, a name or a ref is wrong.
        EnvironmentProblem: The backend is not ready, or the repository has no commit to start from.
    """
    given = given or given_tasks(config, here)
    options = resolve(config, here.settings.parallel, given.file)
    pairs = assign(given, options)
    resolved = [resolve_task(given.tasks[pair.task_index], pair, options, here) for pair in pairs]
    require_copy_entries(here.settings.worktrees)
    require_root(here.repository, here.settings.worktrees)
    about_links = require_links(here.repository, here.settings.worktrees)
    cluster = read_cluster(options)
    if cluster is None:
        require_all_ready(((order.backend, order.model) for order in resolved), here)
    about_competition = competition_warnings(config.competition, options, here)
    base_commit = _base_commit(options, here.repository)
    places = task_places(given, here, base_commit)
    run_id = naming.run_id(clock.now(), secrets.token_hex(2))
    specs = draft_specs(resolved, [places[pair.task_index] for pair in pairs], options, run_id, base_commit)
    overlaps = _overlaps([pair.task_index for pair in pairs], specs, options, here.repository)
    tripwire = read_tripwire(options.tripwire, on_terminal=config.on_terminal)
    if cluster is not None and all(spec.isolation is Isolation.WORKTREE for spec in specs):
        tripwire = TripwireMode.OFF  # no agent is near the checkout
    blind = () if tripwire is TripwireMode.OFF else tripwire_warnings(specs, here.repository)
    about_workers = (*shared_warnings(specs), *_unnamed_models(specs, options), *place_warnings(specs, here.repository))
    return RunPlan(
        run_id=run_id,
        repository=str(here.repository.root),
        base_commit=base_commit,
        base_ref=options.base,
        workers=specs,
        max_parallel=min(len(specs), _parallel_count(options, len(specs) if cluster is not None else None)),
        timeout_s=options.timeout,
        budget_usd=options.budget,
        fail_fast=options.fail_fast,
        allow_partial=options.allow_partial,
        warnings=(
            *here.settings.warnings,
            *given.warnings,
            *about_workers,
            *overlaps,
            *blind,
            *about_links,
            *about_competition,
            *(_about_cluster(cluster, here) if cluster is not None else ()),
        ),
        cluster=cluster,
        baseline=options.baseline,
        tripwire=TripwireMode.OFF if blind else tripwire,
        allow_secrets=options.allow_secrets,
        output_dir=_output_dir(given, here),
        competition=config.competition,
        uncommitted=_uncommitted(options, here.repository),
    )


def assign(given: TaskList, options: RunOptions) -> tuple[assignment.Assignment, ...]:
    """Task, model and agent of each worker. A listed task is given to one worker unless a flag asks for more."""
    once = given.listed or options.agents or options.attempts is not None
    requested = 1 if once and "workers" not in options.given else options.workers
    how = assignment.Assign(options.assign)
    tasks, ceiling = len(given.tasks), options.workers_ceiling
    count = assignment.worker_count(
        tasks=tasks, models=len(options.models), requested=requested, ceiling=ceiling, assign=how
    )
    pairs = assignment.assign_workers(tasks=tasks, models=options.models, workers=count, assign=how)
    return assignment.with_agents(pairs, options.agents, options.attempts or 1)


def competition_warnings(competition: Competition | None, options: RunOptions, here: Workspace) -> list[str]:
    """Warn about competitions that cannot be decided.

    Raises:
        UsageError: The judge's backend is unknown or cannot judge.
        EnvironmentProblem: The judge's backend is not ready here.
    """
    if competition is None:
        return []
    warnings = []
    if len(options.models) == 1:
        warnings.append("one model, once: there is nothing to compare it with (--models a,b or --runs-per-model K)")
    if not options.checks:
        what = "the judge alone decides" if competition.judge is not None else "nothing decides"
        warnings.append(f"no --check: {what} which result is right")
    if competition.judge is not None:
        judge = require_judge(competition.judge, here)
        budget = options.budget is not None or options.budget_per_worker is not None
        warnings += judge_warnings(judge, here, budget=budget)
    return warnings


def given_tasks(config: ParallelConfig, here: Workspace) -> TaskList:
    """The tasks of `config`, from wherever they come, with their name.

    Raises:
        UsageError: There are none, something in them is wrong, or they come from two places.
        NothingToDo: No file matches `foreach`.
    """
    given = _tasks_of(config, here)
    if config.name is None:
        return given
    if given.file is not None:
        raise UsageError("--name and a task file exclude each other: the file names its tasks", hint="leave one out")
    from architect_parallel.config.fields import read_name  # here, because no other text needs the schema

    try:
        name = read_name(config.name)
    except ValueError as error:
        raise UsageError(f"--name {quoted(config.name)} {error}") from None
    return replace(given, tasks=tuple(replace(task, name=task.name or name) for task in given.tasks))


def _tasks_of(config: ParallelConfig, here: Workspace) -> TaskList:
    if config.issues or config.from_issues is not None:
        if config.tasks or config.file is not None or config.foreach is not None:
            raise UsageError("tasks come from issues or from elsewhere, not both", hint="leave one out")
        from architect_parallel.runs.issues import tasks_of_issues

        tasks = tasks_of_issues(here, config.issues, config.from_issues, config.repo)
        return TaskList(tasks=tuple(require_tasks(tasks)), listed=config.from_issues is not None)
    if config.repo is not None:
        raise UsageError("--repo is for --issue and --from-issues", hint="leave it out")
    if config.file is not None:
        if config.tasks or config.foreach is not None:
            raise UsageError("tasks come from a file or from the command line, not both", hint="leave one out")
        return tasks_of_file(config.file, here)
    if config.foreach is not None:
        profile = require_agent(here.settings, config.agent or here.settings.parallel.agent)
        name = config.backend or profile.backend or here.settings.parallel.backend
        return tasks_for_each(
            config.tasks,
            config.foreach,
            here,
            quoted=name is not None and require_backend(here.backends, name).capabilities.runs_its_prompt,
            carries_dirty=config.include_dirty,
        )
    return TaskList(tasks=tuple(require_tasks(config.tasks)), listed=config.listed)


def _parallel_count(options: RunOptions, on_hosts: int | None) -> int:
    """The number of workers at the same time. On hosts, unless it is asked for, as many as have places."""
    if on_hosts is not None and options.max_parallel is None:
        return on_hosts
    return assignment.parallel_count(
        max_parallel=options.max_parallel, workers=options.workers, ceiling=options.workers_ceiling
    )


def _about_cluster(cluster: Cluster, here: Workspace) -> list[str]:
    warnings = []
    if cluster.insecure:
        warnings.append("--insecure: no encryption, and anyone who reaches the port can run programs on every host")
    if here.settings.worktrees.copy or here.settings.worktrees.link:
        warnings.append("--hosts: worktrees.copy and worktrees.link are not used, their files stay on this machine")
    return warnings


def _unnamed_models(specs: Sequence[WorkerSpec], options: RunOptions) -> list[str]:
    """A warning if fewer models than workers were named."""
    left = [spec.worker_id for spec in specs if spec.model is None] if options.models else []
    if not left:
        return []
    which = f"{show_count(len(options.models), 'model')} for {show_count(len(specs), 'worker')}"
    return [f"{which}: {show_workers(left)} with the default model of the backend"]


def _overlaps(
    task_indices: Sequence[int], specs: Sequence[WorkerSpec], options: RunOptions, repository: Repository
) -> list[str]:
    overlaps = scope_warnings(list(zip(task_indices, specs, strict=True)), repository, specs[0].base_commit)
    if overlaps and options.strict:
        raise UsageError("\n".join(overlaps), hint="give the tasks scopes of their own, or leave out --strict")
    return overlaps


def _base_commit(options: RunOptions, repository: Repository) -> str:
    commit = require_base(repository, options.base)
    if not options.include_dirty:
        return commit
    if options.base != "HEAD":
        raise UsageError("--include-dirty starts from HEAD", hint="leave out --base")
    return snapshot_dirty(repository)


def _uncommitted(options: RunOptions, repository: Repository) -> int:
    """The number of paths with uncommitted changes, untracked files included, that the worktrees do not get."""
    if options.include_dirty or options.base != "HEAD" or repository.checkout is None:
        return 0
    words = ("status", "--porcelain", "-z", "--no-renames", "--ignore-submodules=dirty")
    return len(Git(cwd=repository.checkout).run(*words, check=False).fields)


def _output_dir(given: TaskList, here: Workspace) -> str | None:
    if given.file is None or given.file.output_dir is None:
        return None
    directory = os.path.abspath(here.start / given.file.output_dir)
    require_result_directory(Path(directory), here.repository)
    return directory
