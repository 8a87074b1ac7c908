"""Leftovers of ended runs, and the parts that may be removed. Read-only.

Invariant: only what is proven to belong to a run is named here. A worktree is proven by the owner file of its
registration, a branch by the run's record (`repository.ownership`). For runs of earlier versions whose reflog has
expired, a branch is proven by the commit that the journal names. Content is read through a private git directory, with
the ignore rules from before the agent ran where they were recorded. So an agent can neither run anything here nor hide
its files.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from architect_parallel.domain import AgentProfile, Isolation, Role, RunResult, WorkerResult, WorkerSpec
from architect_parallel.errors import ArchitectParallelError
from architect_parallel.events import AgentExited, AgentStarted, Recorded
from architect_parallel.journal import Journal, Operation
from architect_parallel.journal.replay import replay
from architect_parallel.landing.merged_check import is_merged
from architect_parallel.landing.worktree_content import INTEGRATION_ID, Content, read_tree
from architect_parallel.repository.heads import ending_of, operation_in
from architect_parallel.repository.ownership import DEFAULT_BRANCHES, branches_of_runs
from architect_parallel.repository.registry import admin_dir_of, counterpart, marked_run, partial_worktrees
from architect_parallel.snapshots.hidden_files import Hidden
from architect_parallel.supervision.process_table import runs_since
from architect_parallel.system.files import names
from architect_parallel.system.git import Repository
from architect_parallel.text.quantities import summarize
from architect_parallel.worktrees import worker_repository
from architect_parallel.worktrees.create import owns_branch
from architect_parallel.worktrees.remove import WorktreeState, inspect

_MOST_TARGETS = 50
"""Branches, newest first, that a branch is compared with when none contains it (for squash merges)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftover:
    """Everything that one worker of an ended run left, as it was when it was read."""

    run_id: str
    spec: WorkerSpec
    path: Path | None
    """Its worktree. `None` means that it has none any more."""
    debris: bool
    """The worktree is incomplete: no agent ever ran in it."""
    head: str | None
    """Commit that the worktree is on."""
    on_branch: str | None
    """Short name of the branch that the worktree is on. `None` means a detached HEAD."""
    content: Content | None
    """Content of the worktree. `None` means that it was not read."""
    dirty: bool
    """Its content differs from `head`."""
    tip: str | None
    """Commit of its branch. `None` means that it has no branch any more."""
    worktree_stays: str | None
    """The reason why the worktree may not be removed without force. `None` means that it may."""
    branch_stays: str | None
    """The reason why the branch may not be removed without force. `None` means that it may."""
    forcible: bool
    """Force allows the worktree to be removed."""
    hint: str | None = None
    """A command to type."""

    @property
    def words(self) -> str:
        """The worker and its run."""
        return f"worker {self.spec.worker_id} of {self.run_id}"

    @property
    def tree(self) -> str | None:
        return self.content.tree if self.content is not None else None

    @property
    def left_out(self) -> tuple[str, ...]:
        return self.content.left_out if self.content is not None else ()


def leftovers(
    repository: Repository, journal: Journal, run_id: str, show: Callable[[str], None] = lambda line: None
) -> list[Leftover]:
    """Leftovers of the workers of an ended run, in order of their ids. Workers that left nothing are not listed.

    Args:
        show: Takes a line of progress before each worker.
    """
    recorded = journal.recorded(run_id, files=False)
    result = replay(recorded, live=False)
    done = {item.worker_id: item for item in result.results}
    # A worker without isolation worked in a directory of the user's: nothing there is ours.
    isolated = [spec for spec in result.planned if spec.isolation is not Isolation.NONE]
    isolated += [integration_spec(integration) for integration in integrations(journal, run_id)]
    entries = []
    for spec in isolated:
        show(f"looking at worker {spec.worker_id} of {run_id}")
        entries.append(_leftover(repository, journal, result, spec, done.get(spec.worker_id)))
    running = still_running(recorded)
    return [
        replace(entry, worktree_stays="its agent is still being stopped", forcible=False, hint="try again")
        if entry.spec.worker_id in running
        else entry
        for entry in entries
        if entry is not None
    ]


def integrations(journal: Journal, run_id: str) -> list[Operation]:
    """The merges of a run that made an integration branch, newest first, one per branch.

    Undone merges are included: the undo of a cleanup can restore what a killed merge left.
    """
    operations: dict[str, Operation] = {}
    for operation in journal.operations(run_id):
        if operation.kind == "merge" and operation.payload.get("integration"):
            operations.setdefault(str(operation.payload["integration"]), operation)
    return list(operations.values())


