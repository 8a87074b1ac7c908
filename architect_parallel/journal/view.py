"""A run as its events describe it: the one place where events become state.

`RunView` takes the events of a run one after another. What people and programs are shown of a run is read from it: the
result, `architect watch`, the live table, the state file of a spec and the timeline of the HTML report. Two views that
took the same events are equal.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from architect_parallel.domain import CheckResult, Escape, Judgement, Pause, RunPlan, RunResult, RunStatus, Status
from architect_parallel.errors import InternalError
from architect_parallel.events import (
    BaselineFinished,
    DebuggerEnded,
    Escaped,
    FlowMoved,
    Judged,
    Recorded,
    RunExtended,
    RunFinished,
    RunResumed,
    RunStarted,
    Warned,
)
from architect_parallel.journal.worker_view import Phase, WorkerView


class RunView:
    """The state of one run. Give it the events in order of `seq`. Live output may come in between."""

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        self.plan: RunPlan | None = None
        """`None` means that the run's first event has not been taken yet."""
        self.workers: dict[int, WorkerView] = {}
        """By worker id, in the order of the plan."""
        self.baseline: tuple[CheckResult, ...] = ()
        """The checks on the base commit."""
        self.end: RunFinished | None = None
        """`None` means that the run goes on, or that its launcher died."""
        self.started_at: datetime | None = None
        self.launched_at: datetime | None = None
        """The start of the latest launch."""
        self.last_at: datetime | None = None
        """The time of the newest event. That of `RunFinished` in a run that has ended."""
        self._is_resumed = False
        self._is_interrupted = False
        self._finished_at: datetime | None = None
        self._earlier_s = 0.0
        """Seconds that earlier launches took."""
        self.escaped: Escape | None = None
        """The newest change of the main checkout while workers ran."""
        self._pause: Pause | None = None
        self._judged: list[Judgement] = []
        self._debugger_costs: list[float | None] = []
        self._late_warnings: list[str] = []
        """Warnings from after the run's end: the judge's."""

    @classmethod
    def of(cls, run_id: str, recorded: Iterable[Recorded]) -> RunView:
        """The view that has taken these events."""
        view = cls(run_id)
        for entry in recorded:
            view.take(entry)
        return view

    @classmethod
    def planned(cls, plan: RunPlan) -> RunView:
        """The view of a run of which only the plan is known."""
        view = cls(plan.run_id)
        view._plan(plan)
        return view

    @property
    def status(self) -> RunStatus:
        if self.end is not None:
            return self.end.status
        return RunStatus.INTERRUPTED if self._is_interrupted else RunStatus.RUNNING

    @property
    def over(self) -> bool:
        """True once the run has ended, or its launcher died."""
        return self.status is not RunStatus.RUNNING

    @property
    def has_begun(self) -> bool:
        """True once the run has more than its plan: a worker that began or ended, or a later launch."""
        return self._is_resumed or any(worker.phase is not Phase.WAITING for worker in self.workers.values())

    @property
    def spent(self) -> float:
        """USD that the workers are known to have cost so far."""
        return sum(worker.spent or 0.0 for worker in self.workers.values())

    @property
    def elapsed_s(self) -> float:
        """Seconds that the run was going on. The time between a launcher's end and a resume does not count."""
        if self.launched_at is None or self.last_at is None:
            return 0.0
        return self._earlier_s + (self.last_at - self.launched_at).total_seconds()

    def interrupt(self, at: datetime) -> None:
        """Note that the launcher died. `at` is its last sign of life. No event records it."""
        self._is_interrupted = True
        for worker in self.workers.values():
            worker.interrupt(at)

    def take(self, recorded: Recorded) -> None:
        """Apply the next event."""
        was_over = self.end is not None
        match recorded.event:
            case RunStarted(plan=plan):
                self._plan(plan)
                self.started_at = self.launched_at = recorded.time
            case RunResumed() as resumed:
                self._resume(resumed, recorded.time)
                was_over = False
            case RunExtended(workers=specs):
                self.end, was_over = None, False
                self.workers |= {spec.worker_id: WorkerView(spec=spec, attempt=spec.attempt) for spec in specs}
            case FlowMoved(pause=pause):
                self._pause = pause
            case RunFinished() as end:
                self.end, self._finished_at = end, recorded.time
            case BaselineFinished(checks=checks):
                self.baseline = checks
            case Escaped(escape=escape):
                self.escaped = escape
            case Judged(judgement=judgement):
                self._judged.append(judgement)
            case DebuggerEnded(cost=cost):
                self._debugger_costs.append(cost)
            case Warned(message=message) if recorded.worker_id is None:
                if was_over:
                    self._late_warnings.append(message)
            case _ if recorded.worker_id in self.workers:
                self.workers[recorded.worker_id].take(recorded)
            case _:
                pass
        if recorded.seq and (not was_over or isinstance(recorded.event, RunFinished)):
            self.last_at = recorded.time  # what comes after the end is not the run's time

    def result(self, *, live: bool) -> RunResult:
        """The run's result so far.

        Args:
            live: Whether the run's launcher lives. A live run has results of the workers that ended, any other run
                has one of every worker.

        Raises:
            InternalError: The events do not begin with `RunStarted`.
        """
        if self.plan is None or self.started_at is None:
            raise InternalError("the journal of a run does not begin with its plan")
        plan, end = self.plan, self.end
        over = end is not None or not live
        status = end.status if end else RunStatus.RUNNING if live else RunStatus.INTERRUPTED
        so_far = (worker.result_so_far(over=over) for worker in self.workers.values())
        results = [result for result in so_far if result is not None]
        coordinator = plan.workflow.coordinator if plan.workflow is not None else None
        return RunResult(
            run_id=plan.run_id,
            status=status,
            exit_code=end.exit_code if end else None,
            base_commit=plan.base_commit,
            base_ref=plan.base_ref,
            started_at=self.started_at,
            finished_at=self._finished_at if end else None,
            total_duration_seconds=round(self.elapsed_s, 3),
            max_parallel=plan.max_parallel,
            warnings=list(dict.fromkeys([*plan.warnings, *(end.warnings if end else ()), *self._late_warnings])),
            results=results,
            planned=tuple(worker.spec for worker in self.workers.values()),
            baseline=list(self.baseline),
            escaped=self.escaped,
            synthesis=next(
                (r.output for r in results if r.worker_id == coordinator and r.status is Status.SUCCESS), None
            ),
            briefing=end.briefing if end else None,
            pause=self._pause if status in (RunStatus.RUNNING, RunStatus.INTERRUPTED) else None,
            competition=plan.competition,
            judged=list(self._judged),
            debugger_costs=list(self._debugger_costs),
        )

    def _plan(self, plan: RunPlan) -> None:
        self.plan = plan
        specs = sorted(plan.workers, key=lambda spec: spec.worker_id)
        self.workers = {spec.worker_id: WorkerView(spec=spec, attempt=spec.attempt) for spec in specs}

    def _resume(self, resumed: RunResumed, at: datetime) -> None:
        self._earlier_s = self.elapsed_s
        self._is_resumed = True
        self.launched_at, self.end, self._is_interrupted, self._late_warnings = at, None, False, []
        again = set(resumed.worker_ids)
        # A judgement of earlier work does not describe the work that replaces it.
        self._judged = [judgement for judgement in self._judged if not again & {judgement.a, judgement.b}]
        changed = {spec.worker_id: spec for spec in resumed.workers}
        for worker_id in again & self.workers.keys():
            worker = self.workers[worker_id]
            self.workers[worker_id] = worker.reopened(changed.get(worker_id, worker.spec))
