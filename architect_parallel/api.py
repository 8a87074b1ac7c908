"""The journey on one page: from what the user asked for to results, the only place where the parts are put together.

task text → settings → plan → numbers reserved → runner → host → results. Deciding (`ParallelRunner.plan`) makes nothing;
running first reserves its block of numbers under the repository's lock and records the plan, and only then makes things.
"""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from architect_parallel.backends.base import Backend, Request
from architect_parallel.backends.registry import load_backends, require_backend
from architect_parallel.config.load import load_settings
from architect_parallel.domain import (
    AgentProfile,
    ApprovalMode,
    Limits,
    ParallelSettings,
    RunPlan,
    RunResult,
    SandboxMode,
    Settings,
    Status,
    WorkerResult,
    WorkerSpec,
)
from architect_parallel.errors import EnvironmentProblem, InternalError, NothingToDo, UsageError
from architect_parallel.events import Event, RunResumed, RunStarted
from architect_parallel.hosts.local import LocalHost
from architect_parallel.journal import Journal
from architect_parallel.planning import assignment, naming, quantities
from architect_parallel.planning.suggest import require_known
from architect_parallel.runner import CANCEL_FILE, Listener, Runner
from architect_parallel.system import clock
from architect_parallel.system.git import Repository, open_repository
from architect_parallel.workers.worker import Workplace
from architect_parallel.worktrees.create import (
    exclude_from_status,
    highest_number,
    registration_lock,
    require_base,
)
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
    base: str = "HEAD"
    include_dirty: bool = False
    fail_fast: bool | None = None
    allow_partial: bool | None = None
    commit: bool | None = None
    config_file: str | os.PathLike[str] | None = None


class ParallelRunner:
    """Runs tasks in parallel, each in a worktree of its own.

    Args:
        config: What to run.
        workspace_root: Any directory of the repository; `.` is the current one.
        listeners: Called with every recorded event, in the thread that calls `run`.
        environ: Takes the place of `os.environ`, for agents and configuration.

    Raises (all methods):
        UsageError: Something in `config` or a configuration file is wrong; nothing was started.
        EnvironmentProblem: The machine or the repository does not allow it; nothing was started.
    """

    def __init__(
        self,
        config: ParallelConfig,
        workspace_root: str | os.PathLike[str] = ".",
        *,
        listeners: Sequence[Listener] = (),
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.config = config
        config_file = Path(config.config_file) if config.config_file is not None else None
        self.here = load_here(Path(workspace_root), config_file, environ)
        self._listeners = tuple(listeners)

    def run(self) -> list[WorkerResult]:
        """Runs everything to its end; results sorted by `worker_id`."""
        return self.execute().results

    def plan(self) -> RunPlan:
        """The plan as it would be now; reserves and makes nothing."""
        draft = self._draft()
        with Journal.open(self.here.repository.state_dir) as journal:
            return _numbered(draft, self.here.repository, self._next_number(journal))

    def execute(self, started: Callable[[RunPlan], None] = lambda plan: None) -> RunResult:
        """Like `run`, with the whole run's result.

        Args:
            started: Called with the plan once its numbers are reserved, before any agent starts.
        """
        draft = self._draft()
        with Journal.open(self.here.repository.state_dir) as journal:
            exclude_from_status(self.here.repository)
            with registration_lock(self.here.repository):
                plan = _numbered(draft, self.here.repository, self._next_number(journal))
                lock = journal.hold(plan.run_id)
                if lock is None:
                    raise EnvironmentProblem(f"run {plan.run_id} exists already", hint="try again")
                journal.append([(plan.run_id, None, RunStarted(plan=plan, launcher_pid=os.getpid()))])
            try:
                started(plan)
                return run_plan(plan, journal, self.here, self._listeners)
            finally:
                lock.release()

    def _draft(self) -> RunPlan:
        """The plan before its numbers: everything the user can get wrong is found here."""
        config, defaults = self.config, self.here.settings.parallel
        tasks = require_tasks(config.tasks)
        models = list(naming.split_models(",".join(config.models))) if config.models else []
        ceiling = defaults.workers_ceiling
        more = f"set workers_ceiling in the configuration to allow more than {ceiling}"
        workers = defaults.workers
        if config.workers is not None:
            workers = quantities.parse_count(config.workers, "--workers", high=ceiling, hint=more)
        max_parallel = defaults.max_parallel
        if config.max_parallel is not None:
            max_parallel = quantities.parse_count(config.max_parallel, "--max-parallel", high=ceiling, hint=more)
        how = _assign(config.assign or defaults.assign)
        agent = require_agent(self.here.settings, config.agent or defaults.agent)
        backend = require_backend(self.here.backends, config.backend or agent.backend or defaults.backend)
        if not models and agent.model is not None:
            models = [agent.model]
        count = assignment.worker_count(
            tasks=len(tasks), models=len(models), requested=workers, ceiling=ceiling, assign=how
        )
        limits = worker_limits(config, defaults)
        pairs = assignment.assign_workers(tasks=len(tasks), models=models, workers=count, assign=how)
        require_ready(self.here.backends, backend, {pair.model for pair in pairs}, self.here.environ)
        run_budget = _given(config.budget, defaults.budget, lambda value: quantities.parse_usd(value, "--budget"))
        run_timeout = _given(
            config.timeout, defaults.timeout_s, lambda value: quantities.parse_duration(value, "--timeout")
        )
        base_commit = require_base(self.here.repository, config.base)
        if config.include_dirty:
            if config.base != "HEAD":
                raise UsageError("--include-dirty starts from HEAD", hint="leave out --base")
            base_commit = snapshot_dirty(self.here.repository)
        lacking = backend.capabilities.cannot_honour(
            agent,
            model=any(pair.model for pair in pairs),
            budget=limits.budget_usd is not None or run_budget is not None,
        )
        warnings = tuple(f"backend {backend.name} {each}" for each in lacking)
        run_id = naming.run_id(clock.now(), secrets.token_hex(2))
        specs = [
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
                warnings=warnings,
            )
            for index, pair in enumerate(pairs)
        ]
        return RunPlan(
            run_id=run_id,
            repository=str(self.here.repository.root),
            base_commit=base_commit,
            base_ref=config.base,
            workers=tuple(specs),
            max_parallel=min(
                count, assignment.parallel_count(max_parallel=max_parallel, workers=workers, ceiling=ceiling)
            ),
            timeout_s=run_timeout,
            budget_usd=run_budget,
            fail_fast=defaults.fail_fast if config.fail_fast is None else config.fail_fast,
            allow_partial=defaults.allow_partial if config.allow_partial is None else config.allow_partial,
            warnings=(*self.here.settings.warnings, *warnings),
        )

    def _next_number(self, journal: Journal) -> int:
        return max(highest_number(self.here.repository), *journal.live_numbers(), 0) + 1

    def command_lines(self, plan: RunPlan) -> dict[int, tuple[str, ...]]:
        """The exact argv of every worker of `plan`, for a dry run; nothing outside a temporary folder is touched."""
        lines = {}
        with tempfile.TemporaryDirectory(prefix="architect-dry-run-") as folder:
            for spec in plan.workers:
                state_dir = Path(folder) / f"worker-{spec.worker_id}"
                state_dir.mkdir()
                request = Request(
                    prompt=spec.prompt,
                    prompt_file=state_dir / "prompt.txt",
                    worktree=Path(spec.worktree_path),
                    state_dir=state_dir,
                    model=spec.model,
                    agent=spec.agent.name,
                    system_prompt=spec.agent.system_prompt,
                    approval_mode=spec.approval_mode,
                    sandbox_mode=spec.sandbox_mode,
                    max_steps=spec.limits.max_steps,
                    budget_usd=spec.limits.budget_usd,
                    timeout_s=spec.limits.timeout_s,
                    branch=spec.branch,
                    worker_id=spec.worker_id,
                    run_id=spec.run_id,
                )
                lines[spec.worker_id] = self.here.backends[spec.backend].command(request).argv
        return lines


