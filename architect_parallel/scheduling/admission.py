"""Which waiting worker starts next, and when to look again. Pure: the clock and the machine's figures come in.

Four gates, each of its own kind: the run's places, the provider (window, bucket, its word to wait), the complexity of
what runs, and the machine's free memory and disk. A worker that may not start lets others pass. There is no deadlock:
with nothing running every gate but time is open (a window and each class of complexity have at least one place), and
what the machine lacks then is for the caller to decide (`FreeResources.shortage`).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from architect_parallel.domain import Complexity, RateLimit, WorkerSpec
from architect_parallel.scheduling.rate_limits import Bucket, Window

MOST_AT_ONCE: Mapping[Complexity, float] = {Complexity.LOW: math.inf, Complexity.MEDIUM: 2, Complexity.HIGH: 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What holds for the starts of a whole run."""

    provider_of: Callable[[WorkerSpec], str] = lambda spec: spec.backend
    rate_limits: Mapping[str, RateLimit] = field(default_factory=dict)
    """By provider; without an entry starts are not spread."""
    rate_limit_wait_s: float = 1800.0
    """The longest one worker waits for its provider over all its attempts."""
    min_free_memory_bytes: int = 0
    min_free_disk_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortage:
    """What the machine lacks for another worker."""

    of_disk: bool
    """Of disk, else of memory."""
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FreeResources:
    """What the machine has left."""

    memory_bytes: float = math.inf
    disk_bytes: float = math.inf

    def shortage(self, rules: Rules) -> Shortage | None:
        """What is short; the disk first, because work can be lost there.

        >>> FreeResources(memory_bytes=2**20).shortage(Rules(min_free_memory_bytes=2**29)).text
        '1 MiB of memory free, min_free_memory is 512 MiB'
        """
        for what, free, least in (
            ("disk", self.disk_bytes, rules.min_free_disk_bytes),
            ("memory", self.memory_bytes, rules.min_free_memory_bytes),
        ):
            if free < least:
                text = f"{int(free) // 2**20} MiB of {what} free, min_free_{what} is {least // 2**20} MiB"
                return Shortage(of_disk=what == "disk", text=text)
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A worker that has not begun, or waits for its next attempt."""

    spec: WorkerSpec
    not_before_s: float = -math.inf
    """Its own backoff."""


@dataclass(slots=True, kw_only=True)
class ProviderState:
    """What is known of one provider; changed by what its workers report."""

    window: Window = field(default_factory=Window)
    bucket: Bucket | None = None
    not_before_s: float = -math.inf
    """The provider's own word: nobody is served before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Next:
    """What may start now, or when something may."""

    index: int | None = None
    """In the list of the waiting; `None`: nothing may start now."""
    at_s: float = math.inf
    """When the next one may start by time alone; infinite: only after another one ended."""


def next_start(
    waiting: Sequence[Waiting],
    running: Sequence[WorkerSpec],
    providers: Mapping[str, ProviderState],
    provider_of: Callable[[WorkerSpec], str],
    now_s: float,
    *,
    held: Collection[int] = (),
) -> Next:
    """The first of the waiting that may start now, in their order; the machine is the caller's to ask.

    Args:
        held: Ids of workers that may start only after another one ended.

    >>> from types import SimpleNamespace as Spec
    >>> heavy, light = (Spec(worker_id=1, complexity=each, backend="b") for each in (Complexity.HIGH, Complexity.LOW))
    >>> next_start([Waiting(spec=heavy), Waiting(spec=light)], [heavy], {}, lambda spec: spec.backend, 0.0).index
    1
    """
    by_provider = Counter(provider_of(spec) for spec in running)
    by_complexity = Counter(spec.complexity for spec in running)
    at_s = math.inf
    for index, each in enumerate(waiting):
        if each.spec.worker_id in held or by_complexity[each.spec.complexity] >= MOST_AT_ONCE[each.spec.complexity]:
            continue
        provider = provider_of(each.spec)
        state = providers.get(provider) or ProviderState()
        if by_provider[provider] >= state.window.places:
            continue
        ready_s = max(each.not_before_s, state.not_before_s)
        if state.bucket is not None:
            ready_s = max(ready_s, state.bucket.ready_s(now_s))
        if ready_s <= now_s:
            return Next(index=index, at_s=now_s)
        at_s = min(at_s, ready_s)
    return Next(at_s=at_s)
