"""Plans become runs: numbers are reserved, the plan is recorded, and only then is anything made.

Also what can be done to a live run from outside: to stop it.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from architect_parallel.api.artifacts import require_place, try_artifacts
from architect_parallel.api.judge import judge
from architect_parallel.backends.architect import PURSE
from architect_parallel.backends.base import CommandLine
from architect_parallel.backends.providers import choose_model, default_model
from architect_parallel.domain import Attempt, Isolation, RunPlan, RunResult, WorkerResult, WorkerSpec
from architect_parallel.domain import TripwireMode as Watch
from architect_parallel.errors import EnvironmentProblem, InternalError, NothingToDo
from architect_parallel.events import (
    Event,
    Recorded,
    RunStarted,
    Warned,
    WorkerFinished,
)
from architect_parallel.hosts.base import Emit
from architect_parallel.hosts.local import LocalHost
from architect_parallel.journal import Journal
from architect_parallel.journal.replay import replay
from architect_parallel.journal.requests import request_cancel
from architect_parallel.reports.result_files import ResultFiles
from architect_parallel.reports.state_file import StateFile
from architect_parallel.repository.registry import registration_lock
from architect_parallel.runs.inputs import HandingOn
from architect_parallel.runs.options import ParallelConfig
from architect_parallel.runs.plan import draft_plan, numbered
from architect_parallel.runs.runner import Listener, Runner
from architect_parallel.runs.workspace import Workspace, load_workspace, open_journal, require_planned
from architect_parallel.scheduling.admission import FreeResources, Rules
from architect_parallel.system import clock, machine
from architect_parallel.system.files import HeldLock, hand_over_tree, make_private_dir, replace_file
from architect_parallel.system.git import Repository
from architect_parallel.tripwire.attribution import programs_changed
from architect_parallel.tripwire.monitor import Tripwire
from architect_parallel.workers.request import request_for
from architect_parallel.workers.worker import WorkerContext
from architect_parallel.worktrees.checkout_cache import UnpackedBase
from architect_parallel.worktrees.create import exclude_from_status, highest_number

OWN_BACKEND = "architect"
"""The backend whose workers call a provider named by their model."""
LEAST_OPEN_FILES = 64
"""Measured: a run has 12 files open, and 7 more for each worker that runs."""


class ParallelRunner:
    """Runs tasks in parallel, each in a worktree of its own.

    Args:
        config: What to run.
        workspace_root: Any directory of the repository; `.` is the current one.
        listeners: Called with every recorded event, in the thread that calls `run`.
        environ: Takes the place of `os.environ`, for agents and configuration.

    Raises (all methods):
        UsageError: Something in `config` or a configuration file is wrong; nothing was started.
        EnvironmentProblem: The machine or the repository does not allow it; nothing was started.
    """

    def __init__(
        self,
        config: ParallelConfig,
        workspace_root: str | os.PathLike[str] = ".",
        *,
        listeners: Sequence[Listener] = (),
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.config = config
        config_file = Path(config.config_file) if config.config_file is not None else None
        self.here = load_workspace(Path(workspace_root), config_file, environ)
        self._listeners = tuple(listeners)

    def run(self) -> list[WorkerResult]:
        """Runs everything to its end; results sorted by `worker_id`."""
        return self.execute().results

    def plan(self) -> RunPlan:
        """The plan as it would be now; reserves and makes nothing."""
        draft = self._draft()
        with Journal.of(self.here.repository) as journal:
            return numbered(draft, self.here.repository, self._next_number(journal))

    def execute(self, started: Callable[[RunPlan], None] = lambda plan: None) -> RunResult:
        """Like `run`, with the whole run's result.

        Args:
            started: Called with the plan once its numbers are reserved, before any agent starts.
        """
        draft = self._draft()
        repository = self.here.repository
        artifacts = None if self.config.artifacts is None else require_place(self.here.start / self.config.artifacts)
        with ExitStack() as held:
            journal = held.enter_context(Journal.of(repository))
            exclude_from_status(repository)
            with registration_lock(repository):
                plan = numbered(draft, repository, self._next_number(journal))
                if plan.output_dir is not None:
                    ResultFiles(Path(plan.output_dir), plan)  # what forbids it is found before the run is recorded
                held.callback(hold(journal, plan.run_id).release)
                journal.append([(plan.run_id, None, RunStarted(plan=plan, launcher_pid=os.getpid()))])
            started(plan)
            result = run_plan(plan, journal, self.here, self._listeners)
            if artifacts is not None:
                add_artifacts(result, artifacts, repository, journal, self._listeners)
            return result

    def _draft(self) -> RunPlan:
        return draft_plan(self.config, self.here)

    def _next_number(self, journal: Journal) -> int:
        return max(highest_number(self.here.repository), *journal.live_numbers(), 0) + 1

    def command_lines(self, plan: RunPlan) -> dict[int, CommandLine]:
        """What every worker of `plan` would start, for a dry run; nothing outside a temporary folder is touched."""
        lines = {}
        with tempfile.TemporaryDirectory(prefix="architect-dry-run-") as folder:
            for spec in plan.workers:
                state_dir = Path(folder) / f"worker-{spec.worker_id}"
                state_dir.mkdir()
                request = request_for(spec, prompt_file=state_dir / "prompt.txt", state_dir=state_dir)
                lines[spec.worker_id] = self.here.backends[spec.backend].command(request)
        return lines


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlierLaunches:
    """What earlier launches of a run left."""

    standing: Mapping[int, WorkerFinished]
    """The ends that stand, by worker id; all others are to be run again."""
    attempts: Mapping[int, Sequence[Attempt]]
    """By worker id; of those that are run again, too."""
    begun: Collection[int]
    """Ids of the workers that came so far as to make or take up a worktree."""
    ended: bool
    """Whether the last of them ended the run: its launcher did not die."""


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
    """Runs a recorded plan on this machine; of a resumed one the workers in `todo`, after what was `before`. A
    competition is judged at the end. The run's lock is held."""
    todo = plan.workers if todo is None else todo
    worktrees = sum(spec.isolation is Isolation.WORKTREE and not spec.continues for spec in todo)
    unpacked = UnpackedBase(here.repository, plan.base_commit, worktrees=worktrees)
    earlier = _results(journal, plan) if plan.is_graph or plan.workflow is not None else {}
    state = StateFile.of(plan, earlier, again=[spec.worker_id for spec in todo])
    files = None if plan.output_dir is None else ResultFiles(Path(plan.output_dir), plan)
    runner = local_runner(
        plan,
        journal,
        here,
        [each.take for each in (state, files) if each] + [*listeners],
        todo=todo,
        first_event=first_event,
        before=before,
        handing_on=HandingOn(plan, here.repository, earlier) if plan.is_graph else None,
        unpacked=unpacked,
    )
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
        _tell(listeners, plan.run_id, result.warnings[-1:])
    return result