def integration_spec(operation: Operation) -> WorkerSpec:
    """The integration branch and worktree of a merge, in the form of a worker with number 0."""
    payload = operation.payload
    return WorkerSpec(
        run_id=operation.run_id or "",
        worker_id=INTEGRATION_ID,
        index=0,
        number=INTEGRATION_ID,
        name="integration",
        prompt="",
        backend="",
        model=None,
        agent=AgentProfile(name=""),
        branch=str(payload["integration"]),
        worktree_path=str(payload["place"]),
        base_commit=str(payload["old"]),
        role=Role.INTEGRATION,
    )


def integration_leftover(repository: Repository, journal: Journal, operation: Operation) -> Leftover | None:
    """Leftovers of the integration of a merge. `None` means nothing."""
    result = replay(journal.recorded(operation.run_id or "", files=False), live=False)
    return _leftover(repository, journal, result, integration_spec(operation), None)


def still_running(recorded: Iterable[Recorded]) -> set[int]:
    """Workers of a dead launcher whose supervisor still runs. It needs a grace period to end the agent's processes."""
    started: dict[int, tuple[int, datetime]] = {}
    for event in recorded:
        if event.worker_id is None:
            continue
        if isinstance(event.event, AgentStarted):
            started[event.worker_id] = (event.event.supervisor_pid, event.time)
        elif isinstance(event.event, AgentExited):
            started.pop(event.worker_id, None)
    return {worker_id for worker_id, (pid, time) in started.items() if pid > 0 and runs_since(pid, time)}


def _leftover(
    repository: Repository, journal: Journal, run: RunResult, spec: WorkerSpec, result: WorkerResult | None
) -> Leftover | None:
    path = Path(spec.worktree_path)
    tip = _owned_tip(repository, run.run_id, spec, result)
    admin = admin_dir_of(repository, path)
    registration = admin or counterpart(repository, path)
    marked = marked_run(registration) if registration else None
    there = os.path.lexists(path) or admin is not None or bool(partial_worktrees(repository, path))
    mine = there and (marked == run.run_id or (marked is None and tip is not None))
    if not mine and tip is None:
        return None
    state = inspect(repository, path, spec.branch, run.run_id, content=False) if mine else None
    debris = state is not None and state.ours and _is_debris(state)
    content: Content | None = None
    unread = f"it cannot be read: {state.unreadable}" if state is not None and state.unreadable else None
    if state is not None and state.exists and state.ours and state.admin_dir is not None and not debris:
        try:
            content = read_tree(repository, journal, run.run_id, spec, path, state.admin_dir)
            state = replace(state, dirty=(*content.changed, *content.left_out))
        except (ArchitectParallelError, OSError) as error:
            unread = f"it cannot be read: {error}"
    head_tree = repository.store.resolve(f"{state.head}^{{tree}}") if state and state.head else None
    dirty = content is not None and (content.tree != head_tree or bool(content.left_out))
    stays, forcible, hint = None, True, None
    if state is not None:
        hidden = content.hidden if content is not None else Hidden()
        stays, forcible, hint = _worktree_stays(repository, state, debris, dirty, unread, hidden)
    if mine and worker_repository.of_worker(repository, journal.run_dir(run.run_id), spec).exists:
        stays, forcible, hint = "its agent's commits are not taken over yet", False, "architect parallel-cleanup"
    if spec.role is Role.INTEGRATION and forcible:
        stays = None  # nobody's work is in it but what is kept; it should be gone already
    return Leftover(
        run_id=run.run_id,
        spec=spec,
        path=path if mine else None,
        debris=debris,
        content=content,
        dirty=dirty,
        tip=tip,
        head=state.head if state else None,
        on_branch=state.branch if state else None,
        worktree_stays=stays,
        branch_stays=_branch_stays(repository, spec, tip) if tip else None,
        forcible=forcible,
        hint=hint,
    )


def _is_debris(state: WorktreeState) -> bool:
    """Tell whether the worktree is incomplete: no index, no tree, or nothing but `.git` in the tree."""
    if state.admin_dir is None:
        return not state.exists or set(names(state.path)) <= {".git"}
    return not state.exists or state.head is None or not (state.admin_dir / "index").exists()


