"""Combine several results on an integration branch before any other branch moves.

Each step is computed in the object store. A worktree exists only where something has to run in it: the checks after
each step, or an agent that resolves conflicts. What runs there cannot alter the result, because no commit is taken from
the worktree. The one exception is a resolution, which is read through a private git directory and inspected
(`conflicts`).

Checks and agents get a worker repository there (`worktrees.worker_repository`). The worktree's HEAD is detached and set
before each use through git's admin directory, not through the `.git` file inside, which a command may have changed. The
branch moves once, at the end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from architect_parallel.domain import CheckResult, LeftOut, WorkerSpec, WorktreeSettings, total_usd
from architect_parallel.errors import ArchitectParallelError, EnvironmentProblem, ExitCode, InternalError
from architect_parallel.landing import strategies
from architect_parallel.landing.conflicts import ConflictResolution
from architect_parallel.landing.integration_worktree import IntegrationContext, IntegrationPlan, IntegrationWorktree
from architect_parallel.landing.sources import Source
from architect_parallel.landing.steps import so_far, try_step
from architect_parallel.repository.heads import is_taken
from architect_parallel.scheduling.check_policy import cannot_start
from architect_parallel.supervision.stop import stop_on_signals
from architect_parallel.system.git import Repository
from architect_parallel.text.quantities import show_cost, show_count
from architect_parallel.worktrees.places import MERGED_PREFIX, auxiliary_path
from architect_parallel.worktrees.services import services


@dataclass(frozen=True, slots=True, kw_only=True)
class Combination:
    """The result of combining several workers' results."""

    commit: str
    """The base, if nothing could be combined."""
    merged: tuple[int, ...]
    left_out: tuple[LeftOut, ...]
    warnings: tuple[str, ...]
    cost: float | None
    """USD spent by the agents that resolved conflicts. `None` means unknown."""


class Interrupted(ArchitectParallelError):
    """The user stopped the merge. Nothing was moved."""

    exit_code = ExitCode.INTERRUPTED

    def by(self, number: int) -> Interrupted:
        """A copy with the exit code of signal `number`."""
        return Interrupted(self.message, exit_code=ExitCode(128 + number))


def combine_in_worktree(repository: Repository, order: IntegrationPlan, workshop: IntegrationContext) -> Combination:
    """Land the steps one after another. Leave out those that conflict or break a check.

    Create the branch and leave it at the result. The worktree is removed in every case. After an error the branch stays
    for the caller to remove.

    Raises:
        Interrupted: The merge was stopped.
        EnvironmentProblem: The worktree cannot be made or prepared.
    """
    with services(workshop.run_dir, "merge", workshop.settings) as variables:
        return _combine(repository, order, replace(workshop, variables=variables))


def _combine(repository: Repository, order: IntegrationPlan, workshop: IntegrationContext) -> Combination:
    bench = IntegrationWorktree(repository, order, workshop)
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


class _MergeSequence:
    """The steps in their order, and the known results of checks."""

    def __init__(
        self, repository: Repository, order: IntegrationPlan, workshop: IntegrationContext, bench: IntegrationWorktree
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
        """USD for each agent that was asked to resolve."""
        self._passes: dict[str, bool] = {}
        """Check → whether it passes at the tip, for those that ran there."""

    def take(self) -> Combination:
        for source in self._order.steps:
            _require_not_cancelled(self._workshop)
            left = self._take_one(source)
            _require_not_cancelled(self._workshop)
            if left is not None:
                self._left_out.append(left)
        return Combination(
            commit=self._tip,
            merged=tuple(self._merged),
            left_out=tuple(self._left_out),
            warnings=tuple(self._warnings),
            cost=total_usd(self._costs),
        )

    def _warn(self, *warnings: str) -> None:
        for warning in warnings:
            self._warnings.append(warning)
            self._workshop.warn(warning)

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
        """Return the commit in which an agent resolved the conflicts, or the reason why there is none."""
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
            variables=workshop.variables,
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
        """Return the check that passed before this step and fails after it. `None` means that no check broke."""
        specs = [self._order.specs[item] for item in (*self._merged, source.worker_id) if item in self._order.specs]
        passes: dict[str, bool] = {}
        for spec in specs:
            for command in spec.checks:
                if command in passes:
                    continue
                outcome = self._checked(command, commit, spec)
                passes[command] = outcome.passed
                if not outcome.passed:
                    if cannot_start(outcome):
                        return f"check `{command}` cannot be started (exit code {outcome.exit_code})"
                    if self._passed_before(command, spec):
                        return _failed(outcome)
                    self._warn(f"{_failed(outcome)}, as it did on {self._before}")
                elif outcome.flaky:
                    self._warn(f"check `{command}` is flaky: it failed, and passed when it was repeated")
        self._passes |= passes
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


def free_place(repository: Repository, run_id: str, settings: WorktreeSettings) -> tuple[str, Path]:
    """Return an unused branch name and an unused path: `architect/merged-<run>`, with a number if that is in use."""
    for attempt in range(1, 10_000):
        name = run_id + (f"-{attempt}" if attempt > 1 else "")
        branch, path = f"{MERGED_PREFIX}{name}", auxiliary_path(repository, settings, f"merged-{name}")
        ref = f"refs/heads/{branch}"
        listed = repository.store.text("for-each-ref", "--count=1", "--format=%(refname)", ref)  # it, or one below it
        if not listed and not is_taken(repository.common_dir, ref) and not path.exists():
            return branch, path
    raise EnvironmentProblem(f"there are too many branches {MERGED_PREFIX}{run_id}", hint="git branch -D")


def checks_of(steps: Sequence[Source], specs: Mapping[int, WorkerSpec]) -> tuple[str, ...]:
    """Every check for these results, in order."""
    checks = (check for source in steps if source.worker_id in specs for check in specs[source.worker_id].checks)
    return tuple(dict.fromkeys(checks))
