"""The live view of a run: a table on a terminal, plain lines elsewhere, nothing when asked to be quiet.

A listener of recorded events; it decides nothing, and a stream that fails ends no run. Progress lines of a text run
belong to the answer (stdout); the table and everything beside a JSON answer go to stderr.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING

from architect_parallel.domain import RunPlan, Status, WorkerResult, WorkerSpec
from architect_parallel.events import (
    AgentOutput,
    AgentStarted,
    AttemptEnded,
    BaselineFinished,
    Collected,
    Escaped,
    Judged,
    LimitReached,
    RateLimited,
    Recorded,
    RunExtended,
    SessionKnown,
    StepTaken,
    UsageReported,
    Warned,
    WorkerFinished,
    WorkerStarting,
    WorktreeReady,
)
from architect_parallel.reports import competition, text
from architect_parallel.scheduling.check_policy import of_base
from architect_parallel.system.clock import monotonic_s
from architect_parallel.text.names import DEFAULT_MODEL
from architect_parallel.text.quantities import show_count
from architect_parallel.text.sanitize import one_line

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live

REFRESH_PER_S = 4
STYLES = {
    Status.SUCCESS: "green",
    Status.PARTIAL: "yellow",
    Status.FAILED: "red",
    Status.TIMEOUT: "red",
    Status.CANCELED: "yellow",
    Status.SKIPPED: "dim",
}


@dataclass(slots=True)
class _Row:
    """What is shown of one worker."""

    spec: WorkerSpec
    state: str = "waiting"
    steps: int = 0
    cost: float | None = None
    model: str | None = None
    """As the agent reported it; `None` means that it has not yet."""
    line: str = ""
    started_s: float | None = None
    result: WorkerResult | None = None

    @property
    def waiting_words(self) -> str:
        """What is shown as long as nothing has been said."""
        return text.task_words(self.spec.worker_id, self.spec.name, self.spec.prompt, 200)


class ProgressReport:
    """Shows a run while it goes on. Use as a context manager around the run; `begin` and `take` are its inputs."""

    def __init__(self, *, as_json: bool, quiet: bool) -> None:
        self._quiet = quiet
        # stdout is the answer: with --json it holds the one object and nothing else.
        self._lines = sys.stderr if as_json else sys.stdout
        self._on_terminal = sys.stderr.isatty() and not os.environ.get("CI") and os.environ.get("TERM") != "dumb"
        self._rows: dict[int, _Row] = {}
        self._live: Live | None = None
        self._warned: set[str] = set()

    def __enter__(self) -> ProgressReport:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop_table()

    def begin(self, plan: RunPlan) -> None:
        """The plan is fixed; agents start after this."""
        state = "checking base" if plan.baseline and of_base(plan.workers) else "waiting"
        self._rows = {spec.worker_id: _Row(spec, state) for spec in plan.workers}
        for warning in plan.warnings:
            self._warn(warning)
        if self._quiet:
            return
        if plan.flow is not None:
            self._say(f"Running the flow {plan.flow.file}...")
        else:
            self._say(self._opening(plan))
            permissions = text.permission_line(plan.workers)
            if permissions is not None:
                self._say(permissions)
        self._start_table()

    @staticmethod
    def _opening(plan: RunPlan) -> str:
        if not plan.workers:
            return f"Ending run {plan.run_id}: every worker had ended when its launcher died..."
        tasks = show_count(len(plan.workers), "task")
        return f"Running {tasks} (max {min(plan.max_parallel, len(plan.workers))} parallel)..."

    def _start_table(self) -> None:
        if self._on_terminal and not self._quiet:
            from rich.console import Console
            from rich.live import Live

            console = Console(stderr=True, highlight=False)
            self._live = Live(
                get_renderable=self._table, console=console, refresh_per_second=REFRESH_PER_S, transient=True
            )
            with contextlib.suppress(OSError):
                self._live.start()

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """The table out of the way, while a person is asked something."""
        self._stop_table()
        yield
        self._start_table()

    def _stop_table(self) -> None:
        if self._live is not None:
            with contextlib.suppress(OSError):
                self._live.stop()
            self._live = None

    def take(self, recorded: Recorded) -> None:
        """The next event."""
        event, worker_id = recorded.event, recorded.worker_id
        if isinstance(event, BaselineFinished):
            for each in self._rows.values():
                each.state = "waiting"
        if isinstance(event, RunExtended):
            self._rows |= {spec.worker_id: _Row(spec) for spec in event.workers}
        if isinstance(event, Warned):
            self._warn(event.message if worker_id is None else f"[{worker_id}] {event.message}")
        if isinstance(event, Escaped):
            self._warn("; ".join(each.strip() for each in text.escape_lines(event.escape)[:2]))
        if worker_id is None and not self._quiet:
            if isinstance(event, AgentOutput):
                self._say(event.text)
            elif isinstance(event, Judged):
                self._say(competition.judgement_line(event.judgement))
        row = self._rows.get(worker_id) if worker_id is not None else None
        if row is None:
            return
        match event:
            case WorkerStarting():
                row.state = "worktree"
            case Collected() if row.spec.checks and not row.state.startswith("stopping"):
                row.state = "checking"
            case WorktreeReady():
                row.state = "preparing"
            case AgentStarted():
                row.state, row.started_s = "running", monotonic_s()
            case AgentOutput(text=line):
                row.line = line
            case SessionKnown(model=model):
                row.model = model or row.model
            case StepTaken(steps=steps):
                row.steps = steps
            case UsageReported(cost=cost):
                row.cost = cost
            case RateLimited(message=message):
                row.line = f"rate limited: {message}"
            case LimitReached(reason=reason):
                row.state = f"stopping ({str(reason).replace('_', ' ')})"
            case AttemptEnded(attempt=attempt, because=because):
                row.state, row.started_s = f"waiting ({because})", None
                row.line = attempt.error or ""
                if not self._quiet:
                    self._say(text.attempt_line(recorded.worker_id or 0, attempt, because))
            case WorkerFinished(result=result):
                row.result = result
                row.steps, row.cost, row.model = result.steps, result.cost, result.model
                if not self._quiet:
                    self._say(text.finished_line(result))
            case _:
                pass

    def say(self, line: str) -> None:
        """A line of progress that is no event of the run: of what is done after its end."""
        if not self._quiet:
            self._say(one_line(line, 200))

    def _say(self, line: str) -> None:
        with contextlib.suppress(OSError):  # the answer at the end meets the same stream and reports its failure
            if self._live is not None and self._lines.isatty():
                self._live.console.print(line, markup=False, soft_wrap=True)
                return
            self._lines.buffer.write((line + "\n").encode(errors="replace"))
            self._lines.flush()

    def _warn(self, message: str) -> None:
        line = f"warning: {one_line(message, 400)}"
        if line in self._warned:
            return
        self._warned.add(line)
        with contextlib.suppress(OSError):
            if self._live is not None:
                self._live.console.print(line, style="yellow", markup=False, soft_wrap=True)
            else:
                sys.stderr.write(line.encode("utf-8", "replace").decode() + "\n")

    def _table(self) -> RenderableType:
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, padding=(0, 1), expand=True)
        for heading, justify in (("#", "right"), ("BACKEND", "left"), ("MODEL", "left"), ("STATE", "left")):
            table.add_column(heading, justify=justify, no_wrap=True)  # type: ignore[arg-type]  # a literal, mypy widens it
        for heading in ("STEPS", "COST", "TIME"):
            table.add_column(heading, justify="right", no_wrap=True)
        table.add_column("", ratio=1, no_wrap=True, overflow="ellipsis")
        for worker_id, row in self._rows.items():
            state = text.STATUS_WORDS[row.result.status] if row.result else row.state
            style = (
                STYLES[row.result.status]
                if row.result
                else ("dim" if row.state in ("waiting", "checking base") else "")
            )
            cost = "" if row.cost is None and row.result is None else text.cost_text(row.cost)
            said = (row.result.output or row.result.error or "") if row.result else row.line
            table.add_row(
                str(worker_id),
                row.spec.backend,
                row.spec.model or row.model or DEFAULT_MODEL,
                Text(state, style=style),
                str(row.steps or ""),
                cost,
                self._time(row),
                Text(one_line(said or row.waiting_words, 200), style="dim"),
            )
        return table

    def _time(self, row: _Row) -> str:
        if row.result is not None:
            return f"{row.result.duration:.1f}s"
        return "" if row.started_s is None else f"{monotonic_s() - row.started_s:.0f}s"
