"""Text of unknown origin made safe for a terminal, a table cell or a report. Pure.

An agent's output may hold sequences that move the cursor, change the window title, hide text or turn its direction. The
result holds none of them: no ESC, no C0 except newline and tab, no C1, no bidirectional overrides or isolates, no lone
surrogates.
"""

from __future__ import annotations

import re
from itertools import cycle

from architect_parallel.errors import UsageError

_SEQUENCES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"  # CSI: colours, cursor
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c)?"  # OSC, DCS, SOS, PM, APC
    r"|\x1b[ -/]*[0-~]?"  # two-character escapes
)
_COLOUR = re.compile(r"(\x1b\[[0-9;]*m)")
_NEWLINES = re.compile(r"\r\n|\r|[\u2028\u2029\x85]")
_UNSAFE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_SURROGATES = re.compile(r"[\ud800-\udfff]")
_CI_LINES = re.compile(r"(^|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029])([^\S\n]*):(?=:)")
_CI_ANYWHERE = re.compile(r"#(?=#(?:\[|[A-Za-z]+\[))")
_JOINER = "\u2060"
_SUSPECT = re.compile(r"[^\n\t\x20-\x7e]")


def plain_text(text: str) -> str:
    r"""Remove control sequences and characters from `text`. Newlines (of any kind, as `\n`) and tabs stay.

    >>> plain_text("\x1b[31mred\x1b[0m\r\n\x1b]0;title\x07next\u202eline")
    'red\nnextline'
    """
    if _SUSPECT.search(text) is None:
        return text
    text = _SEQUENCES.sub("", text)
    text = _NEWLINES.sub("\n", text)
    text = _UNSAFE.sub("", text)
    return _SURROGATES.sub("\ufffd", text)


def coloured_text(text: str) -> str:
    r"""Like `plain_text`, but colours stay: for a patch that git has coloured.

    >>> coloured_text("\x1b[31m-a\x1b]0;title\x07\x1b[m\x1b[2J")
    '\x1b[31m-a\x1b[m'
    """
    return "".join(
        part if is_colour else plain_text(part) for part, is_colour in zip(_COLOUR.split(text), cycle((False, True)))
    )


def one_line(text: str, limit: int = 500) -> str:
    r"""`text` as one plain line of at most `limit` characters, with an ellipsis if it was cut.

    >>> one_line("  two\n lines ")
    'two lines'
    >>> one_line("abcdef", 4)
    'abc…'
    """
    # A line is short; what is far behind its end need not be looked at.
    line = " ".join(plain_text(text[: limit * 8]).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def without_ci_commands(text: str) -> str:
    r"""Take the meaning for CI services from lines that they would obey, with an invisible joiner.

    GitHub obeys lines that begin with `::`, and `##[` anywhere. Azure Pipelines obeys `##vso[` anywhere.

    >>> ascii(without_ci_commands("  ::add-path::x\na ##vso[y] b::c"))
    "'  :\\u2060:add-path::x\\na #\\u2060#vso[y] b::c'"
    """
    if ":" not in text and "##" not in text:
        return text
    return _CI_ANYWHERE.sub(f"#{_JOINER}", _CI_LINES.sub(rf"\1\2:{_JOINER}", text))


def require_utf8(text: str, what: str) -> None:
    """Raise `UsageError` for text from bytes that are not UTF-8: no model and no report can be given it."""
    surrogate = _SURROGATES.search(text)
    if surrogate is None:
        return
    try:
        text.encode("utf-8", "surrogateescape").decode()  # what another locale did not decode may well be UTF-8
    except UnicodeError as error:
        raise UsageError(f"{what} is not UTF-8 (character {surrogate.start()})", hint="convert it to UTF-8") from error
