"""The plan of a flow's run, and the workers for the jobs of its states.

Jobs go through the planner of every other run. What it takes from the configuration for tasks in general (their time
limit, checks, repetition) does not hold for a flow, which says so itself in each state.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from architect_parallel.domain import (
    SHELL,
    ApprovalMode,
    FlowOrigin,
    Isolation,
    RunPlan,
    SandboxMode,
    Task,
    WorkerSpec,
)
from architect_parallel.errors import EnvironmentProblem, UsageError
from architect_parallel.flows.loader import load_flow
from architect_parallel.flows.model import COMMANDS, Flow, Job, Jobs
from architect_parallel.runs.options import LOCAL, ParallelConfig, resolve
from architect_parallel.runs.plan import draft_plan
from architect_parallel.runs.ready_backends import require_ready
from architect_parallel.runs.task_sources import TaskList
from architect_parallel.runs.workspace import Workspace, load_workspace, validation_context
from architect_parallel.system import clock
from architect_parallel.text import names, quantities
from architect_parallel.text.sanitize import one_line, require_utf8
from architect_parallel.worktrees.create import require_base
from architect_parallel.worktrees.places import require_root
from architect_parallel.worktrees.prepare import require_links

NO_CAP = 10_000
"""The number of tasks of one `parallel` that may run at the same time without a limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowConfig:
    """The options of `architect flow run`. `None` means the value of the configuration."""

    file: str | os.PathLike[str]
    variables: Mapping[str, str]
    budget: float | str | None = None
    """USD of the whole run."""
    timeout: float | str | None = None
    sandbox: str | None = None
    network: str | None = None
    allow_hosts: Sequence[str] = ()
    config_file: str | os.PathLike[str] | None = None


def read_flow(file: Path, workspace: Workspace) -> Flow:
    """The flow at `file`, checked against the workspace.

    Raises:
        UsageError: With every fault.
    """
    return load_flow(file, validation_context(workspace))


def plan_flow(config: FlowConfig, workspace_root: Path) -> tuple[Workspace, Flow, RunPlan]:
    """The run that `run_flow` would start. Changes nothing.

    Raises:
        UsageError: With every fault of the file, or an unknown variable.
        EnvironmentProblem: The repository or a backend that the flow names does not allow it.
    """
    workspace = load_workspace(workspace_root, None if config.config_file is None else Path(config.config_file))
    flow = read_flow(Path(config.file), workspace)
    for name, value in config.variables.items():
        require_utf8(value, f"--var {one_line(name)}")
        if name not in flow.variables:
            known = ", ".join(flow.variables) or "none"
            raise UsageError(f"the flow has no variable {name!r} (it has: {known})", hint="--var NAME=VALUE")
    require_root(workspace.repository, workspace.settings.worktrees)
    about_links = require_links(workspace.repository, workspace.settings.worktrees)
    base = require_base(workspace.repository)
    asked = ParallelConfig(sandbox=config.sandbox, network=config.network, allow_hosts=config.allow_hosts)
    words = resolve(asked, workspace.settings.parallel)
    about_hosts = () if words.hosts in (None, LOCAL) else ("flows and chains run on this machine: no host is used",)
    require_backends(flow, workspace)
    plan = RunPlan(
        run_id=names.run_id(clock.now(), secrets.token_hex(2)),
        repository=str(workspace.repository.root),
        base_commit=base,
        base_ref="HEAD",
        workers=(),
        max_parallel=NO_CAP,
        timeout_s=None if config.timeout is None else quantities.parse_duration(config.timeout, "--timeout"),
        budget_usd=None if config.budget is None else quantities.parse_usd(config.budget, "--budget"),
        warnings=(*workspace.settings.warnings, *about_links, *about_hosts),
        flow=FlowOrigin(
            file=os.path.abspath(config.file),
            directory=str(workspace.start),
            variables=dict(config.variables),
            sandbox=words.sandbox,
            network=words.network,
            allow_hosts=words.allow_hosts,
        ),
    )
    return workspace, flow, plan


