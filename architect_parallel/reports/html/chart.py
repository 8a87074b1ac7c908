"""Positions and labels of the timeline."""

from __future__ import annotations

import math

from architect_parallel.reports.html.formatting import duration
from architect_parallel.reports.html.spans import Span, Timeline, TimelineLane, totals

MAX_TICKS = 5
TICK_STEPS_S = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400)
_DAY_S = 86400


def at(seconds: float, time: Timeline) -> str:
    """A position or a length as a share of the timeline's width: `12.500%`."""
    return f"{seconds / time.total_s * 100:.3f}%"


def ticks(time: Timeline) -> list[float]:
    """The times to label, in seconds from 0."""
    step = next((step for step in TICK_STEPS_S if time.total_s / step <= MAX_TICKS), None)
    step = step or _DAY_S * math.ceil(time.total_s / _DAY_S / MAX_TICKS)
    return [step * number for number in range(int(time.total_s / step) + 1)]


def tick_label(seconds: float) -> str:
    """`2.5 s`, `1:30`, `15 min`, `3 h`."""
    if seconds < 60:
        return f"{seconds:g} s"
    if seconds % 60:
        return f"{int(seconds // 60)}:{int(seconds % 60):02d}"
    return f"{seconds / 60:g} min" if seconds < 7200 else f"{seconds / 3600:g} h"


def span_title(lane: TimelineLane, span: Span) -> str:
    """`agent, 2.5 s`, with the attempt if the worker had several."""
    attempt = f", attempt {span.attempt}" if any(span.attempt > 1 for span in lane.spans) else ""
    return f"{span.phase}, {duration(span.length_s)}{attempt}"


def lane_summary(lane: TimelineLane) -> str:
    """A worker's time per phase, for screen readers."""
    phases = ", ".join(f"{phase} {duration(length_s)}" for phase, length_s in totals(lane.spans).items())
    return f"worker {lane.worker_id}: {phases or 'nothing yet'}"
