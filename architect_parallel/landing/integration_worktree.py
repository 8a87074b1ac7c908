"""The worktree in which the checks and the agents of a merge run."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from architect_parallel.backends.environment import CommandEnvironment
from architect_parallel.checks.commands import CheckHooks, CheckOrder, run_checks
from architect_parallel.domain import CheckResult, WorkerSpec, WorktreeSettings
from architect_parallel.errors import EnvironmentProblem
from architect_parallel.landing.conflicts import Resolver
from architect_parallel.landing.sources import Source
from architect_parallel.landing.steps import Method
from architect_parallel.repository.registry import admin_dir_from_dotgit, relink
from architect_parallel.supervision.consume import CommandOutcome, run_command
from architect_parallel.supervision.monitor import Sampler
from architect_parallel.supervision.stop import StopToken
from architect_parallel.system.git import Git, GitError, Repository
from architect_parallel.system.own_files import make_own_dir
from architect_parallel.worktrees.create import (
    Worktree,
    add_worktree,
    reopen_worktree,
)
from architect_parallel.worktrees.prepare import prepare
from architect_parallel.worktrees.remove import remove_worktree
from architect_parallel.worktrees.worker_repository import WorkerRepository, ceiling, place_of


@dataclass(frozen=True, slots=True, kw_only=True)
class IntegrationContext:
    """Everything that an integration worktree needs to run checks or an agent."""

    run_dir: Path
    environ: Mapping[str, str]
    """The user's environment. Checks and setup commands get the common variables and those that they name."""
    checks_env: tuple[str, ...] = ()
    """Names of further variables for checks."""
    keys: tuple[str, ...] = ()
    """Names of the agents' keys."""
    settings: WorktreeSettings = field(default_factory=WorktreeSettings)
    resolver: Resolver | None = None
    """`None` means that conflicting results are left out."""
    stop_token: StopToken = field(default_factory=StopToken)
    """Stops the merge. Each check and agent gets a child of it, so that its own limits end only itself."""
    say: Callable[[str], None] = lambda line: None
    """Called with a line of progress."""
    warn: Callable[[str], None] = lambda line: None
    """Called with each warning at once. A merge that fails later has no outcome to hold warnings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IntegrationPlan:
    """The results to combine, and the commit to start from."""

    run_id: str
    target: str
    """Short name of the target, for messages."""
    base: str
    """Commit to start from."""
    steps: tuple[Source, ...]
    method: Method
    branch: str
    path: Path
    """Path of the worktree."""
    specs: Mapping[int, WorkerSpec]
    """Worker id → its spec, for its checks."""


class IntegrationWorktree:
    """The integration worktree."""

    def __init__(self, repository: Repository, order: IntegrationPlan, workshop: IntegrationContext) -> None:
        self._repository = repository
        self._order = order
        self._workshop = workshop
        self._worktree: Worktree | None = None
        self._sampler = Sampler()
        self._checks = 0

    @property
    def worktree(self) -> Worktree:
        assert self._worktree is not None
        return self._worktree

    def open(self) -> None:
        order = self._order
        self._worktree = add_worktree(
            self._repository,
            path=order.path,
            branch=order.branch,
            base_commit=order.base,
            run_id=order.run_id,
            is_cancelled=self._workshop.stop_token.is_cancelled,
        )
        self._prepare()

    def lend(self, commit: str) -> None:
        """Put the tree at `commit` and attach a worker repository for the next command."""
        self.at(commit)
        self.lent.lend()

    @property
    def lent(self) -> WorkerRepository:
        return WorkerRepository(
            repository=self._repository,
            directory=place_of(self._workshop.run_dir, "merge"),
            worktree=self.worktree.path,
            admin_dir=self.worktree.admin_dir,
        )

    def at(self, commit: str) -> None:
        """Put the tree at `commit`. Tracked files are reset, untracked ones removed, ignored ones kept."""
        self.lent.discard()
        here = self.worktree
        git = Git(cwd=here.path, git_dir=here.admin_dir, work_tree=here.path)
        try:
            if admin_dir_from_dotgit(here.path) != here.admin_dir:
                raise GitError(("status",), 1, "its .git points elsewhere")
            git.run("update-ref", "--no-deref", "HEAD", commit)
            git.run("read-tree", "--reset", "-u", commit)
            git.run("clean", "-ffdq")
            if git.run("status", "--porcelain", "-z", "--ignore-submodules=all").stdout:
                raise GitError(("status",), 1, "it does not become clean")
        except (GitError, EnvironmentProblem):
            self.anew(commit)

    def anew(self, commit: str) -> None:
        """Make the worktree again, so that nothing that ran in it reaches the next command."""
        order = self._order
        self.lent.discard()
        self._relink()
        self._worktree = reopen_worktree(
            self._repository, path=order.path, branch=order.branch, base_commit=order.base, run_id=order.run_id
        )
        self._prepare()
        here = self.worktree
        git = Git(cwd=here.path, git_dir=here.admin_dir, work_tree=here.path)
        git.run("update-ref", "--no-deref", "HEAD", commit)
        git.run("read-tree", "--reset", "-u", commit)

    def check(self, command: str, commit: str, spec: WorkerSpec) -> CheckResult | None:
        """Run one of a worker's checks on `commit`. `None` means that it was stopped before its end."""
        workshop = self._workshop
        self._checks += 1
        order = CheckOrder(
            commands=(command,),
            limits=replace(spec.limits, timeout_s=spec.check_timeout_s),
            environ=CommandEnvironment(environ=workshop.environ, names=workshop.checks_env, keys=workshop.keys),
            secrets=(),
            log=make_own_dir(workshop.run_dir / "logs") / f"merge-check-{self._checks}.log",
            cookie=f"{spec.run_id}.merge.{secrets.token_hex(8)}",
            variables=ceiling(self.worktree.path),
        )
        results = run_checks(
            order,
            self.worktree.path,  # its top, as in a worker's own worktree
            sampler=self._sampler,
            stop_token=workshop.stop_token.child(),
            hooks=CheckHooks(before_run=lambda: self.lend(commit), after_run=lambda: self.at(commit)),
        )
        return results[0] if results else None

    @property
    def _setup_environment(self) -> CommandEnvironment:
        workshop = self._workshop
        return CommandEnvironment(environ=workshop.environ, names=workshop.settings.setup_env, keys=workshop.keys)

    def _run(self, command: str) -> CommandOutcome:
        return run_command(
            ("/bin/sh", "-c", command),
            cwd=self.worktree.path,
            env=self._setup_environment.of(command),
            timeout_s=None,
            is_cancelled=self._workshop.stop_token.is_cancelled,
        )

    def remove(self) -> None:
        order = self._order
        if self._worktree is not None:
            self.lent.discard()
        self._relink()
        remove_worktree(self._repository, path=order.path, branch=order.branch, run_id=order.run_id)

    def _relink(self) -> None:
        """Repair the worktree's `.git` file: only a linked worktree can be removed."""
        if self._worktree is not None:
            relink(self._worktree.path, self._worktree.admin_dir)

    def _prepare(self) -> None:
        prepare(
            self._repository, self.worktree, self._workshop.settings, run=self._run, environment=self._setup_environment
        )
