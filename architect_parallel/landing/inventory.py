"""What ended runs have left behind, and which of it may go: looked at, not touched.

The invariant: only what is proven to be a run's own is named here at all. A worktree is proven by its registration's
mark, a branch by what the run recorded of it (`worktrees.ownership`), or, in runs of earlier versions whose reflog has
expired, by standing exactly where the journal says the run left it. Content is read through a private git directory,
with the ignore rules of before the agent ran where they were recorded, so that an agent can neither run anything here
nor hide its files.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from architect_parallel.domain import AgentProfile, Isolation, Role, RunResult, WorkerResult, WorkerSpec
from architect_parallel.errors import ArchitectParallelError
from architect_parallel.events import AgentExited, AgentStarted, Recorded
from architect_parallel.journal import Journal, Operation
from architect_parallel.journal.replay import replay
from architect_parallel.landing.merged_check import is_merged
from architect_parallel.repository import filters
from architect_parallel.repository.heads import ending_of, head_branch, operation_in
from architect_parallel.repository.registry import admin_dir_of, counterpart, marked_run, names, partial_worktrees
from architect_parallel.snapshots.hidden_files import Hidden, commit_hidden, find_hidden
from architect_parallel.snapshots.keep_refs import keep
from architect_parallel.snapshots.private_git import PrivateGit
from architect_parallel.supervision.process_table import runs_since
from architect_parallel.system.git import Repository, make_state_dir
from architect_parallel.text.quantities import summarize
from architect_parallel.worktrees import worker_repository
from architect_parallel.worktrees.create import BRANCH_PREFIX, MERGED_PREFIX, owns_branch
from architect_parallel.worktrees.remove import WorktreeState, inspect

_MOST_TARGETS = 50
"""So many branches, newest first, are compared with a branch that no branch contains (for squash merges)."""


_OF_RUNS = (f"refs/heads/{BRANCH_PREFIX}", f"refs/heads/{MERGED_PREFIX}")
"""What stands only on such branches is not where its user wants it yet."""
INTEGRATION_ID = 0
"""The number of a merge's integration branch and worktree in place of a worker id; names of keep refs contain it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """The content of a worktree, ignored files not included."""

    tree: str
    """As a tree in the object store, untracked files included."""
    changed: tuple[str, ...] = ()
    """Paths that differ from the commit the worktree is on."""
    left_out: tuple[str, ...] = ()
    """Files whose filter could not be run; they are not in the tree."""
    hidden: Hidden = field(default_factory=Hidden)
    """Files that only ignore rules of the agent's hide; they are not in the tree."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftover:
    """What one worker of an ended run left. All but the names is as it was when it was looked at."""

    run_id: str
    spec: WorkerSpec
    path: Path | None
    """Its worktree; `None`: it has none any more."""
    debris: bool
    """The worktree is half-made: no agent ever ran in it."""
    head: str | None
    """Commit the worktree is on."""
    on_branch: str | None
    """Short name of the branch the worktree is on; `None`: detached."""
    content: Content | None
    """What is in the worktree; `None`: not read."""
    dirty: bool
    """Its content is not that of `head`."""
    tip: str | None
    """Where its branch stands; `None`: it has none any more."""
    worktree_stays: str | None
    """Why the worktree may not go without force, in words; `None`: it may."""
    branch_stays: str | None
    """Why the branch may not go without force; `None`: it may."""
    forcible: bool
    """Whether force changes that of the worktree."""
    hint: str | None = None
    """What to type about it."""

    @property
    def tree(self) -> str | None:
        return self.content.tree if self.content is not None else None

    @property
    def left_out(self) -> tuple[str, ...]:
        return self.content.left_out if self.content is not None else ()


def leftovers(repository: Repository, journal: Journal, run_id: str) -> list[Leftover]:
    """What the workers of an ended run left, in order of their ids; nothing for those that left nothing."""
    recorded = journal.recorded(run_id, files=False)
    result = replay(recorded, live=False)
    done = {each.worker_id: each for each in result.results}
    # A worker without isolation worked in a directory of the user's: nothing there is ours.
    isolated = [spec for spec in result.planned if spec.isolation is not Isolation.NONE]
    isolated += [integration_spec(each) for each in integrations(journal, run_id)]
    found = (_leftover(repository, journal, result, spec, done.get(spec.worker_id)) for spec in isolated)
    running = still_running(recorded)
    return [
        replace(each, worktree_stays="its agent is still being stopped", forcible=False, hint="try again")
        if each.spec.worker_id in running
        else each
        for each in found
        if each is not None
    ]


def integrations(journal: Journal, run_id: str) -> list[Operation]:
    """The merges of a run that made an integration branch, newest first, one per branch. The undone ones as well: the
    undo of a cleanup can bring back what a killed merge left."""
    found: dict[str, Operation] = {}
    for each in journal.operations(run_id):
        if each.kind == "merge" and each.payload.get("integration"):
            found.setdefault(str(each.payload["integration"]), each)
    return list(found.values())


def integration_spec(operation: Operation) -> WorkerSpec:
    """The integration branch and worktree of a merge as if they were a worker's, number 0."""
    payload = operation.payload
    return WorkerSpec(
        run_id=operation.run_id or "", worker_id=INTEGRATION_ID, index=0, number=INTEGRATION_ID, name="integration",
        prompt="", backend="", model=None, agent=AgentProfile(name=""), branch=str(payload["integration"]),
        worktree_path=str(payload["place"]), base_commit=str(payload["old"]), role=Role.INTEGRATION,
    )  # fmt: skip


