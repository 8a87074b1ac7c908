"""The door to time."""

from __future__ import annotations

import time
from datetime import UTC, datetime


def now() -> datetime:
    """Return the wall time, UTC and aware, in whole milliseconds as the journal stores it."""
    time_ = datetime.now(UTC)
    return time_.replace(microsecond=time_.microsecond // 1000 * 1000)


def monotonic_s() -> float:
    """Seconds that never jump. For every limit."""
    return time.monotonic()


def pause(seconds: float) -> None:
    """Sleeps."""
    time.sleep(seconds)
