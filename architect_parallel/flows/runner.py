"""`architect flow`: a state machine whose jobs are workers of one run.

The machine (`planning.flow`) says what a state demands; here that becomes workers of the one runner, supervised,
limited and journaled like any other, and their ends become its outcomes. Where the flow stands is recorded before a
state's jobs start, so that a flow that was killed, stopped, paused or that failed goes on from that state: jobs that
ended well are not done again.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from architect_parallel.api.launch import hold, recorded_plan, require_not_imported
from architect_parallel.api.local_launch import local_runner
from architect_parallel.config.yaml_source import Faulty, read_bytes
from architect_parallel.domain import (
    SHELL,
    ApprovalMode,
    FlowOrigin,
    Isolation,
    Pause,
    RunPlan,
    RunResult,
    RunStatus,
    SandboxMode,
    Status,
    Task,
    WorkerResult,
    WorkerSpec,
)
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
from architect_parallel.flows.instance import FlowChanged, Instance
from architect_parallel.flows.loader import FlowContext, load_flow
from architect_parallel.flows.machine import (
    COMMANDS,
    TIMED_OUT,
    Demand,
    Done,
    Ended,
    Flow,
    FlowFault,
    Job,
    Jobs,
    Machine,
    Question,
    Reader,
    SubFlows,
    Wait,
)
from architect_parallel.journal import Journal
from architect_parallel.journal.replay import replay
from architect_parallel.journal.requests import forget_requests
from architect_parallel.reports.paused import asked, to_go_on
from architect_parallel.repository.registry import registration_lock
from architect_parallel.runs.plan import numbered_workers
from architect_parallel.runs.recorder import Listener
from architect_parallel.runs.runner import Runner
from architect_parallel.runs.task_sources import TaskPlace
from architect_parallel.runs.worker_specs import draft_spec, require_ready, resolve_task
from architect_parallel.runs.workspace import Workspace, load_workspace, open_journal
from architect_parallel.scheduling.resumption import ends_that_hold
from architect_parallel.system import clock
from architect_parallel.system.files import write_out
from architect_parallel.text import names, quantities
from architect_parallel.text.sanitize import one_line, require_utf8
from architect_parallel.worktrees.create import exclude_from_status, highest_number, require_base

LARGEST_READ_BYTES = 2**20
NO_CAP = 10_000
"""Tasks of one `parallel` that may run at the same time where nobody set a limit."""

Answer = Callable[[Demand], str | None]
"""Asks a person (`Question`, or a `Wait` for somebody); `None`: nobody is there, the flow pauses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowConfig:
    """What `architect flow run` can be told. `None`: as the configuration says."""

    file: str | os.PathLike[str]
    variables: Mapping[str, str]
    budget: float | str | None = None
    """USD of the whole run."""
    timeout: float | str | None = None
    config_file: str | os.PathLike[str] | None = None


def read_flow(file: Path, here: Workspace) -> Flow:
    """The flow at `file`, held against what is here.

    Raises:
        UsageError: With every fault.
    """
    return load_flow(file, FlowContext(directory=here.start, backends=tuple(here.backends)))


def run_flow(
    config: FlowConfig,
    workspace_root: Path,
    ask: Answer,
    *,
    listeners: Sequence[Listener] = (),
    started: Callable[[RunPlan], None] = lambda plan: None,
) -> RunResult:
    """Runs a flow from its start, in `workspace_root`; raises like `plan_flow`, before anything was started."""
    here, flow, plan = plan_flow(config, workspace_root)
    with ExitStack() as held:
        journal = held.enter_context(Journal.of(here.repository))
        exclude_from_status(here.repository)
        with registration_lock(here.repository):
            held.callback(hold(journal, plan.run_id).release)
            journal.append([(plan.run_id, None, RunStarted(plan=plan, launcher_pid=os.getpid()))])
        started(plan)
        course = _Course(plan, here, journal, ask, listeners)
        course.flow = Instance(Machine(flow, course.read, config.variables), course.read)
        return course.run()


