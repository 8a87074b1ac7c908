"""The details of one worker on the screen of `architect watch`: facts, and its log or its diff."""

from __future__ import annotations

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Static

from architect_parallel.api.watch_panes import Lines
from architect_parallel.api.watched_run import WatchedRun
from architect_parallel.journal.worker_view import WorkerView
from architect_parallel.reports import progress_words as words

MOST_FACTS = 4
PATCH_STYLES = (
    ("+++", "bold"),
    ("---", "bold"),
    ("diff --git", "bold"),
    ("@@", "cyan"),
    ("+", "green"),
    ("-", "red"),
)
"""The beginning of a line of a patch → its colour, as git has it."""


class Details(Vertical):
    """One worker. `pane` says whether its log or its diff is shown."""

    DEFAULT_CSS = """
    Details #facts { height: auto; padding: 0 1; background: $surface; }
    Details Lines { height: 1fr; padding: 0 1; }
    Details Lines:focus { background: $boost; }
    """

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self.pane = "log"
        self._source: tuple[object, ...] = ()
        """The origin of the lines. They are made again when it changes."""

    def compose(self) -> ComposeResult:
        yield Static(id="facts", markup=False)
        yield Lines(id="text")

    @property
    def lines(self) -> Lines:
        return self.query_one(Lines)

    def show(self, watched: WatchedRun, worker_id: int | None) -> None:
        """Show a worker. The log and the diff are read only when they have changed. `None` means no worker."""
        worker = watched.worker(worker_id) if worker_id is not None else None
        facts = self.query_one("#facts", Static)
        if worker is None or worker_id is None:
            facts.update("no worker")
            self.lines.show([], follows=False, is_new=True)
            self._source = ()
            return
        facts.update(self._facts(watched, worker))
        is_log = self.pane == "log"
        width = max(20, self.lines.size.width - 3)
        version = (width, watched.log_length(worker_id)) if is_log else ((worker.result or worker).diff,)
        source = (watched.run_id, worker_id, self.pane, *version)
        if source == self._source:
            return
        is_new, self._source = source[:3] != self._source[:3], source
        if is_log:
            lines = [Text.from_ansi(line) for line in watched.log(worker_id, width)]
            lines = lines or [Text("nothing was printed" if worker.over else "nothing was printed yet", style="dim")]
        else:
            lines = [_colored(line) for line in watched.patch(worker_id)]
        self.lines.show(lines, follows=is_log, is_new=is_new)

    def _facts(self, watched: WatchedRun, worker: WorkerView) -> Text:
        worker_id = worker.spec.worker_id
        attempt = f", attempt {worker.attempt}" if worker.attempt > 1 else ""
        head = Text(f"worker {worker_id} {words.state_word(worker)}{attempt}   {self.pane}", style="bold")
        lines = [head, *(Text.from_ansi(line) for line in watched.facts(worker_id)[:MOST_FACTS])]
        for line in lines:
            line.truncate(max(20, self.size.width - 2), overflow="ellipsis")
        return Text("\n").join(lines)


def _colored(line: str) -> Text:
    style = next((style for begin, style in PATCH_STYLES if line.startswith(begin)), "")
    return Text(line.expandtabs(4), style=style, no_wrap=True)
