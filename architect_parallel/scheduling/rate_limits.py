"""The number of workers of one provider that may run, and the rate of their starts. Pure: times come in.

A provider does not say how much it allows, and that changes. So the number is found as in TCP: additive increase,
multiplicative decrease (AIMD). Each worker that ends without a refusal adds its share of one. A refusal halves the
number of running workers. It never falls below one, so that a worker is left to notice when the provider allows more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from architect_parallel.domain import RateLimit

SAME_REFUSAL_S = 30.0
"""A refusal of a worker that already ran at the last halving does not halve again, for this many seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The number of workers that may run for one provider."""

    size: float = math.inf
    """Infinite until the first refusal."""
    halved_s: float = -math.inf
    """The time of the last halving."""

    @property
    def places(self) -> float:
        """The size in whole workers, at least one."""
        return self.size if math.isinf(self.size) else max(1, math.floor(self.size))

    def refused(self, *, started_s: float, now_s: float, running: int) -> Window:
        """The window after a refusal of a worker that started at `started_s`. `running` counts that worker, too.

        >>> window = Window().refused(started_s=0.0, now_s=1.0, running=8)
        >>> window.places, window.refused(started_s=0.5, now_s=1.1, running=7).places
        (4, 4)
        >>> window.refused(started_s=2.0, now_s=2.1, running=4).places
        2
        """
        if started_s <= self.halved_s and now_s - self.halved_s < SAME_REFUSAL_S:
            return self
        return Window(size=max(1.0, min(self.size, running) / 2), halved_s=now_s)

    def served(self) -> Window:
        """The window after a worker that ended without a refusal.

        >>> Window(size=2.0).served().served().served().places
        3
        """
        return self if math.isinf(self.size) else replace(self, size=self.size + 1 / self.size)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """A token bucket: a start takes one token, and time refills it."""

    limit: RateLimit
    tokens: float
    at_s: float
    """The time for which `tokens` is right."""

    @classmethod
    def full(cls, limit: RateLimit, now_s: float) -> Bucket:
        """The bucket before the first start."""
        return cls(limit=limit, tokens=limit.capacity, at_s=now_s)

    def ready_s(self, now_s: float) -> float:
        """The earliest time of the next start, not before `now_s`.

        >>> bucket = Bucket.full(RateLimit(capacity=1, refill_rate=0.5), 0.0)
        >>> bucket.ready_s(0.0), bucket.taken(0.0).ready_s(0.0), bucket.taken(0.0).ready_s(5.0)
        (0.0, 2.0, 5.0)
        """
        lacking = 1.0 - self._now(now_s)
        # A rounding error must not wake the runner again and again for nothing.
        return now_s if lacking <= 1e-9 else now_s + lacking / self.limit.refill_rate

    def taken(self, now_s: float) -> Bucket:
        """The bucket after a start."""
        return replace(self, tokens=max(0.0, self._now(now_s) - 1.0), at_s=now_s)

    def _now(self, now_s: float) -> float:
        grown = max(0.0, now_s - self.at_s) * self.limit.refill_rate
        return min(self.limit.capacity, self.tokens + grown)
