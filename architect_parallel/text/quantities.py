"""Counts, durations, sizes and money that a user wrote, and their form in messages. Pure.

Each kind has two functions. `read_…` turns a value into a number or raises `ValueError` with what is allowed (for the
configuration, which knows the place itself). `parse_…` adds the flag's name and raises `UsageError`. A returned value
is always finite and within the bounds. Nothing here rounds or clamps. Python's own number syntax is not used: it
accepts `nan`, `1_000`, `１２` and spaces.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TypeVar

from architect_parallel.errors import UsageError

Written = str | int | float
"""A value as written on a command line or in a YAML file."""

LONGEST_S = 7 * 24 * 3600.0
"""Upper bound of every duration: 7 days."""
SMALLEST_MEMORY_BYTES = 64 * 1024**2
"""Lower bound of a memory limit. An interpreter with an agent in it needs more."""
LARGEST_BYTES = 2**60
MOST_RETRIES = 100
"""More retries are a mistake: each attempt costs money."""

_WHOLE = re.compile(r"[0-9]{1,18}", re.ASCII)
_DECIMAL = r"[0-9]{0,19}\.[0-9]{1,40}|[0-9]{1,19}\.?"
_DURATION = re.compile(rf"(?P<number>{_DECIMAL})(?P<unit>[smh]?)", re.ASCII)
_SIZE = re.compile(rf"(?P<number>{_DECIMAL})(?P<unit>|B|[KMGT]i?B)", re.ASCII | re.IGNORECASE)
_USD = re.compile(_DECIMAL, re.ASCII)
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600}
_AGO = re.compile(r"(?P<number>[0-9]{1,6})(?P<unit>[smhdw])", re.ASCII)
_DAYS = {"d": 86400, "w": 7 * 86400}
_POWERS = {"k": 1, "m": 2, "g": 3, "t": 4}

T = TypeVar("T")


def read_count(value: Written, *, low: int = 1, high: int | None = None) -> int:
    """A whole number from `low` to `high`. `None` for `high` means no upper bound.

    >>> read_count("3"), read_count(3, high=10)
    (3, 3)
    >>> read_count("1.5", high=10)
    Traceback (most recent call last):
    ValueError: must be a whole number from 1 to 10
    """
    number = int(text) if (text := _text(value)) is not None and _WHOLE.fullmatch(text) else None
    if number is None or number < low or (high is not None and number > high):
        span = f"of at least {low}" if high is None else f"from {low} to {high}"
        raise ValueError(f"must be a whole number {span}")
    return number


def read_duration(value: Written) -> float:
    """Seconds from `90`, `30s`, `5m` or `1h`, above 0 and at most 7 days.

    >>> read_duration("5m"), read_duration("0.5h"), read_duration(2.5)
    (300.0, 1800.0, 2.5)
    >>> read_duration("0")
    Traceback (most recent call last):
    ValueError: must be a duration above 0 and at most 7 days: seconds, or 30s, 5m, 1h
    """
    text = _text(value)
    match = _DURATION.fullmatch(text) if text is not None else None
    seconds = float(match["number"]) * _SECONDS[match["unit"]] if match else math.nan
    if not 0 < seconds <= LONGEST_S:
        raise ValueError("must be a duration above 0 and at most 7 days: seconds, or 30s, 5m, 1h")
    return seconds


def read_since(value: str, *, now: datetime) -> datetime:
    """The time that `value` means: so long before `now` (90m, 12h, 3d, 2w), or a date with or without a time, in UTC.

    >>> from datetime import UTC
    >>> now = datetime(2026, 3, 4, 12, tzinfo=UTC)
    >>> str(read_since("2d", now=now)), str(read_since("2026-03-01", now=now))
    ('2026-03-02 12:00:00+00:00', '2026-03-01 00:00:00+00:00')
    """
    ago = _AGO.fullmatch(value)
    try:
        if ago is not None:
            return now - timedelta(seconds=int(ago["number"]) * {**_SECONDS, **_DAYS}[ago["unit"]])
        time = datetime.fromisoformat(value)
        return time.astimezone(UTC) if time.tzinfo is not None else time.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise ValueError("must be a time: 90m, 12h, 3d or 2w ago, or a date such as 2026-11-30") from None


def read_size(value: Written, *, low: int = 1) -> int:
    """Bytes from `512MiB`, `2GiB`, `1GB` or a plain number of bytes, at least `low`. Units in any case.

    >>> read_size("2GiB"), read_size("1GB"), read_size("1.5KiB")
    (2147483648, 1000000000, 1536)
    >>> read_size("2G")
    Traceback (most recent call last):
    ValueError: must be a size: bytes, or 512MiB, 2GiB, 1GB
    """
    text = _text(value)
    match = _SIZE.fullmatch(text) if text is not None else None
    if match is None:
        raise ValueError("must be a size: bytes, or 512MiB, 2GiB, 1GB")
    unit = match["unit"].lower()
    scale = (1024 if "i" in unit else 1000) ** _POWERS.get(unit[:1], 0)
    # Whole numbers stay exact; a fraction of a byte is dropped.
    number = match["number"]
    size = int(number) * scale if number.isdigit() else int(float(number) * scale)
    if not low <= size <= LARGEST_BYTES:
        raise ValueError(f"must be a size of at least {show_size(low)} and at most {show_size(LARGEST_BYTES)}")
    return size


def read_usd(value: Written) -> float:
    """US dollars: finite and above 0.

    >>> read_usd("2"), read_usd(".5"), read_usd(1)
    (2.0, 0.5, 1.0)
    >>> read_usd("nan")
    Traceback (most recent call last):
    ValueError: must be an amount in US dollars above 0, such as 2 or 0.50
    """
    text = _text(value)
    amount = float(text) if text is not None and _USD.fullmatch(text) else math.nan
    if not 0 < amount < math.inf:
        raise ValueError("must be an amount in US dollars above 0, such as 2 or 0.50")
    return amount


def parse_count(text: Written, flag: str, *, low: int = 1, high: int | None = None, hint: str | None = None) -> int:
    """`read_count` for a flag.

    Raises:
        UsageError: With the flag, the value and what is allowed. `hint` says how to be allowed more.
    """
    return _for_flag(lambda: read_count(text, low=low, high=high), text, flag, hint)


def parse_duration(text: Written, flag: str) -> float:
    """`read_duration` for a flag. Raises `UsageError` with the flag, the value and what is allowed."""
    return _for_flag(lambda: read_duration(text), text, flag)


def parse_since(text: str, flag: str, *, now: datetime) -> datetime:
    """`read_since` for a flag. Raises `UsageError` with the flag, the value and what is allowed."""
    return _for_flag(lambda: read_since(text, now=now), text, flag)


def parse_size(text: Written, flag: str, *, low: int = SMALLEST_MEMORY_BYTES) -> int:
    """`read_size` for a flag, by default a memory limit. Raises `UsageError` like the others."""
    return _for_flag(lambda: read_size(text, low=low), text, flag)


def parse_usd(text: Written, flag: str) -> float:
    """`read_usd` for a flag. Raises `UsageError` with the flag, the value and what is allowed."""
    return _for_flag(lambda: read_usd(text), text, flag)


def quoted(value: object) -> str:
    """A user's value for a message: at most 60 characters, nothing in it that a terminal would act on.

    >>> quoted("a\\x1b[31m"), quoted(3)
    ("'a\\\\x1b[31m'", '3')
    """
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:56]}...{text[-1]}"


def show_size(size_bytes: int) -> str:
    """Bytes in the largest binary unit that holds them exactly.

    >>> show_size(64 * 1024**2), show_size(1000)
    ('64MiB', '1000 bytes')
    """
    for power, unit in ((4, "TiB"), (3, "GiB"), (2, "MiB"), (1, "KiB")):
        if size_bytes >= 1024**power and size_bytes % 1024**power == 0:
            return f"{size_bytes // 1024**power}{unit}"
    return f"{size_bytes} byte{'' if size_bytes == 1 else 's'}"


def show_count(number: int, noun: str) -> str:
    """
    >>> show_count(1, "task"), show_count(0, "file")
    ('1 task', '0 files')
    """
    return f"{number} {noun}{'' if number == 1 else 's'}"


def show_workers(worker_ids: Sequence[int]) -> str:
    """
    >>> show_workers([3]), show_workers([1, 2])
    ('worker 3', 'workers 1, 2')
    """
    return f"worker{'s' if len(worker_ids) > 1 else ''} {', '.join(map(str, worker_ids))}"


def summarize(names: Iterable[str], most: int = 5) -> str:
    """Names or paths for a sentence: the first ones, and how many more there are.

    >>> summarize(["b", "a", "c"], most=2)
    'b, a and 1 more'
    """
    listed = list(names)
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + more


def show_cost(usd: float | None) -> str:
    """
    >>> show_cost(0.1), show_cost(None)
    ('$0.1000', 'cost unknown')
    """
    return "cost unknown" if usd is None else f"${usd:.4f}"


def _text(value: object) -> str | None:
    """The digits of a number, or the text itself. `None` means neither (`true` is not 1)."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        # Python refuses to print numbers of thousands of digits; no bound here is that far away.
        return str(value) if abs(value) < 10**19 else None
    if isinstance(value, float):
        return format(Decimal(repr(value)), "f") if math.isfinite(value) else None
    return None


def _for_flag(read: Callable[[], T], value: object, flag: str, hint: str | None = None) -> T:
    try:
        return read()
    except ValueError as error:
        raise UsageError(f"{flag} {quoted(value)}: {error}", hint=hint) from None
