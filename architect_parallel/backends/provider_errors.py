"""How providers say *not now*: rate limits, overload, used-up quota, and when to come back; and how they say *never*.

Agents hand on a provider's refusal as a status or as its words, so both are looked at. Words alone count only where
the agent itself marks them as an API error: a model may talk about rate limits too.
"""

from __future__ import annotations

import re

LATER = frozenset({429, 503, 529})
"""HTTP statuses that mean *later*: too many requests, unavailable, overloaded."""

_NOW_OR_NEVER = frozenset({408, 409, 425, 429})
"""Statuses of the four hundreds that are not about the request itself."""
_STATUS = re.compile(r"\b(?:HTTP|status|API Error|code)[\s:\"]{1,4}([45]\d\d)\b", re.IGNORECASE)
"""How agents hand on the status that a request was refused with."""
_WORDS = re.compile(
    r"\b429\b|\b529\b|rate.?limit|too many requests|resource.?exhausted|overloaded|quota|usage limit",
    re.IGNORECASE,
)
_WAIT = re.compile(
    r"(?:try again|retry|retry.?after|retry.?delay|reset)\b[\"':\s]*(?:in|after)?[\s\"':]*"
    r"(\d{1,6}(?:\.\d+)?)\s*(ms|milliseconds?|s|secs?|seconds?|m|mins?|minutes?|h|hours?)\b",
    re.IGNORECASE,
)
_LONGEST_WAIT_S = 7 * 24 * 3600.0


def says_later(text: str, status: int | None = None) -> bool:
    """Whether an API error means that the same request may do well later.

    >>> says_later("[API Error: 429 slow down]"), says_later("[API Error: 401 no]"), says_later("", 529)
    (True, False, True)
    """
    return status in LATER or (status is None and _WORDS.search(text) is not None)


def status_of(text: str) -> int | None:
    """The HTTP status in an API error's words; `None`: none is told.

    >>> status_of("unexpected status 401 Unauthorized"), status_of("[API Error: 500 no]"), status_of("line 404")
    (401, 500, None)
    """
    found = _STATUS.search(text)
    return int(found[1]) if found is not None else None


def may_pass(status: int | None) -> bool:
    """Whether the same request may do well another time: not after a refused key, an unknown model, bad input.

    >>> may_pass(401), may_pass(429), may_pass(500), may_pass(None)
    (False, True, True, True)
    """
    return status is None or not 400 <= status < 500 or status in _NOW_OR_NEVER


def retry_after_s(text: str) -> float | None:
    """Seconds to wait, where the words say so; `None`: they do not.

    >>> retry_after_s("Rate limit reached. Please try again in 1.5s."), retry_after_s('"retryDelay": "34s"')
    (1.5, 34.0)
    >>> retry_after_s("try again later") is None
    True
    """
    found = _WAIT.search(text)
    if found is None:
        return None
    unit = found[2].lower()
    factor = 0.001 if unit.startswith("mil") or unit == "ms" else {"s": 1.0, "m": 60.0, "h": 3600.0}[unit[0]]
    wait_s = float(found[1]) * factor
    return wait_s if wait_s <= _LONGEST_WAIT_S else None
