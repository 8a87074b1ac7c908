"""The JSON form of events in the journal, and of domain data elsewhere.

Decoding ignores unknown keys, so that an older program reads a newer journal as far as it can.
"""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import Enum
from functools import cache
from typing import Any

from architect_parallel.events import KEY, Event

EVENT_TYPES: Mapping[str, type[Any]] = types.MappingProxyType({cls.__name__: cls for cls in typing.get_args(Event)})


def encode(event: Event) -> tuple[str, str]:
    """Encode the event as type name and JSON text. Non-UTF-8 bytes in paths are stored as escaped surrogates."""
    return type(event).__name__, json.dumps(to_plain(event), ensure_ascii=True, separators=(",", ":"))


def decode(name: str, text: str) -> Event:
    """Decode the result of `encode`.

    Raises:
        KeyError: This version does not know the type.
        ValueError: The JSON does not fit the type.
    """
    return typing.cast(Event, from_plain(EVENT_TYPES[name], json.loads(text)))


def to_plain(value: Any) -> Any:
    """Convert domain data for `json.dumps`: enums to values, times to ISO 8601 UTC, tuples to lists."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            spec.metadata.get(KEY, spec.name): to_plain(getattr(value, spec.name)) for spec in dataclasses.fields(value)
        }
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_plain(item) for item in value]
    return value


@cache
def _hints(cls: type[Any]) -> Mapping[str, Any]:
    return typing.get_type_hints(cls)


@cache
def _fields(cls: Any) -> Mapping[str, tuple[str, Any]]:
    """Stored key → field name and type. The type is `None` where plain data is the value.

    A result of 50,000 files has 700,000 such fields.
    """
    hints = _hints(cls)
    return {
        spec.metadata.get(KEY, spec.name): (spec.name, None if hints[spec.name] in _AS_IS else hints[spec.name])
        for spec in dataclasses.fields(cls)
    }


_AS_IS: tuple[Any, ...] = (str, int, bool, Any, str | None, int | None, bool | None)


def from_plain(kind: Any, value: Any) -> Any:
    """Reverse `to_plain` for the type `kind`. Unknown keys are dropped, missing ones take their default."""
    if kind is Any or value is None:
        return value
    origin = typing.get_origin(kind)
    if origin in (types.UnionType, typing.Union):
        return from_plain(next(arm for arm in typing.get_args(kind) if arm is not type(None)), value)
    if origin is tuple:
        item = typing.get_args(kind)[0]
        return tuple(value) if item in _AS_IS else tuple(from_plain(item, element) for element in value)
    if origin is list:
        item = typing.get_args(kind)[0]
        return list(value) if item in _AS_IS else [from_plain(item, entry) for entry in value]
    if origin is not None:
        return value
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        if not isinstance(value, dict):
            raise ValueError(f"{kind.__name__} needs an object, not {type(value).__name__}")
        known = [(*_fields(kind)[key], item) for key, item in value.items() if key in _fields(kind)]
        return kind(**{name: item if of is None else from_plain(of, item) for name, of, item in known})
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind(value)
    if kind is datetime:
        return datetime.fromisoformat(value)
    if kind is float:
        return float(value)
    return value
