"""Events of a run on their way: into the journal, into the view of the run, and to the listeners."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import queue
from collections.abc import Callable, Iterator, Sequence
from signal import Signals

from architect_parallel.domain import RunResult
from architect_parallel.errors import EnvironmentProblem
from architect_parallel.event_json import encode
from architect_parallel.events import AgentOutput, Entry, Event, EventSource, Recorded, Warned
from architect_parallel.journal import Journal
from architect_parallel.journal.unrecorded import UNRECORDED
from architect_parallel.journal.view import RunView
from architect_parallel.system.own_files import open_own

Listener = Callable[[Recorded], None]
Reported = tuple[int | None, Event, EventSource | None]
"""An event of a host and the id of its worker, with its source if the host is another machine."""

_log = logging.getLogger(__name__)


class WarningLog:
    """Warnings of a run as a whole, each once, and which of them have been recorded."""

    def __init__(self) -> None:
        self._messages: dict[str, bool] = {}
        """Message → whether an event has it."""

    def __iter__(self) -> Iterator[str]:
        return iter(self._messages)

    def add(self, message: str, *, is_recorded: bool = False) -> bool:
        """Add a warning. Returns false when the log has it already."""
        is_new = message not in self._messages
        self._messages[message] = is_recorded or self._messages.get(message, False)
        return is_new

    def take_unrecorded(self) -> list[str]:
        """Return the warnings that no event has, and count them as recorded from now on."""
        unrecorded = [message for message, is_recorded in self._messages.items() if not is_recorded]
        self._messages |= dict.fromkeys(unrecorded, True)
        return unrecorded


class Recorder:
    """Records the events of one run. An event is durable before the view has it, and before any listener sees it."""

    def __init__(
        self, journal: Journal, run_id: str, listeners: Sequence[Listener] = (), view: RunView | None = None
    ) -> None:
        """Args:
        listeners: Called with every recorded event. One that fails is dropped with a warning.
        view: The run so far. `None` means that it is read from the journal.
        """
        self.journal = journal
        self.run_id = run_id
        self.view = RunView.of(run_id, journal.recorded(run_id)) if view is None else view
        self.warnings = WarningLog()
        self.problem: EnvironmentProblem | None = None
        """The failure of the journal. `None` means that it has everything."""
        self._listeners = list(listeners)

    def record(self, entries: Sequence[Entry], sources: Sequence[EventSource] = ()) -> None:
        """Record events in this order, all or none.

        Args:
            sources: Where the events stood that hosts reported, also of those that are left out of `entries`.

        Raises:
            EnvironmentProblem: The journal cannot be written. Nothing was recorded.
        """
        for entry in self.record_silently(entries, sources):
            for listener in tuple(self._listeners):
                try:
                    listener(entry)
                except Exception as error:  # a display must not end a run
                    self._listeners.remove(listener)
                    self.warnings.add(f"a report stopped working and was dropped: {error}")
                    _log.warning("listener dropped", exc_info=True)

    def record_silently(self, entries: Sequence[Entry], sources: Sequence[EventSource] = ()) -> list[Recorded]:
        """Record events like `record`, without showing them to the listeners."""
        if not entries and not sources:
            return []
        try:
            recorded = self.journal.append(
                [(self.run_id, worker_id, event) for worker_id, event in entries],
                [(self.run_id, source) for source in sources],
            )
        except EnvironmentProblem as problem:
            raise self.save_beside(entries, problem) from problem
        for entry in recorded:
            self.view.take(entry)
            if entry.worker_id is None and isinstance(entry.event, Warned):
                self.warnings.add(entry.event.message, is_recorded=True)
        return recorded

    def save_beside(self, entries: Sequence[Entry], problem: EnvironmentProblem) -> EnvironmentProblem:
        """Append events that the journal did not take to a file in the run's directory, a JSON object a line.

        Returns:
            The problem to raise. It names the file, if that could be written.
        """
        self.problem = problem
        path = self.journal.run_dir(self.run_id) / UNRECORDED
        lines = (
            json.dumps({"worker_id": worker_id, "type": name, "data": json.loads(data)})
            for worker_id, event in entries
            if not isinstance(event, AgentOutput)
            for name, data in (encode(event),)
        )
        try:
            with os.fdopen(open_own(path, os.O_WRONLY | os.O_APPEND), "a") as file:
                file.writelines(f"{line}\n" for line in lines)
        except OSError:
            return problem
        return EnvironmentProblem(f"{problem.message}; what was not recorded is in {path}", hint=problem.hint)

    def save_left(self, waiting: queue.SimpleQueue[Reported | Signals]) -> None:
        """After a failure of the journal, save the events that nobody took: results of workers that were stopped."""
        left: list[Entry] = []
        with contextlib.suppress(queue.Empty):
            while self.problem is not None:
                item = waiting.get_nowait()
                left += [] if isinstance(item, Signals) else [item[:2]]
        if self.problem is not None:
            self.save_beside(left, self.problem)

    def warn(self, message: str) -> None:
        """Record a warning of the run as a whole. Listeners see it at once, and the result lists it. A second call
        with the same message does nothing."""
        if self.warnings.add(message):
            self.record([(None, Warned(message=message))])

    def record_warnings(self) -> None:
        """Record the warnings that no event has yet."""
        self.record([(None, Warned(message=message)) for message in self.warnings.take_unrecorded()])

    def result(self) -> RunResult:
        """The run's result so far, of a launcher that lives."""
        return self.view.result(live=True)
