"""JSON text as the events of a YAML parser, so that one reader applies the same rules to both.

YAML parsers do not read all JSON: tabs, `\\/` and surrogate pairs fail. This parser is strict (RFC 8259): no comments,
no trailing commas. A NaN is a special event, so that reading goes on. It goes as deep as its reader asks for
events. A token costs the same in a line of any length.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import yaml

_BLANK = re.compile(r"[ \t\r\n]*")
_STRING = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_WORD = re.compile(
    r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?(?![\w.+-])|(?:true|false|null)(?!\w)", re.ASCII
)
_NO_NUMBER = re.compile(r"-?(?:NaN|Infinity)(?!\w)")
"""Words that many programs write although they are not JSON. Reading goes on after them."""
_STRANGE = re.compile(r"[\w.+-]{1,40}|.", re.DOTALL)


class NotJsonEvent(yaml.ScalarEvent):
    """A word in place of a value that JSON does not have."""


class JsonFault(Exception):
    """The place where the text stops being JSON, and the reason. `line` and `column` count from 0."""

    def __init__(self, mark: yaml.Mark, problem: str) -> None:
        super().__init__(problem)
        self.line, self.column, self.problem = mark.line, mark.column, problem


def json_events(text: str) -> Iterator[yaml.Event]:
    """Yield the events of the one value that `text` holds.

    Raises:
        JsonFault: The text is not JSON. The events before that place were yielded.
    """
    scanner = _Scanner(text)
    yield yaml.DocumentStartEvent(start_mark=scanner.mark())
    yield from _value(scanner)
    if scanner.token() != "":
        raise scanner.unexpected("the end")


def _value(scanner: _Scanner) -> Iterator[yaml.Event]:
    match scanner.token():
        case "{":
            yield yaml.MappingStartEvent(None, None, True, scanner.mark())
            yield from _members(scanner, "}")
            yield yaml.MappingEndEvent(scanner.mark())
        case "[":
            yield yaml.SequenceStartEvent(None, None, True, scanner.mark())
            yield from _members(scanner, "]")
            yield yaml.SequenceEndEvent(scanner.mark())
        case '"':
            yield scanner.string()
        case _:
            yield scanner.word()


def _members(scanner: _Scanner, closing: str) -> Iterator[yaml.Event]:
    """Yield the members of a mapping or list, and go past its end."""
    scanner.step()
    separator = "" if scanner.token() == closing else ","
    while separator == ",":
        if closing == "}":
            if scanner.token() != '"':
                raise scanner.unexpected("a key in double quotes")
            yield scanner.string()
            if scanner.token() != ":":
                raise scanner.unexpected("`:`")
            scanner.step()
        yield from _value(scanner)
        separator = scanner.token()
        if separator not in (",", closing):
            raise scanner.unexpected(f"`,` or `{closing}`")
        if separator == ",":
            scanner.step()
    scanner.step()


class _Scanner:
    """The place of reading. Counts lines and columns forward only."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._line = 0
        self._line_began = 0

    def token(self) -> str:
        """The first character of the next token, after blanks. Empty means the end of the text."""
        blank = _BLANK.match(self._text, self._at)
        self._go(blank.end() if blank else self._at)
        return self._text[self._at : self._at + 1]

    def mark(self) -> yaml.Mark:
        """The place of the next token."""
        return yaml.Mark("", self._at, self._line, self._at - self._line_began, None, 0)

    def step(self) -> None:
        """Go past a token of one character."""
        self._go(self._at + 1)

    def string(self) -> yaml.Event:
        """The string that begins here."""
        mark = self.mark()
        string = _STRING.match(self._text, self._at)
        if string is None:
            raise JsonFault(mark, "a string begins here and does not end")
        try:
            value = json.loads(string[0])
        except json.JSONDecodeError as error:
            # A string holds no line end, or that is the fault: its column is the offset.
            self._go(self._at + error.pos)
            raise JsonFault(self.mark(), error.msg) from error
        self._go(string.end())
        return yaml.ScalarEvent(None, None, (False, True), value, mark, mark, style='"')

    def word(self) -> yaml.Event:
        """The number, `true`, `false` or `null` that begins here."""
        mark = self.mark()
        word, strange = _WORD.match(self._text, self._at), _NO_NUMBER.match(self._text, self._at)
        if word is None and strange is not None:
            self._go(strange.end())
            return NotJsonEvent(None, None, (True, False), strange[0], mark, mark)
        if word is None:
            raise self.unexpected("a value")
        self._go(word.end())
        return yaml.ScalarEvent(None, None, (True, False), word[0], mark, mark)

    def unexpected(self, expected: str) -> JsonFault:
        """Return the fault for an unexpected token at this place."""
        strange = _STRANGE.match(self._text, self._at)
        text = repr(strange[0]) if strange else "its end"
        return JsonFault(self.mark(), f"expected {expected}, found {text}")

    def _go(self, to: int) -> None:
        ends = self._text.count("\n", self._at, to)
        if ends:
            self._line += ends
            self._line_began = self._text.rfind("\n", self._at, to) + 1
        self._at = to
