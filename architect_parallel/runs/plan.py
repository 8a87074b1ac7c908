"""From a `ParallelConfig` to a plan: everything the user can get wrong is found here, before anything is made.

The order is from cheap to dear and from words to facts: flags, then the backend's prerequisites, then the repository.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from architect_parallel.backends.registry import require_backend
from architect_parallel.domain import (
    Competition,
    Isolation,
    Limits,
    ParallelSettings,
    RunPlan,
    Task,
    TaskText,
    TripwireMode,
    WorkerSpec,
)
from architect_parallel.errors import UsageError
from architect_parallel.runs.judge_profile import judge_warnings, require_judge
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
    Flags,
    draft_spec,
    linked,
    require_agent,
    require_all_ready,
    resolve_task,
    scope_warnings,
    shared_warnings,
    worker_names,
)
from architect_parallel.runs.workspace import Workspace
from architect_parallel.scheduling import assignment
from architect_parallel.scheduling.check_policy import read_command
from architect_parallel.snapshots.keep_refs import snapshot_dirty
from architect_parallel.system import clock
from architect_parallel.system.git import Repository
from architect_parallel.text import names as naming
from architect_parallel.text import quantities
from architect_parallel.text.suggest import require_known
from architect_parallel.worktrees.create import require_base
from architect_parallel.worktrees.prepare import require_copy_entries


@dataclass(frozen=True, slots=True, kw_only=True)
class ParallelConfig:
    """What `architect parallel` can be told; every field is a flag. `None`: as the configuration says.

    Durations and sizes may be numbers (seconds, bytes) or text as on the command line (`5m`, `2GiB`).
    """

    tasks: Sequence[str | Task] = ()
    """What to do, as text or with a backend, model or limits of its own. At least one unless `file` is given."""
    file: str | os.PathLike[str] | TaskText | None = None
    """A task file (JSON or YAML) instead of `tasks`; what is given here beside it beats what it says."""
    foreach: str | None = None
    """A pattern: every task once for every matching file of the repository, `{path}` in its text replaced."""
    listed: bool = False
    """`tasks` is a list to be worked through: a single one is not given to several workers."""
    workers: int | str | None = None
    max_parallel: int | str | None = None
    model: str | None = None
    """Model of every worker; not together with `models`."""
    models: Sequence[str] = ()
    """Models to compare: at least one worker each."""
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
    artifacts: str | os.PathLike[str] | None = None
    """Directory for result, report, patches and bundles at the end of the run; `None`: none are written."""
    fail_fast: bool | None = None
    allow_partial: bool | None = None
    commit: bool | None = None
    checks: Sequence[str] = ()
    """Shell commands that every worker's result must pass; given, they take the place of those in a task file."""
    check_timeout: float | str | None = None
    baseline: bool | None = None
    """Whether the checks run on the base commit as well, before the agents."""
    strict: bool = False
    """Tasks whose scopes overlap are an error, not a warning."""
    tripwire: str | None = None
    """`auto`, `fail`, `warn` or `off`."""
    on_terminal: bool = False
    """Whether a person watches: `--tripwire auto` then warns instead of failing a worker."""
    config_file: str | os.PathLike[str] | None = None
    competition: Competition | None = None
    """Makes the run one: see `api.competition.as_competition`, which puts the rest in its shape; `None`: it is none."""