def plan_flow(config: FlowConfig, workspace_root: Path) -> tuple[Workspace, Flow, RunPlan]:
    """What `run_flow` would begin with; changes nothing.

    Raises:
        UsageError: With every fault of the file, or an unknown variable.
        EnvironmentProblem: The repository or a backend that the flow names does not allow it.
    """
    here = load_workspace(workspace_root, None if config.config_file is None else Path(config.config_file))
    flow = read_flow(Path(config.file), here)
    for name, value in config.variables.items():
        require_utf8(value, f"--var {one_line(name)}")
        if name not in flow.variables:
            known = ", ".join(flow.variables) or "none"
            raise UsageError(f"the flow has no variable {name!r} (it has: {known})", hint="--var NAME=VALUE")
    base = require_base(here.repository)
    _require_backends(flow, here)
    plan = RunPlan(
        run_id=names.run_id(clock.now(), secrets.token_hex(2)),
        repository=str(here.repository.root),
        base_commit=base,
        base_ref="HEAD",
        workers=(),
        max_parallel=NO_CAP,
        timeout_s=None if config.timeout is None else quantities.parse_duration(config.timeout, "--timeout"),
        budget_usd=None if config.budget is None else quantities.parse_usd(config.budget, "--budget"),
        warnings=here.settings.warnings,
        flow=FlowOrigin(
            file=os.path.abspath(config.file), directory=str(here.start), variables=dict(config.variables)
        ),
    )  # fmt: skip
    return here, flow, plan


def resume_flow(
    workspace_root: Path,
    run: str,
    ask: Answer,
    *,
    answer: str | None = None,
    config_file: Path | None = None,
    listeners: Sequence[Listener] = (),
    started: Callable[[RunPlan], None] = lambda plan: None,
) -> RunResult:
    """Goes on with a flow from the state it stood in: jobs of it that ended well are not done again.

    Args:
        answer: To the question that it is paused in; `None` means that `ask` is asked.

    Raises:
        NothingToDo: No such run, no flow, or it has ended well.
        UsageError: Its file has been changed so that it does not fit any more, or `answer` is none.
        EnvironmentProblem: The run is live.
    """
    here = load_workspace(workspace_root, config_file)
    with Journal.of(here.repository) as journal:
        run_id = journal.find(run)
        lock = hold(journal, run_id)
        try:
            plan = require_not_imported(recorded_plan(journal, run_id))
            if plan.flow is None:
                raise NothingToDo(f"run {run_id} is no flow", hint=f"architect resume {run_id}")
            earlier, moved = _so_far(journal, run_id)
            here = replace(here, start=Path(plan.flow.directory))
            flow = read_flow(Path(plan.flow.file), here)
            _require_backends(flow, here)
            course = _Course(plan, here, journal, ask, listeners)
            try:
                course.flow = _as_it_was(flow, course.read, plan.flow, moved[-1] if moved else None)
            except KeyError as error:
                raise UsageError(f"{plan.flow.file} has no state {error} any more", hint="run it anew") from error
            except FlowChanged as error:
                text = f"{plan.flow.file}: state {error} is another one than when the flow came to it"
                raise UsageError(text, hint="run it anew") from error
            if answer is not None:
                _require_answer(course.flow.demanded, answer, run_id)
            forget_requests(journal.run_dir(run_id))
            started(plan)
            return course.run(earlier, answer)
        finally:
            lock.release()


def flow_position(workspace_root: Path, run: str) -> tuple[str, str | None]:
    """The run's id, and the state from which `resume_flow` would go on; `None`: it has not come to one.

    Raises:
        NothingToDo: No such run, or its flow has ended well.
    """
    with open_journal(workspace_root) as (_, journal):
        run_id = journal.find(run)
        _, moved = _so_far(journal, run_id)
        return run_id, " > ".join(frame["state"] for frame in moved[-1].machine["frames"]) if moved else None


def _as_it_was(flow: Flow, read: Reader, origin: FlowOrigin, moved: FlowMoved | None) -> Instance:
    """The flow where it stood last, or at its start; raises like `Instance.restore`."""
    if moved is None:
        return Instance(Machine(flow, read, origin.variables), read)
    return Instance.restore(flow, read, {"workers": moved.workers, **moved.machine})


def _so_far(journal: Journal, run_id: str) -> tuple[list[Recorded], list[FlowMoved]]:
    """What earlier launches of a flow recorded, and the states they came to; NothingToDo when it has ended well."""
    recorded = journal.recorded(run_id)
    if replay(recorded, live=False).status is RunStatus.SUCCESS:
        raise NothingToDo(f"the flow of run {run_id} has ended", hint=f"architect status {run_id}")
    return recorded, [each.event for each in recorded if isinstance(each.event, FlowMoved)]


