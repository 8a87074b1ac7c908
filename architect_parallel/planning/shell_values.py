"""Values in a shell command: as variables of its environment, never as text of the command. Pure.

Whatever an agent wrote into a value, it cannot become a command: the shell sees the name of a variable where the
placeholder stood, in the quoting that stands around it. Where that quoting is guessed wrongly (a quote in a comment,
say), the words of a value are split, or its variable's name is shown; nothing in it is ever run.
"""

from __future__ import annotations

import re
from collections.abc import Callable

VARIABLE = "ARCHITECT_VALUE_"


def as_variables(
    command: str, placeholder: re.Pattern[str], value_of: Callable[[re.Match[str]], str]
) -> tuple[str, dict[str, str]]:
    """`command` with every match of `placeholder` replaced by a variable, and the variables' values.

    >>> as_variables("echo {{x}} 'a {{x}}'", re.compile("{{x}}"), lambda found: "$(reboot)")
    ('echo "${ARCHITECT_VALUE_1}" \\'a \\'"${ARCHITECT_VALUE_1}"\\'\\'', {'ARCHITECT_VALUE_1': '$(reboot)'})
    """
    names: dict[str, str] = {}
    values: dict[str, str] = {}
    parts, end, quote = [], 0, ""
    for found in placeholder.finditer(command):
        before = command[end : found.start()]
        quote = _quote_after(before, quote)
        name = names.get(found[0])
        if name is None:
            name = names[found[0]] = f"{VARIABLE}{len(names) + 1}"
            values[name] = value_of(found).replace("\0", "")
        parts += [before, {"": f'"${{{name}}}"', '"': f"${{{name}}}", "'": f"'\"${{{name}}}\"'"}[quote]]
        end = found.end()
    return "".join([*parts, command[end:]]), values


def _quote_after(text: str, quote: str) -> str:
    """The shell quote that is open after `text`, begun inside `quote`."""
    skip = False
    for character in text:
        if skip:
            skip = False
        elif character == "\\" and quote != "'":
            skip = True
        elif quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
    return quote
