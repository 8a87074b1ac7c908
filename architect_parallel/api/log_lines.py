"""The output of a worker as lines for people: the end of its log, with the events of an agent CLI as text.

An agent that prints JSON is read by its backend's reader. A line without text for the reader is left out if it is JSON,
and shown otherwise. The log is data of unknown origin, so the lines are sanitized.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from architect_parallel.backends.base import Reader, Text
from architect_parallel.errors import EnvironmentProblem
from architect_parallel.journal.logs import log_files
from architect_parallel.text.sanitize import plain_text

TAIL_BYTES = 256 * 1024
LINE_CHARACTERS = 2_000


class LogLines:
    """The end of the newest log of one worker. It is read again only when the log has grown."""

    def __init__(self, run_dir: Path, worker_id: int, reader: Callable[[], Reader] | None) -> None:
        """Args:
        reader: Makes a reader for the agent's output. `None` means that the output is text.
        """
        self._run_dir = run_dir
        self._worker_id = worker_id
        self._make_reader = reader
        self._seen: tuple[Path, int] | None = None
        self._lines: list[str] = []

    def lines(self) -> list[str]:
        """The lines, oldest first. A log that cannot be read adds none."""
        try:
            files = log_files(self._run_dir, self._worker_id)
            if not files:
                return self._lines
            size = files[-1].stat().st_size
            if self._seen != (files[-1], size):
                with files[-1].open("rb") as file:
                    file.seek(max(0, size - TAIL_BYTES))
                    data = file.read(TAIL_BYTES)
                self._seen = (files[-1], size)
                self._lines = self._readable(data, cut=size > TAIL_BYTES)
        except (OSError, EnvironmentProblem):
            pass
        return self._lines

    def _readable(self, data: bytes, *, cut: bool) -> list[str]:
        raw = data.split(b"\n")[1 if cut else 0 :]
        reader = self._make_reader() if self._make_reader is not None else None
        lines: list[str] = []
        for line in raw:
            if reader is not None and line.lstrip().startswith(b"{"):
                texts = [fact.text for fact in reader.line(line) if isinstance(fact, Text)]
                lines += [line for text in texts for line in text.splitlines()]
            else:
                lines.append(line[: 4 * LINE_CHARACTERS].decode(errors="replace"))
        plain = (plain_text(line[:LINE_CHARACTERS]).replace("\n", " ").expandtabs(4).rstrip() for line in lines)
        return [line for line in plain if line]
