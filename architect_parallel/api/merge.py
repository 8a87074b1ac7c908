"""`architect merge`: land results on a branch, with checks after each step and an agent for conflicts."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from architect_parallel.backends.environment import key_names
from architect_parallel.backends.registry import require_backend
from architect_parallel.domain import AgentProfile, RunPlan, SandboxMode, Task
from architect_parallel.errors import UsageError
from architect_parallel.journal import Journal
from architect_parallel.landing.conflicts import Resolver
from architect_parallel.landing.integration import Interrupted
from architect_parallel.landing.integration_worktree import IntegrationContext
from architect_parallel.landing.merge import MergeOutcome, MergePlan, Method, Pick, execute, plan_merge
from architect_parallel.landing.publish import plan_publication
from architect_parallel.landing.target_branch import find_target
from architect_parallel.runs.containment import containment_of
from architect_parallel.runs.options import ParallelConfig, resolve, worker_limits
from architect_parallel.runs.ready_backends import require_ready
from architect_parallel.runs.workspace import Workspace, load_workspace
from architect_parallel.system.git import open_repository
from architect_parallel.worktrees.places import exclude_from_status, require_root


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeRequest:
    """The options of `architect merge`."""

    run: str
    workers: Sequence[int] = ()
    pick: Pick = Pick.NAMED
    into: str | None = None
    method: Method = Method.MERGE
    resolve: str | None = None
    """Backend that resolves conflicts. `None` means that results with conflicts are left out."""
    containment: ParallelConfig = field(default_factory=ParallelConfig)
    """Its `sandbox`, `network` and `allow_hosts` contain the agent that resolves."""
    push: bool = False
    pull_request: bool = False
    dry_run: bool = False
    makes_target: bool = False
    """True if the caller created `into` for this merge: undo deletes it again."""


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
    """Plan the merge and, unless it is a dry run, land it.

    Args:
        say: Takes a line of progress for people.
        warned: Takes each warning at once. The outcome has them too, if there is one.
        planned: Called with the plan before anything is done.

    Returns:
        The plan and its outcome. `None` means a dry run.

    Raises:
        NothingToDo, UsageError, EnvironmentProblem: See `landing.merge`. Also for an unknown backend or one that is
            not ready. Nothing was moved then.
        Interrupted: A signal came. Nothing was moved, and nothing is left running.
    """
    environ = dict(os.environ if environ is None else environ)
    # Landing one result needs no configuration, so a broken one must not prevent it.
    here = load_workspace(workspace_root, config_file, environ) if asked.resolve is not None else None
    resolver, warnings = (None, ()) if here is None else _resolver(here, asked.resolve or "", asked.containment)
    repository = here.repository if here is not None else open_repository(workspace_root)
    with Journal.of(repository) as journal:
        plan = plan_merge(
            repository,
            journal,
            asked.run,
            *asked.workers,
            pick=asked.pick,
            into=asked.into,
            method=asked.method,
            resolve=resolver is not None,
            push=asked.push,
            pull_request=asked.pull_request,
            environ=environ,
        )
        if asked.pick is Pick.ALL or len(asked.workers) > 1 or len(plan.steps) > 1:
            plan = _checked(plan, journal.plan(plan.run_id))
        plan = replace(plan, makes_target=asked.makes_target, warnings=(*plan.warnings, *warnings))
        planned(plan)
        if asked.dry_run:
            return plan, None
        if not plan.needs_worktree:
            return plan, execute(repository, journal, plan)
        here = here or load_workspace(workspace_root, config_file, environ)
        require_root(repository, here.settings.worktrees)
        exclude_from_status(repository, here.settings.worktrees)
        context = replace(_integration_context(here, journal.run_dir(plan.run_id), resolver), say=say, warn=warned)
        try:
            return plan, execute(repository, journal, plan, context)
        except Interrupted as stopped:
            raise stopped.by(context.stop_token.signal or signal.SIGINT) from None


def require_pull_requests(workspace_root: Path) -> None:
    """Check before a run that pull requests against the current branch can be opened.

    Raises:
        EnvironmentProblem: There is no `gh`, no remote, or no current branch.
    """
    repository = open_repository(workspace_root)
    branch = find_target(repository, None).branch
    plan_publication(repository, branch, pull_request=True, environ=os.environ)


def _integration_context(here: Workspace, run_dir: Path, resolver: Resolver | None) -> IntegrationContext:
    return IntegrationContext(
        run_dir=run_dir,
        environ=here.environ,
        settings=here.settings.worktrees,
        resolver=resolver,
        checks_env=here.settings.parallel.checks_env,
        keys=key_names(here.backends.values()),
    )


def _checked(plan: MergePlan, run: RunPlan) -> MergePlan:
    """Add the check that a spec runs after each step to `plan`. An imported run has no checks."""
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


def _resolver(here: Workspace, name: str, words: ParallelConfig) -> tuple[Resolver, tuple[str, ...]]:
    """The agent for conflicts, and warnings about its containment."""
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
    decision = containment_of(Task(prompt=""), agent, backend, resolve(words, settings), here.settings, here.environ)
    limits = worker_limits(settings)
    resolver = Resolver(
        backend=backend,
        agent=agent,
        limits=limits,
        prices=here.settings.prices,
        sandbox=decision.sandbox_of(limits),
    )
    return resolver, () if decision.warning is None else (decision.warning,)
