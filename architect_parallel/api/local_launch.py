"""One launch of a recorded plan on this machine: everything that a `Runner` works with is put together here."""

from __future__ import annotations

import os
import random
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from architect_parallel.api.judge import judge
from architect_parallel.api.remote_launch import remote_host
from architect_parallel.backends.base import Backend
from architect_parallel.backends.providers import choose_model, default_model
from architect_parallel.containment.metering import RunBudget
from architect_parallel.domain import (
    Attempt,
    Isolation,
    Role,
    RunPlan,
    RunResult,
    TripwireMode,
    WorkerSpec,
)
from architect_parallel.events import (
    Event,
    Recorded,
    Warned,
    WorkerFinished,
    WorkerPlaced,
)
from architect_parallel.hosts.base import Emit, Host
from architect_parallel.hosts.local import LocalHost
from architect_parallel.journal import Journal
from architect_parallel.journal.replay import replay
from architect_parallel.journal.view import RunView
from architect_parallel.reports.result_files import ResultFiles
from architect_parallel.reports.state_file import StateFile
from architect_parallel.runs.inputs import HandingOn
from architect_parallel.runs.recorder import Listener, Recorder
from architect_parallel.runs.resource_gate import ResourceGate
from architect_parallel.runs.runner import Runner
from architect_parallel.runs.stop_control import StopControl
from architect_parallel.runs.workspace import Workspace
from architect_parallel.scheduling.admission import FreeResources, Rules
from architect_parallel.scheduling.scheduler import Scheduler
from architect_parallel.system import clock, machine
from architect_parallel.system.files import hand_over_tree, replace_file
from architect_parallel.system.own_files import make_own_dir
from architect_parallel.tripwire.attribution import programs_changed
from architect_parallel.tripwire.monitor import Tripwire
from architect_parallel.workers.context import WorkerContext
from architect_parallel.worktrees.checkout_cache import UnpackedBase

