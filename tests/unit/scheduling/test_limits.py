"""Which limit was gone over."""

from __future__ import annotations

import pytest

from architect_parallel.domain import Limits, Reason
from architect_parallel.scheduling.limits import Observation, exceeded

MIB = 1024**2
LIMITS = Limits(
    timeout_s=10, idle_timeout_s=5, memory_bytes=100 * MIB, output_bytes=1000, max_steps=3, budget_usd=0.5, processes=9
)


@pytest.mark.parametrize(
    ("within", "beyond", "reason"),
    [
        (Observation(elapsed_s=9.9), Observation(elapsed_s=10), Reason.WORKER_TIMEOUT),
        (Observation(idle_s=4.9), Observation(idle_s=5), Reason.IDLE_TIMEOUT),
        (Observation(memory_bytes=100 * MIB), Observation(memory_bytes=100 * MIB + 1), Reason.MEMORY),
        (Observation(output_bytes=1000), Observation(output_bytes=1001), Reason.OUTPUT_LIMIT),
        (Observation(processes=9), Observation(processes=10), Reason.PROCESSES),
        (Observation(steps=3), Observation(steps=4), Reason.MAX_STEPS),
        (Observation(cost_usd=0.4999), Observation(cost_usd=0.5), Reason.BUDGET),
    ],
)
def test_a_limit_may_be_used_up_and_not_exceeded(within: Observation, beyond: Observation, reason: Reason) -> None:
    assert exceeded(LIMITS, within) is None
    excess = exceeded(LIMITS, beyond)
    assert excess is not None
    assert excess.reason is reason
    assert "limit" in excess.detail


def test_no_limit_is_never_exceeded() -> None:
    huge = Observation(elapsed_s=1e9, idle_s=1e9, memory_bytes=2**60, output_bytes=2**60, steps=10**9, cost_usd=1e9)
    assert exceeded(Limits(), huge) is None


def test_unknown_cost_and_memory_exceed_nothing() -> None:
    assert exceeded(LIMITS, Observation(memory_bytes=None, cost_usd=None)) is None


def test_time_comes_first() -> None:
    excess = exceeded(LIMITS, Observation(elapsed_s=11, idle_s=11, steps=9, cost_usd=9))
    assert excess is not None
    assert excess.reason is Reason.WORKER_TIMEOUT