def run_plan(
    plan: RunPlan,
    journal: Journal,
    here: Here,
    listeners: Sequence[Listener],
    *,
    todo: Sequence[WorkerSpec] | None = None,
    first_event: Event | None = None,
) -> RunResult:
    """Runs a recorded plan (or, of a resumed one, the workers in `todo`) on this machine. The run's lock is held."""
    workplace = Workplace(
        repository=here.repository,
        run_dir=journal.run_dir(plan.run_id),
        backends=here.backends,
        environ=here.environ,
        worktrees=here.settings.worktrees,
        prices=here.settings.prices,
    )
    runner = Runner(
        plan,
        journal,
        lambda emit: LocalHost(workplace, emit),
        todo=todo,
        first_event=first_event,
        listeners=listeners,
    )
    return runner.run()


def resume(
    workspace_root: Path,
    run: str,
    *,
    config_file: Path | None = None,
    listeners: Sequence[Listener] = (),
    started: Callable[[RunPlan], None] = lambda plan: None,
    environ: Mapping[str, str] | None = None,
) -> RunResult:
    """Runs again what did not succeed in a run, each worker in its worktree from its base.

    Raises:
        NothingToDo: No such run, or every worker succeeded.
        EnvironmentProblem: The run is still live, or a backend is not ready.
    """
    here = load_here(workspace_root, config_file, environ)
    with Journal.open(here.repository.state_dir) as journal:
        run_id = journal.find(run)
        lock = journal.hold(run_id)
        if lock is None:
            raise EnvironmentProblem(f"run {run_id} is still live", hint=f"architect status {run_id}")
        try:
            plan, todo = _unfinished(journal, run_id)
            for spec in todo:
                backend = require_backend(here.backends, spec.backend)
                require_ready(here.backends, backend, {spec.model}, here.environ)
            for request in journal.run_dir(run_id).glob(f"{CANCEL_FILE}*"):
                request.unlink()
            event = RunResumed(launcher_pid=os.getpid(), worker_ids=tuple(spec.worker_id for spec in todo))
            started(replace(plan, workers=tuple(todo)))
            return run_plan(plan, journal, here, listeners, todo=todo, first_event=event)
        finally:
            lock.release()