RUN_FILES, WORKER_FILES = 40, 8
"""Files that a run has open by itself, and for each worker. Measured: 30, and 5 where all workers start together."""
DISK_SHARE = 4
"""The worker that wrote most is stopped below this part of `min_free_disk`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlierLaunches:
    """The results of earlier launches of a run."""

    standing: Mapping[int, WorkerFinished]
    """The ends that are kept, by worker id. All other workers run again."""
    attempts: Mapping[int, Sequence[Attempt]]
    """By worker id. Also of workers that run again."""
    begun: Collection[int]
    """Ids of the workers that got as far as making or taking over a worktree."""
    ended: bool
    """The latest launch ended the run. Otherwise its launcher died."""
    placed: Mapping[int, WorkerPlaced] = field(default_factory=dict)
    """Worker id → the place of an attempt on another machine that has no end. It is taken up, not repeated."""


def run_plan(
    plan: RunPlan,
    journal: Journal,
    here: Workspace,
    listeners: Sequence[Listener],
    *,
    todo: Sequence[WorkerSpec] | None = None,
    first_event: Event | None = None,
    before: EarlierLaunches | None = None,
) -> RunResult:
    """Run a recorded plan on this machine, and judge a competition at its end. The caller holds the run's lock.

    Args:
        todo: The workers to run. `None` means all of the plan.
        first_event: Recorded before anything else. `None` means that the caller has recorded the start of the launch.
        before: The results of earlier launches. `None` means that this is the first.
    """
    todo = plan.workers if todo is None else todo
    worktrees = sum(spec.isolation is Isolation.WORKTREE and not spec.continues for spec in todo)
    unpacked = UnpackedBase(here.repository, plan.base_commit, worktrees=worktrees)
    recorded = journal.recorded(plan.run_id)
    earlier = {result.worker_id: result for result in replay(recorded, live=True).results}
    inputs = HandingOn(plan, here.repository, earlier) if plan.is_graph else None
    state = StateFile.of(plan, recorded)
    files = None if plan.output_dir is None else ResultFiles(Path(plan.output_dir), plan)
    own_listeners = [listener.take for listener in (inputs, state, files) if listener is not None]
    launch = _LocalLaunch(
        plan=plan,
        here=here,
        recorder=Recorder(journal, plan.run_id, [*own_listeners, *listeners], RunView.of(plan.run_id, recorded)),
        todo=todo,
        before=before,
        inputs=inputs,
        unpacked=unpacked,
    )
    runner = launch.runner(first_event)
    with here.repository.programs.agents_running() as changed:
        try:
            result = runner.run()
        finally:
            unpacked.close()
            for spec in todo:
                if spec.isolation is Isolation.WORKTREE:
                    hand_over_tree(Path(spec.worktree_path))
        if files is not None:
            try:
                files.finish(result)
            except OSError as error:  # the run is over and recorded: its answer must not be lost with this
                result.warnings.append(f"{plan.output_dir}: the summary could not be written: {error.strerror}")
        result = judge(plan, result, journal, here, listeners)
    if changed:
        result.warnings.append(programs_changed(changed))
        tell(listeners, plan.run_id, result.warnings[-1:])
    return result


def local_runner(plan: RunPlan, journal: Journal, here: Workspace, listeners: Sequence[Listener]) -> Runner:
    """The runner of a recorded plan on this machine, for a caller that adds its workers."""
    recorder = Recorder(journal, plan.run_id, listeners)
    return _LocalLaunch(plan=plan, here=here, recorder=recorder, todo=plan.workers).runner()


@dataclass(frozen=True, slots=True, kw_only=True)
class _LocalLaunch:
    """One launch of a recorded plan on this machine, under the rules of the workspace."""

    plan: RunPlan
    here: Workspace
    recorder: Recorder
    todo: Sequence[WorkerSpec]
    before: EarlierLaunches | None = None
    inputs: HandingOn | None = None
    """Completes the workers that depend on others. `None` means that no worker does."""
    unpacked: UnpackedBase | None = None

    @property
    def run_dir(self) -> Path:
        return self.recorder.journal.run_dir(self.plan.run_id)

    def runner(self, first_event: Event | None = None) -> Runner:
        _write_budget_files(self.run_dir, self.plan.budget_usd, self.here.backends.values())
        rules = start_rules(self.here, self.plan)
        standing = self.before.standing if self.before else {}
        scheduler = Scheduler(
            [*self.todo, *(spec for spec in self.plan.workers if spec.worker_id in standing)],
            rules,
            max_parallel=self._max_parallel(),
            random=random.random,
            now=clock.now,
            fail_fast=self.plan.fail_fast,
            earlier=self.before.attempts if self.before else None,
            standing=standing,
            debugger=self._debugger(),
        )
        return Runner(
            self.plan,
            self.recorder,
            self._host,
            scheduler,
            StopControl(self.run_dir, timeout_s=self.plan.timeout_s, budget_usd=self.plan.budget_usd),
            ResourceGate(rules, self._free_resources, self.recorder.warn),
            first_event=first_event,
        )

    def _max_parallel(self) -> int:
        """The most workers at once: what the plan says, or fewer where this process may open too few files."""
        if self.plan.cluster is not None:
            return self.plan.max_parallel
        possible = max(1, (machine.open_files_limit() - RUN_FILES) // WORKER_FILES)
        if min(self.plan.max_parallel, len(self.plan.workers)) > possible:
            self.recorder.warn(f"{possible} workers run at once: a process may open few files here (ulimit -n 4096)")
        return min(self.plan.max_parallel, possible)

    def _host(self, emit: Emit) -> Host:
        here, journal = self.here, self.recorder.journal
        context = WorkerContext(
            repository=here.repository,
            run_dir=self.run_dir,
            backends=here.backends,
            environ=here.environ,
            worktrees=here.settings.worktrees,
            checks_env=here.settings.parallel.checks_env,
            prices=here.settings.prices,
            unpacked=self.unpacked,
            keeps_keys=here.settings.sandbox.keeps_keys,
            run_budget=RunBudget(self.plan.budget_usd),
            allow_secrets=self.plan.allow_secrets,
            make_room=journal.ballast.make_room,
            resolve_inputs=self.inputs.make_whole if self.inputs else lambda spec: spec,
        )
        if self.plan.tripwire is not TripwireMode.OFF:
            tripwire = Tripwire(
                repository=here.repository,
                journal=journal,
                run_id=self.plan.run_id,
                failing=self.plan.tripwire is TripwireMode.FAIL,
                emit=lambda event: emit(None, event),
                own=[Path(os.path.realpath(path)) for path in _files_for_user(self.plan)],
                earlier=self.recorder.view.escaped,
            )
            context = replace(context, tripwire=tripwire)
        least_bytes = here.settings.parallel.min_free_disk // DISK_SHARE
        local = LocalHost(context, emit, least_disk_bytes=least_bytes)
        if self.plan.cluster is None:
            return local
        from architect_parallel.hosts.split import SplitHost

        todo = {spec.worker_id for spec in self.todo}
        placed = {worker_id: event for worker_id, event in self._placed.items() if worker_id in todo}
        remote = remote_host(self.plan, here, journal, emit, placed=placed, resolve_inputs=context.resolve_inputs)
        return SplitHost(local, remote)

    @property
    def _placed(self) -> Mapping[int, WorkerPlaced]:
        return {} if self.before is None else self.before.placed

    def _debugger(self) -> WorkerSpec | None:
        """The agent that explains failures, in an empty directory. `None` means that the plan has none."""
        if self.plan.workflow is None or self.plan.workflow.debugger is None:
            return None
        directory = make_own_dir(self.run_dir / "debugger")
        return replace(self.plan.workflow.debugger, worktree_path=str(directory), role=Role.DEBUGGER)

    def _free_resources(self) -> FreeResources:
        if self.plan.cluster is not None:
            return FreeResources()  # each host looks at its own
        disk_bytes = machine.free_disk_bytes(self.here.repository.common_dir)
        return FreeResources(memory_bytes=machine.free_memory_bytes(), disk_bytes=disk_bytes)


def _files_for_user(plan: RunPlan) -> list[str]:
    """Paths that this program itself writes for the user while agents run."""
    state_file = None if plan.workflow is None else plan.workflow.state_file
    return [path for path in (plan.output_dir, state_file) if path is not None]


def _write_budget_files(run_dir: Path, budget_usd: float | None, backends: Iterable[Backend]) -> None:
    """Write the run's budget for the backends whose workers share it, anew for each launch."""
    if budget_usd is None:
        return
    for name in {backend.capabilities.budget_file for backend in backends} - {None}:
        state_dir = make_own_dir(run_dir / "state")
        replace_file(state_dir / str(name), f"{budget_usd!r}\n".encode(), mode=0o600)


