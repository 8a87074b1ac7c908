"""The field types that all files share: configuration, task file, spec and flow.

Each type is a reader wrapped for pydantic. A reader returns the value in its canonical form or raises `ValueError`
with what is allowed. The caller adds the place.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, WithJsonSchema

from architect_parallel.scheduling.check_policy import read_command
from architect_parallel.scheduling.scopes import read_pattern
from architect_parallel.text.names import LABEL_PATTERN, read_identifier, read_label, read_model
from architect_parallel.text.quantities import (
    MOST_RETRIES,
    SMALLEST_MEMORY_BYTES,
    Written,
    read_count,
    read_duration,
    read_size,
    read_usd,
)

LONGEST_NAME = 120
"""Characters of a task's name."""

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\*?", re.ASCII)


class Section(BaseModel):
    """A mapping with a closed set of keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


def read_text(value: object) -> str:
    """Text that every file, program and terminal can be given."""
    if not isinstance(value, str):
        raise ValueError("must be text")
    if "\0" in value:
        raise ValueError("must not contain a NUL character")
    # JSON can write half a surrogate pair, which has no UTF-8.
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise ValueError("must not contain half a surrogate pair")
    return value


def read_filled_text(value: object) -> str:
    """Text with more than blanks in it."""
    if not read_text(value).strip():
        raise ValueError("must not be empty")
    return read_text(value)


def read_name(value: object) -> str:
    """One line of at most `LONGEST_NAME` characters."""
    name = read_filled_text(value)
    if len(name) > LONGEST_NAME or not name.isprintable() or name != name.strip():
        raise ValueError(f"must be one line of at most {LONGEST_NAME} characters, without blanks around it")
    return name


def read_boolean(value: object) -> bool:
    """`true` and `false`, and the words of YAML 1.1 and of environment variables that mean them."""
    words = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
    boolean = words.get(str(value).lower()) if isinstance(value, (bool, str, int)) else None
    if boolean is None:
        raise ValueError("must be true or false")
    return boolean


def read_number(value: object, *, low: float, high: float, what: str, above: bool = False) -> float:
    """A number from `low` to `high`. A bool is none.

    Args:
        what: What is allowed, for the message.
        above: `low` itself is not allowed.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise ValueError(what)
    if above and value == low:
        raise ValueError(what)
    return float(value)


def read_retries(value: object) -> int:
    """Number of further attempts, from 0."""
    return read_count(_written(value), low=0, high=MOST_RETRIES)


def read_list(value: object) -> list[object] | tuple[object, ...]:
    """A list whose items are still to be checked."""
    if not isinstance(value, (list, tuple)):
        raise ValueError("must be a list of texts")
    return value


def read_texts(value: object) -> tuple[str, ...]:
    """A list of texts. An empty one is one too, as in an argv."""
    return tuple(map(read_text, read_list(value)))


def read_filled_texts(value: object) -> tuple[str, ...]:
    """A list of texts, none of them empty."""
    return tuple(map(read_filled_text, read_list(value)))


def read_mapping(value: object) -> dict[str, Any]:
    """A mapping of keys to any values. Every text in it is sound."""
    if not isinstance(value, dict):
        raise ValueError("must hold a mapping of keys to values")
    unchecked: list[object] = [value]
    while unchecked:
        item = unchecked.pop()
        if isinstance(item, dict):
            unchecked += [*item.keys(), *item.values()]
        elif isinstance(item, list):
            unchecked += item
        elif isinstance(item, str):
            read_text(item)
    return value


def _needs(value: object) -> dict[str, int]:
    """Labels of a host, each with an amount."""
    return {read_label(str(name)): read_count(_written(amount)) for name, amount in read_mapping(value).items()}


def _checks(value: object) -> tuple[str, ...]:
    """A list of commands, or a text with one in each line (an environment variable has no lists)."""
    if isinstance(value, str):
        value = [line.strip() for line in value.splitlines() if line.strip()]
    if not isinstance(value, (list, tuple)) or not all(isinstance(command, str) for command in value):
        raise ValueError("must be a list of commands")
    return tuple(map(read_command, value))


def _variable(value: object) -> str:
    name = read_text(value)
    if not _VARIABLE.fullmatch(name):
        raise ValueError("must be the name of an environment variable; a * at its end matches any rest")
    return name