def draft_plan(config: ParallelConfig, here: Workspace, given: TaskList | None = None) -> RunPlan:
    """The plan before its numbers: workers have no branch and no worktree path yet.

    Args:
        given: The tasks; `None`: those of `config`.

    Raises:
        UsageError: A flag, a name or a ref is wrong.
        EnvironmentProblem: The backend is not ready, or the repository has no commit to start from.
    """
    defaults = here.settings.parallel
    given = given or given_tasks(config, here)
    team = _team(config, defaults, given)
    models = _models(config)
    count = assignment.worker_count(
        tasks=len(given.tasks), models=len(models), requested=team.workers, ceiling=team.ceiling, assign=team.assign
    )
    pairs = assignment.assign_workers(tasks=len(given.tasks), models=models, workers=count, assign=team.assign)
    run_budget = _given(config.budget, defaults.budget, lambda value: quantities.parse_usd(value, "--budget"))
    run_timeout = _given(
        config.timeout, defaults.timeout_s, lambda value: quantities.parse_duration(value, "--timeout")
    )
    retries = _given(
        config.retries,
        defaults.retries,
        lambda value: quantities.parse_count(value, "--retries", low=0, high=quantities.MOST_RETRIES),
    )
    flags = Flags(
        backend=config.backend,
        agent=config.agent,
        limits=worker_limits(config, defaults),
        limits_given=_limits_given(config),
        commit=defaults.commit if config.commit is None else config.commit,
        run_budget=run_budget is not None,
        retries=retries,
        retries_given=config.retries is not None,
        refine=defaults.refine if config.refine is None else config.refine,
        checks=_checks(config, defaults),
        checks_given=bool(config.checks),
        check_timeout_s=_given(
            config.check_timeout,
            defaults.check_timeout_s,
            lambda value: quantities.parse_duration(value, "--check-timeout"),
        ),
    )
    tasks = [given.tasks[pair.task_index] for pair in pairs]
    orders = [
        resolve_task(
            task, pair.model or config.model, flags, here, models_given=bool(models), default_model=defaults.model
        )
        for task, pair in zip(tasks, pairs, strict=True)
    ]
    require_copy_entries(here.settings.worktrees)
    require_all_ready(orders, here)
    about_competition = competition_warnings(config.competition, models, flags, here)
    base_commit = _base(config, here.repository)
    places = task_places(given, here, base_commit)
    run_id = naming.run_id(clock.now(), secrets.token_hex(2))
    names = worker_names(tasks)
    specs = tuple(
        draft_spec(order, index, names[index], places[pair.task_index], flags, run_id=run_id, base_commit=base_commit)
        for index, (order, pair) in enumerate(zip(orders, pairs, strict=True))
    )
    specs = linked(specs, tasks)
    owners = [(pair.task_index, spec) for pair, spec in zip(pairs, specs, strict=True)]
    overlaps = scope_warnings(owners, here.repository, base_commit)
    if overlaps and config.strict:
        raise UsageError("\n".join(overlaps), hint="give the tasks scopes of their own, or leave out --strict")
    file = given.file
    fail_fast = config.fail_fast if file is None or config.fail_fast is not None else file.fail_fast
    in_place = [(index + 1, places[pair.task_index]) for index, pair in enumerate(pairs)]
    how = defaults.tripwire if config.tripwire is None else config.tripwire
    tripwire = read_tripwire(how, on_terminal=config.on_terminal)
    blind = () if tripwire is TripwireMode.OFF else tripwire_warnings(in_place, here.repository)
    return RunPlan(
        run_id=run_id,
        repository=str(here.repository.root),
        base_commit=base_commit,
        base_ref=config.base,
        workers=specs,
        max_parallel=min(count, team.max_parallel),
        timeout_s=run_timeout,
        budget_usd=run_budget,
        fail_fast=defaults.fail_fast if fail_fast is None else fail_fast,
        allow_partial=defaults.allow_partial if config.allow_partial is None else config.allow_partial,
        warnings=(
            *here.settings.warnings,
            *given.warnings,
            *shared_warnings(specs),
            *_unnamed_models(specs, models),
            *place_warnings(in_place, here.repository),
            *overlaps,
            *blind,
            *about_competition,
        ),
        baseline=defaults.baseline if config.baseline is None else config.baseline,
        tripwire=TripwireMode.OFF if blind else tripwire,
        output_dir=None if file is None or file.output_dir is None else os.path.abspath(here.start / file.output_dir),
        competition=config.competition,
    )


def competition_warnings(
    competition: Competition | None, models: Sequence[str], flags: Flags, here: Workspace
) -> list[str]:
    """What a competition cannot tell as it stands; raises like `require_judge`."""
    if competition is None:
        return []
    found = []
    if len(models) == 1:
        found.append("one model, once: there is nothing to compare it with (--models a,b or --runs-per-model K)")
    if not flags.checks:
        what = "the judge alone says" if competition.judge is not None else "nothing says"
        found.append(f"no --check: {what} which result is right")
    if competition.judge is not None:
        judge = require_judge(competition.judge, here)
        budget = flags.run_budget or flags.limits.budget_usd is not None
        found += judge_warnings(judge, here, budget=budget)
    return found


def given_tasks(config: ParallelConfig, here: Workspace) -> TaskList:
    """The tasks of `config`, from wherever they come.

    Raises:
        UsageError: There are none, something in them is wrong, or they come from two places.
        NothingToDo: No file matches `foreach`.
    """
    if config.file is not None:
        if config.tasks or config.foreach is not None:
            raise UsageError("tasks come from a file or from the command line, not both", hint="leave one out")
        return tasks_of_file(config.file, here, backend_given=config.backend is not None)
    if config.foreach is not None:
        profile = require_agent(here.settings, config.agent or here.settings.parallel.agent)
        backend = require_backend(
            here.backends, config.backend or profile.backend or here.settings.parallel.backend
        ).name
        return tasks_for_each(
            config.tasks,
            config.foreach,
            here,
            quoted=here.backends[backend].capabilities.runs_its_prompt,
            carries_dirty=config.include_dirty,
        )
    return TaskList(tasks=tuple(require_tasks(config.tasks)), listed=config.listed)


