"""The workers of a run between their attempts: gates, queues and ends, on a clock of the test's own."""

from __future__ import annotations

import heapq
import math
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.dispatching import NOON, dispatch, ended, own_end, results_of, spec

from architect_parallel.domain import (
    Complexity,
    Limits,
    RateLimit,
    Reason,
    Status,
    WorkerSpec,
)
from architect_parallel.events import AttemptEnded, WorkerFinished
from architect_parallel.scheduling.admission import MOST_AT_ONCE, Rules
from architect_parallel.scheduling.scheduler import Scheduler


def start_all(queue: Scheduler, now_s: float = 0.0) -> list[WorkerSpec]:
    started = []
    while (found := queue.next(now_s)).index is not None:
        started.append(queue.begin(found.index, now_s))
    return started


def test_high_and_medium_complexity_are_few_and_low_ones_pass_them() -> None:
    kinds = [Complexity.HIGH] * 2 + [Complexity.MEDIUM] * 3 + [Complexity.LOW] * 3
    started = start_all(dispatch(*(spec(n, complexity=kind) for n, kind in enumerate(kinds, 1))))
    assert [each.worker_id for each in started] == [1, 3, 4, 6, 7, 8]


@given(
    kinds=st.lists(st.sampled_from(list(Complexity)), min_size=1, max_size=12),
    ends=st.lists(st.sampled_from(["good", "refused", "crashed", "throttled"]), max_size=60),
    at_once=st.integers(1, 6),
    limited=st.booleans(),
    seed=st.integers(0, 99),
)
def test_every_worker_ends_once_whatever_happens_and_no_gate_is_broken(
    kinds: list[Complexity], ends: list[str], at_once: int, limited: bool, seed: int
) -> None:
    """A whole run on a made-up clock: it never stands still, and each worker has one end."""
    dice = random.Random(seed)
    rules = Rules(rate_limits={"b": RateLimit(capacity=1, refill_rate=2.0)} if limited else {}, rate_limit_wait_s=500)
    specs = [spec(n, complexity=kind, retries=2) for n, kind in enumerate(kinds, 1)]
    queue = Scheduler(specs, rules, max_parallel=at_once, random=dice.random, now=lambda: NOON)
    now_s, running, finished, moves = 0.0, list[tuple[float, int, WorkerSpec]](), Counter[int](), iter(ends)
    while queue.waiting or queue.running:
        found = queue.next(now_s)
        if found.index is not None:
            started = queue.begin(found.index, now_s)
            heapq.heappush(running, (now_s + dice.random() * 5, started.worker_id, started))
            assert len(queue.running) <= at_once
            for kind, count in Counter(each.complexity for each in queue.running.values()).items():
                assert count <= MOST_AT_ONCE[kind]
            continue
        until_s = min(found.at_s, running[0][0] if running else math.inf)
        assert until_s < math.inf, "nothing runs and nothing will"
        assert until_s > now_s or running
        now_s = max(now_s, until_s)
        if running and running[0][0] <= now_s:
            _, worker_id, started = heapq.heappop(running)
            move = next(moves, "good")
            if move == "throttled":
                queue.throttled(worker_id, now_s)
            reason = {"refused": Reason.RATE_LIMITED, "crashed": Reason.CRASHED}.get(move, Reason.COMPLETED)
            status = Status.SUCCESS if reason is Reason.COMPLETED else Status.FAILED
            end = own_end(queue.ended(worker_id, ended(started, reason, status), now_s, stopping=False), worker_id)
            if isinstance(end, WorkerFinished):
                finished[worker_id] += 1
                assert len(end.result.attempt_history) == end.result.attempts
    assert finished == Counter(range(1, len(kinds) + 1))


def test_a_refusal_shrinks_its_own_provider_and_nobody_elses() -> None:
    rules = Rules(provider_of=lambda each: each.name)
    queue = dispatch(*(spec(n, name="one" if n <= 4 else "two") for n in range(1, 9)), rules=rules, at_once=6)
    started = start_all(queue)
    assert len(started) == 6

    queue.ended(1, ended(started[0], Reason.RATE_LIMITED), 1.0, stopping=False)
    # Three of `one` run, two may: none of it starts even when its wait is over; those of `two` do.
    assert [each.name for each in start_all(queue, 100.0)] == ["two"]


