"""A spec becomes a plan: its tasks are those of any run, with dependencies and what is said of them all put in."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from architect_parallel.api.handing_on import SHELL, file_text
from architect_parallel.api.merging import MergeRequest, merge
from architect_parallel.api.place import Here, load_here
from architect_parallel.api.planning import ParallelConfig, draft_plan
from architect_parallel.api.resuming import resume
from architect_parallel.api.running import ParallelRunner, recorded_plan
from architect_parallel.api.task_sources import Given
from architect_parallel.domain import (
    AgentProfile,
    ApprovalMode,
    Isolation,
    MergeOrder,
    OnPartial,
    RunPlan,
    RunResult,
    RunStatus,
    SandboxMode,
    SpecFile,
    Task,
    TaskFile,
    WorkerSpec,
    Workflow,
)
from architect_parallel.errors import ArchitectParallelError, EnvironmentProblem, ExitCode, NothingToDo, UsageError
from architect_parallel.journal import Journal
from architect_parallel.landing.merge import Pick
from architect_parallel.planning import graph, references
from architect_parallel.planning.naming import parse_branch_number
from architect_parallel.planning.quantities import shown
from architect_parallel.planning.suggest import require_known
from architect_parallel.runner import Listener

DEFAULT_PARALLEL = 4
COORDINATOR = "coordinator"
DEBUGGER = "debugger"


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecConfig:
    """What `architect spec run` can be told."""

    file: str | os.PathLike[str]
    only: Sequence[str] = ()
    """Names of tasks: these and all they depend on, and nothing else; empty: all."""
    flags: ParallelConfig = field(default_factory=ParallelConfig)
    """What holds for every task; its tasks are left alone."""


class SpecRunner(ParallelRunner):
    """Runs a spec; everything else is as in `ParallelRunner`."""

    def __init__(
        self,
        config: SpecConfig,
        workspace_root: str | os.PathLike[str] = ".",
        *,
        listeners: Sequence[Listener] = (),
        environ: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(config.flags, workspace_root, listeners=listeners, environ=environ)
        self.spec_config = config

    def execute(self, started: Callable[[RunPlan], None] = lambda plan: None) -> RunResult:
        """See `ParallelRunner.execute`; what the spec says of landing is done as well."""
        return land(super().execute(started), self.here)

    def _draft(self) -> RunPlan:
        return draft_spec_plan(self.spec_config, self.here)


def read(file: str | os.PathLike[str], here: Here | None) -> SpecFile:
    """The spec in `file`, held against what is here (`None`: against nothing).

    Raises:
        UsageError: With every fault.
    """
    from architect_parallel.config.spec_file import load_spec
    from architect_parallel.config.task_file import Surroundings

    if here is None:
        return load_spec(Path(file), None)
    checkout = here.repository.checkout
    around = Surroundings(
        directory=here.start,
        checkout=None if checkout is None else Path(os.path.realpath(checkout)),
        backends=tuple(here.backends),
        agents=tuple(here.settings.agents),
        ceiling=here.settings.parallel.workers_ceiling,
    )
    path = Path(file)
    return load_spec(path if path.is_absolute() or here.start == Path.cwd() else here.start / path, around)


def validated(file: str | os.PathLike[str], workspace_root: Path, config_file: Path | None = None) -> SpecFile:
    """The spec in `file`, checked as far as this place allows: outside a repository only its own text.

    Raises:
        UsageError: With every fault.
    """
    try:
        here = load_here(workspace_root, config_file)
    except EnvironmentProblem:
        return read(file, None)
    return read(file, here)


def task_graph(spec: SpecFile) -> dict[str, tuple[str, ...]]:
    """Name of each task → names of those it depends on, in the order of the file."""
    return {task.name or "": task.dependencies for task in spec.tasks}


def draft_spec_plan(config: SpecConfig, here: Here) -> RunPlan:
    """The plan of a spec before its numbers.

    Raises:
        UsageError: With every fault of the file, or a flag is wrong.
        EnvironmentProblem: As for `draft_plan`.
    """
    spec = read(config.file, here)
    chosen = chosen_tasks(spec, config.only)
    profiles = here.settings.agents
    tasks = [_with_role(task, profiles) for task in spec.tasks if task.name in chosen]
    last = spec.coordinator if len(chosen) == len(spec.tasks) else None
    if last is not None:
        names = tuple(task.name for task in tasks if task.name)
        coordinator = next(name for name in (COORDINATOR, f"{COORDINATOR}-of-all") if name not in names)
        last_task = replace(last, name=coordinator, dependencies=names, on_partial=OnPartial.CONTINUE, place=spec.file)
        tasks.append(_with_role(last_task, profiles))
    coordinator_id = len(tasks) if last is not None else None
    if spec.debugger is not None:
        tasks.append(_with_role(Task(prompt=DEBUGGER, name=DEBUGGER, agent=spec.debugger), profiles))
    settings = here.settings.parallel
    at_once = spec.max_parallel or settings.max_parallel or min(DEFAULT_PARALLEL, settings.workers_ceiling)
    given = Given(
        tasks=tuple(tasks),
        file=TaskFile(name=spec.file, tasks=tuple(tasks), max_parallel=at_once),
        listed=True,
        warnings=spec.warnings,
        trusted=True,
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
    _require_files(workers, here, spec)
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
            merge=None if spec.merge is None else _require_branch(spec, spec.merge, here),
            debugger=None if debugger is None else _asked(debugger),
        ),
    )


def _require_branch(spec: SpecFile, order: MergeOrder, here: Here) -> MergeOrder:
    known = "\0" not in order.into and here.repository.store.ok("check-ref-format", "--branch", order.into)
    if not known or parse_branch_number(order.into) is not None:
        raise UsageError(f"{spec.file}: merge.into: {shown(order.into)} cannot be its branch", hint="architect/merged")
    return order


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


def resume_spec(
    config: SpecConfig,
    run: str,
    workspace_root: Path,
    *,
    listeners: Sequence[Listener] = (),
    started: Callable[[RunPlan], None] = lambda plan: None,
) -> RunResult:
    """Goes on with a run of this spec: what did not succeed, as it was planned then.

    Raises:
        UsageError: The run is none of this spec's, or there is no task called so.
        NothingToDo: No such run, or nothing of it is left to do.
    """
    config_file = Path(config.flags.config_file) if config.flags.config_file is not None else None
    spec = validated(config.file, workspace_root, config_file)
    needs = task_graph(spec)

    def choose(plan: RunPlan, todo: Sequence[WorkerSpec]) -> Sequence[WorkerSpec]:
        ids = {each.name: each.worker_id for each in plan.workers}
        if plan.workflow is None or plan.workflow.name != spec.name or not {*ids} <= {*needs, COORDINATOR}:
            raise UsageError(f"run {plan.run_id} is not one of {config.file}", hint=f"architect resume {plan.run_id}")
        if not config.only:
            return todo
        for name in config.only:
            require_known("task", name, ids)
        wanted = graph.closure(
            {each.worker_id: each.dependencies for each in plan.workers}, [ids[n] for n in config.only]
        )
        left = [each for each in todo if each.worker_id in wanted]
        if not left:
            text = f"nothing is left to do of {', '.join(config.only)} in run {plan.run_id}"
            raise NothingToDo(text, hint="leave out --only")
        return left

    return resume_and_land(
        workspace_root, run, config_file=config_file, listeners=listeners, started=started, choose=choose
    )


def resume_and_land(
    workspace_root: Path,
    run: str,
    *,
    config_file: Path | None = None,
    listeners: Sequence[Listener] = (),
    started: Callable[[RunPlan], None] = lambda plan: None,
    choose: Callable[[RunPlan, Sequence[WorkerSpec]], Sequence[WorkerSpec]] = lambda plan, todo: todo,
) -> RunResult:
    """Goes on with any run but a flow; one of a spec that says so is merged at its end, also where that is all that is
    left to do. Raises as `resume`."""
    here = load_here(workspace_root, config_file)
    try:
        result = resume(
            workspace_root, run, config_file=config_file, listeners=listeners, started=started, choose=choose
        )
    except NothingToDo:
        with Journal.open(here.repository.state_dir) as journal:
            result = journal.result(journal.find(run))
            plan = recorded_plan(journal, result.run_id)
            done = [each for each in journal.operations(result.run_id) if each.kind == "merge" and each.finished]
        wanted = plan.workflow is not None and plan.workflow.merge is not None and result.status is RunStatus.SUCCESS
        if not wanted or done:  # also one that was undone: somebody did not want it
            raise
    return land(result, here)


def land(result: RunResult, here: Here) -> RunResult:
    """Lands what merges cleanly and passes of a run whose spec says so; the rest is named in the result's `merge`.

    Returns:
        The run as it is then. Where all went well but something was left out its `exit_code` is that of a conflict,
        and what kept all of it from landing is a warning: the run itself had ended before.
    """
    with Journal.open(here.repository.state_dir) as journal:
        plan = recorded_plan(journal, result.run_id)
        order = plan.workflow.merge if plan.workflow is not None else None
        if order is None or result.status in (RunStatus.CANCELED, RunStatus.ESCALATED):
            return result
        ref = f"refs/heads/{order.into}"
        git = here.repository.store
        made = git.resolve(ref) is None
        if made:
            git.run("update-ref", "-m", f"architect: made for {plan.run_id}", ref, plan.base_commit, "0" * 40)
        asked = MergeRequest(run=plan.run_id, pick=Pick.ALL, into=order.into)
        problem: ArchitectParallelError | None = None
        told: list[str] = []
        try:
            before, done = merge(here.start, asked, environ=here.environ)
            told += [*before.warnings, *(done.warnings if done is not None else ())]
            if done is not None and done.commit is None:  # the envelope shows landings only
                told += [f"worker {each.worker_id} is left out: {each.detail or each.reason}" for each in done.left_out]
        except ArchitectParallelError as error:
            problem = error
        if made and git.resolve(ref) == plan.base_commit:
            git.run("update-ref", "-d", ref, plan.base_commit, check=False)
        after = journal.result(plan.run_id)
    after.warnings.extend(f"merge: {each}" for each in told)
    code = after.exit_code or 0
    if problem is not None:
        after.warnings.append(f"merge: {problem.message}")
        code = code or (0 if isinstance(problem, NothingToDo) else int(problem.exit_code))
    elif after.merge is None or after.merge.left_out:
        code = code or int(ExitCode.CONFLICT)
    return replace(after, exit_code=code)


def _with_role(task: Task, profiles: Mapping[str, AgentProfile]) -> Task:
    """A task whose agent has no profile is the default one's, who is told its role."""
    if task.agent is None or task.agent in profiles:
        return task
    prompts = [f"Your role: {task.agent}.", *([task.system_prompt] if task.system_prompt else [])]
    return replace(task, agent=None, role=task.agent, system_prompt="\n\n".join(prompts))


def _require_files(workers: Sequence[WorkerSpec], here: Here, spec: SpecFile) -> None:
    """Files that prompts refer to have to be there, unless a task before it may still make them."""
    faults = []
    for each in workers:
        for reference in references.references(each.prompt):
            if reference.file is not None and not each.dependencies:
                try:
                    file_text(here.repository, each.base_commit, reference)
                except EnvironmentProblem as error:
                    place = next((task.place for task in spec.tasks if task.name == each.name), None)
                    faults.append(f"{place or spec.file}: {error.message}")
    if faults:
        raise UsageError("\n".join(faults), hint="commit the files first")
