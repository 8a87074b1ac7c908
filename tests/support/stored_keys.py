"""The keys that the journal stores for each type of event. As a program: print those of the version on the path."""

from __future__ import annotations

import dataclasses
import json
import typing
from collections.abc import Iterator
from enum import Enum
from typing import Any

from architect_parallel import events
from architect_parallel.event_json import EVENT_TYPES

KEY = getattr(events, "KEY", "key")  # the recorded version had no such name


def stored_keys(kind: Any) -> Any:
    """What the journal stores of a type: an object's keys, each with what is stored below it, or an enum's values.

    An empty string means that the type has neither.
    """
    if isinstance(kind, type) and issubclass(kind, Enum):
        return [member.value for member in kind]
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        return {
            field.metadata.get(KEY, field.name): stored_keys(hints[field.name]) for field in dataclasses.fields(kind)
        }
    return next((keys for argument in typing.get_args(kind) if (keys := stored_keys(argument))), "")


def missing_keys(recorded: Any, present: Any, place: str) -> Iterator[str]:
    """The places at which `present` lacks a key or an enum value of `recorded`."""
    if isinstance(recorded, dict):
        for key, below in recorded.items():
            if not isinstance(present, dict) or key not in present:
                yield f"{place}.{key}"
            else:
                yield from missing_keys(below, present[key], f"{place}.{key}")
    if isinstance(recorded, list):
        yield from (f"{place} = {value}" for value in recorded if value not in present)


if __name__ == "__main__":
    shapes = {name: stored_keys(kind) for name, kind in EVENT_TYPES.items()}
    print("{\n" + ",\n".join(f"{json.dumps(name)}: {json.dumps(keys)}" for name, keys in shapes.items()) + "\n}")
