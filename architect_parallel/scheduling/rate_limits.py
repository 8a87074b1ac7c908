"""How many workers of one provider may run, and how often one may start. Pure: times come in, nothing is read.

Nobody tells how much a provider allows, and it changes. So the number is found as TCP finds it: additive up, halving
down (AIMD). Each worker that ends without a refusal adds its share of one; a refusal halves what was running. The
invariant: never below one, so that there is always somebody to find out that it goes better.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from architect_parallel.domain import RateLimit

SAME_REFUSAL_S = 30.0
"""Workers that already ran at a halving are refused for the same reason; for so long they do not halve again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The number of workers that may run for one provider."""

    size: float = math.inf
    """Infinite until the first refusal: nothing is known against it."""
    halved_s: float = -math.inf
    """When it was halved last."""

    @property
    def places(self) -> float:
        """Whole workers; at least one."""
        return self.size if math.isinf(self.size) else max(1, math.floor(self.size))

    def refused(self, *, started_s: float, now_s: float, running: int) -> Window:
        """After a refusal of a worker that began at `started_s`, with `running` workers at work, itself included.

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
        """After a worker that ended without a refusal.

        >>> Window(size=2.0).served().served().served().places
        3
        """
        return self if math.isinf(self.size) else replace(self, size=self.size + 1 / self.size)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """A token bucket: a start takes one token, tokens come back with time."""

    limit: RateLimit
    tokens: float
    at_s: float
    """When `tokens` was right."""

    @classmethod
    def full(cls, limit: RateLimit, now_s: float) -> Bucket:
        """A bucket as it is before the first start."""
        return cls(limit=limit, tokens=limit.capacity, at_s=now_s)

    def ready_s(self, now_s: float) -> float:
        """When the next start may be; not before `now_s`.

        >>> bucket = Bucket.full(RateLimit(capacity=1, refill_rate=0.5), 0.0)
        >>> bucket.ready_s(0.0), bucket.taken(0.0).ready_s(0.0), bucket.taken(0.0).ready_s(5.0)
        (0.0, 2.0, 5.0)
        """
        lacking = 1.0 - self._now(now_s)
        # A rounding error must not make the dispatcher wake for nothing for ever.
        return now_s if lacking <= 1e-9 else now_s + lacking / self.limit.refill_rate

    def taken(self, now_s: float) -> Bucket:
        """After a start."""
        return replace(self, tokens=max(0.0, self._now(now_s) - 1.0), at_s=now_s)

    def _now(self, now_s: float) -> float:
        grown = max(0.0, now_s - self.at_s) * self.limit.refill_rate
        return min(self.limit.capacity, self.tokens + grown)