class _Course:
    """One flow on its way."""

    flow: Instance

    def __init__(
        self, plan: RunPlan, here: Workspace, journal: Journal, ask: Answer, listeners: Sequence[Listener]
    ) -> None:
        self._plan = plan
        self._here = here
        self._journal = journal
        self._ask = ask
        self._answer: str | None = None
        # Heard as it is recorded: to replay the whole run for each state would cost the square of its states.
        self._specs: dict[int, WorkerSpec] = {}
        self._results: dict[int, WorkerResult] = {}
        """How workers ended, but for those that run again."""
        self._listeners = listeners

    def run(self, earlier: Sequence[Recorded] | None = None, answer: str | None = None) -> RunResult:
        """Goes on until the flow ends, pauses or is stopped.

        Args:
            answer: To the first question; `None` means that somebody is asked.
            earlier: What earlier launches recorded. `None` means that this is the first.
        """
        self._answer = answer
        for each in earlier or ():
            self._hear(each)
        runner = local_runner(self._plan, self._journal, self._here, [self._hear, *self._listeners])
        if earlier is not None:
            self._take_up(runner, earlier)
        try:
            return self._go_on(runner)
        except KeyboardInterrupt:  # while a person was asked, or between two states
            return self._pause(runner, self.flow.machine.where, ExitCode.INTERRUPTED)

    def _go_on(self, runner: Runner) -> RunResult:
        while True:
            demanded = self.flow.demanded
            if isinstance(demanded, Ended):
                return self._end(runner, demanded)
            if isinstance(demanded, Jobs | SubFlows):
                runner.work(lambda: self._follow(runner))
                if runner.stopped_by is not None:
                    return self._stop(runner, self.flow.machine.where)
                continue
            pause = _pause_of(demanded)
            self._record(runner, FlowMoved(state=demanded.state, machine=self.flow.snapshot(), pause=pause))
            if isinstance(demanded, Wait) and demanded.seconds is not None:
                runner.idle(demanded.seconds)
                if runner.stopped_by is not None:
                    return self._stop(runner, demanded.state)
                self.flow.answer("")
                continue
            answer, self._answer = self._answer, None
            said = self._ask(demanded) if answer is None else answer
            if said is None:
                return self._pause(runner, demanded.state)
            self.flow.answer(said)

    def read(self, kind: str, path: str) -> str:
        """`file(path)`: its text; `path(path)`: where it is."""
        place = self._here.start / path
        if kind == "path":
            return str(place)
        try:
            data = read_bytes(place, pipe_allowed=True, largest=LARGEST_READ_BYTES)
        except Faulty as error:
            raise FlowFault(f"{path} {error.faults[0].message}") from error
        if data is None:
            raise FlowFault(f"{path} cannot be read: there is no such file")
        return data.decode(errors="replace").replace("\0", "").strip()

    def _follow(self, runner: Runner) -> None:
        """Goes on with what has ended and begins the jobs that this leads to."""
        while True:
            self.flow.go_on(self._end_of, lambda: _Outputs(self._here.start).write)
            waiting = [each for each in self.flow.instances() if each.jobs is not None and not each.workers]
            for instance in waiting:
                self._begin(runner, instance)
            if not waiting:
                return

    def _begin(self, runner: Runner, instance: Instance) -> None:
        demanded = instance.jobs
        assert demanded is not None
        with registration_lock(self._here.repository):
            try:
                specs = self._drafted(demanded)
            except (UsageError, EnvironmentProblem, FlowFault) as error:
                instance.refuse(error.message)
                return
            ids = tuple(spec.worker_id for spec in specs)
            instance.begin(ids)
            moved = FlowMoved(state=demanded.state, machine=self.flow.snapshot(), workers=ids)
            self._record(runner, RunExtended(workers=tuple(specs)), moved)
        runner.add(specs, at_once=demanded.at_once)

    def _end_of(self, worker_id: int) -> Done | None:
        result = self._results.get(worker_id)
        return None if result is None else _outcome(result)

    def _take_up(self, runner: Runner, earlier: Sequence[Recorded]) -> None:
        """Starts the jobs of an earlier launch again whose ends do not stand, each with its next attempt."""
        # Not `journal.result`: we hold the run's lock ourselves, and that would pass for a live launcher.
        so_far = {each.worker_id: each for each in replay(earlier, live=False).results}
        stand = ends_that_hold(earlier)
        again: list[tuple[list[WorkerSpec], int | None]] = []
        changed = []
        for instance in self.flow.instances():
            demanded, specs = instance.jobs, []
            if demanded is None or not instance.workers:
                continue
            for worker_id, job in zip(instance.workers, demanded.jobs, strict=True):
                if worker_id in stand:
                    continue
                spec = self._specs[worker_id]
                if spec.prompt != _words(job):
                    changed.append(demanded.state)
                specs.append(replace(spec, attempt=so_far[worker_id].attempts + 1))
                self._results.pop(worker_id, None)
            again.append((specs, demanded.at_once))
        ids = tuple(spec.worker_id for specs, _ in again for spec in specs)
        self._record(runner, RunResumed(launcher_pid=os.getpid(), worker_ids=ids))
        for state in changed:
            text = f"state {state} was changed since: what had begun is done as it was written then"
            runner.warn(f"{text}; for the new one run the flow anew")
        for specs, at_once in again:
            runner.add(specs, at_once=at_once)

    def _hear(self, recorded: Recorded) -> None:
        match recorded.event:
            case RunExtended(workers=workers):
                self._specs |= {spec.worker_id: spec for spec in workers}
            case WorkerFinished(result=result):
                self._results[result.worker_id] = result
            case _:
                pass

    def _drafted(self, demanded: Jobs) -> list[WorkerSpec]:
        """The workers of a state's jobs. The registration lock is held: numbers are given out."""
        base = require_base(self._here.repository)
        of_others = self._journal.live_numbers(besides=self._plan.run_id)
        own = (spec.number for spec in self._specs.values())
        number = max(highest_number(self._here.repository), *of_others, *own, 0) + 1
        begin = max(self._specs, default=0)
        drafts = [
            _draft(job, begin + index, f"{demanded.state}-{index + 1}" if len(demanded.jobs) > 1 else
                   demanded.state, self._here, self._plan, base)
            for index, job in enumerate(demanded.jobs)
        ]  # fmt: skip
        return numbered_workers(drafts, self._here.repository, number - drafts[0].index)

    def _record(self, runner: Runner, *events: RunExtended | FlowMoved | RunResumed | Warned) -> None:
        runner.record([(None, event) for event in events])

    def _end(self, runner: Runner, ended: Ended) -> RunResult:
        if ended.message:
            runner.warn(f"the flow ended in state {ended.state}: {ended.message}")
        elif ended.exit_code:
            runner.warn(f"the flow ended in state {ended.state} with {ended.exit_code}")
        status = RunStatus.SUCCESS if ended.exit_code == 0 else RunStatus.FAILED
        return runner.finish((status, ended.exit_code))

    def _stop(self, runner: Runner, state: str) -> RunResult:
        """Ends what a signal, a request or a limit stopped in `state`."""
        run_id = self._plan.run_id
        why = str(runner.stopped_by).replace("_", " ")
        runner.warn(f"the flow was stopped in state {state} ({why}); to go on: architect flow run --resume {run_id}")
        return runner.finish((RunStatus.CANCELED, int(ExitCode.NOT_ALL_SUCCEEDED)))

    def _pause(self, runner: Runner, state: str, code: ExitCode = ExitCode.SUCCESS) -> RunResult:
        run_id = self._plan.run_id
        pause = _pause_of(self.flow.demanded)
        if pause is None:
            runner.warn(f"the flow is paused in state {state}; to go on: architect flow run --resume {run_id}")
        else:
            asks = f"the flow is paused in state {state} and asks: {one_line(asked(pause), 400)}"
            runner.warn(f"{asks}; to go on: {to_go_on(run_id)}")
        return runner.finish((RunStatus.INTERRUPTED, int(code)))