def _worktree_stays(
    repository: Repository, state: WorktreeState, debris: bool, dirty: bool, unread: str | None, hidden: Hidden
) -> tuple[str | None, bool, str | None]:
    """Return why the worktree stays (`None` means that it does not), whether force helps, and a hint."""
    path = state.path
    if state.mismatch is not None:
        return state.mismatch.reason, False, state.mismatch.hint
    if not state.ours:
        return "something else is in its place", False, f"look at {path}"
    if state.locked is not None:
        return f"it is locked: {state.locked or 'no reason given'}", False, f"git worktree unlock {path}"
    if repository.checkout == path:
        return "you are in it", False, f"cd {repository.root}"
    if debris:
        return None, True, None
    if state.admin_dir is None:
        return "git does not know it as a worktree any more", False, f"look at {path}"
    if unread is not None:
        return unread, False, f"look at {path}"
    if state.nested:
        return f"a repository of its own is in it: {state.nested[0]}", True, None
    if (operation := operation_in(state.admin_dir)) is not None:
        return f"it has a {operation} in progress", True, ending_of(operation, path)
    if dirty or state.submodule_changes:
        some = summarize([*state.dirty, *state.submodule_changes], most=3)
        return f"it has uncommitted changes: {some}", True, None
    if hidden.directories:
        return f"ignore rules of its agent hide {hidden.words}", True, f"look at {path}, or --force (they are not kept)"
    if state.unsaved:
        push = f"git -C {path / state.unsaved[0]} push, or --force (they are kept)"
        return f"commits of the submodule {state.unsaved[0]} are nowhere else", True, push
    if state.branch is None and not _on_a_branch(repository, state.head or ""):
        return "its HEAD is on no branch", True, f"git -C {path} switch -c NAME"
    return None, True, None


def _owned_tip(repository: Repository, run_id: str, spec: WorkerSpec, result: WorkerResult | None) -> str | None:
    """The commit of the run's own branch. `None` means that the branch is gone or belongs to somebody else now."""
    tip = repository.store.resolve(f"refs/heads/{spec.branch}")
    if tip is None or owns_branch(repository, spec.branch, run_id, spec.base_commit):
        return tip
    # A reflog that has expired proves nothing, but a branch that stands where the run left it does.
    expired = not repository.store.text("reflog", "show", "--format=%H", f"refs/heads/{spec.branch}", "--")
    left_at = result.diff.head if result and result.diff else None
    return tip if expired and tip == left_at else None


def _branch_stays(repository: Repository, spec: WorkerSpec, tip: str) -> str | None:
    if tip == spec.base_commit or _on_a_branch(repository, tip):
        return None
    for target in _targets(repository, spec.base_commit):
        if is_merged(repository, tip=tip, target=target, base=spec.base_commit):
            return None
    return "it is not merged"


def _on_a_branch(repository: Repository, commit: str) -> bool:
    """Tell whether the user's HEAD, or a branch that is not a worker's, contains the commit."""
    refs = repository.store.text("for-each-ref", f"--contains={commit}", "--format=%(refname)", "refs/heads")
    if _of_users(repository, refs.splitlines()):
        return True
    head = _users_head(repository)
    return head is not None and repository.store.ok("merge-base", "--is-ancestor", commit, head)


def _targets(repository: Repository, base: str) -> list[str]:
    """Commits that may hold a branch's work in another form: the user's HEAD and branches, newest first."""
    listed = repository.store.text(
        "for-each-ref", f"--contains={base}", "--sort=-committerdate", "--format=%(objectname) %(refname)", "refs/heads"
    )
    commits = {ref: commit for commit, ref in (line.split(" ", 1) for line in listed.splitlines())}
    tips = [commits[ref] for ref in _of_users(repository, list(commits))]
    head = _users_head(repository)
    return [item for item in dict.fromkeys([*([head] if head else []), *tips]) if item != base][:_MOST_TARGETS]


def _users_head(repository: Repository) -> str | None:
    """The commit of the user's HEAD, unless that is a worker's branch."""
    branch = repository.git.run("symbolic-ref", "--quiet", "HEAD", check=False).text
    if branch and not _of_users(repository, [branch]):
        return None
    return repository.git.resolve("HEAD^{commit}")


def _of_users(repository: Repository, refs: list[str]) -> list[str]:
    """Those of the branches that no run made. A commit on others alone has not reached the place its user wants."""
    candidates = [ref for ref in refs if not ref.startswith(DEFAULT_BRANCHES)]
    of_runs = branches_of_runs(repository) if candidates else frozenset()
    return [ref for ref in candidates if ref not in of_runs]
