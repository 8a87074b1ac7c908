"""The live view of a run: a table on a terminal, plain lines elsewhere, nothing when asked to be quiet.

A listener of recorded events. It decides nothing, and a stream that fails does not end a run. Progress lines of a text
run belong to the answer (stdout). The table, and all progress of a JSON run, go to stderr.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING

from architect_parallel.domain import RunPlan, Status
from architect_parallel.events import (
    AgentOutput,
    AttemptEnded,
    BaselineFinished,
    Escaped,
    Judged,
    Recorded,
    Warned,
    WorkerFinished,
)
from architect_parallel.journal.view import RunView
from architect_parallel.journal.worker_view import Phase, WorkerView
from architect_parallel.reports import competition, text
from architect_parallel.scheduling.check_policy import of_base
from architect_parallel.system.clock import now
from architect_parallel.text.names import DEFAULT_MODEL
from architect_parallel.text.quantities import show_count
from architect_parallel.text.sanitize import one_line, without_ci_commands

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


class ProgressReport:
    """Shows a run while it goes on. Use as a context manager around the run; `begin` and `take` are its inputs."""

    def __init__(self, *, as_json: bool, quiet: bool) -> None:
        self._quiet = quiet
        # stdout is the answer: with --json it holds the one object and nothing else.
        self._lines = sys.stderr if as_json else sys.stdout
        self._on_terminal = sys.stderr.isatty() and not os.environ.get("CI") and os.environ.get("TERM") != "dumb"
        self._view = RunView("")
        self._checking_base = False
        self._live: Live | None = None
        self._warned: set[str] = set()

    def __enter__(self) -> ProgressReport:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop_table()

    def begin(self, plan: RunPlan) -> None:
        """Show the plan, before any agent starts."""
        self._view = RunView.planned(plan)
        self._checking_base = plan.baseline and bool(of_base(plan.workers))
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
        """Hide the table while a person is asked something."""
        self._stop_table()
        yield
        self._start_table()

    def _stop_table(self) -> None:
        if self._live is not None:
            with contextlib.suppress(OSError):
                self._live.stop()
            self._live = None

    def take(self, recorded: Recorded) -> None:
        """Apply the next event."""
        self._view.take(recorded)
        worker_id = recorded.worker_id
        match recorded.event:
            case Warned(message=message):
                self._warn(message if worker_id is None else f"[{worker_id}] {message}")
            case Escaped(escape=escape):
                self._warn("; ".join(line.strip() for line in text.escape_lines(escape)[:2]))
            case BaselineFinished():
                self._checking_base = False
            case _ if self._quiet:
                pass
            case AgentOutput(text=line) if worker_id is None:
                self._say(line)
            case Judged(judgement=judgement):
                self._say(competition.judgement_line(judgement))
            case AttemptEnded(attempt=attempt, because=because) if worker_id in self._view.workers:
                self._say(text.attempt_line(worker_id or 0, attempt, because))
            case WorkerFinished(result=result) if worker_id in self._view.workers:
                self._say(text.finished_line(result))
            case _:
                pass

    def say(self, line: str) -> None:
        """Show a line of progress about work after the run's end, which no event records."""
        if not self._quiet:
            self._say(one_line(line, 200))

    def _say(self, line: str) -> None:
        line = without_ci_commands(line) if os.environ.get("CI") else line
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
        line = without_ci_commands(line) if os.environ.get("CI") else line
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
        for worker in self._view.workers.values():
            result, spec = worker.result, worker.spec
            cost = "" if worker.spent is None and result is None else text.cost_text(worker.spent)
            shown = (result.output or result.error or "") if result else _newest_line(worker)
            table.add_row(
                str(spec.worker_id),
                spec.backend,
                spec.model or (result or worker).model or DEFAULT_MODEL,
                Text(self._state(worker), style=_style(worker)),
                str((result.steps if result else worker.steps) or ""),
                cost,
                _time(worker),
                Text(one_line(shown or text.task_words(spec.worker_id, spec.name, spec.prompt, 200), 200), style="dim"),
            )
        return table

    def _state(self, worker: WorkerView) -> str:
        if worker.result is not None:
            return text.STATUS_WORDS[worker.result.status]
        if worker.stopping is not None:
            return f"stopping ({str(worker.stopping.reason).replace('_', ' ')})"
        match worker.phase:
            case Phase.WAITING if self._checking_base:
                return "checking base"
            case Phase.CREATING:
                return "worktree"
            case Phase.RETRYING:
                return f"waiting ({worker.note})"
            case phase:
                return phase.value


def _newest_line(worker: WorkerView) -> str:
    return worker.line if worker.phase is Phase.RETRYING else worker.note or worker.line


def _style(worker: WorkerView) -> str:
    if worker.result is not None:
        return STYLES[worker.result.status]
    return "dim" if worker.phase is Phase.WAITING else ""


def _time(worker: WorkerView) -> str:
    if worker.result is not None:
        return f"{worker.result.duration:.1f}s"
    return "" if worker.running_since is None else f"{(now() - worker.running_since).total_seconds():.0f}s"
