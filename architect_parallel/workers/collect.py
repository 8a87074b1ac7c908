"""Brings what an agent left into git: a snapshot, a commit on its branch, published by compare-and-swap.

Nothing here believes the agent or runs anything of its. The agent's own commits stay in the history of its branch,
wherever it made them. What cannot be put on the branch is put under `refs/architect/keep/<run>/<number>` with a
warning; only when that fails too does collecting fail. Nothing may run in the worktree any more when it begins.

The order matters: objects, commit, ref, and only then the worktree's own index and HEAD, which follow the ref and
can be lost without losing anything.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from architect_parallel.domain import Diff, WorkerSpec
from architect_parallel.errors import ArchitectParallelError
from architect_parallel.system.git import Repository
from architect_parallel.worktrees.snapshot import PrivateGit, keep


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


def collect(repository: Repository, private: PrivateGit, spec: WorkerSpec) -> Collection:
    """Collects one worker whose process tree is gone.

    Raises:
        EnvironmentProblem: The worktree is not there.
        GitError: Its content cannot be written, or neither branch nor keep ref can be made.
    """
    snapshot = private.write_tree()
    ref = f"refs/heads/{spec.branch}"
    warnings = list(snapshot.warnings)
    tip = repository.store.resolve(ref)
    parent = tip or spec.base_commit
    if snapshot.tree == repository.store.text("rev-parse", f"{parent}^{{tree}}"):
        commit = parent
    else:
        commit = private.commit(snapshot.tree, (parent,), message_for(spec))
    diff = dataclasses.replace(private.diff(spec.base_commit, snapshot.tree), head=commit)
    kept = None
    if commit != tip:
        if not spec.commit:
            kept = keep(repository, commit, spec.run_id, spec.number)
        elif not repository.store.ok("update-ref", ref, commit, tip or ""):
            kept = keep(repository, commit, spec.run_id, spec.number)
            warnings.append(f"{spec.branch} could not be moved; the result is {kept}")
        else:
            refresh_index(private)
    return Collection(diff=diff, commit=commit, kept=kept, warnings=tuple(warnings))


def message_for(spec: WorkerSpec) -> str:
    """The commit message: the task's first line and who did it, as trailers."""
    first = " ".join(next((line for line in spec.prompt.splitlines() if line.strip()), "task").split())
    subject = "".join(character for character in first if character.isprintable())
    subject = subject if len(subject) <= 60 else subject[:59].rstrip() + "…"
    trailers = {"Run": spec.run_id, "Worker": str(spec.worker_id), "Backend": spec.backend,
                "Model": spec.model or "default"}  # fmt: skip
    return f"architect: {subject}\n\n" + "".join(f"{name}: {value}\n" for name, value in trailers.items())


def refresh_index(private: PrivateGit) -> None:
    """Gives the worktree the index that fits what was published, so that `git status` there is clean."""
    with contextlib.suppress(OSError, ArchitectParallelError):
        descriptor, name = tempfile.mkstemp(prefix="index.", dir=private.admin_dir)
        os.close(descriptor)
        shutil.copy2(private.index, name)
        os.replace(name, Path(private.admin_dir) / "index")
