"""Refusals of providers: temporary ones (rate limits, overload, used-up quota, with a time to wait) and permanent ones.

Agents pass on a provider's refusal as a status or as text, so both are read. Text counts only where the agent itself
marks it as an API error: a model may talk about rate limits too.
"""

from __future__ import annotations

import re

LATER = frozenset({429, 503, 529})
"""HTTP statuses of a temporary refusal: too many requests, unavailable, overloaded."""

_NOW_OR_NEVER = frozenset({408, 409, 425, 429})
"""Statuses from 400 to 499 that do not concern the request itself."""
_STATUS = re.compile(r"\b(?:HTTP|status|API Error|code)[\s:\"]{1,4}([45]\d\d)\b", re.IGNORECASE)
"""The forms in which agents pass on the status of a refusal."""
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
    """Tell whether an API error is temporary.

    >>> says_later("[API Error: 429 slow down]"), says_later("[API Error: 401 no]"), says_later("", 529)
    (True, False, True)
    """
    return status in LATER or (status is None and _WORDS.search(text) is not None)


def status_of(text: str) -> int | None:
    """The HTTP status in the text of an API error. `None` means that it has none.

    >>> status_of("unexpected status 401 Unauthorized"), status_of("[API Error: 500 no]"), status_of("line 404")
    (401, 500, None)
    """
    status = _STATUS.search(text)
    return int(status[1]) if status is not None else None


def may_pass(status: int | None) -> bool:
    """Tell whether the same request may succeed later. Not so after a refused key, an unknown model or bad input.

    >>> may_pass(401), may_pass(429), may_pass(500), may_pass(None)
    (False, True, True, True)
    """
    return status is None or not 400 <= status < 500 or status in _NOW_OR_NEVER


def retry_after_s(text: str) -> float | None:
    """Seconds to wait, as the text says. `None` means that it says nothing.

    >>> retry_after_s("Rate limit reached. Please try again in 1.5s."), retry_after_s('"retryDelay": "34s"')
    (1.5, 34.0)
    >>> retry_after_s("try again later") is None
    True
    """
    wait = _WAIT.search(text)
    if wait is None:
        return None
    unit = wait[2].lower()
    factor = 0.001 if unit.startswith("mil") or unit == "ms" else {"s": 1.0, "m": 60.0, "h": 3600.0}[unit[0]]
    wait_s = float(wait[1]) * factor
    return wait_s if wait_s <= _LONGEST_WAIT_S else None