def read_tripwire(text: str, *, on_terminal: bool) -> TripwireMode:
    """What a change of the main checkout leads to; `auto` is to warn who watches, and to fail where nobody does.

    Raises:
        UsageError: It is none of the words.
    """
    require_known("--tripwire", text, ["auto", *(each.value for each in TripwireMode)])
    if text == "auto":
        return TripwireMode.WARN if on_terminal else TripwireMode.FAIL
    return TripwireMode(text)


def numbered(draft: RunPlan, repository: Repository, first: int) -> RunPlan:
    """The draft with its block of numbers from `first` on: branch and worktree of every worker that has them."""
    return replace(draft, workers=tuple(numbered_workers(draft.workers, repository, first)))


def numbered_workers(drafts: Sequence[WorkerSpec], repository: Repository, first: int) -> list[WorkerSpec]:
    """Each draft with the number `first` + its index, and with the branch and worktree of that number."""

    def place(spec: WorkerSpec) -> WorkerSpec:
        number = first + spec.index
        if spec.isolation is Isolation.NONE:
            return replace(spec, number=number)
        path = str(repository.root / naming.worktree_name(number))
        return replace(spec, number=number, branch=naming.branch_name(number), worktree_path=path)

    return [place(spec) for spec in drafts]


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


def _limits_given(config: ParallelConfig) -> frozenset[str]:
    flags = {
        "timeout_s": config.timeout_per_worker,
        "budget_usd": config.budget_per_worker,
        "max_steps": config.max_steps,
    }
    return frozenset(name for name, value in flags.items() if value is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Team:
    """How many workers were asked for and how they meet their tasks."""

    workers: int | None
    max_parallel: int
    ceiling: int
    assign: assignment.Assign


def _models(config: ParallelConfig) -> list[str]:
    """The models to compare; none where one is that of every worker."""
    if config.model is None:
        return list(naming.split_models(",".join(config.models))) if config.models else []
    if config.models:
        raise UsageError("--model and --models exclude each other", hint="--model is that of every worker")
    try:
        naming.read_model(config.model)
    except ValueError as error:
        raise UsageError(f"--model {quantities.quoted(config.model)} {error}") from None
    return []


def _unnamed_models(specs: Sequence[WorkerSpec], models: Sequence[str]) -> list[str]:
    """A warning where fewer models than workers were named."""
    left = [spec.worker_id for spec in specs if spec.model is None] if models else []
    if not left:
        return []
    which = f"{quantities.show_count(len(models), 'model')} for {quantities.show_count(len(specs), 'worker')}"
    return [f"{which}: {quantities.show_workers(left)} with the default model of the backend"]


def _checks(config: ParallelConfig, defaults: ParallelSettings) -> tuple[str, ...]:
    if not config.checks:
        return defaults.checks
    if isinstance(config.checks, str):
        raise UsageError("checks must be a list of commands, not one text")
    for text in config.checks:
        try:
            read_command(text)
        except ValueError as error:
            raise UsageError(f"--check {quantities.quoted(text)}: {error}", hint='--check "make test"') from None
    return tuple(config.checks)


def _team(config: ParallelConfig, defaults: ParallelSettings, given: TaskList) -> _Team:
    ceiling = defaults.workers_ceiling
    more = f"set workers_ceiling in the configuration to allow more than {ceiling}"

    def count(value: int | str | None, default: int | None, flag: str) -> int | None:
        return default if value is None else quantities.parse_count(value, flag, high=ceiling, hint=more)

    workers = count(config.workers, defaults.workers, "--workers")
    in_file = given.file.max_parallel if given.file else None
    max_parallel = count(config.max_parallel, in_file or defaults.max_parallel, "--max-parallel")
    at_a_time = assignment.parallel_count(max_parallel=max_parallel, workers=workers, ceiling=ceiling)
    if given.listed and config.workers is None:
        workers = 1  # as many as there are tasks: nobody asked for a task to be done twice
    how = config.assign or defaults.assign
    require_known("--assign", how, [each.value for each in assignment.Assign])
    return _Team(
        workers=workers,
        max_parallel=at_a_time,
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
