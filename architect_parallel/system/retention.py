"""The time for which sessions are kept, so that `architect run --resume` can continue them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

MOST_KEPT = 50
"""The most sessions of one agent."""
LONGEST_UNUSED_S = 30 * 24 * 3600.0

Key = TypeVar("Key")


def outdated(last_used_s: Mapping[Key, float], now_s: float) -> list[Key]:
    """The sessions to delete: unused for 30 days, or the least recently used beyond 50.

    >>> outdated({"old": 0.0, "new": LONGEST_UNUSED_S}, LONGEST_UNUSED_S + 1)
    ['old']
    >>> outdated({n: float(n) for n in range(52)}, 60.0)
    [1, 0]
    """
    newest_first = sorted(last_used_s, key=lambda key: last_used_s[key], reverse=True)
    return [
        key
        for position, key in enumerate(newest_first)
        if position >= MOST_KEPT or now_s - last_used_s[key] > LONGEST_UNUSED_S
    ]
