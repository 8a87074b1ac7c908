"""Find and fill the `{{ … }}` of a text: the one scanner of specs and flows. Pure.

This is no template language. A placeholder is filled once, by exact name, and its value is not scanned again.
In a shell command nothing is filled in: its values go along as variables (`templates.shell`), so that no value can
become a command.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from architect_parallel.templates.shell import OUT_OF_REACH, out_of_reach
from architect_parallel.text.quantities import quoted

_PLACEHOLDER = re.compile(r"\{\{\s*((?:(?!\}\}).)*?)\s*\}\}", re.DOTALL)
_CALL = re.compile(r"(file|path)\(\s*(.*?)\s*\)", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Placeholder:
    """One pair of braces."""

    text: str
    """The text between the braces, without blanks around it."""
    function: str | None = None
    """`file` or `path` for a call. `None` means that the text is a name."""
    argument: str = ""
    """The path in the parentheses of a call."""
    written: str = field(default="", compare=False)
    """The whole placeholder as it is written, braces included."""

    @property
    def file(self) -> str | None:
        """The path of a `file(…)`. `None` means that this is something else."""
        return self.argument if self.function == "file" else None


def scan(text: str) -> Iterator[Placeholder]:
    """Yield the placeholders of `text` in order.

    >>> [(p.function, p.argument or p.text) for p in scan("{{ a }} {{file( ./a b.md )}} {{ 1 + 1 }}")]
    [(None, 'a'), ('file', './a b.md'), (None, '1 + 1')]
    """
    return map(_placeholder, _PLACEHOLDER.finditer(text))


def fill(text: str, value_of: Callable[[Placeholder], str]) -> str:
    """Replace every placeholder by its value, in one pass.

    >>> fill("use {{ a }}", lambda placeholder: "{{ b }}")
    'use {{ b }}'
    """
    return _PLACEHOLDER.sub(lambda match: value_of(_placeholder(match)), text)


def values(text: str, value_of: Callable[[Placeholder], str]) -> dict[str, str]:
    """Map each placeholder of `text`, as it is written, to its value.

    >>> values("grep {{word}} *", lambda placeholder: "$(reboot)")
    {'{{word}}': '$(reboot)'}
    """
    return {placeholder.written: value_of(placeholder) for placeholder in scan(text)}


def unreachable(command: str) -> list[str]:
    """Name the placeholders of a shell command that the shell cannot expand.

    >>> unreachable("cat <<'END'\\n{{ x }}\\nEND\\necho {{ y }}")
    ["'{{ x }}' is in a here-document whose end word is quoted, where the shell expands nothing"]
    """
    written = [placeholder.written for placeholder in scan(command)]
    return [f"{quoted(text)} {OUT_OF_REACH}" for text in out_of_reach(command, written)]


def _placeholder(match: re.Match[str]) -> Placeholder:
    call = _CALL.fullmatch(match[1])
    if call is None:
        return Placeholder(text=match[1], written=match[0])
    return Placeholder(text=match[1], function=call[1], argument=call[2].strip("\"'"), written=match[0])