def _debugger(plan: RunPlan, journal: Journal) -> WorkerSpec | None:
    """Who is asked about failures, with the empty directory it works in."""
    if plan.workflow is None or plan.workflow.debugger is None:
        return None
    place = make_private_dir(journal.run_dir(plan.run_id) / "debugger")
    return replace(plan.workflow.debugger, worktree_path=str(place))


def _results(journal: Journal, plan: RunPlan) -> dict[int, WorkerResult]:
    """The results of earlier launches, by worker id; empty in the first one."""
    before = replay(journal.recorded(plan.run_id), live=True)
    return {result.worker_id: result for result in before.results}


def local_runner(
    plan: RunPlan,
    journal: Journal,
    here: Workspace,
    listeners: Sequence[Listener],
    *,
    todo: Sequence[WorkerSpec] | None = None,
    first_event: Event | None = None,
    before: EarlierLaunches | None = None,
    handing_on: HandingOn | None = None,
    unpacked: UnpackedBase | None = None,
) -> Runner:
    """A runner of a recorded plan on this machine, under the rules that hold here."""
    _fill_purse(journal.run_dir(plan.run_id), plan.budget_usd)
    workplace = WorkerContext(
        repository=here.repository,
        run_dir=journal.run_dir(plan.run_id),
        backends=here.backends,
        environ=here.environ,
        worktrees=here.settings.worktrees,
        checks_env=here.settings.parallel.checks_env,
        prices=here.settings.prices,
        unpacked=unpacked,
        resolve_inputs=handing_on.make_whole if handing_on else lambda spec: spec,
    )

    def make_host(emit: Emit) -> LocalHost:
        if plan.tripwire is Watch.OFF:
            return LocalHost(workplace, emit)
        tripwire = Tripwire(
            repository=here.repository,
            journal=journal,
            run_id=plan.run_id,
            failing=plan.tripwire is Watch.FAIL,
            emit=lambda event: emit(None, event),
            own=[Path(os.path.realpath(each)) for each in _written_meanwhile(plan)],
        )
        return LocalHost(replace(workplace, tripwire=tripwire), emit)

    return Runner(
        plan,
        journal,
        make_host,
        todo=todo,
        first_event=first_event,
        earlier=before.attempts if before else None,
        standing=before.standing if before else None,
        rules=start_rules(here, plan),
        room=lambda: FreeResources(
            memory_bytes=machine.free_memory_bytes(), disk_bytes=machine.free_disk_bytes(here.repository.common_dir)
        ),
        debugger=_debugger(plan, journal),
        listeners=[*([handing_on.take] if handing_on else []), *listeners],
    )


