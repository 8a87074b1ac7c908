"""The run of a flow: a state machine whose jobs are workers of one run.

The machine (`flows.machine`) demands work. The jobs become workers of the runner, supervised, limited and journaled
like all others, and their ends become outcomes. The state of the machine is recorded before the jobs of a state start.
So a flow that was killed, stopped or paused, or that failed, goes on from that state. Jobs that succeeded are not
repeated.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from architect_parallel.api.launch import hold, require_not_imported
from architect_parallel.api.local_launch import local_runner
from architect_parallel.api.resume import hold_run
from architect_parallel.domain import RunPlan, RunResult, RunStatus, Status, WorkerResult, WorkerSpec
from architect_parallel.errors import EnvironmentProblem, ExitCode, NothingToDo, UsageError
from architect_parallel.events import (
    FlowMoved,
    Recorded,
    RunExtended,
    RunResumed,
    RunStarted,
    Warned,
    WorkerFinished,
)
from architect_parallel.flows.answers import pause_of, require_answer
from architect_parallel.flows.files import Outputs, reader_in
from architect_parallel.flows.instance import FlowChanged, Instance
from architect_parallel.flows.machine import Machine
from architect_parallel.flows.model import (
    TIMED_OUT,
    Demand,
    Done,
    Ended,
    Flow,
    FlowFault,
    Jobs,
    SubFlows,
    Wait,
)
from architect_parallel.flows.plan import FlowConfig, draft_jobs, plan_flow, read_flow, require_backends, text_of
from architect_parallel.journal import Journal
from architect_parallel.journal.replay import replay
from architect_parallel.journal.requests import forget_requests
from architect_parallel.options import RunOptions
from architect_parallel.reports.paused import asked, to_go_on
from architect_parallel.repository.registry import registration_lock
from architect_parallel.runs.containment import contained_again, with_words
from architect_parallel.runs.options import ParallelConfig, resolve
from architect_parallel.runs.recorder import Listener
from architect_parallel.runs.runner import Runner
from architect_parallel.runs.workspace import Workspace, open_journal
from architect_parallel.scheduling.resumption import ends_that_hold
from architect_parallel.text.sanitize import one_line
from architect_parallel.worktrees.places import Places, exclude_from_status, require_root

Answer = Callable[[Demand], str | None]
"""Asks a person. `None` means that there is no answer, and the flow pauses."""


def run_flow(
    config: FlowConfig,
    workspace_root: Path,
    ask: Answer,
    *,
    listeners: Sequence[Listener] = (),
    started: Callable[[RunPlan], None] = lambda plan: None,
) -> RunResult:
    """Run a flow from its start in `workspace_root`. Raises like `plan_flow`, before anything starts."""
    here, flow, plan = plan_flow(config, workspace_root)
    with ExitStack() as held:
        journal = held.enter_context(Journal.of(here.repository))
        exclude_from_status(here.repository, here.settings.worktrees)
        with registration_lock(here.repository):
            held.callback(hold(journal, plan.run_id).release)
            journal.append([(plan.run_id, None, RunStarted(plan=plan, launcher_pid=os.getpid()))])
        started(plan)
        instance = _restored(flow, here, config.variables, None)
        return _FlowRun(instance, plan, here, journal, ask, listeners).run()


def resume_flow(
    workspace_root: Path,
    run: str,
    ask: Answer,
    *,
    answer: str | None = None,
    config_file: Path | None = None,
    listeners: Sequence[Listener] = (),
    started: Callable[[RunPlan], None] = lambda plan: None,
    words: ParallelConfig | None = None,
) -> RunResult:
    """Go on with a flow from its last state. The jobs of that state that succeeded are not repeated.

    Args:
        answer: The answer to the question that the flow is paused in. `None` means that `ask` is called.
        words: Its `sandbox`, `network` and `allow_hosts` hold for this launch. `None` means the flow's own.

    Raises:
        NothingToDo: There is no such run, it is no flow, or it succeeded.
        UsageError: Its file was changed so that it does not fit any more, or `answer` is not allowed.
        EnvironmentProblem: The run is still live.
    """
    with hold_run(workspace_root, run, config_file=config_file) as held:
        journal, run_id = held.journal, held.run_id
        require_root(held.workspace.repository, held.workspace.settings.worktrees)
        exclude_from_status(held.workspace.repository, held.workspace.settings.worktrees)
        plan = require_not_imported(journal.plan(run_id))
        if plan.flow is None:
            raise NothingToDo(f"run {run_id} is not a flow", hint=f"architect resume {run_id}")
        earlier, moved = _recorded(journal, run_id)
        here = replace(held.workspace, start=Path(plan.flow.directory))
        options = resolve(words or ParallelConfig(), here.settings.parallel)
        flow = read_flow(Path(plan.flow.file), here)
        require_backends(flow, here)
        try:
            instance = _restored(flow, here, plan.flow.variables, moved[-1] if moved else None)
        except KeyError as error:
            text = f"{plan.flow.file} has no state {error} any more"
            raise UsageError(text, hint=f"architect flow run {plan.flow.file}") from error
        except FlowChanged as error:
            text = f"{plan.flow.file}: state {error} does other work than in the recorded run"
            raise UsageError(text, hint=f"architect flow run {plan.flow.file}") from error
        if answer is not None:
            require_answer(instance.demanded, answer, run_id)
        forget_requests(journal.run_dir(run_id))
        plan = replace(plan, flow=with_words(plan.flow, options))
        started(plan)
        return _FlowRun(instance, plan, here, journal, ask, listeners).run(earlier, answer, options)


def flow_position(workspace_root: Path, run: str) -> tuple[str, str | None]:
    """The id of a run and the state from which `resume_flow` would go on. `None` means its start.

    Raises:
        NothingToDo: There is no such run, or its flow succeeded.
    """
    with open_journal(workspace_root) as (_, journal):
        run_id = journal.find(run)
        _, moved = _recorded(journal, run_id)
        return run_id, " > ".join(frame["state"] for frame in moved[-1].machine["frames"]) if moved else None


def _restored(flow: Flow, here: Workspace, variables: Mapping[str, str], moved: FlowMoved | None) -> Instance:
    """The flow at its last recorded state, or at its start. Raises like `Instance.restore`."""
    read = reader_in(here.start)
    if moved is None:
        return Instance(Machine(flow, read, variables), read)
    return Instance.restore(flow, read, {"workers": moved.workers, **moved.machine})


def _recorded(journal: Journal, run_id: str) -> tuple[list[Recorded], list[FlowMoved]]:
    """The events of earlier launches, and the states among them. Raises `NothingToDo` where the flow succeeded."""
    recorded = journal.recorded(run_id)
    if replay(recorded, live=False).status is RunStatus.SUCCESS:
        raise NothingToDo(f"the flow of run {run_id} has ended", hint=f"architect status {run_id}")
    return recorded, [event.event for event in recorded if isinstance(event.event, FlowMoved)]


class _FlowRun:
    """A flow that runs as workers of one run."""

    def __init__(
        self,
        flow: Instance,
        plan: RunPlan,
        here: Workspace,
        journal: Journal,
        ask: Answer,
        listeners: Sequence[Listener],
    ) -> None:
        self._flow = flow
        self._plan = plan
        self._here = here
        self._journal = journal
        self._ask = ask
        self._answer: str | None = None
        # Collected as it is recorded: a replay of the run for each state would cost the square of its states.
        self._specs: dict[int, WorkerSpec] = {}
        self._results: dict[int, WorkerResult] = {}
        """The results of workers, except of those that run again."""
        self._listeners = listeners

    def run(
        self,
        earlier: Sequence[Recorded] = (),
        answer: str | None = None,
        options: RunOptions | None = None,
    ) -> RunResult:
        """Go on until the flow ends, pauses or is stopped.

        Args:
            earlier: The events of earlier launches.
            answer: The answer to the first question. `None` means that a person is asked.
            options: Those of this launch. `None` means that this is the first launch.
        """
        self._answer = answer
        for item in earlier:
            self._collect(item)
        runner = local_runner(self._plan, self._journal, self._here, [self._collect, *self._listeners])
        if options is not None:
            self._restart(runner, earlier, options)
        try:
            return self._go_on(runner)
        except KeyboardInterrupt:  # while a person was asked, or between two states
            return self._pause(runner, self._flow.machine.where, ExitCode.INTERRUPTED)

    def _go_on(self, runner: Runner) -> RunResult:
        while True:
            demanded = self._flow.demanded
            if isinstance(demanded, Ended):
                return self._end(runner, demanded)
            if isinstance(demanded, Jobs | SubFlows):
                runner.work(lambda: self._follow(runner))
                if runner.stopped_by is not None:
                    return self._stop(runner, self._flow.machine.where)
                continue
            pause = pause_of(demanded)
            self._record(runner, FlowMoved(state=demanded.state, machine=self._flow.snapshot(), pause=pause))
            if isinstance(demanded, Wait) and demanded.seconds is not None:
                runner.idle(demanded.seconds)
                if runner.stopped_by is not None:
                    return self._stop(runner, demanded.state)
                self._flow.answer("")
                continue
            answer, self._answer = self._answer, None
            answer = self._ask(demanded) if answer is None else answer
            if answer is None:
                return self._pause(runner, demanded.state)
            self._flow.answer(answer)

    def _follow(self, runner: Runner) -> None:
        """Take the results of ended jobs, and start the jobs that follow."""
        while True:
            self._flow.go_on(self._end_of, lambda: Outputs(self._here.start).write)
            waiting = [item for item in self._flow.instances() if item.jobs is not None and not item.workers]
            for instance in waiting:
                self._begin(runner, instance)
            if not waiting:
                return

    def _begin(self, runner: Runner, instance: Instance) -> None:
        demanded = instance.jobs
        assert demanded is not None
        with registration_lock(self._here.repository):
            try:
                specs = self._numbered(draft_jobs(demanded, self._here, self._plan, max(self._specs, default=0)))
            except (UsageError, EnvironmentProblem, FlowFault) as error:
                instance.refuse(error.message)
                return
            ids = tuple(spec.worker_id for spec in specs)
            instance.begin(ids)
            moved = FlowMoved(state=demanded.state, machine=self._flow.snapshot(), workers=ids)
            self._record(runner, RunExtended(workers=tuple(specs)), moved)
        runner.add(specs, at_once=demanded.at_once)

    def _end_of(self, worker_id: int) -> Done | None:
        result = self._results.get(worker_id)
        return None if result is None else _outcome(result)

    def _restart(self, runner: Runner, earlier: Sequence[Recorded], options: RunOptions) -> None:
        """Start the unfinished jobs of an earlier launch again, each with its next attempt."""
        # Not `journal.result`: this process holds the run's lock, which would look like a live launcher.
        results = {result.worker_id: result for result in replay(earlier, live=False).results}
        final = ends_that_hold(earlier)
        again: list[tuple[list[WorkerSpec], int | None]] = []
        changed = []
        for instance in self._flow.instances():
            demanded, specs = instance.jobs, []
            if demanded is None or not instance.workers:
                continue
            for worker_id, job in zip(instance.workers, demanded.jobs, strict=True):
                if worker_id in final:
                    continue
                spec = self._specs[worker_id]
                if spec.prompt != text_of(job):
                    changed.append(demanded.state)
                spec = contained_again(spec, spec.backend, options, self._here)
                specs.append(replace(spec, attempt=results[worker_id].attempts + 1))
                self._results.pop(worker_id, None)
            again.append((specs, demanded.at_once))
        ids = tuple(spec.worker_id for specs, _ in again for spec in specs)
        self._record(runner, RunResumed(launcher_pid=os.getpid(), worker_ids=ids))
        for state in changed:
            text = f"state {state} was changed: the jobs that had begun run as they were written then"
            runner.warn(f"{text}; to use the new text, run the flow again")
        for specs, at_once in again:
            runner.add(specs, at_once=at_once)

    def _collect(self, recorded: Recorded) -> None:
        match recorded.event:
            case RunExtended(workers=workers):
                self._specs |= {spec.worker_id: spec for spec in workers}
            case WorkerFinished(result=result):
                self._results[result.worker_id] = result
            case _:
                pass

    def _numbered(self, drafts: Sequence[WorkerSpec]) -> list[WorkerSpec]:
        """The workers with free numbers. The registration lock is held."""
        taken = [*self._journal.live_workers(besides=self._plan.run_id), *self._specs.values()]
        places = Places(self._here.repository, self._here.settings.worktrees, taken)
        return [places.give(draft) for draft in drafts]

    def _record(self, runner: Runner, *events: RunExtended | FlowMoved | RunResumed | Warned) -> None:
        runner.record([(None, event) for event in events])

    def _end(self, runner: Runner, ended: Ended) -> RunResult:
        if ended.message:
            runner.warn(f"the flow ended in state {ended.state}: {ended.message}")
        elif ended.exit_code:
            runner.warn(f"the flow ended in state {ended.state} with exit code {ended.exit_code}")
        status = RunStatus.SUCCESS if ended.exit_code == 0 else RunStatus.FAILED
        return runner.finish((status, ended.exit_code))

    def _stop(self, runner: Runner, state: str) -> RunResult:
        """End a flow that a signal, a request or a limit stopped in `state`."""
        run_id = self._plan.run_id
        why = str(runner.stopped_by).replace("_", " ")
        runner.warn(f"the flow was stopped in state {state} ({why}); to go on: architect flow run --resume {run_id}")
        return runner.finish((RunStatus.CANCELED, int(ExitCode.NOT_ALL_SUCCEEDED)))

    def _pause(self, runner: Runner, state: str, code: ExitCode = ExitCode.SUCCESS) -> RunResult:
        run_id = self._plan.run_id
        pause = pause_of(self._flow.demanded)
        if pause is None:
            runner.warn(f"the flow is paused in state {state}; to go on: architect flow run --resume {run_id}")
        else:
            asks = f"the flow is paused in state {state} and asks: {one_line(asked(pause), 400)}"
            runner.warn(f"{asks}; to go on: {to_go_on(run_id)}")
        return runner.finish((RunStatus.INTERRUPTED, int(code)))


def _outcome(result: WorkerResult) -> Done:
    code = result.exit_code or 1
    if result.status is Status.SUCCESS:
        code = 0
    elif result.status is Status.TIMEOUT:
        code = TIMED_OUT
    elif code < 0:
        code = 128 - code
    return Done(exit_code=code, output=result.output)
