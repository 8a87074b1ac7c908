"""The waiting worker that starts next, and the time to look again. Pure: time and free resources come in.

There are four gates: the run's limit, the provider (window, bucket, its word to wait), the complexity of the running
workers, and the machine's free memory and disk. A worker that may not start lets others pass. There is no deadlock:
with nothing running, every gate but time is open, because a window and each class of complexity allow at least one
worker. Only the caller can decide about too little memory or disk (`FreeResources.shortage`).
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
    """The rules for starting the workers of a run."""

    provider_of: Callable[[WorkerSpec], str] = lambda spec: spec.backend
    rate_limits: Mapping[str, RateLimit] = field(default_factory=dict)
    """By provider. Without an entry, starts are not spread over time."""
    rate_limit_wait_s: float = 1800.0
    """The longest time that one worker waits for its provider over all its attempts."""
    min_free_memory_bytes: int = 0
    min_free_disk_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortage:
    """The resource that the machine lacks for another worker."""

    of_disk: bool
    """Disk is short. Otherwise memory is."""
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FreeResources:
    """The free memory and disk of the machine."""

    memory_bytes: float = math.inf
    disk_bytes: float = math.inf

    def shortage(self, rules: Rules) -> Shortage | None:
        """The resource that is short, or `None`. Disk comes first, because work can be lost without it.

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
    """The end of its backoff."""


@dataclass(slots=True, kw_only=True)
class ProviderState:
    """The state of one provider. The reports of its workers change it."""

    window: Window = field(default_factory=Window)
    bucket: Bucket | None = None
    not_before_s: float = -math.inf
    """The time before which the provider serves no worker, by its own word."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Next:
    """The worker that may start now, or the time when one may."""

    index: int | None = None
    """Its position among the waiting workers. `None` means that no worker may start now."""
    at_s: float = math.inf
    """The time when the next worker may start. Infinite means only after another worker has ended."""


def next_start(
    waiting: Sequence[Waiting],
    running: Sequence[WorkerSpec],
    providers: Mapping[str, ProviderState],
    provider_of: Callable[[WorkerSpec], str],
    now_s: float,
    *,
    held: Collection[int] = (),
) -> Next:
    """Choose the first waiting worker that may start now. The caller checks the free resources.

    Args:
        held: Ids of workers that may start only after another one ended.

    >>> from types import SimpleNamespace as Spec
    >>> heavy, light = (Spec(worker_id=1, complexity=kind, backend="b") for kind in (Complexity.HIGH, Complexity.LOW))
    >>> next_start([Waiting(spec=heavy), Waiting(spec=light)], [heavy], {}, lambda spec: spec.backend, 0.0).index
    1
    """
    by_provider = Counter(provider_of(spec) for spec in running)
    by_complexity = Counter(spec.complexity for spec in running)
    at_s = math.inf
    for index, entry in enumerate(waiting):
        if entry.spec.worker_id in held or by_complexity[entry.spec.complexity] >= MOST_AT_ONCE[entry.spec.complexity]:
            continue
        provider = provider_of(entry.spec)
        state = providers.get(provider) or ProviderState()
        if by_provider[provider] >= state.window.places:
            continue
        ready_s = max(entry.not_before_s, state.not_before_s)
        if state.bucket is not None:
            ready_s = max(ready_s, state.bucket.ready_s(now_s))
        if ready_s <= now_s:
            return Next(index=index, at_s=now_s)
        at_s = min(at_s, ready_s)
    return Next(at_s=at_s)
