"""The full-screen view of `architect watch`: keys and mouse, journal and logs in, a screen out, until the user leaves.

It only reads, except for what the user asks for, and it asks before it changes anything (`watch_verbs`).
The terminal is restored afterwards, also after a signal.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual import work
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.events import Key
from textual.widgets import Footer, Input, Static

from architect_parallel.api import watch_verbs as verbs
from architect_parallel.api.watch_details import Details
from architect_parallel.api.watch_panes import QUESTIONS, KeyHelp, YesOrNo
from architect_parallel.api.watch_table import WorkerTable
from architect_parallel.api.watched_run import WatchedRun, matches
from architect_parallel.errors import ArchitectParallelError, ExitCode
from architect_parallel.journal import Journal
from architect_parallel.reports import progress_words as words
from architect_parallel.runs.watch import LOOK_S
from architect_parallel.system import clock, signals
from architect_parallel.system.git import Repository
from architect_parallel.text.sanitize import one_line

NARROW = 140
"""On a narrower screen the details are below the list, else beside it."""


def show(
    workspace_root: Path, repository: Repository, journal: Journal, run_id: str, workers: Collection[int] = ()
) -> int:
    """Show the run, or some workers of it, until `q`. Returns 0, or the exit code of the signal that ended the view."""
    received: list[signal.Signals] = []
    app = WatchScreen(workspace_root, repository, journal, run_id, workers=workers, received=received)
    with signals.forwarded(received.append):
        if signal.SIGHUP in signals.stopping_signals():
            signal.signal(signal.SIGHUP, signal.SIG_DFL)  # Textual would wait for ever for a terminal that is gone
        return app.run() or app.return_code or ExitCode.SUCCESS


class WatchScreen(App[int]):
    """The view of one run, with a way to the other runs."""

    ENABLE_COMMAND_PALETTE = False
    CSS = """
    #head { height: 1; padding: 0 1; text-style: bold; }
    #body { height: 1fr; }
    WorkerTable, Details { height: 1fr; width: 1fr; }
    .narrow WorkerTable { height: auto; max-height: 50%; }
    .narrow { layout: vertical; }
    #find { display: none; height: 1; border: none; padding: 0 1; }
    #find.shown { display: block; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("l", "pane('log')", show=False),
        Binding("d", "pane('diff')", "Diff"),
        Binding("m", "merge", "Merge"),
        Binding("o", "open", "Open"),
        Binding("r", "retry", "Retry"),
        Binding("s", "ask('send')", "Send"),
        Binding("c", "cancel", "Cancel"),
        Binding("slash", "find", "Filter", key_display="/"),
        Binding("n", "next_match(1)", show=False),
        Binding("N", "next_match(-1)", show=False),
        Binding("tab", "other_run(1)", "Run", priority=True),
        Binding("shift+tab", "other_run(-1)", show=False, priority=True),
        Binding("question_mark", "keys", "Help", key_display="?"),
        Binding("q,ctrl+c", "leave", "Quit"),
    ]

    def __init__(
        self,
        workspace_root: Path,
        repository: Repository,
        journal: Journal,
        run_id: str,
        *,
        workers: Collection[int] = (),
        received: list[signal.Signals] | None = None,
    ) -> None:
        """Args:
        workers: The workers of this run that are shown. Empty means all.
        received: Signals that end the view, as they come. `None` means that the caller takes none.
        """
        super().__init__()
        self._root = workspace_root
        self._repository = repository
        self._journal = journal
        self._received = received if received is not None else []
        self._runs = {run_id: WatchedRun(repository, journal, run_id)}
        self._run_id = run_id
        self._chosen = {run_id: frozenset(workers)}
        self._filter = ""
        self._asked = "filter"
        """A key of `QUESTIONS`: what the field at the end is for."""
        self._search = ""
        self._is_reading = False

    def compose(self) -> ComposeResult:
        yield Static(id="head", markup=False)
        with Horizontal(id="body"):
            yield WorkerTable(id="list")
            yield Details(id="details")
        yield Input(id="find", compact=True)
        yield Footer(show_command_palette=False, compact=True)

    def on_mount(self) -> None:
        self.on_resize()
        self._tick()
        self.set_interval(LOOK_S, self._tick)

    def on_resize(self) -> None:
        self.query_one("#body").set_class(self.size.width < NARROW, "narrow")

    # What is shown

    @property
    def watched(self) -> WatchedRun:
        """The run that is shown."""
        return self._runs[self._run_id]

    def _tick(self) -> None:
        if self._received:
            self.exit(128 + self._received[0])
            return
        if not self._is_up:
            return
        self.watched.look()
        self.refresh_all()
        if not self._is_reading:
            self._is_reading = True
            self._read_logs(self.watched, self._table.selected)

    @work(thread=True)
    def _read_logs(self, watched: WatchedRun, selected: int | None) -> None:
        """Read the logs of the agents that run, and of the selected worker."""
        try:
            for worker in tuple(watched.view.workers.values()):
                if worker.spec.worker_id == selected or words.is_active(worker):
                    watched.read_log(worker.spec.worker_id)
        finally:
            self._is_reading = False

    def refresh_all(self) -> None:
        """Draw what has changed."""
        if not self._is_up or len(self.screen_stack) > 1:
            return
        self.query_one("#head", Static).update(self._head())
        chosen = self._chosen.get(self._run_id)
        every = self.watched.view.workers.values()
        run = [worker for worker in every if not chosen or worker.spec.worker_id in chosen]
        shown = [worker for worker in run if matches(worker, self._filter.split())]
        self._table.show(run, shown, self.watched.last_words, clock.now())
        self._details.show(self.watched, self._table.selected)

    @property
    def _is_up(self) -> bool:
        """The widgets are there: a timer can still fire while the view is being left."""
        return self.is_running and bool(self.query(WorkerTable)) and bool(self.query(Details))

    @property
    def _table(self) -> WorkerTable:
        return self.query_one(WorkerTable)

    @property
    def _details(self) -> Details:
        return self.query_one(Details)

    def _head(self) -> Text:
        run = self.watched.view
        runs = self._journal.run_ids()
        line = Text(f"{run.run_id} ", no_wrap=True, overflow="ellipsis")
        if len(runs) > 1 and run.run_id in runs:
            line.append(f"{runs.index(run.run_id) + 1}/{len(runs)} ", style="dim")
        line.append(run.status.value, style=words.RUN_STYLES.get(run.status, "red"))
        if run.started_at is not None:
            until = run.last_at if run.over and run.last_at is not None else clock.now()
            line.append(f"  {words.clock_text((until - run.started_at).total_seconds())}")
        line.append(f"  {words.totals(run)}")
        if self._filter:
            line.append(f"  filter: {self._filter}", style="yellow")
        return line

    # What the user does

    def on_data_table_row_highlighted(self) -> None:
        if self._is_up:
            self._details.show(self.watched, self._table.selected)

    def on_data_table_row_selected(self) -> None:
        self.action_pane("log")

    def action_pane(self, name: str) -> None:
        """Go to the log or the diff of the selected worker."""
        self._details.pane = name
        self._details.show(self.watched, self._table.selected)
        self._details.lines.focus()

    def action_keys(self) -> None:
        self.push_screen(KeyHelp())

    def action_leave(self) -> None:
        self.exit(ExitCode.SUCCESS)

    def action_other_run(self, step: int) -> None:
        """Show the run before, or the run after with a negative step."""
        runs = self._journal.run_ids()
        if len(self.screen_stack) > 1 or self._run_id not in runs or isinstance(self.focused, Input):
            return
        self._run_id = runs[(runs.index(self._run_id) + step) % len(runs)]
        self._runs.setdefault(self._run_id, WatchedRun(self._repository, self._journal, self._run_id))
        self._filter = ""
        self._table.forget()
        self.watched.look()
        self.refresh_all()

    def action_find(self) -> None:
        """Ask for words to filter the list, or to search the log or the diff."""
        self.action_ask("filter" if self.focused is self._table else "search")

    def action_ask(self, what: str) -> None:
        """Ask for a line of text: a key of `QUESTIONS`."""
        field = self.query_one("#find", Input)
        if what == "send" and not self._has_ended():
            return
        self._asked = what
        field.placeholder = QUESTIONS[what]
        field.value = self._filter if what == "filter" else ""
        field.add_class("shown")
        field.focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        if event.input.has_class("shown") and self._asked == "filter":
            self._filter = event.value.strip()
            self.refresh_all()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        self._end_input()
        if self._asked == "search":
            self._search = event.value
            self.action_next_match(0)
        elif self._asked == "send" and event.value.strip():
            self._do(partial(verbs.send_to_worker, self._root, self._run_id, self._worker_id, event.value))

    def _end_input(self) -> None:
        self.query_one("#find", Input).remove_class("shown")
        (self._details.lines if self._asked == "search" else self._table).focus()

    def action_next_match(self, step: int) -> None:
        """Go to the next line with the words of the search."""
        message = self._details.lines.search(self._search, step=step)
        if message:
            self.notify(message, markup=False, timeout=2)

    def on_key(self, event: Key) -> None:
        if event.key != "escape" or len(self.screen_stack) > 1:
            return
        if self.query_one("#find", Input).has_class("shown"):
            self._end_input()
            self._filter = "" if self._asked == "filter" else self._filter
        elif self._search:
            self._search = ""
            self.action_next_match(0)
        elif self.focused is not self._table:
            self._table.focus()
        else:
            self._filter = ""
        self.refresh_all()

    # What is done to a run

    @property
    def _worker_id(self) -> int:
        """The selected worker. 0 means that there is none."""
        return self._table.selected or 0

    def _has_ended(self) -> bool:
        worker = self.watched.worker(self._worker_id)
        if worker is not None and worker.over:
            return True
        self.notify("this worker has not ended yet", severity="warning")
        return False

    async def _confirm(self, question: str, verb: Callable[[Path, str, int], str]) -> None:
        """Ask, and after a yes do what the verb does with the selected worker."""
        run_id, worker_id = self._run_id, self._worker_id
        if await self.push_screen_wait(YesOrNo(question)):
            self._do(partial(verb, self._root, run_id, worker_id))

    @work(thread=True)
    def _do(self, verb: Callable[[], str]) -> None:
        """Show the outcome of the verb, or its error."""
        try:
            message = verb()
        except ArchitectParallelError as error:
            self.call_from_thread(self._show_error, error)
        else:
            self.call_from_thread(self.notify, message, markup=False)

    def _show_error(self, error: ArchitectParallelError) -> None:
        self.notify(one_line(str(error), 400), severity="error", markup=False, timeout=10)

    @work
    async def action_cancel(self) -> None:
        worker = self.watched.worker(self._worker_id)
        if worker is None or worker.over or self.watched.view.over:
            self.notify("this worker has already ended", severity="warning")
            return
        name = f"worker {self._worker_id} ({one_line(words.label(worker), 60)})"
        await self._confirm(f"Cancel {name}? Its work is kept.", verbs.cancel_worker)

    @work
    async def action_merge(self) -> None:
        worker = self.watched.worker(self._worker_id)
        if worker is None or not self._has_ended():
            return
        if worker.result is None or worker.result.diff is None or not worker.result.diff.files:
            self.notify("this worker has no changes to merge", severity="warning")
            return
        changes = words.changes(worker)
        await self._confirm(f"Merge worker {self._worker_id} ({changes}) into the current branch?", verbs.merge_worker)

    @work
    async def action_retry(self) -> None:
        worker = self.watched.worker(self._worker_id)
        if worker is None or not self._has_ended():
            return
        name = f"worker {self._worker_id} ({one_line(words.label(worker), 60)})"
        await self._confirm(f"Run {name} again from its base? Its present work is kept.", verbs.retry_worker)

    def action_open(self) -> None:
        try:
            with self.suspend():
                message = verbs.open_worker(self._root, self._run_id, self._worker_id)
        except ArchitectParallelError as error:
            self._show_error(error)
        else:
            if message:
                self.notify(message, severity="warning", markup=False)