def _written_meanwhile(plan: RunPlan) -> list[str]:
    """What this program itself writes for the user while agents run."""
    state = None if plan.workflow is None else plan.workflow.state_file
    return [each for each in (plan.output_dir, state) if each is not None]


def _fill_purse(run_dir: Path, budget_usd: float | None) -> None:
    """Puts the run's budget where embedded agents find it, anew for each launch."""
    purse = run_dir / "state" / PURSE
    if budget_usd is None:
        return
    make_private_dir(purse.parent)
    replace_file(purse, f"{budget_usd!r}\n".encode(), mode=0o600)


def start_rules(here: Workspace, plan: RunPlan | None = None) -> Rules:
    """What holds for the starts of workers here. The provider of the embedded agent's workers is their model's; every
    other backend keeps its models to itself and is its own provider."""
    settings = here.settings
    variables = {name for name, value in here.environ.items() if value}

    def provider_of(spec: WorkerSpec) -> str:
        model = spec.model or default_model(variables)
        if spec.backend != OWN_BACKEND or model is None:
            return spec.backend
        choice = choose_model(model, here.environ.get("ARCHITECT_API_BASE"))
        return spec.backend if choice is None else choice.provider.name

    return Rules(
        provider_of=provider_of,
        rate_limits={name: each.rate_limit for name, each in settings.providers.items() if each.rate_limit is not None}
        | {each.provider: each.rate_limit for each in (plan.workflow.rates if plan and plan.workflow else ())},
        rate_limit_wait_s=settings.parallel.rate_limit_wait,
        min_free_memory_bytes=settings.parallel.min_free_memory,
        min_free_disk_bytes=settings.parallel.min_free_disk,
    )


def cancel(
    workspace_root: Path, run: str, worker_id: int | None = None, *, wait: bool = True, dry_run: bool = False
) -> dict[str, Any]:
    """Asks the launcher of a live run to stop it, or one worker of it.

    Returns:
        `run_id`, `worker_id`, `requested` and `ended`: whether the run was seen to end (`None` for a single worker).

    Raises:
        NothingToDo: No such run, or it has ended.
        UsageError: The run has no such worker.
    """
    with open_journal(workspace_root) as (_, journal):
        run_id = journal.find(run)
        result = journal.result(run_id)
        if worker_id is not None:
            require_planned(run_id, result.planned, worker_id)
        if not journal.is_live(run_id):
            raise NothingToDo(f"run {run_id} is not live", hint=f"architect status {run_id}")
        if not dry_run:
            request_cancel(journal.run_dir(run_id), worker_id)
            while wait and worker_id is None and journal.is_live(run_id):
                clock.pause(0.1)
        ended = None if worker_id is not None else not journal.is_live(run_id)
        return {"run_id": run_id, "worker_id": worker_id, "requested": not dry_run, "ended": ended}


def hold(journal: Journal, run_id: str) -> HeldLock:
    """The run's lock.

    Raises:
        EnvironmentProblem: Somebody alive holds it, or this process may open too few files for a run.
    """
    allowed = machine.open_files_limit()
    if allowed < LEAST_OPEN_FILES:
        problem = f"this process may open {allowed} files, a run needs {LEAST_OPEN_FILES}"
        raise EnvironmentProblem(problem, hint="ulimit -n 1024")
    lock = journal.hold(run_id)
    if lock is None:
        raise EnvironmentProblem(f"run {run_id} is still live", hint=f"architect status {run_id}")
    return lock


def require_not_imported(plan: RunPlan) -> RunPlan:
    """`plan`, when it was made here.

    Raises:
        EnvironmentProblem: It was imported: somebody else wrote its tasks.
    """
    if plan.imported:
        problem = f"run {plan.run_id} was imported: its tasks come from elsewhere and are not run here"
        raise EnvironmentProblem(problem, hint='architect parallel "the task"')
    return plan


def recorded_plan(journal: Journal, run_id: str) -> RunPlan:
    """The plan as it was when the run began."""
    first = journal.first(run_id)
    if first is None or not isinstance(first.event, RunStarted):
        raise InternalError(f"the journal of run {run_id} does not begin with its plan")
    return first.event.plan


def add_artifacts(
    result: RunResult, place: Path, repository: Repository, journal: Journal, listeners: Sequence[Listener]
) -> None:
    """Writes the artifacts of an ended run to `place`; what is missing is a further warning of the `result`."""
    said = try_artifacts(repository, journal, result.run_id, place)
    result.warnings += said
    _tell(listeners, result.run_id, said)


def _tell(listeners: Sequence[Listener], run_id: str, warnings: Sequence[str]) -> None:
    """What came after the run's last event; only those who watch now hear of it."""
    for message in warnings:
        recorded = Recorded(run_id=run_id, seq=0, time=clock.now(), worker_id=None, event=Warned(message=message))
        for listener in listeners:
            listener(recorded)