def require_backends(flow: Flow, workspace: Workspace) -> None:
    """Check that every backend that the flow or its sub-flows name can be started here.

    Raises:
        EnvironmentProblem: One of them is not ready.
    """
    models: dict[str, set[str | None]] = {}
    for state in flow.states.values():
        for task in (state.task, *state.task.tasks):
            if task.tool in workspace.backends:
                model = task.arguments.get("model")
                models.setdefault(task.tool, set()).add(model if model is None or "{{" not in model else None)
    for name, wanted in models.items():
        require_ready(workspace.backends, workspace.backends[name], wanted, workspace.environ)
    for inner in flow.flows.values():
        require_backends(inner, workspace)


def text_of(job: Job) -> str:
    """The prompt or command of a job."""
    return str(job.arguments[COMMANDS.get(job.tool, "prompt")])


def draft_jobs(demanded: Jobs, workspace: Workspace, plan: RunPlan, first_index: int) -> list[WorkerSpec]:
    """The workers of a state's jobs, without branches and worktrees.

    Args:
        first_index: The index of the first one in the run.

    Raises:
        UsageError: A backend, an agent or a directory does not exist.
        EnvironmentProblem: A backend is not ready, or a job wants a worktree outside of the repository.
    """
    parallel = replace(
        workspace.settings.parallel,
        model=None,
        budget=None,
        timeout_per_worker=None,
        checks=(),
        retries=0,
        refine=False,
    )
    here = replace(workspace, settings=replace(workspace.settings, parallel=parallel))
    several = len(demanded.jobs) > 1
    tasks = [
        _task(job, f"{demanded.state}-{number}" if several else demanded.state, workspace)
        for number, job in enumerate(demanded.jobs, 1)
    ]
    flow = plan.flow
    assert flow is not None
    config = ParallelConfig(
        budget=plan.budget_usd,
        tripwire="off",
        sandbox=flow.sandbox,
        network=flow.network,
        allow_hosts=flow.allow_hosts,
        hosts=LOCAL,
    )
    drafts = draft_plan(config, here, TaskList(tasks=tuple(tasks), listed=True)).workers
    return [
        replace(draft, run_id=plan.run_id, worker_id=index + 1, index=index, values=job.values)
        for index, (draft, job) in enumerate(zip(drafts, demanded.jobs, strict=True), first_index)
    ]


def _task(job: Job, name: str, workspace: Workspace) -> Task:
    values = job.arguments
    approval, sandbox = values.get("approval_mode"), values.get("sandbox_mode")
    return Task(
        prompt=text_of(job),
        name=name,
        place=f"state {name}",
        backend=SHELL if job.tool in COMMANDS else job.tool,
        model=values.get("model"),
        agent=values.get("agent"),
        workdir=_workdir(job, workspace),
        isolation=Isolation.WORKTREE if job.isolated else Isolation.NONE,
        approval_mode=None if approval is None else ApprovalMode(approval),
        sandbox_mode=None if sandbox is None else SandboxMode(sandbox),
        max_turns=values.get("max_turns"),
        system_prompt=values.get("system_prompt"),
        timeout_s=values.get("timeout"),
        budget_usd=values.get("budget"),
        extra_argv=tuple(values.get("extra", ())),
    )


def _workdir(job: Job, workspace: Workspace) -> str | None:
    """The directory of a job. `None` means the top of its worktree."""
    directory = os.path.normpath(workspace.start / str(job.arguments.get("cwd", "")))
    if not job.isolated:
        return directory
    top = workspace.repository.checkout or workspace.repository.root
    below = os.path.relpath(os.path.realpath(directory), os.path.realpath(top))
    if below == os.pardir or below.startswith(os.pardir + os.sep):
        raise EnvironmentProblem(f"{directory} is outside the repository, where there is no worktree")
    return None if below == os.curdir else directory
