"""Reading the JSON that agents print: objects out of bytes, and values only when they are what they should be.

Nothing here raises on any input. Numbers that are not finite, negative counts, texts where a number belongs: all come
out as `None`, so that a reader never passes on what it cannot mean.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

Json = Mapping[str, Any]

_NOTHING: Json = {}
_MAX_COUNT = 2**53


def parse_object(data: bytes | str) -> Json | None:
    """The JSON object in `data`; `None` for anything else (also for nesting too deep to read)."""
    text = data.decode("utf-8", errors="replace") if isinstance(data, bytes) else data
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def child(parent: Json, key: str) -> Json:
    """The object under `key`; an empty one when there is none."""
    value = parent.get(key)
    return value if isinstance(value, dict) else _NOTHING


def children(parent: Json, key: str) -> list[Json]:
    """The objects in the list under `key`."""
    value = parent.get(key)
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def text(parent: Json, key: str) -> str:
    """The text under `key`; `""` when there is none."""
    value = parent.get(key)
    return value if isinstance(value, str) else ""


def count(value: object) -> int | None:
    """A whole number from 0 on; `None` for anything else."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MAX_COUNT:
        return None
    return value


def money(value: object) -> float | None:
    """USD, finite and not negative; `None` for anything else (`json` reads NaN and 1e999)."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        amount = float(value)
    except OverflowError:
        return None
    return amount if math.isfinite(amount) and amount >= 0 else None


def dotted(parent: Json, path: str) -> object:
    """The value under a dotted key such as `costs.total_cost_usd`; `None` when a part of it is missing."""
    value: object = parent
    for key in path.split("."):
        if not isinstance(value, dict) or key not in value:
            return None
        value = value[key]
    return value
