"""A worker's worktree: made or reopened, prepared, and described by a private git directory before its agent starts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from architect_parallel.domain import WorkerSpec
from architect_parallel.errors import EnvironmentProblem
from architect_parallel.repository import filters
from architect_parallel.snapshots.keep_attempt import keep_attempt
from architect_parallel.snapshots.private_git import PrivateGit
from architect_parallel.supervision.consume import CommandOutcome, run_command
from architect_parallel.supervision.stop import StopToken
from architect_parallel.workers.context import WorkerContext
from architect_parallel.worktrees import worker_repository
from architect_parallel.worktrees.create import Worktree, add_worktree, reopen_worktree, take_up_worktree
from architect_parallel.worktrees.prepare import prepare


@dataclass(frozen=True, slots=True)
class WorkerWorktree:
    """The steps that come before the agent of one attempt."""

    spec: WorkerSpec
    context: WorkerContext
    stop_token: StopToken
    warn: Callable[[str], None]
    variables: Mapping[str, str] = field(default_factory=dict)
    """Further variables of setup commands."""

    def take(self) -> Worktree:
        """Make the worktree. For a further attempt, save the earlier one's work and reopen it.

        Raises:
            Cancelled: A stop came while it waited for its turn to be checked out.
            EnvironmentProblem, GitError: It cannot be made.
        """
        spec, repository, run_dir = self.spec, self.context.repository, self.context.run_dir
        path, is_cancelled, unpacked = Path(spec.worktree_path), self.stop_token.is_cancelled, self.context.unpacked
        if spec.attempt == 1:
            return add_worktree(
                repository,
                path=path,
                branch=spec.branch,
                base_commit=spec.base_commit,
                run_id=spec.run_id,
                is_cancelled=is_cancelled,
                unpacked=unpacked,
            )
        for warning in worker_repository.settle(repository, run_dir, spec):
            self.warn(warning)
        # An attempt that never started its agent left the work of the one before it.
        kept = keep_attempt(repository, spec, self._earlier_private_dir() or self._private_dir(spec.attempt - 1))
        if kept is not None:
            self.warn(f"the earlier attempt's work is kept as {kept}")
        if spec.continues:
            return take_up_worktree(
                repository, path=path, branch=spec.branch, base_commit=spec.base_commit, run_id=spec.run_id
            )
        return reopen_worktree(
            repository,
            path=path,
            branch=spec.branch,
            base_commit=spec.base_commit,
            run_id=spec.run_id,
            is_cancelled=is_cancelled,
            unpacked=unpacked,
        )

    def prepare(self, worktree: Worktree) -> None:
        """Copy files and run setup commands in a fresh worktree.

        Raises:
            EnvironmentProblem: A setup command failed.
        """
        commands = self.context.setup_environment(self.context.backends[self.spec.backend], self.variables)

        def run(command: str) -> CommandOutcome:
            return run_command(
                ("/bin/sh", "-c", command),
                cwd=worktree.path,
                env=commands.of(command),
                timeout_s=self.spec.limits.timeout_s,
                is_cancelled=self.stop_token.is_cancelled,
            )

        settings = self.context.worktrees
        for warning in prepare(self.context.repository, worktree, settings, run=run, environment=commands):
            self.warn(warning)

    def private_git(self, worktree: Worktree) -> PrivateGit:
        """Make the private git directory of the attempt, from which its work is read later."""
        repository, run_dir = self.context.repository, self.context.run_dir
        directory, earlier = self._private_dir(self.spec.attempt), self._earlier_private_dir()
        if self.spec.continues and earlier is not None:
            with suppress(EnvironmentProblem):  # an older version made it
                before = PrivateGit.open(earlier)
                if before.admin_dir == worktree.admin_dir:  # not after an undo that registered the worktree anew
                    return PrivateGit.renew(repository, directory, before)
        return PrivateGit.create(repository, directory, worktree.path, filters=filters.record(repository, run_dir))

    def _private_dir(self, attempt: int) -> Path:
        return self.context.run_dir / "git" / f"worker-{self.spec.worker_id}-{attempt}"

    def _earlier_private_dir(self) -> Path | None:
        """The directory of the newest earlier attempt that has one. `None` means that no agent has started here."""
        directories = (self._private_dir(attempt) for attempt in range(self.spec.attempt - 1, 0, -1))
        return next((directory for directory in directories if directory.is_dir()), None)
