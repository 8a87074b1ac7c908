"""An agent's log as readable lines: what the agent wrote, its calls of tools, and their results folded.

`LogReader` reads a log file as entries, `LogText` turns entries into lines, for `architect logs` and the live views.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from architect_parallel.backends.log_entries import EntryKind, LogEntry, LogParser
from architect_parallel.supervision.output import LineSplitter
from architect_parallel.text.display import PIPE, Display, Style, shorten
from architect_parallel.text.quantities import show_count

RESULT_LINES = 1
FAILED_LINES = 5
"""Lines of a result that are shown, the last ones of a failure."""
RESULT_COLUMNS = 100
"""Columns of a folded line where the display has no width."""
CHUNK_BYTES = 65536


class LogText:
    """Turns the entries of one log into lines. Keeps the previous entry, for the empty lines between paragraphs."""

    def __init__(self, display: Display = PIPE) -> None:
        self._display = display
        self._before: EntryKind | None = None

    def lines(self, entries: Iterable[LogEntry]) -> list[str]:
        """The next lines. Words are set apart by empty lines. A result is folded unless the display is wide."""
        lines = []
        for entry in entries:
            apart = EntryKind.WORDS in (self._before, entry.kind) and self._before is not None
            shown = list(self._entry(entry))
            if shown:
                lines += ["", *shown] if apart else shown
                self._before = entry.kind
        return lines

    def _entry(self, entry: LogEntry) -> Iterator[str]:
        display = self._display
        match entry.kind:
            case EntryKind.CALL:
                first, *more = display.wrap(f"* {entry.tool} {entry.text}".rstrip(), hanging="  ")
                head = 2 + len(entry.tool)
                yield first[:2] + display.paint(first[2:head], Style.ACTIVE) + first[head:]
                yield from more
            case EntryKind.RESULT:
                style = Style.BAD if entry.failed else Style.FAINT
                yield from (display.paint(line, style) for line in self._result(entry))
            case kind:
                style_of = {EntryKind.ERROR: Style.BAD, EntryKind.OUTPUT: Style.FAINT}.get(kind)
                mark = "error: " if kind is EntryKind.ERROR else ""
                for line in f"{mark}{entry.text}".split("\n"):
                    yield from (display.paint(part, style_of) for part in display.wrap(line))

    def _result(self, entry: LogEntry) -> list[str]:
        """The lines of a result. Folded it is one line, of a failure the last ones."""
        lines = entry.text.split("\n") if entry.text else []
        if self._display.wide:
            return [f"    {line}" for line in lines]
        filled = [line.strip() for line in lines if line.strip()]
        if not filled:
            return ["    failed"] if entry.failed else []
        room = max(20, (self._display.width or RESULT_COLUMNS) - 4)
        shown = filled[-FAILED_LINES:] if entry.failed else filled[:RESULT_LINES]
        hidden = len(filled) - len(shown)
        if entry.failed:
            above = [f"... {hidden} lines above"] if hidden else []
            return [f"    {shorten(line, room)}" for line in [*above, *shown]]
        more = f" (+{show_count(hidden, 'line')})" if hidden else ""
        return [f"    {shorten(shown[0], max(10, room - len(more)))}{more}"]


class LogReader:
    """Reads one log file as it grows, as entries."""

    def __init__(self, path: Path, backend: str, worktree: str | None = None) -> None:
        """Args:
        path: The log file of an attempt.
        backend: Name of the backend that printed it.
        worktree: The agent's working directory, which is left out of paths. `None` means that paths stay whole.
        """
        self.path = path
        self._parser = LogParser(backend, worktree)
        self._splitter = LineSplitter()
        self._offset = 0
        self._is_over = False

    def read(self, *, is_over: bool) -> Iterator[LogEntry]:
        """The entries since the last call.

        Args:
            is_over: The log grows no more, so that its last line counts without a newline.

        Raises:
            OSError: The file cannot be read.
        """
        with self.path.open("rb") as file:
            file.seek(self._offset)
            while data := file.read(CHUNK_BYTES):
                self._offset += len(data)
                for line in self._splitter.feed(data):
                    yield from self._parser.line(line)
        if is_over and not self._is_over:
            self._is_over = True
            for line in self._splitter.rest():
                yield from self._parser.line(line)
            yield from self._parser.finish()
