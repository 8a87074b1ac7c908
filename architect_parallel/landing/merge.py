"""Land results on a branch: plan, show, execute.

`plan_merge` (`plan`) computes everything that can be computed and moves nothing. `execute` records the intent, then
acts. One result lands wholly or not at all. Several results are combined on an integration branch (`integration`), in
the order that `compare` proposes. A result that conflicts or breaks a check is left out and named. The target moves
last, by compare-and-swap (`target_branch`), and only what has landed is published (`publish`).

After a kill before the target moves, `undo`, `parallel-cleanup` or the next merge of the run removes the integration.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from architect_parallel.domain import LeftOut, WorktreeSettings
from architect_parallel.errors import ArchitectParallelError, EnvironmentProblem, InternalError
from architect_parallel.event_json import to_plain
from architect_parallel.journal import Journal
from architect_parallel.landing import pull_request
from architect_parallel.landing.integration import Combination, combine_in_worktree, free_place
from architect_parallel.landing.integration_worktree import IntegrationContext, IntegrationPlan
from architect_parallel.landing.inventory import integration_leftover, integrations
from architect_parallel.landing.plan import MergePlan, plan_merge
from architect_parallel.landing.publish import Published, open_pull_request, push
from architect_parallel.landing.removal import remove_leftover
from architect_parallel.landing.selection import Pick
from architect_parallel.landing.steps import Method, changed_files
from architect_parallel.landing.target_branch import move
from architect_parallel.landing.worktree_content import INTEGRATION_ID
from architect_parallel.snapshots.keep_refs import keep
from architect_parallel.system.git import Repository
from architect_parallel.text.quantities import show_workers
from architect_parallel.tripwire.attribution import programs_changed
from architect_parallel.worktrees.create import restore_branch
from architect_parallel.worktrees.remove import delete_branch

__all__ = ["LeftOut", "MergeOutcome", "MergePlan", "Method", "Pick", "execute", "plan_merge"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeOutcome:
    """The result of a merge."""

    commit: str | None
    """Commit of the target, or of the pull request's branch. `None` means that nothing landed."""
    merged: tuple[int, ...]
    left_out: tuple[LeftOut, ...]
    files: tuple[str, ...]
    fast_forward: bool
    warnings: tuple[str, ...] = ()
    """Warnings beyond those of the plan."""
    branch: str | None = None
    """The integration branch. `None` means that there is none."""
    published: Published = field(default_factory=Published)
    cost: float | None = 0.0
    """USD spent by the agents that resolved conflicts. `None` means unknown."""


def execute(
    repository: Repository, journal: Journal, plan: MergePlan, workshop: IntegrationContext | None = None
) -> MergeOutcome:
    """Land what the plan names. Move nothing if everything is left out.

    Args:
        workshop: Everything needed to run checks or an agent. `None` means that the plan needs neither.

    Raises:
        EnvironmentProblem: The target or its checkout has changed since the plan. Nothing was moved, and the message
            names the branch with the combined results.
        Interrupted: The merge was stopped. Nothing was moved.
    """
    # What lands may be read as configuration (an included file that is tracked), and checks run what agents wrote.
    with repository.programs.agents_running() as changed:
        outcome = _execute(repository, journal, plan, workshop)
    return replace(outcome, warnings=(*outcome.warnings, programs_changed(changed))) if changed else outcome


def _execute(
    repository: Repository, journal: Journal, plan: MergePlan, workshop: IntegrationContext | None
) -> MergeOutcome:
    if plan.needs_branch:
        return _execute_combined(repository, journal, plan, workshop)
    outcome = _as_planned(plan)
    if plan.commit is None:
        return outcome
    payload = _payload(plan) | {"new": plan.commit, "left_out": to_plain(plan.left_out)}
    operation = journal.begin_operation("merge", plan.run_id, payload)
    try:
        move(repository, plan.target, plan.commit, message=_reflog_message(plan, plan.merged))
    except EnvironmentProblem:  # refused: nothing has changed
        journal.withdraw_operation(operation)
        raise
    journal.finish_operation(operation)
    return _published(repository, journal, plan, outcome, operation, payload, workshop)


def _as_planned(plan: MergePlan, branch: str | None = None) -> MergeOutcome:
    return MergeOutcome(
        commit=plan.commit,
        merged=plan.merged,
        left_out=plan.left_out,
        files=plan.files,
        fast_forward=plan.fast_forward,
        branch=branch,
    )


def _payload(plan: MergePlan) -> dict[str, Any]:
    return {
        "branch": plan.target.branch,
        "old": plan.target.tip,
        "new": None,
        "workers": list(plan.merged),
        "method": plan.method.value,
        "makes_target": plan.makes_target,
    }


def _reflog_message(plan: MergePlan, merged: tuple[int, ...]) -> str:
    return f"architect {plan.method}: run {plan.run_id} {show_workers(merged)}"


def _execute_combined(
    repository: Repository, journal: Journal, plan: MergePlan, workshop: IntegrationContext | None
) -> MergeOutcome:
    """Execute a plan that needs an integration branch. The run is locked meanwhile, so nobody resumes it or cleans it
    up.
    """
    lock = journal.hold(plan.run_id)
    if lock is None:
        raise EnvironmentProblem(f"run {plan.run_id} is in use by another process", hint="try again")
    try:
        clear_stale(repository, journal, plan.run_id)
        # Without a workshop nothing is checked out.
        settings = WorktreeSettings() if workshop is None else workshop.settings
        branch, path = free_place(repository, plan.run_id, settings)
        payload = _payload(plan) | {"integration": branch, "place": str(path), "pull_request": plan.opens_pull_request}
        operation = journal.begin_operation("merge", plan.run_id, payload)
        try:
            outcome = _combined(repository, plan, branch, path, workshop)
        except BaseException:
            _discard(repository, journal, operation)
            raise
        if outcome.commit is None:
            _discard(repository, journal, operation)
            return outcome
        payload |= {"new": outcome.commit, "workers": list(outcome.merged), "left_out": to_plain(outcome.left_out)}
        journal.amend_operation(operation, payload)
        if not plan.opens_pull_request:
            _move_target(repository, plan, outcome)
        journal.finish_operation(operation)
    finally:
        lock.release()
    return _published(repository, journal, plan, outcome, operation, payload, workshop)