def test_each_lot_of_added_workers_has_its_own_limit() -> None:
    queue = dispatch()
    queue.add([spec(n) for n in (1, 2, 3)], at_once=2)
    queue.add([spec(n) for n in (4, 5)], at_once=1)
    queue.add([spec(6)])
    started = start_all(queue)
    assert [each.worker_id for each in started] == [1, 2, 4, 6]
    for worker, following in ((started[3], []), (started[2], [5]), (started[0], [3])):
        queue.ended(worker.worker_id, ended(worker, Reason.AGENT_ERROR), 1.0, stopping=False)
        assert [each.worker_id for each in start_all(queue, 2.0)] == following


def test_what_the_provider_asked_holds_for_all_its_workers() -> None:
    queue = dispatch(spec(1), spec(2), at_once=1)
    (first,) = start_all(queue)
    queue.ended(1, ended(first, Reason.RATE_LIMITED, retry_after_s=20.0), 1.0, stopping=False)

    assert start_all(queue, 20.9) == []
    assert queue.next(20.9).at_s == 21.0
    assert [each.worker_id for each in start_all(queue, 21.0)] == [2]


def test_a_wait_beyond_all_patience_fails_with_the_figures_and_holds_up_nobody() -> None:
    queue = dispatch(spec(1), spec(2), rules=Rules(rate_limit_wait_s=60), at_once=1)
    (first,) = start_all(queue)
    end = own_end(queue.ended(1, ended(first, Reason.RATE_LIMITED, retry_after_s=18000.0), 1.0, stopping=False), 1)

    assert isinstance(end, WorkerFinished)
    assert any("rate_limit_wait is 60 s" in each for each in end.result.warnings)
    assert [each.worker_id for each in start_all(queue, 1.0)] == [2]


def test_an_attempt_gets_what_the_ones_before_left() -> None:
    queue = dispatch(spec(1, retries=1, limits=Limits(timeout_s=10, max_steps=5, budget_usd=1.0)))
    (first,) = start_all(queue)
    end = own_end(queue.ended(1, ended(first, Reason.CRASHED), 1.0, stopping=False), 1)

    assert isinstance(end, AttemptEnded)
    (second,) = start_all(queue, 100.0)
    assert (second.attempt, second.prompt) == (2, "do")
    assert second.limits.timeout_s == 9.0
    assert second.limits.max_steps == 4
    assert second.limits.budget_usd == pytest.approx(0.9)


def test_nothing_follows_while_the_run_is_stopped() -> None:
    queue = dispatch(spec(1, retries=5))
    (first,) = start_all(queue)
    end = own_end(queue.ended(1, ended(first, Reason.RATE_LIMITED), 1.0, stopping=True), 1)
    assert isinstance(end, WorkerFinished)
    assert not queue.waiting


def test_a_worker_dropped_between_attempts_keeps_what_its_last_one_left() -> None:
    queue = dispatch(spec(1, retries=5), spec(2), at_once=1)
    (first,) = start_all(queue)
    queue.ended(1, ended(first, Reason.CRASHED), 1.0, stopping=False)

    two, one = sorted(results_of(queue.drop(Reason.INTERRUPTED)), key=lambda each: -each.worker_id)
    assert (one.status, one.reason, one.error, len(one.attempt_history)) == (
        Status.CANCELED, Reason.INTERRUPTED, "e", 1,
    )  # fmt: skip
    assert (two.status, two.attempt_history, two.cost) == (Status.CANCELED, [], 0.0)
    assert queue.waiting == []


def test_a_resumed_worker_sums_over_its_earlier_attempts_and_has_its_retries_again() -> None:
    earlier = dispatch(spec(1))
    (first,) = start_all(earlier)
    before = own_end(earlier.ended(1, ended(first, Reason.CRASHED), 1.0, stopping=False), 1)
    assert isinstance(before, WorkerFinished)

    queue = Scheduler(
        [spec(1, attempt=2, retries=1)], Rules(), max_parallel=1, random=lambda: 0.0, now=lambda: NOON,
        earlier={1: before.result.attempt_history},
    )  # fmt: skip
    (second,) = start_all(queue)
    again = own_end(queue.ended(1, ended(second, Reason.CRASHED), 2.0, stopping=False), 1)
    assert isinstance(again, AttemptEnded)
    (third,) = start_all(queue, 100.0)
    end = own_end(queue.ended(1, ended(third, Reason.COMPLETED, Status.SUCCESS), 101.0, stopping=False), 1)
    assert isinstance(end, WorkerFinished)
    assert [each.number for each in end.result.attempt_history] == [1, 2, 3]
    assert end.result.steps == 3
