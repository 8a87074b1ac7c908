"""The full-screen view of a run: keys, journal and logs in, frames out, until the user leaves.

It only reads. The one thing it can do to a run is to cancel a worker, which it asks about first. The terminal is
restored afterwards, also after a signal.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Collection, Mapping
from functools import partial
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live

from architect_parallel.api.cancel import cancel
from architect_parallel.api.log_lines import LogLines
from architect_parallel.backends.base import Backend, Reader
from architect_parallel.domain import WorkerSpec
from architect_parallel.errors import ArchitectParallelError, ExitCode
from architect_parallel.journal import Journal
from architect_parallel.journal.view import RunView
from architect_parallel.reports.screen import View, frame
from architect_parallel.reports.watch_events import take
from architect_parallel.runs.watch import LOOK_S, Follower
from architect_parallel.runs.workspace import load_workspace
from architect_parallel.system import clock, signals
from architect_parallel.system.terminal import pressed_keys
from architect_parallel.workers.request import request_for

MESSAGE_S = 4.0
"""How long a message is shown in the last line."""


def show(workspace_root: Path, run_id: str, journal: Journal, workers: Collection[int] = ()) -> int:
    """Show the run, or some workers of it, until `q`. Returns 0, or the exit code of the signal that ended the view."""
    received: list[signal.Signals] = []
    console = Console(highlight=False)
    view = LiveView(workspace_root, run_id, journal, workers)
    live = Live(console=console, screen=True, auto_refresh=False)
    with signals.forwarded(received.append), pressed_keys() as keys, live:
        while not received:
            view.look()
            live.update(view.picture(console), refresh=True)
            if not all(view.press(key) for key in keys.read(LOOK_S)):
                return ExitCode.SUCCESS
    return 128 + received[0]


class LiveView:
    """The state of the run, the part that is shown, and the effect of each key."""

    def __init__(self, workspace_root: Path, run_id: str, journal: Journal, workers: Collection[int] = ()) -> None:
        self.view = View()
        self.run = RunView(run_id)
        self._root = workspace_root
        self._journal = journal
        self._follower = Follower(journal, run_id, workers)
        self._backends: Mapping[str, Backend] = {}
        with contextlib.suppress(
            ArchitectParallelError
        ):  # without backends, JSON is shown unchanged: the view must not fail
            self._backends = load_workspace(workspace_root).backends
        self._logs: dict[int, LogLines] = {}
        self._page = 10
        self._message_s = 0.0

    def look(self) -> None:
        """Read the events since the last call."""
        if clock.monotonic_s() > self._message_s + MESSAGE_S:
            self.view.message = ""
        for seen in self._follower.poll():
            take(self.run, seen)
        if self.view.selected not in self.run.workers and self.run.workers:
            self.view.selected = min(self.run.workers)

    def picture(self, console: Console) -> Group:
        """Draw the whole screen."""
        width, height = console.size
        self._page = max(1, height - 4)
        lines = {worker_id: self._log(worker.spec).lines() for worker_id, worker in self.run.workers.items()}
        return Group(*frame(self.view, self.run, now=clock.now(), width=width, height=height, lines=lines))

    def press(self, key: str) -> bool:
        """Act on a key. Returns false to leave."""
        view = self.view
        view.message = ""
        if view.asks_cancel:
            view.asks_cancel = False
            if key == "y":
                self._cancel()
            return True
        if key == "q":
            return False
        if key == "?":
            view.mode = "list" if view.mode == "help" else "help"
        elif key in ("escape", "left", "backspace", "h"):
            view.mode, view.up = "list", 0
        elif key in ("enter", "l", "right") and view.mode == "list":
            view.mode, view.up = "log", 0
        elif key == "c":
            self._ask_cancel()
        else:
            self._move(key)
        return True

    def _move(self, key: str) -> None:
        step = self._steps().get(key, 0)
        if self.view.mode == "log":
            self.view.up = max(0, self.view.up - step)  # `frame` limits it to the length of the log
            return
        ids = sorted(self.run.workers)
        if ids and step:
            place = ids.index(self.view.selected) + step
            self.view.selected = ids[max(0, min(place, len(ids) - 1))]

    def _steps(self) -> dict[str, int]:
        """Key → how many lines or workers it moves, downwards."""
        end = 10**9
        up, down = dict.fromkeys(("up", "k"), -1), dict.fromkeys(("down", "j"), 1)
        begin, last = dict.fromkeys(("home", "g"), -end), dict.fromkeys(("end", "G"), end)
        return {**up, **down, **begin, **last, "page up": -self._page, "page down": self._page}

    def _ask_cancel(self) -> None:
        worker = self.run.workers.get(self.view.selected)
        if worker is None or worker.over or self.run.over:
            self._show_message(f"worker {self.view.selected} has already ended")
        else:
            self.view.asks_cancel = True

    def _cancel(self) -> None:
        try:
            cancel(self._root, self.run.run_id, self.view.selected, wait=False)
        except ArchitectParallelError as error:
            self._show_message(str(error))
        else:
            self._show_message(f"requested the end of worker {self.view.selected}")

    def _show_message(self, message: str) -> None:
        self.view.message, self._message_s = message, clock.monotonic_s()

    def _log(self, spec: WorkerSpec) -> LogLines:
        if spec.worker_id not in self._logs:
            run_dir = self._journal.run_dir(self.run.run_id)
            reader = partial(_reader, self._backends, spec, run_dir) if spec.backend in self._backends else None
            self._logs[spec.worker_id] = LogLines(run_dir, spec.worker_id, reader)
        return self._logs[spec.worker_id]


def _reader(backends: Mapping[str, Backend], spec: WorkerSpec, run_dir: Path) -> Reader:
    place = run_dir / "state" / f"worker-{spec.worker_id}"
    return backends[spec.backend].reader(request_for(spec, prompt_file=place / "prompt", state_dir=place))