def integration_leftover(repository: Repository, journal: Journal, operation: Operation) -> Leftover | None:
    """What a merge's integration left; `None`: nothing."""
    result = replay(journal.recorded(operation.run_id or "", files=False), live=False)
    return _leftover(repository, journal, result, integration_spec(operation), None)


def still_running(recorded: Iterable[Recorded]) -> set[int]:
    """Workers of a dead launcher whose supervisor lives: it needs a grace period to end the agent's processes."""
    started: dict[int, tuple[int, datetime]] = {}
    for each in recorded:
        if each.worker_id is None:
            continue
        if isinstance(each.event, AgentStarted):
            started[each.worker_id] = (each.event.supervisor_pid, each.time)
        elif isinstance(each.event, AgentExited):
            started.pop(each.worker_id, None)
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
        run_id=run.run_id, spec=spec, path=path if mine else None, debris=debris, content=content, dirty=dirty, tip=tip,
        head=state.head if state else None, on_branch=state.branch if state else None, worktree_stays=stays,
        branch_stays=_branch_stays(repository, spec, tip) if tip else None, forcible=forcible, hint=hint,
    )  # fmt: skip


def head_commit(repository: Repository, admin_dir: Path) -> str | None:
    """The commit a worktree is on; `None`: none."""
    on = head_branch(admin_dir)
    return repository.store.resolve(f"refs/heads/{on}" if on else f"worktrees/{admin_dir.name}/HEAD")


def read_tree(
    repository: Repository, journal: Journal, run_id: str, spec: WorkerSpec, path: Path, admin_dir: Path
) -> Content:
    """The worktree's content, as compared with the commit that the worktree is on.

    Its diff is from the commit that the worktree is on: of a large result that is committed, it is empty.

    Raises:
        ArchitectParallelError, OSError: It cannot be read.
    """
    with _private(repository, journal, run_id, spec, path, admin_dir) as private:
        head = head_commit(repository, admin_dir)
        tree = repository.store.resolve(f"{head}^{{tree}}") if head is not None else None
        hidden = Hidden() if spec.role is Role.INTEGRATION else find_hidden(private)
        if tree is not None and _is_unchanged(private, tree):
            return Content(tree=tree, hidden=hidden)
        found = private.write_tree(head)
        changed = tuple(change.path for change in found.diff.files)
        return Content(tree=found.tree, changed=changed, left_out=found.left_out, hidden=hidden)


def keep_hidden(
    repository: Repository, journal: Journal, left: Leftover, path: Path, admin_dir: Path, head: str
) -> list[str]:
    """Keep the files that only ignore rules of the agent's hide; the refs, an empty list where there are none.

    Raises:
        ArchitectParallelError: They cannot be kept.
    """
    hidden = left.content.hidden if left.content is not None else Hidden()
    if not hidden.files:
        return []
    with _private(repository, journal, left.run_id, left.spec, path, admin_dir) as private:
        commit = commit_hidden(private, hidden, head)
    return [keep(repository, commit, left.run_id, left.spec.number, "hidden")] if commit else []


def holds_filtered(
    repository: Repository,
    journal: Journal,
    run_id: str,
    spec: WorkerSpec,
    path: Path,
    admin_dir: Path,
    tree: str,
    *,
    known: tuple[str, ...],
) -> bool:
    """Whether `tree`, an index of the agent's, has a file with a filter that none of the `known` trees has so.

    Raises:
        ArchitectParallelError, OSError: It cannot be read.
    """
    with _private(repository, journal, run_id, spec, path, admin_dir) as private:
        if not private.facts.filters.drivers:
            return False
        other = [{change.path for change in private.diff(each, tree).files if change.status != "D"} for each in known]
        return bool(private.filtered().named(private.git, set.intersection(*other)))


