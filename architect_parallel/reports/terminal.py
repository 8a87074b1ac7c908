"""The live view of a run: a screen on a terminal, plain lines elsewhere, nothing when asked to be quiet.

A listener of recorded events. It decides nothing, and a stream that fails does not end a run. Progress lines of a text
run belong to the answer (stdout). The screen, and all progress of a JSON run, go to stderr.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING

from architect_parallel.domain import RunPlan
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
from architect_parallel.reports import competition, text
from architect_parallel.reports.plan import opening, starting_notes
from architect_parallel.scheduling.check_policy import of_base
from architect_parallel.system.clock import now
from architect_parallel.system.streams import display, harmless
from architect_parallel.system.terminal import LiveBlock, shows_live
from architect_parallel.text.display import Style
from architect_parallel.text.sanitize import one_line

if TYPE_CHECKING:
    from rich.console import Console

PERIOD_S = 0.25
"""Seconds between two drawings of the screen."""


class ProgressReport:
    """Shows a run while it goes on. Use as a context manager around the run. `begin` and `take` are its inputs."""

    def __init__(self, *, as_json: bool, quiet: bool, has_colors: bool = True) -> None:
        self._quiet = quiet
        self._has_colors = has_colors
        # stdout is the answer: with --json it holds the one object and nothing else.
        self._lines = sys.stderr if as_json else sys.stdout
        self._view = RunView("")
        self._started_at = now()
        self._checking_base = False
        self._block: LiveBlock | None = None
        self._console: Console | None = None
        self._warned: set[str] = set()

    def __enter__(self) -> ProgressReport:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close_screen()

    def begin(self, plan: RunPlan) -> None:
        """Show the plan, before any agent starts."""
        self._view, self._started_at = RunView.planned(plan), now()
        self._checking_base = plan.baseline and bool(of_base(plan.workers))
        for warning in plan.warnings:
            self._warn(warning)
        if self._quiet:
            return
        if plan.flow is not None:
            self._say(f"Running the flow {plan.flow.file}...")
        else:
            self._say(opening(plan))
            for note in starting_notes(plan):
                self._note(note)
            permissions = text.permission_line(plan.workers)
            if permissions is not None:
                self._say(permissions)
        self._open_screen()

    def _open_screen(self) -> None:
        if self._quiet or not shows_live(sys.stderr):
            return
        from rich.console import Console

        self._console = Console(stderr=True, highlight=False, no_color=not self._has_colors)
        self._block = LiveBlock(sys.stderr, self._screen, period_s=PERIOD_S)

    def _screen(self, width: int, height: int) -> list[str]:
        from architect_parallel.reports.live_screen import frame

        assert self._console is not None
        lines = frame(
            self._view,
            now=now(),
            width=width,
            height=height,
            started_at=self._started_at,
            checking_base=self._checking_base,
        )
        with self._console.capture() as captured:
            for line in lines:
                self._console.print(line, soft_wrap=True)
        return captured.get().splitlines()

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """Hide the screen while a person is asked something."""
        self._close_screen()
        yield
        self._open_screen()

    def _close_screen(self) -> None:
        if self._block is not None:
            self._block.close()
            self._block = None

    def take(self, recorded: Recorded) -> None:
        """Apply the next event."""
        self._view.take(recorded)
        worker_id = recorded.worker_id
        match recorded.event:
            case Warned(message=message):
                self._warn(message, "" if worker_id is None else f"[{worker_id}] ")
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
                self._say(text.finished_line(result, display(self._lines)))
            case _:
                pass

    def say(self, line: str) -> None:
        """Show a line of progress about work after the run's end, which no event records."""
        if not self._quiet:
            self._say(one_line(line, 200))

    def _say(self, line: str) -> None:
        line = harmless(line)
        with contextlib.suppress(OSError), self._above():  # the answer at the end reports a stream that fails
            parts = display(self._lines).wrap(line, hanging="  ")
            self._lines.buffer.write("".join(f"{part}\n" for part in parts).encode(errors="replace"))
            self._lines.flush()

    def _warn(self, message: str, worker: str = "") -> None:
        """Show a warning, once: what several workers are warned of is the same for all of them."""
        if message in self._warned:
            return
        self._warned.add(message)
        line = harmless(f"warning: {one_line(worker + message, 400)}")
        surface = display(sys.stderr)
        for part in surface.wrap(line, hanging="  "):
            self._note(surface.paint(part, Style.CAREFUL))

    def _note(self, line: str) -> None:
        with contextlib.suppress(OSError), self._above():
            sys.stderr.write(line.encode("utf-8", "replace").decode() + "\n")

    def _above(self) -> contextlib.AbstractContextManager[None]:
        """The place for text that stays: above the screen, if there is one."""
        return contextlib.nullcontext() if self._block is None else self._block.above()
