"""Collect the work of an agent: a snapshot, a commit, and a move of its branch by compare-and-swap.

Nothing of the agent is taken on trust, and no program of its runs. The agent's own commits become part of the history
of its branch, wherever it made them. Work that cannot be put on the branch is put under
`refs/architect/keep/<run>/<number>` with a warning. Collecting fails only if that fails too. No process may run in the
worktree any more.

The order matters: objects, commit, ref, and then the worktree's own index and HEAD (`tidy`). These follow the ref, and
losing them loses no work.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from architect_parallel.domain import Diff, WorkerSpec
from architect_parallel.errors import ArchitectParallelError, EnvironmentProblem
from architect_parallel.repository import side_effects
from architect_parallel.repository.checkouts import checkouts_of
from architect_parallel.repository.heads import read_head
from architect_parallel.repository.ownership import record_branch
from architect_parallel.snapshots import sync_worktree
from architect_parallel.snapshots.baseline import is_real_directory
from architect_parallel.snapshots.hidden_files import Hidden, commit_hidden, find_hidden
from architect_parallel.snapshots.keep_refs import keep
from architect_parallel.snapshots.private_git import PrivateGit, Snapshot
from architect_parallel.snapshots.secret_search import adds_secret
from architect_parallel.system.git import Repository
from architect_parallel.text.quantities import summarize


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    """The collected work of a worker."""

    diff: Diff
    """The changes from the worker's base to `commit`."""
    commit: str
    """Full id of the collected state: the branch's tip, or a commit under `refs/architect/keep` (see `kept`)."""
    kept: str | None
    """The keep ref of `commit`. `None` means that the branch has it."""
    warnings: tuple[str, ...]
    hides: bool = False
    """True if ignore rules of the agent hide further files."""
    has_secret: bool = False
    """True if the commit holds a secret. Then it is kept, and the branch is where it was before the agent ran."""


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """The commits on which a worker's result is based."""

    refs: side_effects.Refs
    tip: str | None
    """The tip of the branch. `None` means that it was deleted."""
    head: str | None
    """The commit of the worktree's HEAD. `None` means that it has none any more."""
    parents: tuple[str, ...]
    """The parents of the result: tip, HEAD, or both. Never empty."""
    warnings: tuple[str, ...] = ()


def collect(
    repository: Repository,
    private: PrivateGit,
    spec: WorkerSpec,
    *,
    holds_secret: Callable[[bytes], bool] | None = None,
) -> Collection:
    """Collect the work of one worker whose process tree has ended.

    Args:
        holds_secret: Called with everything that the agent added. `None` means that there is nothing to look for.

    Raises:
        EnvironmentProblem: The worktree is gone, and nothing was committed in it.
        GitError: Its content cannot be written, or neither branch nor keep ref can be made.
    """
    history = read_history(repository, private, spec)
    snapshot = _snapshot(private, history)
    commit = _commit(private, spec, history, snapshot)
    diff = dataclasses.replace(snapshot.diff, base=spec.base_commit, head=commit)
    if private.base_commit != spec.base_commit:
        diff = private.diff(spec.base_commit, commit)
    warnings = [*snapshot.warnings, *history.warnings]
    if holds_secret is not None and adds_secret(private.git, private.base_commit, commit, holds_secret):
        place = _hold_back(repository, private, spec, history, commit)
        return Collection(diff=diff, commit=commit, kept=place, warnings=tuple(warnings), has_secret=True)
    kept = None
    if commit != history.tip:
        kept = _publish(repository, private, spec, history, commit, warnings)
    warnings += _keep_outside(repository, private, spec, history)
    hidden = find_hidden(private) if is_real_directory(private.worktree) else Hidden()
    warnings += _keep_hidden(repository, private, spec, hidden, commit)
    if spec.commit and kept is None:
        record_branch(repository, branch=spec.branch, commit=commit, run_id=spec.run_id)
        warnings += sync_worktree.tidy(private, spec.branch)
    return Collection(diff=diff, commit=commit, kept=kept, warnings=tuple(dict.fromkeys(warnings)), hides=bool(hidden))


def read_history(repository: Repository, private: PrivateGit, spec: WorkerSpec) -> History:
    """Find the agent's own commits, on its branch and at its HEAD.

    Raises:
        GitError: The repository cannot be read.
    """
    refs = side_effects.read_refs(repository)
    ref = f"refs/heads/{spec.branch}"
    tip = refs.oids.get(ref)
    head_text = read_head(private.admin_dir)
    head_name = head_text.removeprefix("ref: ") if head_text is not None else None
    warnings = []
    if head_name is None:
        head = None
        warnings.append("the worktree's HEAD is gone")
    elif head_name.startswith("refs/"):
        head = refs.oids.get(head_name)
    else:
        head = private.git.resolve(f"{head_name}^{{commit}}")
    if tip is None:
        warnings.append(f"{spec.branch} was deleted; it is made again")
    if head_name is not None and head_name.startswith("refs/") and head_name != ref:
        warnings.append(f"HEAD was left at {head_name.removeprefix('refs/heads/')}, not at {spec.branch}")
    parents = _newest(private, tuple(dict.fromkeys(commit for commit in (tip, head) if commit is not None)))
    if spec.base_commit not in parents and parents and not _is_ancestor(private, spec.base_commit, parents[0]):
        warnings.append("the base commit is not in the history any more; the diff is against it nevertheless")
    return History(refs=refs, tip=tip, head=head, parents=parents or (spec.base_commit,), warnings=tuple(warnings))


