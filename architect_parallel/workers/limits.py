"""The shared sampler: one thread that holds every running worker to its time and memory.

One snapshot of the process table serves all workers of a tick: a snapshot per worker costs over a second of CPU per tick
at 100 workers, a shared one some milliseconds. Steps, output and money are counted where they arrive, in the worker's own
thread; this thread only watches what no output announces. It stops nothing itself: it tells the worker's `StopSwitch`.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from architect_parallel.domain import Limits, Reason
from architect_parallel.system import process_table
from architect_parallel.system.clock import monotonic_s

TICK_S = 1.0
"""Between two looks at the process table; deadlines are met exactly, memory within a tick."""
TIGHT_TICK_S = 0.25
"""While a worker with a memory limit runs."""

_log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class Watched:
    """A running agent as the sampler sees it. `last_output_s` is written by the worker's thread."""

    limits: Limits
    root_pid: int
    """The supervisor: every process of the worker descends from it."""
    stop: Callable[[Reason, str], None]
    """Called at most once per exceeded limit, from the sampler's thread."""
    started_s: float
    last_output_s: float
    peak_memory_bytes: int | None = None
    _told: set[Reason] = field(default_factory=set)

    def tell(self, reason: Reason, detail: str) -> None:
        """Reports an exceeded limit, the first time only."""
        if reason not in self._told:
            self._told.add(reason)
            self.stop(reason, detail)

    def next_deadline_s(self) -> float | None:
        """Monotonic time of the next time limit still ahead; `None` without one."""
        ahead = []
        if self.limits.timeout_s is not None and Reason.WORKER_TIMEOUT not in self._told:
            ahead.append(self.started_s + self.limits.timeout_s)
        if self.limits.idle_timeout_s is not None and Reason.IDLE_TIMEOUT not in self._told:
            ahead.append(self.last_output_s + self.limits.idle_timeout_s)
        return min(ahead, default=None)


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
        self._watched: list[Watched] = []
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def watch(self, watched: Watched) -> None:
        """Begins to watch; returns at once."""
        with self._changed:
            self._watched.append(watched)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)
                self._thread.start()
            self._changed.notify()

    def forget(self, watched: Watched) -> None:
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
            check_times(watched, now)
            if now >= next_look:
                try:
                    self._look_at_memory(watched)
                except Exception:  # a worker must not outlive its time limit because /proc surprised us
                    _log.exception("sampling failed")
                tight = any(each.limits.memory_bytes is not None for each in watched)
                next_look = self._clock() + (TIGHT_TICK_S if tight else TICK_S)

    def _pause_s(self, next_look: float) -> float:
        deadlines = [deadline for each in self._watched if (deadline := each.next_deadline_s()) is not None]
        return max(0.005, min([next_look, *deadlines]) - self._clock())

    def _look_at_memory(self, watched: list[Watched]) -> None:
        table = self._snapshot()
        for each in watched:
            used = table.memory_bytes(table.descendants(each.root_pid))
            if each.peak_memory_bytes is None or used > each.peak_memory_bytes:
                each.peak_memory_bytes = used
            limit = each.limits.memory_bytes
            if limit is not None and used > limit:
                each.tell(Reason.MEMORY, f"{used / 2**20:.0f} MiB used of {limit / 2**20:.0f} MiB")


def check_times(watched: list[Watched], now_s: float) -> None:
    """Tells every agent whose time limit lies behind `now_s` (monotonic seconds)."""
    for each in watched:
        limits = each.limits
        if limits.timeout_s is not None and now_s >= each.started_s + limits.timeout_s:
            each.tell(Reason.WORKER_TIMEOUT, f"ran longer than {limits.timeout_s:g} s")
        elif limits.idle_timeout_s is not None and now_s >= each.last_output_s + limits.idle_timeout_s:
            each.tell(Reason.IDLE_TIMEOUT, f"printed nothing for {limits.idle_timeout_s:g} s")
