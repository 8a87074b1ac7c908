r"""The surface that text is made for: a pipe, or a terminal with a width and perhaps colours. Pure.

>>> PIPE.paint("failed", Style.BAD), Display(color=True).paint("failed", Style.BAD)
('failed', '\x1b[31mfailed\x1b[0m')
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from enum import StrEnum

_SGR = re.compile(r"\x1b\[[0-9;]*m")


class Style(StrEnum):
    """A look of text by its meaning, as SGR parameters."""

    GOOD = "32"
    BAD = "31"
    CAREFUL = "33"
    ACTIVE = "36"
    FAINT = "2"
    STRONG = "1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Display:
    """The surface that text is made for."""

    width: int | None = None
    """Columns. `None` means that lines may have any length."""
    color: bool = False
    wide: bool = False
    """Show texts in full that are otherwise shortened."""

    @property
    def is_pipe(self) -> bool:
        """The text is for a program or a file, whose form never changes."""
        return self.width is None and not self.wide

    def paint(self, text: str, style: Style | None) -> str:
        """`text` in a colour, where there are colours. `None` means the colour of the terminal."""
        return f"\x1b[{style}m{text}\x1b[0m" if self.color and style is not None and text else text

    def wrap(self, text: str, indent: str = "", hanging: str = "") -> list[str]:
        """One line as lines that fit, broken between words. Only a word that is longer than a line is broken.

        Args:
            indent: The beginning of every line. Whitespace at the beginning of `text` is kept in the first one.
            hanging: A further beginning of every line but the first.
        """
        room = max(20, self.width - len(indent + hanging)) if self.width is not None else None
        if room is None or columns(text) <= room:
            return [indent + text]
        lines, line = [], text[: len(text) - len(text.lstrip())][: room // 2]
        for word in text.split():
            joined = f"{line} {word}" if line.strip() else line + word
            if columns(joined) <= room:
                line = joined
                continue
            if line.strip():
                lines.append(line)
            while columns(word) > room:
                part = cut(word, room)
                lines.append(part)
                word = word[len(part) :]
            line = word
        first, *more = [*lines, *([line] if line else [])]
        return [indent + first, *(indent + hanging + line for line in more)]


PIPE = Display()
"""No width and no colour: the same text everywhere."""


def columns(text: str) -> int:
    """The columns of a terminal that `text` takes. Colours take none, wide characters two.

    >>> columns("plain"), columns("\\x1b[31mred\\x1b[0m"), columns("日本")
    (5, 3, 4)
    """
    if text.isascii() and "\x1b" not in text:
        return len(text)
    return sum(_columns_of(character) for character in _SGR.sub("", text))


def cut(text: str, limit: int) -> str:
    """The longest beginning of `text`, without colours, that takes at most `limit` columns.

    >>> cut("日本語", 5)
    '日本'
    """
    if text.isascii():
        return text[:limit]
    taken = 0
    for place, character in enumerate(text):
        taken += _columns_of(character)
        if taken > limit:
            return text[:place]
    return text


def shorten(text: str, limit: int) -> str:
    """Cut `text` to `limit` columns, with an ellipsis. It is cut between words where that loses little.

    >>> shorten("add logging to the API", 15), shorten("abcdefghij", 5)
    ('add logging to…', 'abcd…')
    """
    if columns(text) <= limit:
        return text
    part = cut(text, max(0, limit - 1))
    head, blank, _ = part.rpartition(" ")
    whole_words = text[len(part) : len(part) + 1] in (" ", "")
    return (head if blank and not whole_words and len(head) * 3 >= len(part) * 2 else part.rstrip()) + "…"


def _columns_of(character: str) -> int:
    if unicodedata.combining(character) or character in "\u200b\u200c\u200d\ufe0f":
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