def _newest(private: PrivateGit, commits: tuple[str, ...]) -> tuple[str, ...]:
    """Of one or two commits, those that are no ancestor of the other."""
    if len(commits) < 2:
        return commits
    first, second = commits
    if _is_ancestor(private, first, second):
        return (second,)
    return (first,) if _is_ancestor(private, second, first) else commits


def _is_ancestor(private: PrivateGit, older: str, newer: str) -> bool:
    # Through the private directory, which ignores replacement refs and promisor remotes that the agent made.
    return private.git.ok("merge-base", "--is-ancestor", older, newer)


def _snapshot(private: PrivateGit, history: History) -> Snapshot:
    if is_real_directory(private.worktree):
        return private.write_tree()
    if history.parents == (private.base_commit,):
        raise EnvironmentProblem(f"{private.worktree} was removed, and nothing was committed in it")
    newest = history.parents[-1]
    return Snapshot(
        tree=private.git.text("rev-parse", f"{newest}^{{tree}}"),
        diff=private.diff(private.base_commit, newest),
        warnings=(f"{private.worktree} was removed; its commits are collected",),
    )


def _commit(private: PrivateGit, spec: WorkerSpec, history: History, snapshot: Snapshot) -> str:
    """Commit the tree on top of the history, unless the only parent has this tree already. Returns the commit."""
    parent = history.parents[0] if len(history.parents) == 1 else None
    if parent is not None:
        if parent == private.base_commit:
            same = not snapshot.diff.files
        else:
            same = snapshot.tree == private.git.text("rev-parse", f"{parent}^{{tree}}")
        if same:
            return parent
    return private.commit(snapshot.tree, history.parents, message_for(spec))


def _publish(
    repository: Repository, private: PrivateGit, spec: WorkerSpec, history: History, commit: str, warnings: list[str]
) -> str | None:
    """Move the branch from the tip in `history` to `commit`. If that fails, make a keep ref and return it."""
    ref = f"refs/heads/{spec.branch}"
    if not spec.commit:
        return keep(repository, commit, spec.run_id, spec.number)
    places = (checkout.path for checkout in checkouts_of(repository, spec.branch))
    elsewhere = [path for path in places if path != Path(spec.worktree_path)]
    if elsewhere:
        reason = f"it is checked out at {elsewhere[0]}"
    else:
        message = f"architect: collect {spec.run_id} worker {spec.worker_id}"
        command = ("update-ref", "-m", message, ref, commit, history.tip or "")
        output = repository.store.run(*command, check=False, env=private.facts.identity.environment)
        if output.code == 0:
            return None
        reason = str(output.error)
    kept = keep(repository, commit, spec.run_id, spec.number)
    warnings.append(f"{spec.branch} could not be moved ({reason}); the result is {kept}")
    return kept


def _hold_back(repository: Repository, private: PrivateGit, spec: WorkerSpec, history: History, commit: str) -> str:
    """Keep the commit, and put the branch back to where it was before the agent ran. Returns the keep ref."""
    kept = keep(repository, commit, spec.run_id, spec.number, "secret")
    if spec.commit and history.tip not in (None, private.base_commit):
        message = f"architect: hold back {spec.run_id} worker {spec.worker_id}"
        command = ("update-ref", "-m", message, f"refs/heads/{spec.branch}", private.base_commit, history.tip or "")
        repository.store.run(*command, env=private.facts.identity.environment)
    return kept


def _keep_outside(repository: Repository, private: PrivateGit, spec: WorkerSpec, history: History) -> list[str]:
    """Keep the stashes made on the worker's branch. Returns warnings about everything changed outside the branch."""
    facts = private.facts
    after = side_effects.watched(history.refs)
    warnings = side_effects.ref_warnings(facts.refs, after, side_effects.head_commits(private.admin_dir))
    warnings += side_effects.surrounding_warnings(facts.surroundings, side_effects.surroundings(repository))
    for stash in side_effects.stashes(repository):
        if stash.oid not in facts.stashes and stash.is_of(spec.branch):
            with contextlib.suppress(ArchitectParallelError):
                kept = keep(repository, stash.oid, spec.run_id, spec.number, "stash")
                warnings.append(f"a stash was made while it ran ({stash.message}); it is also {kept}")
    return warnings


def _keep_hidden(
    repository: Repository, private: PrivateGit, spec: WorkerSpec, hidden: Hidden, commit: str
) -> list[str]:
    """Keep the files that ignore rules of the agent hide. Returns warnings that name them."""
    warnings = []
    if hidden.files:
        oid = commit_hidden(private, hidden, commit)
        state = f"kept as {keep(repository, oid, spec.run_id, spec.number, 'hidden')}" if oid else "only on disk"
        files = summarize([repr(path) for path in hidden.files], most=5)
        warnings.append(f"ignore rules that the agent added hide {files} ({state})")
    if hidden.directories:
        warnings.append(f"ignore rules that the agent added hide {hidden.words} (only in the worktree)")
    return warnings


def message_for(spec: WorkerSpec) -> str:
    """The commit message: the task's first line, with run, worker, backend and model as trailers."""
    first = next((line for line in spec.prompt.splitlines() if line.strip()), "task")
    subject = " ".join("".join(character if character.isprintable() else " " for character in first).split())
    subject = subject if len(subject) <= 60 else subject[:59].rstrip() + "…"
    trailers = {
        "Run": spec.run_id,
        "Worker": str(spec.worker_id),
        "Backend": spec.backend,
        "Model": spec.model or "default",
    }
    return f"architect: {subject}\n\n" + "".join(f"{name}: {value}\n" for name, value in trailers.items())