def _variables(value: object) -> tuple[str, ...]:
    """A list of names, or a text with names between commas or blanks (an environment variable has no lists)."""
    if isinstance(value, str):
        value = value.replace(",", " ").split()
    if not isinstance(value, (list, tuple)):
        raise ValueError("must be a list of names of environment variables")
    return tuple(map(_variable, value))


def _written(value: object) -> Written:
    """Convert a value for `text.quantities`. Anything else becomes a text that it refuses."""
    return value if isinstance(value, (str, int, float)) else ""


DURATION_SCHEMA: Mapping[str, Any] = {
    "anyOf": [
        {"type": "number", "exclusiveMinimum": 0, "maximum": 604800},
        {"type": "string", "pattern": "^[0-9.]+[smh]?$"},
    ]
}
_SIZE_SCHEMA = {
    "anyOf": [{"type": "integer", "minimum": 1}, {"type": "string", "pattern": "^[0-9.]+([KMGTkmgt]?[Ii]?[Bb])?$"}]
}
_TEXTS = WithJsonSchema({"type": "array", "items": {"type": "string"}})
_TEXTS_OR_TEXT = {"anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "string"}]}
_COMMANDS = {"anyOf": [{"type": "array", "items": {"type": "string", "minLength": 1}}, {"type": "string"}]}

Text = Annotated[str, BeforeValidator(read_text)]
FilledText = Annotated[str, BeforeValidator(read_filled_text)]
Prompt = Annotated[str, BeforeValidator(read_filled_text), WithJsonSchema({"type": "string", "pattern": r"\S"})]
Name = Annotated[
    str,
    BeforeValidator(read_name),
    WithJsonSchema({"type": "string", "pattern": r"^\S(.*\S)?$", "maxLength": LONGEST_NAME}),
]
Identifier = Annotated[str, BeforeValidator(lambda value: read_identifier(read_text(value)))]
Model = Annotated[str, BeforeValidator(lambda value: read_model(read_text(value)))]
Texts = Annotated[tuple[str, ...], BeforeValidator(read_texts), _TEXTS]
FilledTexts = Annotated[tuple[str, ...], BeforeValidator(read_filled_texts), _TEXTS]
_Pattern = Annotated[str, BeforeValidator(lambda value: read_pattern(read_text(value)))]
Scope = Annotated[tuple[_Pattern, ...], BeforeValidator(read_list), _TEXTS]
Meta = Annotated[dict[str, Any], BeforeValidator(read_mapping), WithJsonSchema({"type": "object"})]
Needs = Annotated[
    dict[str, int],
    BeforeValidator(_needs),
    WithJsonSchema(
        {
            "type": "object",
            "propertyNames": {"pattern": LABEL_PATTERN},
            "additionalProperties": {"type": "integer", "minimum": 1},
        }
    ),
]
Boolean = Annotated[bool, BeforeValidator(read_boolean)]
Count = Annotated[
    int,
    BeforeValidator(lambda value: read_count(_written(value))),
    WithJsonSchema({"type": "integer", "minimum": 1}),
]
Retries = Annotated[
    int, BeforeValidator(read_retries), WithJsonSchema({"type": "integer", "minimum": 0, "maximum": MOST_RETRIES})
]
Duration = Annotated[
    float, BeforeValidator(lambda value: read_duration(_written(value))), WithJsonSchema(dict(DURATION_SCHEMA))
]
Size = Annotated[int, BeforeValidator(lambda value: read_size(_written(value))), WithJsonSchema(_SIZE_SCHEMA)]
Memory = Annotated[
    int,
    BeforeValidator(lambda value: read_size(_written(value), low=SMALLEST_MEMORY_BYTES)),
    WithJsonSchema(_SIZE_SCHEMA),
]
Usd = Annotated[
    float,
    BeforeValidator(lambda value: read_usd(_written(value))),
    WithJsonSchema({"type": "number", "exclusiveMinimum": 0}),
]
Variable = Annotated[str, BeforeValidator(_variable)]
Variables = Annotated[tuple[str, ...], BeforeValidator(_variables), WithJsonSchema(_TEXTS_OR_TEXT)]
Checks = Annotated[tuple[str, ...], BeforeValidator(_checks), WithJsonSchema(_COMMANDS)]
TripwireWord = Annotated[
    Literal["auto", "fail", "warn", "off"], BeforeValidator(lambda value: "off" if value is False else value)
]
"""An `off` without quotes is `false` to YAML 1.1."""
