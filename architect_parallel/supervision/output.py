"""A program's output on its way in: lines for a reader, a log file for people, and a bound on both.

Nothing here trusts the output. A line that is too long is cut, and a flood is no longer logged. Secrets have been
blanked out before (`consume.run_limited`).
"""

from __future__ import annotations

import os
from pathlib import Path

from architect_parallel.system.own_files import open_own

LINE_BYTES = 8 * 2**20
"""A longer line is cut. Agents put whole files into one JSON line, seldom more."""
LOG_BYTES = 64 * 2**20
"""The size of the log of one attempt. Further output is counted and dropped."""
TAIL_BYTES = 16 * 2**10
"""The part of stderr that is kept for the error message."""


class LineSplitter:
    """Turns chunks into complete lines of at most `limit` bytes. The rest of a longer line is dropped."""

    def __init__(self, limit: int = LINE_BYTES) -> None:
        self._limit = limit
        self._parts: list[bytes] = []
        self._held = 0

    def feed(self, data: bytes) -> list[bytes]:
        """Return the lines that `data` completes, without their newlines."""
        if b"\n" not in data:
            self._hold(data)
            return []
        first, *lines = data.split(b"\n")
        self._hold(first)
        lines.insert(0, b"".join(self._parts))
        self._parts, self._held = [], 0
        self._hold(lines.pop())
        return lines

    def feed_block(self, data: bytes) -> bytes:
        """Return the same lines as `feed` in one piece, each with its newline. Empty means that none is complete."""
        end = data.rfind(b"\n") + 1
        if end == 0:
            self._hold(data)
            return b""
        block = data[:end]
        if self._held:
            first = data.index(b"\n")
            self._hold(data[:first])
            block = b"".join([*self._parts, data[first:end]])
            self._parts, self._held = [], 0
        self._hold(data[end:])
        return block

    def rest(self) -> list[bytes]:
        """Return the last line if it has no newline at its end."""
        return [b"".join(self._parts)] if self._held else []

    def _hold(self, data: bytes) -> None:
        free = self._limit - self._held
        if data and free > 0:
            self._parts.append(data[:free])
            self._held += min(free, len(data))


class LogFile:
    """Both streams of one attempt in one file (0600), in whole lines so that they do not mix."""

    def __init__(self, path: Path, limit: int = LOG_BYTES) -> None:
        self.path = path
        self._left = limit
        self._file = os.fdopen(open_own(path, os.O_WRONLY | os.O_APPEND), "ab", buffering=0)
        self._pending: dict[str, bytes] = {}
        self.problem: str | None = None
        """Why the log is not whole. `None` means that it is, up to its limit."""

    def write(self, stream: str, data: bytes) -> None:
        """Log the complete lines of `data`. A part of a line waits for its end, up to 64 KiB."""
        if self._left <= 0:
            return
        held = self._pending.pop(stream, b"") + data
        end = held.rfind(b"\n") + 1
        if end == 0 and len(held) > 65536:
            end = len(held)
        if end < len(held):
            self._pending[stream] = held[end:]
        self._append(held[:end])

    def close(self) -> None:
        """Log the incomplete lines and close the file."""
        for rest in self._pending.values():
            self._append(rest + b"\n")
        self._pending.clear()
        self._file.close()

    def _append(self, data: bytes) -> None:
        if not data or self._left <= 0:
            return
        try:
            self._file.write(data[: self._left])
            self._left -= len(data)
            if self._left <= 0:
                self._file.write(b"\n[architect: the log ends here, the output went on]\n")
        except OSError as error:  # a full disk: the output still counts, and the worker goes on
            self._left = 0
            self.problem = error.strerror or str(error)


class Tail:
    """The last bytes of a stream."""

    def __init__(self, limit: int = TAIL_BYTES) -> None:
        self._limit = limit
        self._data = b""

    def feed(self, data: bytes) -> None:
        """Take the next chunk."""
        self._data = (self._data + data)[-self._limit :]

    @property
    def text(self) -> str:
        """The kept bytes as text. Undecodable ones as replacement characters."""
        return self._data.decode(errors="replace")