def _combined(
    repository: Repository, plan: MergePlan, branch: str, path: Path, workshop: IntegrationContext | None
) -> MergeOutcome:
    """Make the integration branch at the combined results. No other branch moves."""
    if not plan.needs_worktree:
        assert plan.commit is not None
        restore_branch(repository, branch=branch, commit=plan.commit, run_id=plan.run_id)
        return _as_planned(plan, branch)
    if workshop is None:
        raise InternalError("checks or an agent are to run, and there is nothing to run them with")
    order = IntegrationPlan(
        run_id=plan.run_id,
        target=plan.target.branch,
        base=plan.target.tip,
        steps=plan.steps,
        method=plan.method,
        branch=branch,
        path=path,
        specs=plan.specs,
    )
    done = combine_in_worktree(repository, order, workshop)
    not_asked = tuple(left for left in plan.left_out if left.reason == "not_successful")
    left_out = (*not_asked, *done.left_out)
    if not done.merged:
        return MergeOutcome(
            commit=None,
            merged=(),
            left_out=left_out,
            files=(),
            fast_forward=False,
            warnings=done.warnings,
            cost=done.cost,
        )
    return _outcome(repository, plan, done, left_out, branch, workshop)


def _outcome(
    repository: Repository,
    plan: MergePlan,
    done: Combination,
    left_out: tuple[LeftOut, ...],
    branch: str,
    workshop: IntegrationContext,
) -> MergeOutcome:
    ref, message = f"refs/heads/{branch}", f"architect: combined run {plan.run_id} {show_workers(done.merged)}"
    store, warnings = repository.store, list(done.warnings)
    tip = store.resolve(ref)
    if tip is None:
        restore_branch(repository, branch=branch, commit=done.commit, run_id=plan.run_id)
    else:
        if tip != plan.target.tip:  # something that ran in the worktree moved it
            kept = keep(repository, tip, plan.run_id, INTEGRATION_ID)
            warnings.append(f"{branch} was moved to {tip[:12]} by what ran there; that is kept as {kept}")
            workshop.warn(warnings[-1])
        store.run("update-ref", "--no-deref", "-m", message, ref, done.commit, tip)
    return MergeOutcome(
        commit=done.commit,
        merged=done.merged,
        left_out=left_out,
        warnings=tuple(warnings),
        branch=branch,
        files=changed_files(repository.store, plan.target.tip, done.commit),
        fast_forward=done.commit in {source.commit for source in plan.steps},
        cost=done.cost,
    )


def _move_target(repository: Repository, plan: MergePlan, outcome: MergeOutcome) -> None:
    assert outcome.commit is not None
    try:
        move(repository, plan.target, outcome.commit, message=_reflog_message(plan, outcome.merged))
    except EnvironmentProblem as error:
        raise EnvironmentProblem(
            f"{error.message}; {show_workers(outcome.merged)}: combined on {outcome.branch}",
            hint=(f"{error.hint}; then " if error.hint else "") + f"git merge {outcome.branch}, or architect undo",
        ) from error


def clear_stale(repository: Repository, journal: Journal, run_id: str) -> None:
    """Remove what earlier merges of the run left that were killed before the target moved. The caller holds the run's
    lock.

    Raises:
        ArchitectParallelError: Something of it cannot be kept or removed.
    """
    for operation in integrations(journal, run_id):
        if not operation.finished and operation.payload.get("new") is None:
            left = integration_leftover(repository, journal, operation)
            if left is not None:
                remove_leftover(repository, journal, left)
            journal.mark_undone(operation.id)


def _discard(repository: Repository, journal: Journal, operation_id: int) -> None:
    """Remove an integration from which nothing lands. The next cleanup removes what cannot be removed now."""
    operation = next(candidate for candidate in journal.operations() if candidate.id == operation_id)
    try:
        left = integration_leftover(repository, journal, operation)
        if left is not None and (left.path is not None or left.tip != operation.payload["old"]):
            remove_leftover(repository, journal, left)
            journal.mark_undone(operation_id)
        elif left is None or left.tip is None or delete_branch(repository, left.spec.branch, left.tip) is None:
            journal.withdraw_operation(operation_id)
    except ArchitectParallelError:
        return


def _published(
    repository: Repository,
    journal: Journal,
    plan: MergePlan,
    outcome: MergeOutcome,
    operation: int,
    payload: dict[str, Any],
    workshop: IntegrationContext | None,
) -> MergeOutcome:
    """Add the result of publishing to the outcome."""
    publication, commit = plan.publication, outcome.commit
    if publication is None or commit is None:
        return outcome
    environ = os.environ if workshop is None else workshop.environ
    if publication.pull_request and outcome.branch is not None:
        title, body = pull_request.words(
            journal.result(plan.run_id),
            outcome.merged,
            outcome.left_out,
            is_imported=journal.plan(plan.run_id).imported,
        )
        done = open_pull_request(
            repository, publication, commit, outcome.branch, title=title, body=body, environ=environ
        )
    else:
        done = push(repository, publication, commit, environ)
    if done.pushed is not None:
        journal.amend_operation(operation, payload | {"pushed": done.pushed})
    return replace(outcome, published=done)
