"""Runs as the launcher leaves them, made by hand: plan, worktrees, an agent's commits, results; real git, no agent."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from architect_parallel.domain import AgentProfile, Reason, RunPlan, RunStatus, Status, WorkerResult, WorkerSpec
from architect_parallel.events import Collected, RunFinished, RunStarted, WorkerFinished, WorkerStarting, WorktreeReady
from architect_parallel.journal import Journal
from architect_parallel.snapshots.diff import diff
from architect_parallel.system.files import HeldLock
from architect_parallel.system.git import Repository
from architect_parallel.worktrees.create import add_worktree
from architect_parallel.worktrees.places import exclude_from_status
from support.repositories import git

Files = Mapping[str, str | bytes | None]
"""Path → new content; `None`: deleted."""


def write(directory: Path, files: Files) -> None:
    """Writes or deletes the files."""
    for name, content in files.items():
        file = directory / name
        if content is None:
            file.unlink()
            continue
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)


def commit(directory: Path, files: Files, subject: str = "work") -> str:
    """Writes the files and commits everything; returns the commit."""
    write(directory, files)
    git(directory, "add", "--all")
    git(directory, "commit", "--quiet", "--allow-empty", "-m", subject)
    return git(directory, "rev-parse", "HEAD")


def everything(root: Path) -> str:
    """Refs, worktrees, and the state of every worktree: what a user would call the state of the repository.

    The refs that keep work under `refs/architect/` are left out: they only ever grow.
    """
    listed = git(root, "for-each-ref", "--format=%(refname) %(objectname)").splitlines()
    refs = "\n".join(line for line in listed if not line.startswith("refs/architect/"))
    shown = [refs, git(root, "worktree", "list")]
    for line in git(root, "worktree", "list", "--porcelain").splitlines():
        if line.startswith("worktree ") and Path(line[9:]).is_dir():
            place = Path(line[9:])
            shown += [line, git(place, "symbolic-ref", "-q", "HEAD", check=False)]
            shown += [git(place, "status", "--porcelain=v1", "-uall"), git(place, "diff", "HEAD", "--binary")]
            shown += [f"{path}: {(place / path).read_bytes()!r}" for path in untracked(place)]
    return "\n".join(shown)


def untracked(directory: Path) -> list[str]:
    """Untracked files, ignored ones not."""
    return [name for name in git(directory, "ls-files", "-z", "--others", "--exclude-standard").split("\0") if name]


@dataclass
class MadeRun:
    """A run in the making."""

    repository: Repository
    journal: Journal
    run_id: str
    base: str
    specs: list[WorkerSpec] = field(default_factory=list)
    lock: HeldLock | None = None

    def worktree(self, worker_id: int) -> Path:
        return Path(self.specs[worker_id - 1].worktree_path)

    def branch(self, worker_id: int) -> str:
        return self.specs[worker_id - 1].branch

    def tip(self, worker_id: int) -> str:
        return git(self.repository.root, "rev-parse", f"refs/heads/{self.branch(worker_id)}")

    def start(self, worker_id: int) -> Path:
        """Makes the worktree as the launcher does."""
        spec = self.specs[worker_id - 1]
        self.journal.append([(self.run_id, worker_id, WorkerStarting(attempt=1))])
        made = add_worktree(
            self.repository, path=self.worktree(worker_id), branch=spec.branch, base_commit=self.base,
            run_id=self.run_id,
        )  # fmt: skip
        ready = WorktreeReady(
            worktree_path=str(made.path), branch=made.branch, base_commit=self.base, admin_dir=str(made.admin_dir)
        )
        self.journal.append([(self.run_id, worker_id, ready)])
        return made.path

    def finish(self, worker_id: int, status: Status = Status.SUCCESS, reason: Reason = Reason.COMPLETED) -> None:
        """Records what stands on the worker's branch as its result."""
        spec = self.specs[worker_id - 1]
        found = diff(self.repository.store, self.base, self.tip(worker_id))
        result = WorkerResult(
            worker_id=worker_id, branch=spec.branch, model="default", status=status, steps=1, cost=None, duration=1.0,
            files_modified=[change.path for change in found.files], worktree_path=spec.worktree_path, task=spec.prompt,
            backend="shell", reason=reason, diff=found, started_at=datetime.now(UTC),
        )  # fmt: skip
        self.journal.append(
            [
                (self.run_id, worker_id, Collected(diff=found)),
                (self.run_id, worker_id, WorkerFinished(result=result)),
            ]
        )

    def end(self, status: RunStatus = RunStatus.SUCCESS) -> None:
        """The launcher goes, leaving word."""
        self.journal.append([(self.run_id, None, RunFinished(status=status, exit_code=0))])
        self.die()

    def die(self) -> None:
        """The launcher is gone, word or no word."""
        if self.lock is not None:
            self.lock.release()


def begin_run(
    repository: Repository,
    journal: Journal,
    run_id: str,
    workers: int = 1,
    first: int = 1,
    checks: tuple[str, ...] = (),
    tasks: tuple[str, ...] = (),
) -> MadeRun:
    """A live run with its numbers taken and nothing made yet; `tasks` has a prompt per worker."""
    exclude_from_status(repository)
    base = git(repository.root, "rev-parse", "HEAD")
    spec = WorkerSpec(
        run_id=run_id, worker_id=1, index=0, number=first, name="w", prompt="teach it ü\nand more", backend="shell",
        model=None, agent=AgentProfile(name="build"), branch="", worktree_path="", base_commit=base,
        checks=checks,
    )  # fmt: skip
    specs = [
        dataclasses.replace(
            spec, worker_id=n + 1, index=n, number=first + n, branch=f"architect/parallel-{first + n}",
            worktree_path=str(repository.root / f".architect-parallel-{first + n}"),
            prompt=tasks[n] if tasks else spec.prompt,
        )
        for n in range(workers)
    ]  # fmt: skip
    plan = RunPlan(
        run_id=run_id, repository=str(repository.root), base_commit=base, base_ref="HEAD", workers=tuple(specs),
        max_parallel=workers,
    )  # fmt: skip
    lock = journal.hold(run_id)
    assert lock is not None
    journal.append([(run_id, None, RunStarted(plan=plan, launcher_pid=1))])
    return MadeRun(repository=repository, journal=journal, run_id=run_id, base=base, specs=specs, lock=lock)


def ended_run(
    repository: Repository,
    journal: Journal,
    run_id: str,
    *work: Files | None,
    first: int = 1,
    checks: tuple[str, ...] = (),
) -> MadeRun:
    """A run that ended well, one worker per entry of `work`: the files its agent committed (`None`: nothing)."""
    run = begin_run(repository, journal, run_id, workers=len(work), first=first, checks=checks)
    for worker_id, files in enumerate(work, start=1):
        place = run.start(worker_id)
        if files is not None:
            commit(place, files)
        run.finish(worker_id)
    run.end()
    return run
