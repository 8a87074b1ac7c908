"""The shared sampler: one thread that holds every running worker to its time, memory, processes and disk.

One snapshot of the process table serves all workers of a tick: a snapshot per worker costs over a second of CPU per
tick at 100 workers, a shared one some milliseconds. Steps, output and money are counted where they arrive, in the
worker's own thread. The sampler watches only what no output announces. It stops nothing itself: it calls `stop` of the
`WatchedProcess`, which is that of a `StopToken`.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from architect_parallel.domain import Limits, Reason
from architect_parallel.scheduling.limits import Observation, exceeded
from architect_parallel.supervision import process_table
from architect_parallel.supervision.disk import DiskWatch
from architect_parallel.system.clock import monotonic_s

TICK_S = 1.0
"""Seconds between two snapshots of the process table. Deadlines are met exactly, memory limits within a tick."""
TIGHT_TICK_S = 0.25
"""The same while a worker with a memory limit runs."""

_log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class WatchedProcess:
    """A running program and its limits. The worker's thread counts the output, the sampler's thread time and memory."""

    limits: Limits
    root_pid: int
    """The supervisor's pid: every process of the worker descends from it."""
    stop: Callable[[Reason, str], None]
    """Called for the first exceeded limit, from the sampler's or the worker's thread."""
    started_s: float
    last_output_s: float
    output_bytes: int = 0
    places: Sequence[Path] = ()
    """Directories whose files are its own, for the look at a disk that fills up."""
    began_at_s: float = field(default_factory=time.time)
    """Wall-clock time of its start."""
    peak_memory_bytes: int | None = None
    """`None` means not measured yet."""
    is_stopped: bool = False

    def check(self, now_s: float, memory_bytes: int | None = None, processes: int = 0) -> None:
        """Stop the program when it exceeds a limit. Do nothing once it was stopped."""
        self._check(
            Observation(
                elapsed_s=now_s - self.started_s,
                idle_s=now_s - self.last_output_s,
                memory_bytes=memory_bytes,
                processes=processes,
            )
        )

    def take_output(self, size_bytes: int) -> None:
        """Count a chunk of output, and stop the program when it printed too much."""
        self.last_output_s = monotonic_s()
        self.output_bytes += size_bytes
        self._check(Observation(output_bytes=self.output_bytes))

    def _check(self, observation: Observation) -> None:
        excess = None if self.is_stopped else exceeded(self.limits, observation)
        if excess is not None:
            self.end(excess.reason, excess.detail)

    def end(self, reason: Reason, detail: str) -> None:
        """Stop the program."""
        self.is_stopped = True
        self.stop(reason, detail)

    def next_deadline_s(self) -> float:
        """Return the monotonic time of the next time limit. Infinite without one."""
        if self.is_stopped:
            return math.inf
        by_timeout = self.started_s + (math.inf if self.limits.timeout_s is None else self.limits.timeout_s)
        by_idleness = self.last_output_s + (
            math.inf if self.limits.idle_timeout_s is None else self.limits.idle_timeout_s
        )
        return min(by_timeout, by_idleness)


class Sampler:
    """Watches any number of running programs from one thread, which lives only while there are some."""

    def __init__(
        self,
        *,
        clock: Callable[[], float] = monotonic_s,
        snapshot: Callable[[], process_table.ProcessTable] = process_table.snapshot,
        disk: DiskWatch | None = None,
    ) -> None:
        """Args:
        disk: Looks after free disk space. `None` means that the disk may fill up.
        """
        self._clock = clock
        self._snapshot = snapshot
        self._disk = disk
        self._watched: list[WatchedProcess] = []
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def watch(self, watched: WatchedProcess) -> None:
        """Begin to watch. Return at once."""
        with self._changed:
            self._watched.append(watched)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)
                self._thread.start()
            self._changed.notify()

    def forget(self, watched: WatchedProcess) -> None:
        """Stop watching. A program that is not watched is ignored."""
        with self._changed:
            if watched in self._watched:
                self._watched.remove(watched)
            self._changed.notify()

    def _run(self) -> None:
        next_sample = self._clock() + 0.2
        next_look = -math.inf if self._disk is not None else math.inf
        while True:
            with self._changed:
                if not self._watched:
                    self._thread = None
                    return
                self._changed.wait(self._pause_s(min(next_sample, next_look)))
                watched = list(self._watched)
            now = self._clock()
            for program in watched:
                program.check(now)
            if self._disk is not None and now >= next_look:
                next_look = now + self._look_at_disk(self._disk, watched)
            if now >= next_sample:
                try:
                    self._measure_memory(watched)
                except Exception:  # a worker must not outlive its time limit because /proc surprised us
                    _log.exception("sampling failed")
                tight = any(program.limits.memory_bytes is not None for program in watched)
                next_sample = self._clock() + (TIGHT_TICK_S if tight else TICK_S)

    def _look_at_disk(self, disk: DiskWatch, watched: list[WatchedProcess]) -> float:
        """Seconds until the next look."""
        try:
            return disk.look(watched)
        except Exception:  # as for the process table
            _log.exception("the look at the disk failed")
            return TICK_S

    def _pause_s(self, next_time: float) -> float:
        nearest = min([next_time, *(program.next_deadline_s() for program in self._watched)])
        return max(0.005, nearest - self._clock())

    def _measure_memory(self, watched: list[WatchedProcess]) -> None:
        table = self._snapshot()
        for program in watched:
            pids = table.descendants(program.root_pid)
            program.check(self._clock(), processes=len(pids))
            peak = program.peak_memory_bytes or 0
            if table.resident_sum_bytes(pids) <= peak:
                continue  # the upper bound is below the known peak: the exact, slower figure would add nothing
            used = process_table.memory_bytes(pids)
            program.peak_memory_bytes = max(used, peak)
            program.check(self._clock(), used)
