"""Brings what an agent left into git: a snapshot, a commit on its branch, published by compare-and-swap.

Nothing here believes the agent or runs anything of its. The agent's own commits stay in the history of its branch,
wherever it made them. What cannot be put on the branch is put under `refs/architect/keep/<run>/<number>` with a
warning; only when that fails too does collecting fail. Nothing may run in the worktree any more when it begins.

The order matters: objects, commit, ref, and only then the worktree's own index and HEAD (`tidy`), which follow the
ref and can be lost without losing anything.
"""

from __future__ import annotations

import contextlib
import dataclasses
from dataclasses import dataclass
from pathlib import Path

from architect_parallel.domain import Diff, WorkerSpec
from architect_parallel.errors import ArchitectParallelError, EnvironmentProblem
from architect_parallel.repository import side_effects
from architect_parallel.repository.heads import read_head
from architect_parallel.repository.ownership import record_branch
from architect_parallel.snapshots import sync_worktree
from architect_parallel.snapshots.baseline import is_real_directory
from architect_parallel.snapshots.hidden_files import Hidden, commit_hidden, find_hidden
from architect_parallel.snapshots.keep_refs import keep
from architect_parallel.snapshots.private_git import PrivateGit, Snapshot
from architect_parallel.system.git import Repository
from architect_parallel.text.quantities import summarize


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    """What of a worker stands in git now."""

    diff: Diff
    """From the worker's base to `commit`."""
    commit: str
    """Full id of the collected state: the branch's tip, or a commit under `refs/architect/keep` (see `kept`)."""
    kept: str | None
    """The ref that holds `commit` where the branch does not; `None`: the branch does."""
    warnings: tuple[str, ...]
    hides: bool = False
    """Whether ignore rules of the agent's hide further files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """The commits a worker's result stands on."""

    refs: side_effects.Refs
    tip: str | None
    """Where the branch is; `None`: it was deleted."""
    head: str | None
    """The commit the worktree's HEAD names; `None`: there is none any more."""
    parents: tuple[str, ...]
    """What the result has to hold: tip, HEAD, or both; never empty."""
    warnings: tuple[str, ...] = ()


def collect(repository: Repository, private: PrivateGit, spec: WorkerSpec) -> Collection:
    """Collects one worker whose process tree is gone.

    Raises:
        EnvironmentProblem: The worktree is gone and nothing was committed in it.
        GitError: Its content cannot be written, or neither branch nor keep ref can be made.
    """
    history = read_history(repository, private, spec)
    snapshot = _snapshot(private, history)
    commit = _commit(private, spec, history, snapshot)
    diff = dataclasses.replace(snapshot.diff, base=spec.base_commit, head=commit)
    if private.base_commit != spec.base_commit:
        diff = private.diff(spec.base_commit, commit)
    warnings = [*snapshot.warnings, *history.warnings]
    kept = None
    if commit != history.tip:
        kept = _publish(repository, private, spec, history, commit, warnings)
    warnings += _outside(repository, private, spec, history)
    hidden = find_hidden(private) if is_real_directory(private.worktree) else Hidden()
    warnings += _keep_hidden(repository, private, spec, hidden, commit)
    if spec.commit and kept is None:
        record_branch(repository, branch=spec.branch, commit=commit, run_id=spec.run_id)
        warnings += sync_worktree.tidy(private, spec.branch)
    return Collection(diff=diff, commit=commit, kept=kept, warnings=tuple(dict.fromkeys(warnings)), hides=bool(hidden))


