"""The door to time."""

from __future__ import annotations

import time
from datetime import UTC, datetime


def now() -> datetime:
    """Wall time, UTC and aware; for people and the journal."""
    return datetime.now(UTC)


def monotonic_s() -> float:
    """Seconds that never jump; for every limit."""
    return time.monotonic()


def pause(seconds: float) -> None:
    """Sleeps."""
    time.sleep(seconds)
