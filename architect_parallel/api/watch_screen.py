"""The full-screen view at work: keys in, journal and logs in, frames out, until somebody leaves.

It looks and nothing more; the one thing it can do to a run, cancelling a worker, is `running.cancel` and is asked for
twice. The terminal is as it was afterwards, also after a signal.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Mapping
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
"""How long a message stands in the last line."""


def show(workspace_root: Path, run_id: str, journal: Journal) -> int:
    """Shows the run until `q`; the exit code of the command: 0, or that of the signal that ended it."""
    received: list[signal.Signals] = []
    console = Console(highlight=False)
    view = LiveView(workspace_root, run_id, journal)
    live = Live(console=console, screen=True, auto_refresh=False)
    with signals.forwarded(received.append), pressed_keys() as keys, live:
        while not received:
            view.look()
            live.update(view.picture(console), refresh=True)
            if not all(view.press(key) for key in keys.read(LOOK_S)):
                return ExitCode.SUCCESS
    return 128 + received[0]


class LiveView:
    """What is known, what is looked at, and what a key does."""

    def __init__(self, workspace_root: Path, run_id: str, journal: Journal) -> None:
        self.view = View()
        self.run = RunView(run_id)
        self._root = workspace_root
        self._journal = journal
        self._follower = Follower(journal, run_id)
        self._backends: Mapping[str, Backend] = {}
        with contextlib.suppress(ArchitectParallelError):  # without, JSON is shown as it is; looking must not fail
            self._backends = load_workspace(workspace_root).backends
        self._logs: dict[int, LogLines] = {}
        self._page = 10
        self._said_s = 0.0

    def look(self) -> None:
        """Takes in what has happened since."""
        if clock.monotonic_s() > self._said_s + MESSAGE_S:
            self.view.message = ""
        for seen in self._follower.poll():
            take(self.run, seen)
        if self.view.selected not in self.run.workers and self.run.workers:
            self.view.selected = min(self.run.workers)

    def picture(self, console: Console) -> Group:
        """The whole screen."""
        width, height = console.size
        self._page = max(1, height - 4)
        lines = {worker_id: self._log(lane.spec).lines() for worker_id, lane in self.run.workers.items()}
        return Group(*frame(self.view, self.run, now=clock.now(), width=width, height=height, lines=lines))

    def press(self, key: str) -> bool:
        """Does what the key means; False: leave."""
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
        step = {"up": -1, "k": -1, "down": 1, "j": 1, "page up": -self._page, "page down": self._page,
                "home": -(10**9), "g": -(10**9), "end": 10**9, "G": 10**9}.get(key, 0)  # fmt: skip
        if self.view.mode == "log":
            self.view.up = max(0, self.view.up - step)  # the frame holds it to what there is
            return
        ids = sorted(self.run.workers)
        if ids and step:
            place = ids.index(self.view.selected) + step
            self.view.selected = ids[max(0, min(place, len(ids) - 1))]

    def _ask_cancel(self) -> None:
        lane = self.run.workers.get(self.view.selected)
        if lane is None or lane.over or self.run.over:
            self._say(f"worker {self.view.selected} has ended already")
        else:
            self.view.asks_cancel = True

    def _cancel(self) -> None:
        try:
            cancel(self._root, self.run.run_id, self.view.selected, wait=False)
        except ArchitectParallelError as error:
            self._say(str(error))
        else:
            self._say(f"asked for the end of worker {self.view.selected}")

    def _say(self, message: str) -> None:
        self.view.message, self._said_s = message, clock.monotonic_s()

    def _log(self, spec: WorkerSpec) -> LogLines:
        if spec.worker_id not in self._logs:
            run_dir = self._journal.run_dir(self.run.run_id)
            reader = partial(_reader, self._backends, spec, run_dir) if spec.backend in self._backends else None
            self._logs[spec.worker_id] = LogLines(run_dir, spec.worker_id, reader)
        return self._logs[spec.worker_id]


def _reader(backends: Mapping[str, Backend], spec: WorkerSpec, run_dir: Path) -> Reader:
    place = run_dir / "state" / f"worker-{spec.worker_id}"
    return backends[spec.backend].reader(request_for(spec, prompt_file=place / "prompt", state_dir=place))
