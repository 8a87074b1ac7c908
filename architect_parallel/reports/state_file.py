"""The state file of a spec: an account in Markdown that follows the run, for people and for agents that look.

A listener of recorded events. Each version takes the place of the one before as a whole. It is written at once where
little is written, and a moment later where much happens at a time, so that it never is what a run waits for.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping
from datetime import datetime
from pathlib import Path

from architect_parallel.domain import Attempt, RunPlan, Status, WorkerResult, WorkerSpec, Workflow
from architect_parallel.errors import EnvironmentProblem
from architect_parallel.events import AttemptEnded, Recorded, RunFinished, WorkerFinished, WorkerStarting
from architect_parallel.scheduling import graph
from architect_parallel.system.clock import monotonic_s
from architect_parallel.system.files import replace_file
from architect_parallel.text.quantities import show_count
from architect_parallel.text.sanitize import one_line

PAUSE_S = 0.5
"""Between two versions."""
MOST_FILES = 200

_SIGNS = {
    Status.SUCCESS: "✅", Status.PARTIAL: "🟡", Status.FAILED: "❌", Status.TIMEOUT: "⏰", Status.CANCELED: "⏹",
    Status.SKIPPED: "⏭",
}  # fmt: skip


class StateFile:
    """Writes the state file of one run."""

    def __init__(
        self,
        path: Path,
        plan: RunPlan,
        workflow: Workflow,
        earlier: Mapping[int, WorkerResult],
        again: Collection[int],
    ) -> None:
        self._path = path
        self._plan = plan
        self._name = workflow.name
        self._specs = {spec.worker_id: spec for spec in plan.workers}
        self._levels = graph.levels({spec.worker_id: spec.dependencies for spec in plan.workers})
        self._results = {worker_id: each for worker_id, each in earlier.items() if worker_id not in again}
        self._running: dict[int, str] = {}
        self._began: datetime | None = None
        self._last: datetime | None = None
        self._end: RunFinished | None = None
        self._lock = threading.Lock()
        self._written_s = -PAUSE_S
        self._later: threading.Timer | None = None
        self._problem: EnvironmentProblem | None = None

    @classmethod
    def of(cls, plan: RunPlan, earlier: Mapping[int, WorkerResult], again: Collection[int] = ()) -> StateFile | None:
        """The state file that `plan` asks for; `None`: it asks for none.

        Args:
            earlier: Results of earlier launches of the run, by worker id.
            again: Ids of the workers that this launch runs; the results of all others stand.
        """
        if plan.workflow is None or plan.workflow.state_file is None:
            return None
        return cls(Path(plan.workflow.state_file), plan, plan.workflow, earlier, again)

    def take(self, recorded: Recorded) -> None:
        """The next event of the run.

        Raises:
            EnvironmentProblem: The file cannot be written, or could not a moment ago.
        """
        with self._lock:
            if not self._heard(recorded):
                return
            if self._problem is not None:
                raise self._problem
            if self._end is not None or monotonic_s() - self._written_s >= PAUSE_S:
                self._write()
            elif self._later is None:
                self._later = threading.Timer(PAUSE_S, self._write_later)
                self._later.daemon = True
                self._later.start()

    def _heard(self, recorded: Recorded) -> bool:
        """Takes note of an event; whether it changes what is written."""
        self._began = self._began or recorded.time
        self._last = recorded.time
        worker_id = recorded.worker_id
        match recorded.event:
            case WorkerStarting(attempt=attempt) if worker_id is not None:
                self._running[worker_id] = "⏳ running" if attempt == 1 else f"⏳ running, attempt {attempt}"
            case AttemptEnded(attempt=ended) if worker_id is not None:
                self._running[worker_id] = f"🔁 attempt {ended.number} failed: {one_line(ended.error or '', 120)}"
            case WorkerFinished(result=result) if worker_id is not None:
                self._running.pop(worker_id, None)
                self._results[worker_id] = result
            case RunFinished() as end:
                self._end = end
            case _:
                return False
        return True

    def _write_later(self) -> None:
        with self._lock:
            if self._later is not None:
                self._later = None
                try:
                    self._write()
                except EnvironmentProblem as problem:  # here nobody would hear of it
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

    def _text(self) -> str:
        lines = [f"# {one_line(self._name, 200)}", ""]
        state = "running" if self._end is None else str(self._end.status)
        ended = f"{len(self._results)} of {show_count(len(self._specs), 'task')} ended"
        lines += [f"Run `{self._plan.run_id}`: **{state}**, {ended}", ""]
        for number, level in enumerate(self._levels, 1):
            lines += [f"## Step {number}: {self._step(level)}", ""]
            lines += [self._line(self._specs[worker_id]) for worker_id in level]
            lines.append("")
        lines += ["## Summary", "", *self._summary(), ""]
        files = self._files()
        lines += ["## Files", "", *(files or ["None yet."]), ""]
        if self._end is not None and self._end.briefing is not None:
            lines += ["## Escalated", "", self._end.briefing, ""]
        return "\n".join(lines)

    def _step(self, level: tuple[int, ...]) -> str:
        results = [self._results[each] for each in level if each in self._results]
        if len(results) == len(level):
            return "done" if all(each.status is Status.SUCCESS for each in results) else "ended with failures"
        return "running" if results or any(each in self._running for each in level) else "waiting"

    def _line(self, spec: WorkerSpec) -> str:
        who = f"- {one_line(spec.role_name or spec.agent.name, 60)} ({one_line(spec.name, 120)}) → "
        result = self._results.get(spec.worker_id)
        if result is None:
            return who + self._running.get(spec.worker_id, "waiting")
        said = result.output if result.status is Status.SUCCESS else result.error or result.output
        words = one_line(said or str(result.reason or result.status).replace("_", " "), 200)
        return f"{who}{_SIGNS[result.status]} {words}"

    def _summary(self) -> list[str]:
        by_status = [
            f"{count} {status}"
            for status in Status
            if (count := sum(each.status is status for each in self._results.values()))
        ]
        attempts = [each for result in self._results.values() for each in result.attempt_history]
        worked_s = sum(each.duration for each in attempts if self._is_of_this_launch(each))
        passed_s = (self._last - self._began).total_seconds() if self._began and self._last else 0.0
        lines = [f"- {', '.join(by_status) or 'nothing has ended yet'}"]
        so_far = " so far" if self._end is None else ""
        saved_s = max(0.0, worked_s - passed_s)
        lines.append(f"- {passed_s:.1f} s{so_far}; one by one {worked_s:.1f} s: {saved_s:.1f} s saved")
        return lines

    def _is_of_this_launch(self, attempt: Attempt) -> bool:
        """What an earlier one did has saved this one no time."""
        return attempt.started_at is not None and self._began is not None and attempt.started_at >= self._began

    def _files(self) -> list[str]:
        owners: dict[str, list[str]] = {}
        for worker_id in sorted(self._results):
            for path in self._results[worker_id].files_modified:
                owners.setdefault(path, []).append(self._specs[worker_id].name)
        lines = [f"- `{one_line(path, 200)}` ({', '.join(names)})" for path, names in sorted(owners.items())]
        more = len(lines) - MOST_FILES
        return lines[:MOST_FILES] + ([f"- and {more} more"] if more > 0 else [])
