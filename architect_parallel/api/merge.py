"""`architect merge`: results land on a branch, with what checks and a resolving agent need to run."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from architect_parallel.api.launch import recorded_plan
from architect_parallel.backends.environment import key_names
from architect_parallel.backends.registry import require_backend
from architect_parallel.domain import AgentProfile, RunPlan, SandboxMode
from architect_parallel.errors import UsageError
from architect_parallel.journal import Journal
from architect_parallel.landing.brake import Brake
from architect_parallel.landing.conflicts import Resolver
from architect_parallel.landing.integration import IntegrationContext, Interrupted
from architect_parallel.landing.merge import MergeOutcome, MergePlan, Method, Pick, execute, plan_merge
from architect_parallel.runs.options import worker_limits
from architect_parallel.runs.worker_specs import require_ready
from architect_parallel.runs.workspace import Workspace, load_workspace
from architect_parallel.system import signals
from architect_parallel.system.git import open_repository


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeRequest:
    """What `architect merge` was asked for."""

    run: str
    workers: Sequence[int] = ()
    pick: Pick = Pick.NAMED
    into: str | None = None
    method: Method = Method.MERGE
    resolve: str | None = None
    """Backend that resolves conflicts; `None`: they are left out."""
    push: bool = False
    pull_request: bool = False
    dry_run: bool = False
    makes_target: bool = False
    """Whether the caller has made `into` for this merge: undo takes it away again."""


def merge(
    workspace_root: Path,
    asked: MergeRequest,
    *,
    config_file: Path | None = None,
    environ: Mapping[str, str] | None = None,
    say: Callable[[str], None] = lambda line: None,
    warned: Callable[[str], None] = lambda line: None,
    planned: Callable[[MergePlan], None] = lambda plan: None,
) -> tuple[MergePlan, MergeOutcome | None]:
    """Plans and, unless it is a dry run, lands.

    Args:
        say: Takes a line of progress for people.
        warned: Takes each warning of what ran, at once; the outcome has them too, where there is one.
        planned: Called with the plan before anything is done.

    Returns:
        The plan, and what came of it (`None`: it was a dry run).

    Raises:
        NothingToDo, UsageError, EnvironmentProblem: See `landing.merge`; also for an unknown backend or one that is
            not ready. Nothing was moved then.
        Interrupted: A signal came; nothing was moved, nothing is left running.
    """
    environ = dict(os.environ if environ is None else environ)
    # Who lands one result needs no configuration, and is not to be stopped by one that is broken.
    here = load_workspace(workspace_root, config_file, environ) if asked.resolve is not None else None
    resolver = _resolver(here, asked.resolve) if here is not None and asked.resolve is not None else None
    repository = here.repository if here is not None else open_repository(workspace_root)
    with Journal.of(repository) as journal:
        plan = plan_merge(
            repository, journal, asked.run, *asked.workers, pick=asked.pick, into=asked.into, method=asked.method,
            resolve=resolver is not None, push=asked.push, pull_request=asked.pull_request, environ=environ,
        )  # fmt: skip
        if asked.pick is Pick.ALL or len(asked.workers) > 1 or len(plan.steps) > 1:
            plan = _checked(plan, recorded_plan(journal, plan.run_id))
        plan = replace(plan, makes_target=asked.makes_target)
        planned(plan)
        if asked.dry_run:
            return plan, None
        if not plan.needs_worktree:
            return plan, execute(repository, journal, plan)
        here = here or load_workspace(workspace_root, config_file, environ)
        brake, received = Brake(), list[signal.Signals]()

        def receive(number: signal.Signals) -> None:
            received.append(number)
            # Not from here: a handler must not wait for a lock that the thread it interrupts may hold.
            threading.Thread(target=brake.kill if len(received) > 1 else brake.pull, daemon=True).start()

        workshop = IntegrationContext(
            run_dir=journal.run_dir(plan.run_id), environ=environ, settings=here.settings.worktrees, resolver=resolver,
            checks_env=here.settings.parallel.checks_env, keys=key_names(here.backends.values()),
            brake=brake, say=say, warn=warned, guard=lambda: signals.forwarded(receive),
        )  # fmt: skip
        try:
            return plan, execute(repository, journal, plan, workshop)
        except Interrupted as stopped:
            raise stopped.by(received[0] if received else signal.SIGINT) from None


def _checked(plan: MergePlan, run: RunPlan) -> MergePlan:
    """`plan` with the check that a spec wants after each step, beside the results' own; an imported run has none."""
    if run.imported:
        return replace(plan, warnings=(*plan.warnings, "the run was imported: no check of it runs here"))
    order = run.workflow.merge if run.workflow is not None else None
    if order is None or order.check is None:
        return plan
    specs = {
        worker_id: replace(spec, checks=tuple(dict.fromkeys([*spec.checks, order.check])))
        for worker_id, spec in plan.specs.items()
    }
    return replace(plan, specs=specs, checks=tuple(dict.fromkeys([*plan.checks, order.check])))


def _resolver(here: Workspace, name: str) -> Resolver:
    backend = require_backend(here.backends, name)
    if backend.capabilities.runs_its_prompt:
        raise UsageError(f"--resolve {name}: this backend runs its task as a program", hint="architect backends")
    settings = here.settings.parallel
    profile = here.settings.agents.get(settings.agent, AgentProfile(name=settings.agent))
    if profile.sandbox_mode is SandboxMode.READ_ONLY:
        hint = f"ARCHITECT_AGENT=build architect merge … --resolve {name}"
        raise UsageError(f"--resolve {name}: the agent profile {profile.name} may only read", hint=hint)
    fits = profile.backend in (None, backend.name)
    agent = profile if fits else replace(profile, model=None)
    require_ready(here.backends, backend, {agent.model}, here.environ)
    return Resolver(backend=backend, agent=agent, limits=worker_limits(settings), prices=here.settings.prices)
