"""The shared sampler: one thread that holds every running worker to its time and memory.

One snapshot of the process table serves all workers of a tick: a snapshot per worker costs over a second of CPU per
tick at 100 workers, a shared one some milliseconds. Steps, output and money are counted where they arrive, in the
worker's own thread; this thread only watches what no output announces. It stops nothing itself: it tells the worker's
`StopSwitch`.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable
from dataclasses import dataclass

from architect_parallel.domain import Limits, Reason
from architect_parallel.scheduling.limits import Observation, exceeded
from architect_parallel.supervision import process_table
from architect_parallel.system.clock import monotonic_s

TICK_S = 1.0
"""Between two looks at the process table; deadlines are met exactly, memory within a tick."""
TIGHT_TICK_S = 0.25
"""While a worker with a memory limit runs."""

_log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class WatchedProcess:
    """A running agent as the sampler sees it. `last_output_s` is written by the worker's thread."""

    limits: Limits
    root_pid: int
    """The supervisor: every process of the worker descends from it."""
    stop: Callable[[Reason, str], None]
    """Called at most once, from the sampler's thread."""
    started_s: float
    last_output_s: float
    peak_memory_bytes: int | None = None
    told: bool = False

    def check(self, now_s: float, memory_bytes: int | None = None) -> None:
        """Reports the first exceeded limit of time or memory, once."""
        seen = Observation(
            elapsed_s=now_s - self.started_s, idle_s=now_s - self.last_output_s, memory_bytes=memory_bytes
        )
        excess = exceeded(self.limits, seen)
        if excess is not None and not self.told:
            self.told = True
            self.stop(excess.reason, excess.detail)

    def next_deadline_s(self) -> float:
        """Monotonic time of the next time limit still ahead; infinite without one."""
        if self.told:
            return math.inf
        by_timeout = self.started_s + (math.inf if self.limits.timeout_s is None else self.limits.timeout_s)
        by_idleness = self.last_output_s + (
            math.inf if self.limits.idle_timeout_s is None else self.limits.idle_timeout_s
        )
        return min(by_timeout, by_idleness)


class Sampler:
    """Watches any number of running agents from one thread, which lives only while there are some."""

    def __init__(
        self,
        *,
        clock: Callable[[], float] = monotonic_s,
        snapshot: Callable[[], process_table.ProcessTable] = process_table.snapshot,
    ) -> None:
        self._clock = clock
        self._snapshot = snapshot
        self._watched: list[WatchedProcess] = []
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def watch(self, watched: WatchedProcess) -> None:
        """Begins to watch; returns at once."""
        with self._changed:
            self._watched.append(watched)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)
                self._thread.start()
            self._changed.notify()

    def forget(self, watched: WatchedProcess) -> None:
        """Ends watching; unknown ones are ignored."""
        with self._changed:
            if watched in self._watched:
                self._watched.remove(watched)
            self._changed.notify()

    def _run(self) -> None:
        next_look = self._clock() + 0.2
        while True:
            with self._changed:
                if not self._watched:
                    self._thread = None
                    return
                self._changed.wait(self._pause_s(next_look))
                watched = list(self._watched)
            now = self._clock()
            for each in watched:
                each.check(now)
            if now >= next_look:
                try:
                    self._look_at_memory(watched)
                except Exception:  # a worker must not outlive its time limit because /proc surprised us
                    _log.exception("sampling failed")
                tight = any(each.limits.memory_bytes is not None for each in watched)
                next_look = self._clock() + (TIGHT_TICK_S if tight else TICK_S)

    def _pause_s(self, next_look: float) -> float:
        nearest = min([next_look, *(each.next_deadline_s() for each in self._watched)])
        return max(0.005, nearest - self._clock())

    def _look_at_memory(self, watched: list[WatchedProcess]) -> None:
        table = self._snapshot()
        for each in watched:
            pids = table.descendants(each.root_pid)
            peak = each.peak_memory_bytes or 0
            if table.resident_sum_bytes(pids) <= peak:
                continue  # an upper bound below what was seen already: the exact and dearer figure tells nothing new
            used = process_table.memory_bytes(pids)
            each.peak_memory_bytes = max(used, peak)
            each.check(self._clock(), used)
