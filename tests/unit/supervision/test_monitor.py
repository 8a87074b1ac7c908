"""The sampler holds running agents to time and memory, told apart from one another."""

from __future__ import annotations

import threading
import time

import pytest

from architect_parallel.domain import Limits, Reason
from architect_parallel.supervision import process_table
from architect_parallel.supervision.monitor import Sampler, WatchedProcess
from architect_parallel.supervision.process_table import ProcessTable


class Stops:
    """Collects what the sampler says."""

    def __init__(self) -> None:
        self.reasons: list[Reason] = []
        self.told = threading.Event()

    def __call__(self, reason: Reason, detail: str) -> None:
        self.reasons.append(reason)
        self.told.set()


def watched(stops: Stops, limit: Limits, *, now: float, pid: int = 1) -> WatchedProcess:
    return WatchedProcess(limits=limit, root_pid=pid, stop=stops, started_s=now, last_output_s=now)


def test_a_limit_is_told_once_and_the_first_one_counts() -> None:
    stops = Stops()
    each = watched(stops, Limits(timeout_s=10, idle_timeout_s=3), now=100.0)

    for moment in (102.9, 103.1, 111.0, 200.0):
        each.check(moment)

    assert stops.reasons == [Reason.IDLE_TIMEOUT]


def test_output_moves_the_idle_deadline_and_not_the_other() -> None:
    each = watched(Stops(), Limits(timeout_s=10, idle_timeout_s=3), now=100.0)
    assert each.next_deadline_s() == 103.0

    each.last_output_s = 109.0

    assert each.next_deadline_s() == 110.0


def test_deadlines_are_met_between_ticks() -> None:
    stops = Stops()
    sampler = Sampler(snapshot=lambda: ProcessTable({}, {}))
    each = watched(stops, Limits(timeout_s=0.1), now=time.monotonic())
    sampler.watch(each)

    assert stops.told.wait(10)
    sampler.forget(each)
    assert stops.reasons == [Reason.WORKER_TIMEOUT]


def test_memory_is_summed_over_the_tree_of_the_one_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    # A whole machine's table cannot be had twice alike: the exact figure is taken from the picture.
    table = ProcessTable({1: (11, 12), 2: (21,)}, {11: 60, 12: 60, 21: 60})
    monkeypatch.setattr(process_table, "memory_bytes", table.resident_sum_bytes)
    big, small = Stops(), Stops()
    sampler = Sampler(snapshot=lambda: table)
    both = [
        watched(big, Limits(memory_bytes=100), now=time.monotonic(), pid=1),
        watched(small, Limits(memory_bytes=100), now=time.monotonic(), pid=2),
    ]
    for each in both:
        sampler.watch(each)

    assert big.told.wait(10)
    for each in both:
        sampler.forget(each)
    assert (big.reasons, small.reasons) == ([Reason.MEMORY], [])
    assert [each.peak_memory_bytes for each in both] == [120, 60]


def test_processes_are_counted_over_the_tree_of_the_one_worker() -> None:
    table = ProcessTable({1: (11, 12), 11: (13,), 2: (21,)}, {})
    many, few = Stops(), Stops()
    sampler = Sampler(snapshot=lambda: table)
    both = [watched(stops, Limits(processes=2), now=time.monotonic(), pid=pid) for stops, pid in ((many, 1), (few, 2))]
    for each in both:
        sampler.watch(each)

    assert many.told.wait(10)
    for each in both:
        sampler.forget(each)
    assert (many.reasons, few.reasons) == ([Reason.PROCESSES], [])


def test_the_thread_ends_with_the_last_agent() -> None:
    sampler = Sampler(snapshot=lambda: ProcessTable({}, {}))
    each = watched(Stops(), Limits(), now=time.monotonic())
    sampler.watch(each)
    sampler.forget(each)

    deadline = time.monotonic() + 10
    while sampler._thread is not None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert sampler._thread is None