def _pause_of(demanded: Demand) -> Pause | None:
    """The question that waits for an answer; `None` means that there is none."""
    if isinstance(demanded, Question):
        return Pause(state=demanded.state, question=demanded.text, choices=demanded.choices, default=demanded.default)
    if isinstance(demanded, Wait) and demanded.seconds is None:
        return Pause(state=demanded.state, question=demanded.text)
    return None


def _require_answer(demanded: Demand, answer: str, run_id: str) -> None:
    """Raises `UsageError` for an answer to nothing, or that is none of the choices."""
    pause = _pause_of(demanded)
    if pause is None:
        raise UsageError(f"the flow of run {run_id} asks nothing now", hint=f"architect flow run --resume {run_id}")
    require_utf8(answer, "--answer")
    if pause.choices and answer not in pause.choices:
        raise UsageError(f"--answer {answer!r} is none of the choices: {', '.join(pause.choices)}")


class _Outputs:
    """Where the outputs of one state go; two of them to one place is a fault, however it is spelled."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._written: set[str] = set()

    def write(self, path: str, text: str) -> None:
        """Raises `FlowFault`."""
        place = self._directory / path
        try:
            real = os.path.realpath(place)
            if real in self._written:
                raise FlowFault(f"two of its tasks write to {path}")
            self._written.add(real)
            place.parent.mkdir(parents=True, exist_ok=True)
            write_out(place, text.encode(errors="replace"))
        except OSError as error:
            raise FlowFault(f"its output cannot be written to {path}: {error.strerror}") from error


def _words(job: Job) -> str:
    """What a job's worker is told."""
    return str(job.arguments[COMMANDS.get(job.tool, "prompt")])