def _is_unchanged(private: PrivateGit, tree: str) -> bool:
    """Whether the worktree, its index and what the last reading found are all as in `tree`: nothing is read then.

    Without certainty it is not: flags that hide changes, a submodule, an index in the middle of a conflict.
    """
    git = private.git
    listed = b"\0" + git.run("ls-files", "-s", "-v", "-z").stdout
    plain = listed.count(b"\0H 100") + listed.count(b"\0H 120")  # files and links without a flag
    if plain != listed.count(b"\0") - 1:
        return False
    with tempfile.TemporaryDirectory(prefix="index-", dir=private.directory.parent) as folder:
        own, last = Path(folder) / "own", Path(folder) / "last"
        shutil.copy2(private.admin_dir / "index", own)
        shutil.copy2(private.index, last)
        for index in (own, last):
            output = replace(git, index_file=index).run("write-tree", check=False)
            if output.code != 0 or output.text != tree:
                return False
        git = replace(git, index_file=last)
        if not git.ok("diff-files", "--quiet", "--ignore-submodules=all"):
            return False
        return not git.run("ls-files", "-z", "--others", "--exclude-standard", "--directory").stdout


@contextlib.contextmanager
def _private(
    repository: Repository, journal: Journal, run_id: str, spec: WorkerSpec, path: Path, admin_dir: Path
) -> Iterator[PrivateGit]:
    """The one made before the agent ran, if it is of this very worktree; else one of now."""
    place = journal.run_dir(run_id) / "git"
    recorded = [name for name in names(place) if name.startswith(f"worker-{spec.worker_id}-")]
    for name in sorted(recorded, key=lambda name: (len(name), name), reverse=True)[:1]:
        with contextlib.suppress(ArchitectParallelError):
            private = PrivateGit.open(place / name)
            if private.admin_dir == admin_dir and private.worktree == path:
                yield private
                return
    with tempfile.TemporaryDirectory(prefix="cleanup-", dir=make_state_dir(repository.state_dir)) as folder:
        known = filters.recorded(journal.run_dir(run_id))
        yield PrivateGit.create(repository, Path(folder) / "git", path, filters=known)


def _is_debris(state: WorktreeState) -> bool:
    """Half-made: registered without an index, or a registration without its tree, or a tree with nothing but `.git`."""
    if state.admin_dir is None:
        return not state.exists or set(names(state.path)) <= {".git"}
    return not state.exists or state.head is None or not (state.admin_dir / "index").exists()


def _worktree_stays(
    repository: Repository, state: WorktreeState, debris: bool, dirty: bool, unread: str | None, hidden: Hidden
) -> tuple[str | None, bool, str | None]:
    """(why it stays or `None`, whether force helps, hint)."""
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
    """Where the run's own branch stands; `None`: it is gone, or the name is somebody else's now."""
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
    """Whether a branch that is not a worker's, or the user's own HEAD, contains the commit."""
    refs = repository.store.text("for-each-ref", f"--contains={commit}", "--format=%(refname)", "refs/heads")
    if any(not ref.startswith(_OF_RUNS) for ref in refs.splitlines()):
        return True
    head = _users_head(repository)
    return head is not None and repository.store.ok("merge-base", "--is-ancestor", commit, head)


def _targets(repository: Repository, base: str) -> list[str]:
    """Commits that may hold a branch's work in another form: the user's HEAD and branches, newest first."""
    listed = repository.store.text(
        "for-each-ref", f"--contains={base}", "--sort=-committerdate", "--format=%(objectname) %(refname)", "refs/heads"
    )  # fmt: skip
    lines = (line.split(" ", 1) for line in listed.splitlines())
    tips = [commit for commit, ref in lines if not ref.startswith(_OF_RUNS)]
    head = _users_head(repository)
    return [each for each in dict.fromkeys([*([head] if head else []), *tips]) if each != base][:_MOST_TARGETS]


def _users_head(repository: Repository) -> str | None:
    """The commit the user stands on, unless it is a worker's branch."""
    branch = repository.git.run("symbolic-ref", "--quiet", "HEAD", check=False).text
    if branch.startswith(_OF_RUNS):
        return None
    return repository.git.resolve("HEAD^{commit}")