def read_history(repository: Repository, private: PrivateGit, spec: WorkerSpec) -> History:
    """Finds the agent's own commits: on its branch and at its HEAD, wherever that points now.

    Raises:
        GitError: The repository cannot be read.
    """
    refs = side_effects.read_refs(repository)
    ref = f"refs/heads/{spec.branch}"
    tip = refs.oids.get(ref)
    head_text = read_head(private.admin_dir)
    named = head_text.removeprefix("ref: ") if head_text is not None else None
    warnings = []
    if named is None:
        head = None
        warnings.append("the worktree's HEAD is gone")
    elif named.startswith("refs/"):
        head = refs.oids.get(named)
    else:
        head = private.git.resolve(f"{named}^{{commit}}")
    if tip is None:
        warnings.append(f"{spec.branch} was deleted; it is made again")
    if named is not None and named.startswith("refs/") and named != ref:
        warnings.append(f"HEAD was left at {named.removeprefix('refs/heads/')}, not at {spec.branch}")
    parents = _newest(private, tuple(dict.fromkeys(each for each in (tip, head) if each is not None)))
    if spec.base_commit not in parents and parents and not _is_ancestor(private, spec.base_commit, parents[0]):
        warnings.append("the base commit is not in the history any more; the diff is against it nevertheless")
    return History(refs=refs, tip=tip, head=head, parents=parents or (spec.base_commit,), warnings=tuple(warnings))


def _newest(private: PrivateGit, commits: tuple[str, ...]) -> tuple[str, ...]:
    """The commits without those the other one holds already."""
    if len(commits) < 2:
        return commits
    one, other = commits
    if _is_ancestor(private, one, other):
        return (other,)
    return (one,) if _is_ancestor(private, other, one) else commits


def _is_ancestor(private: PrivateGit, older: str, newer: str) -> bool:
    # Through the private directory: replacement refs or a promisor remote of the agent's making have no say there.
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
    """The commit that holds tree and history; an existing one where that says it all."""
    only = history.parents[0] if len(history.parents) == 1 else None
    if only is not None:
        same = not snapshot.diff.files if only == private.base_commit else (
            snapshot.tree == private.git.text("rev-parse", f"{only}^{{tree}}"))  # fmt: skip
        if same:
            return only
    return private.commit(snapshot.tree, history.parents, message_for(spec))


def _publish(
    repository: Repository, private: PrivateGit, spec: WorkerSpec, history: History, commit: str, warnings: list[str]
) -> str | None:
    """Moves the branch from where it was seen to `commit`; the keep ref made instead, or `None`."""
    ref = f"refs/heads/{spec.branch}"
    if not spec.commit:
        return keep(repository, commit, spec.run_id, spec.number)
    elsewhere = [path for path in history.refs.checkouts.get(ref, ()) if path != Path(spec.worktree_path)]
    if elsewhere:
        reason = f"it is checked out at {elsewhere[0]}"
    else:
        words = ("-m", f"architect: collect {spec.run_id} worker {spec.worker_id}", ref, commit, history.tip or "")
        output = repository.store.run("update-ref", *words, check=False, env=private.facts.identity.environment)
        if output.code == 0:
            return None
        reason = str(output.error)
    kept = keep(repository, commit, spec.run_id, spec.number)
    warnings.append(f"{spec.branch} could not be moved ({reason}); the result is {kept}")
    return kept


def _outside(repository: Repository, private: PrivateGit, spec: WorkerSpec, history: History) -> list[str]:
    """What the agent left outside its branch, named; stashes made on its branch are kept as well."""
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
    """Keeps the files that ignore rules of the agent's hide, and names them."""
    warnings = []
    if hidden.files:
        made = commit_hidden(private, hidden, commit)
        kept = f"kept as {keep(repository, made, spec.run_id, spec.number, 'hidden')}" if made else "only on disk"
        shown = summarize([repr(path) for path in hidden.files], most=5)
        warnings.append(f"ignore rules that the agent added hide {shown} ({kept})")
    if hidden.directories:
        warnings.append(f"ignore rules that the agent added hide {hidden.words} (only in the worktree)")
    return warnings


def message_for(spec: WorkerSpec) -> str:
    """The commit message: the task's first line and who did it, as trailers."""
    first = next((line for line in spec.prompt.splitlines() if line.strip()), "task")
    subject = " ".join("".join(character if character.isprintable() else " " for character in first).split())
    subject = subject if len(subject) <= 60 else subject[:59].rstrip() + "…"
    trailers = {"Run": spec.run_id, "Worker": str(spec.worker_id), "Backend": spec.backend,
                "Model": spec.model or "default"}  # fmt: skip
    return f"architect: {subject}\n\n" + "".join(f"{name}: {value}\n" for name, value in trailers.items())