def _outcome(result: WorkerResult) -> Done:
    code = result.exit_code or 1
    if result.status is Status.SUCCESS:
        code = 0
    elif result.status is Status.TIMEOUT:
        code = TIMED_OUT
    elif code < 0:
        code = 128 - code
    return Done(exit_code=code, output=result.output)


def _draft(job: Job, index: int, name: str, here: Workspace, plan: RunPlan, base: str) -> WorkerSpec:
    arguments = job.arguments
    # Of the configuration's options only the limits of an agent and `commit` count for a state.
    own: dict[str, Any] = {"backend": SHELL if job.tool in COMMANDS else job.tool, "retries": 0, "checks": ()}
    if (agent := arguments.get("agent")) is not None:
        own["agent"] = agent
    options = replace(
        here.settings.parallel,
        **own,
        given=frozenset(own),
        model=None,
        timeout_per_worker=None,
        budget=plan.budget_usd,
        refine=False,
        check_timeout=0.0,
    )
    approval, sandbox = arguments.get("approval_mode"), arguments.get("sandbox_mode")
    task = Task(
        prompt=_words(job),
        name=name,
        model=arguments.get("model"),
        approval_mode=None if approval is None else ApprovalMode(approval),
        sandbox_mode=None if sandbox is None else SandboxMode(sandbox),
        max_turns=arguments.get("max_turns"),
        system_prompt=arguments.get("system_prompt"),
        timeout_s=arguments.get("timeout"),
        budget_usd=arguments.get("budget"),
        extra_argv=tuple(arguments.get("extra", ())),
    )
    order = resolve_task(task, None, options, here)
    where = os.path.join(here.start, str(arguments.get("cwd", "")))
    if job.isolated:
        top = here.repository.checkout or here.repository.root
        below = os.path.relpath(os.path.realpath(where), os.path.realpath(top))
        if below == os.pardir or below.startswith(os.pardir + os.sep):
            raise EnvironmentProblem(f"{where} is outside the repository, where there is no worktree")
        place = TaskPlace(directory="" if below == os.curdir else below)
    else:
        place = TaskPlace(isolation=Isolation.NONE, directory=os.path.normpath(where))
    spec = draft_spec(order, index, name, place, options, run_id=plan.run_id, base_commit=base)
    return replace(spec, values=job.values)


def _require_backends(flow: Flow, here: Workspace) -> None:
    """Every backend that the flow or its sub-flows name can be started here."""
    models: dict[str, set[str | None]] = {}
    for state in flow.states.values():
        for task in (state.task, *state.task.tasks):
            if task.tool in here.backends:
                model = task.arguments.get("model")
                models.setdefault(task.tool, set()).add(model if model is None or "{{" not in model else None)
    for name, wanted in models.items():
        require_ready(here.backends, here.backends[name], wanted, here.environ)
    for inner in flow.flows.values():
        _require_backends(inner, here)
