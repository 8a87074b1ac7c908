"""One look at the process table, and the memory of fifty workers: read from /proc against asked of psutil.

Decision 49 in `docs/design/decisions.md` rests on these ratios. When a goal is missed, psutil has become cheap enough.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterable

import psutil

from architect_parallel.supervision import process_table
from benchmarks.measure import WORKERS_AT_ONCE, Cost, Goal, alternate, cpu, median_of, median_ratio

REPEAT = 30
OF_PSUTIL = 0.5
"""Reading /proc is worth its lines while it costs less than half."""


def measure() -> list[Goal]:
    """Runs the benchmark."""
    workers = [subprocess.Popen(("sleep", "600")) for _ in range(WORKERS_AT_ONCE)]
    pids = [worker.pid for worker in workers]
    try:
        table = alternate(REPEAT, _timed(_table_of_psutil), _timed(process_table.snapshot))
        memory = alternate(
            REPEAT, _timed(lambda: _memory_of_psutil(pids)), _timed(lambda: process_table.memory_bytes(pids))
        )
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    return [
        Goal(
            name=f"{name}: CPU against psutil",
            measured=median_ratio(ours, theirs, cpu),
            limit=OF_PSUTIL,
            note=f"{median_of(ours, cpu) * 1000:.1f} ms against {median_of(theirs, cpu) * 1000:.1f} ms",
        )
        for name, (theirs, ours) in (("process table", table), (f"memory of {WORKERS_AT_ONCE} processes", memory))
    ]


def _timed(look: Callable[[], object]) -> Callable[[], Cost]:
    def run() -> Cost:
        wall_s, cpu_s = time.monotonic(), time.process_time()
        look()
        return Cost(wall_s=time.monotonic() - wall_s, cpu_s=time.process_time() - cpu_s)

    return run


def _table_of_psutil() -> list[tuple[int, int, int]]:
    processes = psutil.process_iter(["ppid", "memory_info"])
    return [(process.pid, process.info["ppid"], process.info["memory_info"].rss) for process in processes]


def _memory_of_psutil(pids: Iterable[int]) -> int:
    return sum(psutil.Process(pid).memory_full_info().pss for pid in pids)


if __name__ == "__main__":
    from benchmarks.__main__ import show

    sys.exit(show(measure()))