def resumable(workspace_root: Path, run: str) -> list[WorkerSpec]:
    """The workers that `resume` would run, each with its next attempt; raises like it."""
    with open_journal(workspace_root) as (_, journal):
        run_id = journal.find(run)
        if journal.is_live(run_id):
            raise EnvironmentProblem(f"run {run_id} is still live", hint=f"architect status {run_id}")
        return _unfinished(journal, run_id)[1]


def _unfinished(journal: Journal, run_id: str) -> tuple[RunPlan, list[WorkerSpec]]:
    before = journal.result(run_id)
    plan = _recorded_plan(journal, run_id)
    attempts = {result.worker_id: result.attempts for result in before.results}
    done = {result.worker_id for result in before.results if result.status is Status.SUCCESS}
    todo = [
        replace(spec, attempt=attempts.get(spec.worker_id, 0) + 1)
        for spec in plan.workers
        if spec.worker_id not in done
    ]
    if not todo:
        raise NothingToDo(f"every worker of run {run_id} succeeded", hint=f"architect merge {run_id} 1")
    return plan, todo


def cancel(
    workspace_root: Path, run: str, worker_id: int | None = None, *, wait: bool = True, dry_run: bool = False
) -> dict[str, Any]:
    """Asks the launcher of a live run to stop it, or one worker of it.

    The request is a file in the run's directory, which the launcher looks for: it works between processes, users of one
    group and for single workers, and cannot hit a process that took over a dead launcher's number.

    Returns:
        `run_id`, `worker_id`, `requested` and `ended`: whether the run was seen to end (`None` for a single worker).

    Raises:
        NothingToDo: No such run, or it has ended.
        UsageError: The run has no such worker.
    """
    with open_journal(workspace_root) as (_, journal):
        run_id = journal.find(run)
        result = journal.result(run_id)
        if worker_id is not None and worker_id not in {spec.worker_id for spec in result.planned}:
            raise UsageError(f"run {run_id} has no worker {worker_id}", hint=f"architect status {run_id}")
        if not journal.is_live(run_id):
            raise NothingToDo(f"run {run_id} is not live", hint=f"architect status {run_id}")
        if not dry_run:
            name = CANCEL_FILE if worker_id is None else f"{CANCEL_FILE}-{worker_id}"
            (journal.run_dir(run_id) / name).touch(mode=0o600)
            while wait and worker_id is None and journal.is_live(run_id):
                clock.pause(0.1)
        ended = None if worker_id is not None else not journal.is_live(run_id)
        return {"run_id": run_id, "worker_id": worker_id, "requested": not dry_run, "ended": ended}


@dataclass(frozen=True, slots=True, kw_only=True)
class Here:
    """Where a command stands: repository, settings, backends, environment."""

    repository: Repository
    settings: Settings
    backends: Mapping[str, Backend]
    environ: Mapping[str, str]


def load_here(workspace_root: Path, config_file: Path | None = None, environ: Mapping[str, str] | None = None) -> Here:
    """Opens the repository at `workspace_root` with its effective settings."""
    environ = dict(os.environ if environ is None else environ)
    repository = open_repository(workspace_root)
    settings = load_settings(repository.checkout, config_file=config_file, environ=environ, home=Path.home())
    return Here(repository=repository, settings=settings, backends=load_backends(settings), environ=environ)


def require_worker(result: RunResult, worker_id: int) -> WorkerResult:
    """The result of one worker.

    Raises:
        UsageError: The run has no such worker.
        EnvironmentProblem: It has not ended yet.
    """
    for each in result.results:
        if each.worker_id == worker_id:
            return each
    if any(spec.worker_id == worker_id for spec in result.planned):
        raise EnvironmentProblem(f"worker {worker_id} has not ended yet", hint=f"architect status {result.run_id}")
    raise UsageError(f"run {result.run_id} has no worker {worker_id}", hint=f"architect status {result.run_id}")


@contextmanager
def open_journal(workspace_root: Path) -> Iterator[tuple[Repository, Journal]]:
    """The repository at `workspace_root` and its journal, for commands that look."""
    repository = open_repository(workspace_root)
    with Journal.open(repository.state_dir) as journal:
        yield repository, journal


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


_T = TypeVar("_T")


def _given(value: float | str | None, default: _T, read: Callable[[float | str], _T]) -> _T:
    return default if value is None else read(value)


def _assign(name: str) -> assignment.Assign:
    try:
        return assignment.Assign(name)
    except ValueError:
        known = ", ".join(each.value for each in assignment.Assign)
        raise UsageError(f"--assign {quantities.shown(name)} is not one of {known}", hint="--assign fill") from None


def _recorded_plan(journal: Journal, run_id: str) -> RunPlan:
    first = journal.recorded(run_id)[0].event
    if not isinstance(first, RunStarted):
        raise InternalError(f"the journal of run {run_id} does not begin with its plan")
    return first.plan


def _numbered(draft: RunPlan, repository: Repository, first: int) -> RunPlan:
    """The draft with its block of numbers: branch and worktree of every worker."""
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
