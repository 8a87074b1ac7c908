"""Several results made one, on a branch of their own, before any other branch moves.

Each step is computed in the object store; a worktree exists only where something has to run in it: the checks after
each step, an agent that resolves conflicts. What runs there cannot spoil what lands, because commits never come out of
the worktree, except for a resolution, which is read through a private git directory and looked at (`resolve`).

Checks and agents get a git directory of their own there (`worktrees.worker_repository`).
The worktree's HEAD is detached and put where it belongs before each use, through git's own directory of it and not
through the `.git` inside, which whatever ran may have bent. The branch moves once, at the end.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from architect_parallel.backends.environment import CommandEnvironment
from architect_parallel.checks.commands import CheckHooks, CheckOrder, run_checks
from architect_parallel.domain import CheckResult, LeftOut, WorkerSpec, WorktreeSettings, total_usd
from architect_parallel.errors import ArchitectParallelError, EnvironmentProblem, ExitCode, InternalError
from architect_parallel.landing import strategies
from architect_parallel.landing.conflicts import ConflictResolution, Resolver
from architect_parallel.landing.sources import Source
from architect_parallel.landing.steps import Method, so_far, try_step
from architect_parallel.repository.heads import is_taken
from architect_parallel.repository.registry import admin_dir_from_dotgit, relink
from architect_parallel.scheduling.check_policy import cannot_start
from architect_parallel.supervision.consume import CommandOutcome, run_command
from architect_parallel.supervision.monitor import Sampler
from architect_parallel.supervision.stop import StopToken, stop_on_signals
from architect_parallel.system.files import make_private_dir
from architect_parallel.system.git import Git, GitError, Repository
from architect_parallel.text.quantities import show_cost, show_count
from architect_parallel.worktrees.create import (
    DIRECTORY_PREFIX,
    MERGED_PREFIX,
    Worktree,
    add_worktree,
    reopen_worktree,
)
from architect_parallel.worktrees.prepare import prepare
from architect_parallel.worktrees.remove import remove_worktree
from architect_parallel.worktrees.worker_repository import WorkerRepository, ceiling, place_of


@dataclass(frozen=True, slots=True, kw_only=True)
class IntegrationContext:
    """What running something in an integration worktree takes."""

    run_dir: Path
    environ: Mapping[str, str]
    """The user's; checks and setup commands get what is common to all agents and what they name themselves."""
    checks_env: tuple[str, ...] = ()
    """Names of further variables that checks get."""
    keys: tuple[str, ...] = ()
    """Names of agents' keys."""
    settings: WorktreeSettings = field(default_factory=WorktreeSettings)
    resolver: Resolver | None = None
    """`None`: conflicts are left out."""
    stop_token: StopToken = field(default_factory=StopToken)
    """Stops the merge; signals stop it while something runs. Each check and agent gets a child of it."""
    say: Callable[[str], None] = lambda line: None
    """Takes a line of progress."""
    warn: Callable[[str], None] = lambda line: None
    """Takes each warning at once; a merge that fails later has no outcome to hold them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeOrder:
    """Which results are to become one, and on what."""

    run_id: str
    target: str
    """Short name of the target, for messages."""
    base: str
    """Commit to begin with."""
    steps: tuple[Source, ...]
    method: Method
    branch: str
    path: Path
    """Where the worktree goes."""
    specs: Mapping[int, WorkerSpec]
    """Worker id → its spec, for its checks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Combination:
    """What came of it."""

    commit: str
    """The base where nothing could be combined."""
    merged: tuple[int, ...]
    left_out: tuple[LeftOut, ...]
    warnings: tuple[str, ...]
    cost: float | None
    """USD of the agents that resolved; `None`: unknown."""


class Interrupted(ArchitectParallelError):
    """The user stopped the merge; nothing was moved."""

    exit_code = ExitCode.INTERRUPTED

    def by(self, number: int) -> Interrupted:
        """The same, with the exit code of signal `number`."""
        return Interrupted(self.message, exit_code=ExitCode(128 + number))


