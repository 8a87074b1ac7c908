"""Values in a shell command: variables of its environment, never text of the command. Pure.

A command stays as its author wrote it, with the values beside it, until it runs. People read it as it was written.
No value can become a command: the shell sees the name of a variable in place of the placeholder, in the quoting that is
around it. Where that quoting is guessed wrongly (a `case` inside `$(…)`), a value is split into words, or the name of
its variable is shown. Nothing in it is ever run.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

VARIABLE = "ARCHITECT_VALUE_"
LARGEST_VARIABLES_BYTES = 64 * 2**10
"""Bytes of all variables together. Linux allows 128 KiB for one, and limits their sum."""

_TOKEN = re.compile(
    r"""\\. | \$\(\( | \$\( | <<<
    | <<(?P<tabs>-?)[ \t]*(?:(?P<quoted>'[^'\n]*'|"[^"\n]*"|\\[\w.-]+)|(?P<word>[\w.-]+))
    | .""",
    re.DOTALL | re.VERBOSE,
)
OUT_OF_REACH = "is in a here-document whose end word is quoted, where the shell expands nothing"
_INNER = " )"
"""The end of a parenthesis inside arithmetic."""
_ARITHMETIC = ("))", _INNER)


def as_script(command: str, values: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """Return the script for the shell, with a variable for each key of `values`, and those variables.

    Long values are assigned at the beginning of the script, quoted: the environment has no room for them.

    >>> as_script("echo {{x}} 'a {{x}}'", {"{{x}}": "$(reboot)"})
    ('echo "${ARCHITECT_VALUE_1}" \\'a \\'"${ARCHITECT_VALUE_1}"\\'\\'', {'ARCHITECT_VALUE_1': '$(reboot)'})
    """
    names = {key: f"{VARIABLE}{number}" for number, key in enumerate(values, 1)}
    parts, end = [], 0
    for match, place in _places(command, values):
        parts += [command[end : match.start()], place.reference(names[match[0]])]
        end = match.end()
    text = "".join([*parts, command[end:]])
    room, variables = LARGEST_VARIABLES_BYTES, {}
    for key, name in names.items():
        value = values[key].replace("\0", "")
        size = len(value.encode(errors="surrogateescape"))
        if size <= room:
            variables[name] = value
            room -= size
        else:
            text = f"{name}={shlex.quote(value)}\n{text}"
    return text, variables


def out_of_reach(command: str, keys: Iterable[str]) -> list[str]:
    """Return those of `keys` that are in a here-document whose end word is quoted, where the shell expands nothing.

    >>> out_of_reach("cat <<'END'\\n{{x}}\\nEND\\necho {{y}}", ["{{x}}", "{{y}}"])
    ['{{x}}']
    """
    return list(dict.fromkeys(match[0] for match, place in _places(command, keys) if place.is_literal))


def _places(command: str, keys: Iterable[str]) -> Iterator[tuple[re.Match[str], _Place]]:
    """Yield each of `keys` in `command` with its place, in order."""
    longest_first = sorted(map(re.escape, keys), key=len, reverse=True)
    if not longest_first:
        return
    place, end = _Place(), 0
    for match in re.finditer("|".join(longest_first), command):
        place.pass_over(command[end : match.start()])
        yield match, place
        place.pass_over("_")  # a placeholder is part of a word
        end = match.end()


@dataclass(slots=True)
class _Document:
    """A here-document whose operator was read."""

    end: str
    tabs: bool
    """Tabs before its end word are ignored."""
    is_literal: bool


@dataclass(slots=True)
class _Place:
    """The state of a shell's scanner at one place of a command."""

    opened: list[str] = field(default_factory=list)
    """The end of each open construct, the innermost last: a quote, a backtick, `)`, or one of `_ARITHMETIC`."""
    documents: list[_Document] = field(default_factory=list)
    in_document: bool = False
    """The first of `documents` has begun."""
    line: str = ""
    """The current line of the here-document, as far as it is read."""
    in_comment: bool = False
    in_word: bool = False

    def reference(self, name: str) -> str:
        """The variable as it is written here, so that its value stays one word."""
        inner = self.opened[-1] if self.opened else ""
        if self.in_document or self.in_comment or inner == '"' or inner in _ARITHMETIC:
            return f"${{{name}}}"
        return f"'\"${{{name}}}\"'" if inner == "'" else f'"${{{name}}}"'

    @property
    def is_literal(self) -> bool:
        return self.in_document and self.documents[0].is_literal

    def pass_over(self, text: str) -> None:
        at = 0
        while at < len(text):
            if self.in_document:
                at = self._line_of_document(text, at)
                continue
            inner = self.opened[-1] if self.opened else ""
            token_match = _TOKEN.match(text, at)
            assert token_match is not None  # `.` matches whatever is left
            token = token_match[0]
            if inner == "'" or self.in_comment:
                token = text[at]
            elif inner == "))" and text.startswith("))", at):
                token = "))"
            elif inner == '"' and token[0] == "<":
                token = "<"
            at += len(token)
            self._take(token, inner, token_match)

    def _take(self, token: str, inner: str, match: re.Match[str]) -> None:
        in_word, self.in_word = self.in_word, token not in set(" \t\n;&|(") and token != "$("
        if self.in_comment:
            self.in_comment = token != "\n"
        elif inner and token == inner.strip():
            self.opened.pop()
        elif inner == "'":
            return
        elif token in ("$((", "$(", "`"):
            self.opened.append({"$((": "))", "$(": ")", "`": "`"}[token])
        elif inner == '"':
            return
        elif token in ("'", '"'):
            self.opened.append(token)
        elif token == "(":
            self.opened.append(_INNER if inner in _ARITHMETIC else ")")
        elif inner in _ARITHMETIC:
            return
        elif token == "#" and not in_word:
            self.in_comment = True
        elif token.startswith("<<") and token != "<<<":
            end = match["word"] or match["quoted"].strip("'\"\\")
            self.documents.append(_Document(end, bool(match["tabs"]), match["quoted"] is not None))
        if token == "\n" and not self.in_comment and self.documents:
            self.in_document = True

    def _line_of_document(self, text: str, at: int) -> int:
        end = text.find("\n", at)
        self.line += text[at:] if end < 0 else text[at:end]
        if end < 0:
            return len(text)
        line, self.line = self.line, ""
        if (line.lstrip("\t") if self.documents[0].tabs else line) == self.documents[0].end:
            self.documents.pop(0)
            self.in_document = bool(self.documents)
        return end + 1
