"""Decide a merge. Everything that can be computed is computed here, and nothing moves.

What the plan says about one result happens, or nothing does. What it says about several results holds if their checks
pass: those run when the plan is executed (`merge`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from architect_parallel.domain import LeftOut, RunResult, RunStatus, WorkerSpec
from architect_parallel.errors import EnvironmentProblem, NothingToDo
from architect_parallel.journal import Journal
from architect_parallel.landing import strategies
from architect_parallel.landing.compare import Onto, compare_sources, require_batches
from architect_parallel.landing.integration import checks_of
from architect_parallel.landing.publish import Publication, plan_publication, require_sendable
from architect_parallel.landing.selection import Choice, Pick, choose
from architect_parallel.landing.sources import Source
from architect_parallel.landing.steps import Method, changed_files, so_far, step, try_step
from architect_parallel.landing.submodule_links import link_warnings
from architect_parallel.landing.target_branch import Target, find_target, require_movable
from architect_parallel.system.git import Repository


@dataclass(frozen=True, slots=True, kw_only=True)
class MergePlan:
    """A decided merge. Nothing has been moved. For several results the plan holds if their checks pass."""

    run_id: str
    method: Method
    target: Target
    commit: str | None
    """The new commit of the target. `None` means that it stays, because everything was left out."""
    merged: tuple[int, ...]
    """Worker ids in the order in which they land."""
    left_out: tuple[LeftOut, ...]
    files: tuple[str, ...]
    """Paths that change on the target, sorted."""
    fast_forward: bool
    warnings: tuple[str, ...] = ()
    steps: tuple[Source, ...] = ()
    """The results to land, in the order to try."""
    specs: Mapping[int, WorkerSpec] = field(default_factory=dict)
    """Worker id → its spec, for its checks."""
    checks: tuple[str, ...] = ()
    """Commands that run after each step. Empty for a single result that was asked for, or that passed the same
    checks.
    """
    resolve: bool = False
    """Conflicts are passed to an agent."""
    publication: Publication | None = None
    """`None` means that nothing leaves this machine."""
    because: str | None = None
    """The reason why this result is the best, or one reason per task. `None` means that the best was not asked for."""
    makes_target: bool = False
    """The target was made for this merge at its present commit."""

    @property
    def opens_pull_request(self) -> bool:
        """A pull request is opened. The target does not move here."""
        return self.publication is not None and self.publication.pull_request

    @property
    def needs_worktree(self) -> bool:
        """A command or an agent has to run to know the result."""
        return bool(self.checks and self.merged) or (self.resolve and _conflicts(self.left_out))

    @property
    def needs_branch(self) -> bool:
        """The result gets an integration branch."""
        return self.needs_worktree or (self.commit is not None and (len(self.steps) > 1 or self.opens_pull_request))


def plan_merge(
    repository: Repository,
    journal: Journal,
    run: str,
    *workers: int,
    pick: Pick = Pick.NAMED,
    into: str | None = None,
    method: Method = Method.MERGE,
    resolve: bool = False,
    push: bool = False,
    pull_request: bool = False,
    environ: Mapping[str, str] | None = None,
) -> MergePlan:
    """Compute what landing the results would give.

    A result that did not succeed lands too if the user named it. The plan's warnings then say how it ended.

    Args:
        run: A run id, or anything that `Journal.find` accepts.
        workers: Ids, for `Pick.NAMED`.
        into: Short name of a local branch. `None` means the current one.
        resolve: An agent is available for conflicts.
        push, pull_request: How the result is published. A pull request leaves the target where it is.
        environ: For finding `gh`. `None` means this process's.

    Raises:
        NothingToDo: No such run, nothing was changed, or the target has all of it already.
        UsageError: No such worker or branch.
        EnvironmentProblem: The run is live, git is too old, HEAD is detached, the target's checkout is dirty, or there
            is no remote to publish to.
    """
    strategies.require_merge_tree()
    run_id = journal.find(run)
    result = journal.result(run_id)
    if result.status is RunStatus.RUNNING:
        raise EnvironmentProblem(f"run {run_id} is still running", hint=f"architect status {run_id}")
    if journal.is_live(run_id):
        raise EnvironmentProblem(f"run {run_id} is in use: it is resumed, merged or cleaned up", hint="try again later")
    choice = choose(repository, result, pick, workers)
    several = pick is Pick.ALL or len(choice.sources) > 1
    target = find_target(repository, into)
    if target.branch in {spec.branch for spec in journal.live_workers()}:
        raise EnvironmentProblem(f"an agent is working on {target.branch}", hint="architect status")
    publication = None
    if push or pull_request:
        environ = os.environ if environ is None else environ
        publication = plan_publication(repository, target.branch, pull_request=pull_request, environ=environ)
    plan = _computed(repository, result, choice, target, method, resolve, publication, several=several)
    if publication is not None:
        landing = {source.commit for source in plan.steps} | ({plan.commit} if plan.commit is not None else set())
        require_sendable(repository, publication, target.tip, sorted(landing))
    if not plan.opens_pull_request and (plan.commit is not None or plan.resolve):
        require_movable(repository, target, plan.commit or target.tip)
    return plan


def _computed(
    repository: Repository,
    result: RunResult,
    choice: Choice,
    target: Target,
    method: Method,
    resolve: bool,
    publication: Publication | None,
    *,
    several: bool,
) -> MergePlan:
    git, run_id = repository.git, result.run_id
    warnings, steps = list(choice.warnings), []
    for source in choice.sources:
        if git.ok("merge-base", "--is-ancestor", source.commit, target.tip):
            warnings.append(f"{target.branch} already has everything of worker {source.worker_id}")
        else:
            steps.append(source)
    if len(steps) > 1:
        require_batches()
        order = compare_sources(repository, steps, Onto(name=target.branch, commit=target.tip)).order
        steps.sort(key=lambda source: order.index(source.worker_id))
    tip, merged, left_out, landing = target.tip, list[int](), list(choice.left_out), list[Source]()
    for source in steps:
        one = try_step if len(steps) > 1 else step
        combined = one(repository, run_id, source, tip, target.branch, method)
        if combined.commit is None:
            left_out.append(LeftOut(worker_id=source.worker_id, reason="conflict", files=combined.conflicts))
        elif strategies.tree_of(git, combined.commit) == strategies.tree_of(git, tip):
            warnings.append(f"{so_far(target.branch, merged)} already has everything of worker {source.worker_id}")
            continue
        else:
            tip = combined.commit
            merged.append(source.worker_id)
        landing.append(source)
    if not landing:
        raise NothingToDo(warnings[-1], hint=f"architect diff {run_id}")
    if merged:
        warnings += link_warnings(repository, target.tip, tip, landing[0].worker.branch)
    specs = {spec.worker_id: spec for spec in result.planned}
    # The last of several that are in already is combined with them, which nobody has checked yet.
    as_checked = len(landing) == 1 and strategies.tree_of(git, tip) == strategies.tree_of(git, landing[0].commit)
    return MergePlan(
        run_id=run_id,
        method=method,
        target=target,
        commit=tip if merged else None,
        merged=tuple(merged),
        left_out=tuple(left_out),
        files=changed_files(git, target.tip, tip) if merged else (),
        fast_forward=len(merged) == 1 and tip in {source.commit for source in landing},
        warnings=tuple(warnings),
        steps=tuple(landing),
        specs=specs,
        resolve=resolve,
        publication=publication,
        because=choice.because,
        checks=checks_of(landing, specs) if several and not as_checked else (),
    )


def _conflicts(left_out: tuple[LeftOut, ...]) -> bool:
    return any(left.reason == "conflict" for left in left_out)
