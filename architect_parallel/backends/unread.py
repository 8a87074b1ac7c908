"""What an agent printed that its reader could not read: the only word there is when nothing else was understood."""

from __future__ import annotations

from architect_parallel.text.sanitize import plain_text

KEPT_BYTES = 16 * 1024


class UnreadText:
    """The first `KEPT_BYTES` of the lines a reader made nothing of."""

    def __init__(self) -> None:
        self._lines: list[bytes] = []
        self._room = KEPT_BYTES

    def add(self, line: bytes) -> None:
        """Takes the next such line, without its newline; what does not fit any more is dropped."""
        if self._room > 0:
            self._lines.append(line[: self._room])
            self._room -= len(line) + 1

    @property
    def text(self) -> str:
        """All of it, fit to be shown."""
        return plain_text(b"\n".join(self._lines).decode(errors="replace")).strip()