def combine_in_worktree(repository: Repository, order: MergeOrder, workshop: IntegrationContext) -> Combination:
    """Lands the steps one after another; those that conflict or break a check are left out.

    Creates the branch and leaves it at the commit. The worktree is gone afterwards, however it ends; on an error the
    branch stays where it was made, for the caller to take away.

    Raises:
        Interrupted: The workshop's stop token was stopped.
        EnvironmentProblem: The worktree cannot be made or prepared.
    """
    bench = _IntegrationWorktree(repository, order, workshop)
    with stop_on_signals(workshop.stop_token):
        try:
            bench.open()
            done = _MergeSequence(repository, order, workshop, bench).take()
        except ArchitectParallelError:
            _require_not_cancelled(workshop)
            raise
        finally:
            bench.remove()
    _require_not_cancelled(workshop)
    return done


def _require_not_cancelled(workshop: IntegrationContext) -> None:
    if workshop.stop_token.is_cancelled():
        raise Interrupted("the merge was stopped; nothing was moved")


class _IntegrationWorktree:
    """The integration worktree."""

    def __init__(self, repository: Repository, order: MergeOrder, workshop: IntegrationContext) -> None:
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
            self._repository, path=order.path, branch=order.branch, base_commit=order.base, run_id=order.run_id,
            is_cancelled=self._workshop.stop_token.is_cancelled,
        )  # fmt: skip
        self._prepare()

    def lend(self, commit: str) -> None:
        """Put the tree at `commit` and give what runs next a git directory of its own."""
        self.at(commit)
        self.lent.lend()

    @property
    def lent(self) -> WorkerRepository:
        return WorkerRepository(
            repository=self._repository, directory=place_of(self._workshop.run_dir, "merge"),
            worktree=self.worktree.path, admin_dir=self.worktree.admin_dir,
        )  # fmt: skip

    def at(self, commit: str) -> None:
        """Puts the tree at `commit`: tracked files as there, untracked ones gone, ignored ones as they are."""
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
        """Makes the worktree again: nothing that ran in it reaches what runs next."""
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
        """Runs one of a worker's checks on `commit`; `None`: a stop came before its end."""
        workshop = self._workshop
        self._checks += 1
        order = CheckOrder(
            commands=(command,),
            limits=replace(spec.limits, timeout_s=spec.check_timeout_s),
            environ=CommandEnvironment(environ=workshop.environ, names=workshop.checks_env, keys=workshop.keys),
            secrets=(),
            log=make_private_dir(workshop.run_dir / "logs") / f"merge-check-{self._checks}.log",
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
        """Undoes what ran there may have done to the tree's `.git` file: only a tree that is linked is taken away."""
        if self._worktree is not None:
            relink(self._worktree.path, self._worktree.admin_dir)

    def _prepare(self) -> None:
        prepare(
            self._repository, self.worktree, self._workshop.settings, run=self._run, environment=self._setup_environment
        )


class _MergeSequence:
    """The steps in their order, and what is known of the checks."""

    def __init__(
        self, repository: Repository, order: MergeOrder, workshop: IntegrationContext, bench: _IntegrationWorktree
    ) -> None:
        self._repository = repository
        self._order = order
        self._workshop = workshop
        self._bench = bench
        self._tip = order.base
        self._merged: list[int] = []
        self._left_out: list[LeftOut] = []
        self._warnings: list[str] = []
        self._costs: list[float | None] = []
        """USD of each agent that was asked to resolve."""
        self._passes: dict[str, bool] = {}
        """Check → whether it passes at the tip, as far as it ran there."""

    def take(self) -> Combination:
        for source in self._order.steps:
            _require_not_cancelled(self._workshop)
            left = self._take_one(source)
            _require_not_cancelled(self._workshop)
            if left is not None:
                self._left_out.append(left)
        return Combination(
            commit=self._tip, merged=tuple(self._merged), left_out=tuple(self._left_out),
            warnings=tuple(self._warnings), cost=total_usd(self._costs),
        )  # fmt: skip

    def _warn(self, *warnings: str) -> None:
        for each in warnings:
            self._warnings.append(each)
            self._workshop.warn(each)

    def _take_one(self, source: Source) -> LeftOut | None:
        order, number = self._order, source.worker_id
        combined = try_step(self._repository, order.run_id, source, self._tip, order.target, order.method)
        commit = combined.commit
        if commit is None:
            conflict = LeftOut(worker_id=number, reason="conflict", files=combined.conflicts)
            if self._workshop.resolver is None:
                return conflict
            commit, why = self._resolved(source, combined.conflicts)
            if commit is None:
                return LeftOut(worker_id=number, reason="conflict", files=combined.conflicts, detail=why)
        elif strategies.tree_of(self._repository.store, commit) == strategies.tree_of(
            self._repository.store, self._tip
        ):
            self._warn(f"{self._before} has all of worker {number} already")
            return None
        broken = self._broken(source, commit)
        if broken is not None:
            return LeftOut(worker_id=number, reason="check", detail=broken)
        self._tip = commit
        self._merged.append(number)
        self._workshop.say(f"worker {number} is in")
        return None

    def _resolved(self, source: Source, files: tuple[str, ...]) -> tuple[str | None, str]:
        """The commit in which an agent has resolved the conflicts; or why there is none."""
        resolver = self._workshop.resolver
        assert resolver is not None
        shown = show_count(len(files), "file")
        self._workshop.say(f"worker {source.worker_id} conflicts in {shown}; {resolver.backend.name} resolves them")
        self._bench.at(self._tip)
        workshop, order = self._workshop, self._order
        done = ConflictResolution(
            repository=self._repository,
            worktree=self._bench.worktree,
            lent=self._bench.lent,
            source=source,
            tip=self._tip,
            target=order.target,
            method=order.method,
            merged=tuple(self._merged),
            resolver=resolver,
            run_id=order.run_id,
            run_dir=workshop.run_dir,
            environ=workshop.environ,
            stop_token=workshop.stop_token.child(),
            on_progress=workshop.say,
        ).run()
        self._warn(*done.warnings)
        self._costs.append(done.cost)
        self._workshop.say(f"{resolver.backend.name} is done with worker {source.worker_id}: {show_cost(done.cost)}")
        _require_not_cancelled(self._workshop)
        self._bench.anew(self._tip)  # an agent was in there
        return done.commit, done.why

    def _broken(self, source: Source, commit: str) -> str | None:
        """The check that passed before this step and fails after it, in words; `None`: none."""
        specs = [self._order.specs[each] for each in (*self._merged, source.worker_id) if each in self._order.specs]
        found: dict[str, bool] = {}
        for spec in specs:
            for command in spec.checks:
                if command in found:
                    continue
                outcome = self._checked(command, commit, spec)
                found[command] = outcome.passed
                if not outcome.passed:
                    if cannot_start(outcome):
                        return f"check `{command}` cannot be started (exit code {outcome.exit_code})"
                    if self._passed_before(command, spec):
                        return _failed(outcome)
                    self._warn(f"{_failed(outcome)}, as it did on {self._before}")
                elif outcome.flaky:
                    self._warn(f"check `{command}` is flaky: it failed, and passed when it was repeated")
        self._passes |= found
        return None

    @property
    def _before(self) -> str:
        return so_far(self._order.target, self._merged)

    def _passed_before(self, command: str, spec: WorkerSpec) -> bool:
        if command not in self._passes:
            self._passes[command] = self._checked(command, self._tip, spec).passed
        return self._passes[command]

    def _checked(self, command: str, commit: str, spec: WorkerSpec) -> CheckResult:
        self._workshop.say(f"check: {command}")
        result = self._bench.check(command, commit, spec)
        _require_not_cancelled(self._workshop)
        if result is None:
            raise InternalError(f"the check {command!r} has no result")
        return result


def _failed(result: CheckResult) -> str:
    how = "took too long" if result.timed_out else f"failed (exit code {result.exit_code})"
    return f"check `{result.command}` {how}"


def free_place(repository: Repository, run_id: str) -> tuple[str, Path]:
    """A branch name and a worktree's path that nobody uses: `architect/merged-<run>`, else with a number behind."""
    for attempt in range(1, 10_000):
        name = run_id + (f"-{attempt}" if attempt > 1 else "")
        branch, path = f"{MERGED_PREFIX}{name}", repository.root / f"{DIRECTORY_PREFIX}merged-{name}"
        ref = f"refs/heads/{branch}"
        listed = repository.store.text("for-each-ref", "--count=1", "--format=%(refname)", ref)  # it, or one below it
        if not listed and not is_taken(repository.common_dir, ref) and not path.exists():
            return branch, path
    raise EnvironmentProblem(f"there are too many branches {MERGED_PREFIX}{run_id}", hint="git branch -D")


def checks_of(steps: Sequence[Source], specs: Mapping[int, WorkerSpec]) -> tuple[str, ...]:
    """Every check that runs for these results, in order."""
    found = (check for source in steps if source.worker_id in specs for check in specs[source.worker_id].checks)
    return tuple(dict.fromkeys(found))
