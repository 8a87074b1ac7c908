"""The state file of a spec: a Markdown file that follows the run, for people and for agents that read it.

A listener of recorded events. Each version replaces the one before as a whole. A version is written at once, or at
the end of the pause after the one before, so that a run never waits for it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from pathlib import Path

from architect_parallel.domain import Attempt, RunPlan, Status, WorkerResult, Workflow
from architect_parallel.errors import EnvironmentProblem
from architect_parallel.events import AttemptEnded, Recorded, RunFinished, WorkerFinished, WorkerStarting
from architect_parallel.journal.view import RunView
from architect_parallel.journal.worker_view import Phase, WorkerView
from architect_parallel.reports.markdown import code, fenced, inline
from architect_parallel.scheduling import graph
from architect_parallel.system.clock import monotonic_s
from architect_parallel.system.files import replace_file
from architect_parallel.text.quantities import show_count

PAUSE_S = 0.5
"""The shortest time between two versions."""
MOST_FILES = 200

_SIGNS = {
    Status.SUCCESS: "✅",
    Status.PARTIAL: "🟡",
    Status.FAILED: "❌",
    Status.TIMEOUT: "⏰",
    Status.CANCELED: "⏹",
    Status.SKIPPED: "⏭",
}
_WRITTEN_EVENTS = (WorkerStarting, AttemptEnded, WorkerFinished, RunFinished)


class StateFile:
    """Writes the state file of one run."""

    def __init__(self, path: Path, plan: RunPlan, workflow: Workflow, view: RunView) -> None:
        self._path = path
        self._plan = plan
        self._name = workflow.name
        self._levels = graph.levels({spec.worker_id: spec.dependencies for spec in plan.workers})
        self._view = view
        self._lock = threading.Lock()
        self._written_s = -PAUSE_S
        self._later: threading.Timer | None = None
        self._problem: EnvironmentProblem | None = None

    @classmethod
    def of(cls, plan: RunPlan, recorded: Iterable[Recorded] = ()) -> StateFile | None:
        """The state file that `plan` asks for. `None` means that it asks for none.

        Args:
            recorded: The run's events so far, those of earlier launches included.
        """
        if plan.workflow is None or plan.workflow.state_file is None:
            return None
        view = RunView.planned(plan)
        for entry in recorded:
            view.take(entry)
        return cls(Path(plan.workflow.state_file), plan, plan.workflow, view)

    def take(self, recorded: Recorded) -> None:
        """Apply the next event of the run.

        Raises:
            EnvironmentProblem: The file cannot be written, or could not a moment ago.
        """
        with self._lock:
            self._view.take(recorded)
            if not isinstance(recorded.event, _WRITTEN_EVENTS):
                return
            if self._problem is not None:
                raise self._problem
            if self._view.end is not None or monotonic_s() - self._written_s >= PAUSE_S:
                self._write()
            elif self._later is None:
                self._later = threading.Timer(PAUSE_S, self._write_later)
                self._later.daemon = True
                self._later.start()

    def _write_later(self) -> None:
        with self._lock:
            if self._later is not None:
                self._later = None
                try:
                    self._write()
                except EnvironmentProblem as problem:  # in this thread no caller would see it
                    self._problem = problem

    def _write(self) -> None:
        if self._later is not None:
            self._later.cancel()
            self._later = None
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(self._path, self._text().encode(errors="replace"))
        except OSError as error:
            raise EnvironmentProblem(f"the state file {self._path} cannot be written: {error.strerror}") from error
        self._written_s = monotonic_s()

    @property
    def _results(self) -> dict[int, WorkerResult]:
        workers = self._view.workers
        return {worker_id: worker.result for worker_id, worker in workers.items() if worker.result is not None}

    def _text(self) -> str:
        end, workers = self._view.end, self._view.workers
        state = "running" if end is None else str(end.status)
        ended = f"{len(self._results)} of {show_count(len(workers), 'task')} ended"
        lines = [f"# {inline(self._name, 200)}", "", f"Run `{self._plan.run_id}`: **{state}**, {ended}", ""]
        for number, level in enumerate(self._levels, 1):
            step = [workers[worker_id] for worker_id in level]
            lines += [f"## Step {number}: {_step_state(step)}", "", *map(_line, step), ""]
        lines += ["## Summary", "", *self._summary(), ""]
        lines += ["## Files", "", *(self._files() or ["None yet."]), ""]
        if end is not None and end.briefing is not None:
            lines += ["## Escalated", "", fenced(end.briefing), ""]
        return "\n".join(lines)

    def _summary(self) -> list[str]:
        results = self._results.values()
        by_status = [f"{n} {status}" for status in Status if (n := sum(r.status is status for r in results))]
        attempts = [attempt for result in results for attempt in result.attempt_history]
        worked_s = sum(attempt.duration for attempt in attempts if self._is_of_this_launch(attempt))
        began, last = self._view.launched_at, self._view.last_at
        passed_s = (last - began).total_seconds() if began and last else 0.0
        so_far = " so far" if self._view.end is None else ""
        saved_s = max(0.0, worked_s - passed_s)
        return [
            f"- {', '.join(by_status) or 'nothing has ended yet'}",
            f"- {passed_s:.1f} s{so_far}; one by one {worked_s:.1f} s: {saved_s:.1f} s saved",
        ]

    def _is_of_this_launch(self, attempt: Attempt) -> bool:
        """Attempts of an earlier launch have saved this one no time."""
        began = self._view.launched_at
        return attempt.started_at is not None and began is not None and attempt.started_at >= began

    def _files(self) -> list[str]:
        owners: dict[str, list[str]] = {}
        for worker_id in sorted(self._results):
            for path in self._results[worker_id].files_modified:
                owners.setdefault(path, []).append(self._view.workers[worker_id].spec.name)
        lines = [f"- {code(path, 200)} ({inline(', '.join(names), 1000)})" for path, names in sorted(owners.items())]
        more = len(lines) - MOST_FILES
        return lines[:MOST_FILES] + ([f"- and {more} more"] if more > 0 else [])


def _step_state(step: Sequence[WorkerView]) -> str:
    if all(worker.result is not None for worker in step):
        good = all(worker.state == Status.SUCCESS.value for worker in step)
        return "done" if good else "ended with failures"
    return "waiting" if all(worker.phase is Phase.WAITING for worker in step) else "running"


def _line(worker: WorkerView) -> str:
    spec, result = worker.spec, worker.result
    title = f"- {inline(spec.role_name or spec.agent.name, 60)} ({inline(spec.name, 120)}) → "
    if result is not None:
        shown = result.output if result.status is Status.SUCCESS else result.error or result.output
        reason = str(result.reason or result.status).replace("_", " ")
        return f"{title}{_SIGNS[result.status]} {inline(shown or reason, 200)}"
    if worker.phase is Phase.WAITING:
        return f"{title}waiting"
    if worker.phase is Phase.RETRYING:
        failed = worker.history[-1]
        return f"{title}🔁 attempt {failed.number} failed: {inline(failed.error or '', 120)}"
    return f"{title}⏳ running" + (f", attempt {worker.attempt}" if worker.attempt > 1 else "")
