"""Undo the last cleanup or merge: plan, show, execute.

Undo only adds. Branches and worktrees are restored create-only, where nothing took their place. A merge's target moves
back by compare-and-swap, only from a clean checkout. If one part cannot be undone, nothing is: everything is inspected
first. What an undo removes itself (the commit of a merge, the branch that was made for it) is saved first.

An operation whose program was killed is undone as far as it had come.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from architect_parallel.errors import EnvironmentProblem, NothingToDo
from architect_parallel.journal import Journal, Operation
from architect_parallel.landing.inventory import Leftover, integration_leftover
from architect_parallel.landing.removal import Removal, remove_leftover
from architect_parallel.landing.strategies import tree_of
from architect_parallel.landing.target_branch import Target, find_target, move, require_movable, require_unoccupied
from architect_parallel.repository.checkouts import checkout_of
from architect_parallel.repository.registry import admin_dir_of, mismatch
from architect_parallel.snapshots.keep_refs import keep
from architect_parallel.snapshots.put_aside import copy_back
from architect_parallel.system.git import Git, Repository
from architect_parallel.worktrees.create import owns_branch, reopen_worktree, restore_branch
from architect_parallel.worktrees.remove import delete_branch


@dataclass(frozen=True, slots=True, kw_only=True)
class UndoPlan:
    """The effects of undoing one operation. Nothing has been done."""

    operation: Operation
    target: Target | None = None
    """Of a merge: the branch that moves back or is removed. `None` means that it already has, or was never to move."""
    back_to: str | None = None
    """Commit that the target returns to. `None` means that it stays, or is removed."""
    target_goes: bool = False
    """The merge made the target: there was no such branch before. It is removed."""
    restore: tuple[Removal, ...] = ()
    """Of a cleanup: what is restored."""
    half_switched: str | None = None
    """Of a merge killed between files and branch: the commit whose content the checkout may have."""
    integration: Leftover | None = None
    """Of a merge of several: its branch, and its worktree after a kill. They are saved and removed."""
    notes: tuple[str, ...] = ()
    """Effects that are not undone, in words."""

    @property
    def lines(self) -> list[str]:
        """Describe what the undo does, one line per part."""
        lines = []
        if self.target is not None and self.back_to is not None:
            lines.append(f"{self.target.branch} returns from {self.target.tip[:12]} to {self.back_to[:12]}")
        if self.target is not None and self.target_goes:
            lines.append(f"branch {self.target.branch} is removed: the merge made it; its commits are kept")
        if self.integration is not None:
            lines.append(f"branch {self.integration.spec.branch} is removed; its commits are kept")
        lines += self.notes
        for removal in self.restore:
            if removal.tip is not None:
                lines.append(f"branch {removal.branch} returns at {removal.tip[:12]}")
            if removal.worktree_path is not None:
                state = " with its uncommitted state" if removal.content or removal.aside else ""
                lines.append(f"worktree {removal.worktree_path} returns{state}")
        return lines or ["nothing of it is left to take back"]


def plan_undo(repository: Repository, journal: Journal, run_id: str | None = None) -> UndoPlan:
    """Plan the undo of the newest operation that is not undone.

    Args:
        run_id: Consider only operations on this run alone. `None` means all operations.

    Raises:
        NothingToDo: There is none.
        EnvironmentProblem: It cannot be undone as things are: the target has moved on or is dirty, or something else
            took the place of a branch or worktree.
    """
    operation = next((candidate for candidate in journal.operations(run_id) if not candidate.undone), None)
    if operation is None:
        raise NothingToDo("there is nothing to undo", hint="architect undo --list")
    if operation.kind == "merge":
        return _plan_merge(repository, journal, operation)
    return _plan_cleanup(repository, operation)


def execute(repository: Repository, journal: Journal, plan: UndoPlan) -> None:
    """Execute the plan and mark the operation as undone.

    Raises:
        EnvironmentProblem: Something has changed since the plan. A merge is then unchanged. Of a cleanup some worktrees
            may be restored already, and another undo restores the rest.
    """
    if plan.target is not None and (plan.back_to is not None or plan.target_goes):
        label = f"undone-merge-{plan.operation.id}"
        workers = plan.operation.payload.get("workers") or [0]
        keep(repository, plan.target.tip, plan.operation.run_id or "none", int(workers[0]), label)
    if plan.target is not None and plan.target_goes:
        if (why := delete_branch(repository, plan.target.branch, plan.target.tip)) is not None:
            raise EnvironmentProblem(f"branch {plan.target.branch} stays: {why}", hint="try again")
    elif plan.target is not None and plan.back_to is not None:
        move(repository, plan.target, plan.back_to, message=f"architect undo: {plan.operation.kind}")
    if plan.target is not None and plan.half_switched is not None:
        _take_back_half(plan.target, plan.half_switched)
    if plan.integration is not None:
        remove_leftover(repository, journal, plan.integration)
    for removal in plan.restore:
        _restore(repository, removal)
    journal.mark_undone(plan.operation.id)


def _plan_merge(repository: Repository, journal: Journal, operation: Operation) -> UndoPlan:
    integration, notes = _integration(repository, journal, operation)
    plan = UndoPlan(operation=operation, integration=integration, notes=notes)
    payload = operation.payload
    branch, old, new = (str(payload[key]) for key in ("branch", "old", "new"))
    if payload.get("makes_target"):
        return _plan_goes(repository, plan, branch, {old, new})
    if payload.get("new") is None or payload.get("pull_request"):
        return plan  # killed before the target's turn, or the target was never to move
    if repository.store.resolve(f"refs/heads/{branch}") is None:
        raise EnvironmentProblem(f"branch {branch} is gone: the merge cannot be undone", hint="git branch --list")
    target = find_target(repository, branch)
    if target.tip == old and not operation.finished:
        require_unoccupied(repository, target)
        return dataclasses.replace(plan, target=target, half_switched=new)
    if target.tip != new:
        hint = f"git revert -m 1 {new[:12]}" if len(_parents(repository, new)) > 1 else f"git log {old[:12]}..{branch}"
        raise EnvironmentProblem(f"{branch} has moved on since the merge", hint=hint)
    require_movable(repository, target, old)
    return dataclasses.replace(plan, target=target, back_to=old)


def _plan_goes(repository: Repository, plan: UndoPlan, branch: str, made: set[str]) -> UndoPlan:
    """Remove the target that the merge made, unless somebody has used it."""
    if repository.store.resolve(f"refs/heads/{branch}") is None:
        return plan
    target = find_target(repository, branch)
    if target.tip not in made:
        raise EnvironmentProblem(f"{branch} has moved on since the merge", hint=f"git log {branch}")
    if (checkout := checkout_of(repository, branch)) is not None:
        raise EnvironmentProblem(f"branch {branch} {checkout.words}", hint=f"{checkout.hint}, then again")
    return dataclasses.replace(plan, target=target, target_goes=True)


def _integration(
    repository: Repository, journal: Journal, operation: Operation
) -> tuple[Leftover | None, tuple[str, ...]]:
    """The parts of the integration that are removed, and those that are not undone."""
    payload = operation.payload
    pushed = payload.get("pushed")
    notes = (f"what was pushed to {pushed} stays there",) if pushed else ()
    if not payload.get("integration"):
        return None, notes
    left = integration_leftover(repository, journal, operation)
    if left is None:
        return None, notes
    made = {payload.get("new"), payload["old"]}
    if left.tip is not None and left.tip not in made and operation.finished:
        return None, (*notes, f"branch {left.spec.branch} stays: it has moved to {left.tip[:12]}")
    if left.worktree_stays is not None:
        raise EnvironmentProblem(f"worktree {left.path} stays: {left.worktree_stays}", hint=left.hint)
    return left, notes


def _take_back_half(target: Target, new: str) -> None:
    """Take back a merge killed between files and branch, which left exactly its own content staged.

    Anything else belongs to the user.
    """
    if target.checkout is None:
        return
    old = target.tip
    git = Git(cwd=target.checkout)
    clean = not git.run("diff-files", "-z", "--name-only", "--ignore-submodules=dirty").stdout
    index = git.run("write-tree", check=False)
    if clean and index.code == 0 and index.text == tree_of(git, new) != tree_of(git, old):
        git.run("read-tree", "-m", "-u", new, old)


def _parents(repository: Repository, commit: str) -> list[str]:
    return repository.store.text("rev-list", "--parents", "--max-count=1", commit).split()[1:]


def _plan_cleanup(repository: Repository, operation: Operation) -> UndoPlan:
    removals = [_removal(entry) for entry in operation.payload["removals"]]
    missing = [left for removal in removals if (left := _missing(repository, removal)) is not None]
    for item in missing:
        for commit in (item.tip, item.head, item.content):
            if commit is not None and repository.store.resolve(f"{commit}^{{commit}}") is None:
                raise EnvironmentProblem(f"commit {commit} of {item.branch} is gone", hint="git fsck --lost-found")
    return UndoPlan(operation=operation, restore=tuple(missing))


def _removal(plain: Mapping[str, Any]) -> Removal:
    known = {spec.name for spec in dataclasses.fields(Removal)}
    return Removal(**{key: value for key, value in plain.items() if key in known})


def _missing(repository: Repository, removal: Removal) -> Removal | None:
    """The part of it that is missing. `None` means that nothing is missing.

    Raises:
        EnvironmentProblem: Something else is in its place.
    """
    ref = repository.store.resolve(f"refs/heads/{removal.branch}")
    if ref is not None and not owns_branch(repository, removal.branch, removal.run_id):
        raise EnvironmentProblem(
            f"there is another branch {removal.branch} now", hint=f"git branch -m {removal.branch} NEW, then again"
        )
    path = Path(removal.worktree_path) if removal.worktree_path is not None else None
    if path is not None and os.path.lexists(path):
        if (problem := mismatch(repository, path)) is not None:
            raise EnvironmentProblem(f"{path} is in use by something else: {problem.reason}", hint=problem.hint)
        if admin_dir_of(repository, path) is None or ref is None:
            raise EnvironmentProblem(f"{path} is in use by something else", hint="move it away, then again")
        path = None
    if path is not None and ref is None and removal.tip is None:
        raise EnvironmentProblem(
            f"branch {removal.branch} of {path} is gone", hint=f"git branch {removal.branch} {removal.head}"
        )
    tip = removal.tip if ref is None else None
    if path is None and tip is None:
        return None
    return dataclasses.replace(removal, worktree_path=str(path) if path else None, tip=tip)


def _restore(repository: Repository, removal: Removal) -> None:
    if removal.worktree_path is not None:
        _restore_worktree(repository, removal, Path(removal.worktree_path))
    elif removal.tip is not None:
        restore_branch(repository, branch=removal.branch, commit=removal.tip, run_id=removal.run_id)
    if removal.tip is not None:
        for key, value in removal.settings:
            repository.store.run("config", "--local", "--add", key, value)


def _restore_worktree(repository: Repository, removal: Removal, path: Path) -> None:
    tip = removal.tip or repository.store.resolve(f"refs/heads/{removal.branch}")
    if tip is None:
        raise EnvironmentProblem(f"branch {removal.branch} is gone", hint="architect undo")
    reopen_worktree(repository, path=path, branch=removal.branch, base_commit=tip, run_id=removal.run_id)
    git = Git(cwd=path)
    if removal.on_branch != removal.branch:
        on = f"refs/heads/{removal.on_branch}"
        same = removal.on_branch is not None and repository.store.resolve(on) == removal.head
        _switch(git, removal.on_branch if same and removal.on_branch else None, removal.head or tip)
    if removal.content is not None and tree_of(git, removal.content) != tree_of(git, "HEAD"):
        # Files first, by a switch that writes only what differs; then the index as it was.
        git.run("read-tree", "-m", "-u", "HEAD", removal.content)
    if removal.content is not None:
        git.run("read-tree", removal.index_tree or "HEAD")
        git.run("update-index", "-q", "--refresh", check=False)
    if removal.aside is not None:
        copy_back(Path(removal.aside), removal.left_out, path)


def _switch(git: Git, branch: str | None, commit: str) -> None:
    if branch is None or git.run("checkout", "--quiet", branch, "--", check=False).code != 0:
        git.run("checkout", "--quiet", "--detach", commit, "--")
