"""Run checks in a worker's finished worktree, and once per run in a temporary worktree of the base commit."""

from __future__ import annotations

import contextlib
import logging
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from architect_parallel.backends.environment import CommandEnvironment
from architect_parallel.checks.commands import CheckHooks, CheckOrder, run_checks
from architect_parallel.checks.restore import RestorableTree
from architect_parallel.containment.box import Box, Contain, worker_box
from architect_parallel.domain import CheckResult, Isolation, Limits, Sandbox, WorkerSpec, WorktreeSettings
from architect_parallel.errors import ArchitectParallelError, EnvironmentProblem
from architect_parallel.events import BaselineFinished, CheckFinished, Event
from architect_parallel.repository.filters import record
from architect_parallel.snapshots.private_git import PrivateGit
from architect_parallel.supervision.consume import CommandOutcome, run_command
from architect_parallel.supervision.monitor import Sampler
from architect_parallel.supervision.stop import StopToken
from architect_parallel.system.files import delete_tree
from architect_parallel.system.git import Repository
from architect_parallel.system.own_files import make_own_dir
from architect_parallel.text.quantities import summarize
from architect_parallel.worktrees.prepare import prepare
from architect_parallel.worktrees.services import services
from architect_parallel.worktrees.temporary import temporary_worktree
from architect_parallel.worktrees.worker_repository import WorkerRepository, ceiling, of_worker, place_of

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselineOrder:
    """The checks of a run on its base commit."""

    run_id: str
    base_commit: str
    commands: tuple[str, ...]
    limits: Limits
    """A worker's limits. Each check has its memory, output and grace, a setup command its time."""
    check_timeout_s: float
    backend: str
    """A worker's backend: a setup command gets the same environment as there."""
    sandbox: Sandbox = field(default_factory=Sandbox)
    """A worker's containment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checker:
    """Runs the checks of one worker, or those of a run on its base commit."""

    repository: Repository
    run_dir: Path
    environ: Mapping[str, str]
    """The launcher's. A check gets what all agents get and the variables that it names, but no agent's key."""
    checks_env: tuple[str, ...] = ()
    """Names of further variables that checks get."""
    keys: tuple[str, ...] = ()
    """Names of agents' keys."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """Further variables of each check."""
    sampler: Sampler
    stop_token: StopToken

    @property
    def _environment(self) -> CommandEnvironment:
        return CommandEnvironment(environ=self.environ, names=self.checks_env, keys=self.keys, added=self.variables)

    def check_worker(
        self,
        spec: WorkerSpec,
        private: PrivateGit | None,
        commit: str | None,
        *,
        secret_values: tuple[str, ...],
        emit: Callable[[Event], None],
        warn: Callable[[str], None],
    ) -> list[CheckResult]:
        """Run the checks of a worker whose agent has ended.

        Args:
            private: The private git directory of its worktree. `None` means in place: nothing is restored.
            commit: The collected state, equal to the content of the worktree. `None` means in place.
            secret_values: Values blanked out in the output of the checks.

        Raises:
            EnvironmentProblem, GitError: The checks could not be run.
        """
        box = worker_box(spec, self.repository, self.run_dir, self.environ)
        try:
            results = self._check_worker(spec, private, commit, secret_values, emit, warn, box.contain)
        finally:
            for warning in box.close(self._log(spec)):
                warn(warning)
        flaky = [result.command for result in results if result.flaky]
        if flaky:
            warn(f"flaky: {summarize(flaky, 3)} failed, and passed when it was repeated")
        failed = next((result for result in results if not result.passed), None)
        if failed is not None:
            held_back = self._environment.held_back(failed.command, failed.output_tail, "checks_env")
            if held_back is not None:
                warn(held_back)
        return results

    def _check_worker(
        self,
        spec: WorkerSpec,
        private: PrivateGit | None,
        commit: str | None,
        secret_values: tuple[str, ...],
        emit: Callable[[Event], None],
        warn: Callable[[str], None],
        contain: Contain,
    ) -> list[CheckResult]:
        limits = replace(spec.limits, timeout_s=spec.check_timeout_s)
        order = replace(
            self._order(spec.checks, spec.run_id, f"worker-{spec.worker_id}.checks", limits, secret_values),
            contain=contain,
        )
        directory = Path(spec.worktree_path)
        if private is None or commit is None or spec.isolation is Isolation.NONE:
            return self._run(order, directory, None, emit, warn)
        try:
            tree = RestorableTree(
                self.repository,
                private,
                of_worker(self.repository, self.run_dir, spec),
                tree=private.git.text("rev-parse", f"{commit}^{{tree}}"),
                branch=spec.branch,
                run_id=spec.run_id,
                number=spec.number,
            )
            with contextlib.closing(tree):
                results = self._run(replace(order, variables=ceiling(directory)), directory, tree, emit, warn)
        except OSError as error:
            raise EnvironmentProblem(f"its checks could not be run: {error}") from error
        kept = f" (kept as {summarize(tree.kept, 3)})" if tree.kept else ""
        if tree.written:
            warn(f"what the checks wrote was taken back: {summarize(tree.written, 3)}{kept}")
        elif tree.branch_moved:
            warn(f"a check moved {spec.branch}; it was moved back{kept}")
        return results

    def check_base(
        self,
        order: BaselineOrder,
        settings: WorktreeSettings,
        setup_environ: CommandEnvironment,
        emit: Callable[[Event], None],
    ) -> None:
        """Run each check once on the base commit, in a temporary worktree.

        Emits one `BaselineFinished`, with the checks that ended.
        """
        try:
            with services(self.run_dir, "base", settings) as variables:
                own = replace(self, variables=variables)
                checks, error = own._check_base(order, settings, replace(setup_environ, added=variables)), None
        except ArchitectParallelError as problem:
            checks, error = [], None if self.stop_token.is_cancelled() else str(problem)
        emit(BaselineFinished(checks=tuple(checks), error=error))

    def _check_base(
        self, order: BaselineOrder, settings: WorktreeSettings, setup_environ: CommandEnvironment
    ) -> list[CheckResult]:
        repository, run_id, is_cancelled = self.repository, order.run_id, self.stop_token.is_cancelled

        def run_setup(command: str) -> CommandOutcome:
            return run_command(
                ("/bin/sh", "-c", command),
                cwd=worktree.path,
                env=setup_environ.of(command),
                timeout_s=order.limits.timeout_s,
                is_cancelled=is_cancelled,
            )

        with temporary_worktree(
            repository, commit=order.base_commit, run_id=run_id, is_cancelled=is_cancelled, settings=settings
        ) as worktree:
            directory = self.run_dir / "git" / "base"
            try:
                prepare(repository, worktree, settings, run=run_setup, environment=setup_environ)
                filters = record(repository, self.run_dir)
                private = PrivateGit.create(repository, directory, worktree.path, filters=filters)
                own = WorkerRepository(
                    repository=repository,
                    directory=place_of(self.run_dir, "base"),
                    worktree=worktree.path,
                    admin_dir=worktree.admin_dir,
                )
                oid = private.write_tree().tree
                tree = RestorableTree(repository, private, own, tree=oid, branch="", run_id=run_id, number=None)
                limits = replace(order.limits, timeout_s=order.check_timeout_s)
                box = Box(
                    sandbox=order.sandbox,
                    repository=repository,
                    run_dir=self.run_dir,
                    environ=self.environ,
                    directory=worktree.path,
                    name="base",
                )
                checks = self._order(order.commands, run_id, "base.checks", limits, ())
                checks = replace(checks, repeat=False, contain=box.contain)
                with contextlib.closing(tree), contextlib.closing(box):
                    return self._run(checks, worktree.path, tree, lambda event: None, _log.warning)
            finally:
                _remove(directory)

    def _log(self, spec: WorkerSpec) -> Path:
        return self.run_dir / "logs" / f"worker-{spec.worker_id}.checks.log"

    def _order(
        self, commands: tuple[str, ...], run_id: str, log: str, limits: Limits, secret_values: tuple[str, ...]
    ) -> CheckOrder:
        return CheckOrder(
            commands=commands,
            limits=limits,
            environ=self._environment,
            secrets=secret_values,
            log=make_own_dir(self.run_dir / "logs") / f"{log}.log",
            cookie=f"{run_id}.check.{secrets.token_hex(8)}",
        )

    def _run(
        self,
        order: CheckOrder,
        directory: Path,
        tree: RestorableTree | None,
        emit: Callable[[Event], None],
        warn: Callable[[str], None],
    ) -> list[CheckResult]:
        def restore() -> None:
            try:
                if tree is not None:
                    tree.put_back()
            except (ArchitectParallelError, OSError) as error:
                warn(f"what a check did in {directory} could not be taken back: {error}")

        hooks = CheckHooks(
            before_run=(lambda: None) if tree is None else tree.lend,
            after_run=restore,
            on_result=lambda result: emit(CheckFinished(check=result)),
        )
        return run_checks(order, directory, sampler=self.sampler, stop_token=self.stop_token, hooks=hooks)


def _remove(directory: Path) -> None:
    try:
        delete_tree(directory)
        directory.parent.rmdir()
    except OSError:
        return