def start_rules(here: Workspace, plan: RunPlan | None = None) -> Rules:
    """The rules for starting workers here. A worker's provider is that of its model where its backend calls providers
    itself, and otherwise its backend."""
    settings = here.settings
    variables = {name for name, value in here.environ.items() if value}

    def provider_of(spec: WorkerSpec) -> str:
        model = spec.model or default_model(variables)
        backend = here.backends.get(spec.backend)
        if backend is None or not backend.capabilities.calls_providers or model is None:
            return spec.backend
        choice = choose_model(model, here.environ.get("ARCHITECT_API_BASE"))
        return spec.backend if choice is None else choice.provider.name

    rate_limits = {name: own.rate_limit for name, own in settings.providers.items() if own.rate_limit is not None}
    if plan is not None and plan.workflow is not None:
        rate_limits |= {rate.provider: rate.rate_limit for rate in plan.workflow.rates}
    return Rules(
        provider_of=provider_of,
        rate_limits=rate_limits,
        rate_limit_wait_s=settings.parallel.rate_limit_wait,
        min_free_memory_bytes=settings.parallel.min_free_memory,
        min_free_disk_bytes=settings.parallel.min_free_disk,
    )


def tell(listeners: Sequence[Listener], run_id: str, warnings: Sequence[str]) -> None:
    """Show warnings from after the run's last event to the listeners. No journal has them."""
    for message in warnings:
        recorded = Recorded(run_id=run_id, seq=0, time=clock.now(), worker_id=None, event=Warned(message=message))
        for listener in listeners:
            listener(recorded)
