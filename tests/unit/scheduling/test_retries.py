"""Which failures get another attempt, what it is told and given, and what all of them add up to."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from architect_parallel.domain import (
    AgentProfile,
    Attempt,
    CheckResult,
    CostBasis,
    Limits,
    Reason,
    Status,
    Usage,
    WorkerResult,
    WorkerSpec,
)
from architect_parallel.scheduling.backoff import LONGEST_S, delay_s
from architect_parallel.scheduling.retries import (
    Again,
    Enough,
    attempt_of,
    decide_next,
    history_of,
    left_of,
    lesson_of,
    next_spec,
    retry_feedback,
    summed,
)

BEGAN = datetime(2026, 1, 2, tzinfo=UTC)
SPEC = WorkerSpec(
    run_id="r", worker_id=1, index=0, number=1, name="w", prompt="do it", backend="b", model=None,
    agent=AgentProfile(name="build"), branch="architect/parallel-1", worktree_path="/w", base_commit="0" * 40,
)  # fmt: skip


def attempt(number: int, reason: Reason, error: str = "", **more: object) -> Attempt:
    made = Attempt(number=number, status=Status.FAILED, reason=reason, error=error, started_at=BEGAN, duration=2.0)
    return replace(made, **more)  # type: ignore[arg-type]  # test data


def decide(spec: WorkerSpec, *history: Attempt, **more: object) -> Again | Enough:
    given = {"rate_limit_wait_s": 100.0, "random": 0.5, **more}
    return decide_next(spec, history, **given)  # type: ignore[arg-type]  # test data


@pytest.mark.parametrize("reason", Reason)
def test_only_what_another_attempt_may_mend_gets_one(reason: Reason) -> None:
    mended = {
        Reason.AGENT_ERROR, Reason.AGENT_PARTIAL, Reason.CHECK_FAILED, Reason.CRASHED, Reason.RATE_LIMITED,
    }  # fmt: skip
    assert isinstance(decide(replace(SPEC, retries=1), attempt(1, reason)), Again) == (reason in mended)


def test_what_the_backend_calls_hopeless_gets_none() -> None:
    assert decide(replace(SPEC, retries=5), attempt(1, Reason.AGENT_ERROR), retryable=False) == Enough()


def test_retries_are_counted_and_refusals_are_not_among_them() -> None:
    spec = replace(SPEC, retries=1)
    refused = [attempt(number, Reason.RATE_LIMITED) for number in (1, 2, 3)]
    crashed = attempt(4, Reason.CRASHED)

    assert isinstance(decide(SPEC, *refused), Again)
    assert isinstance(decide(spec, *refused, crashed), Again)
    assert decide(spec, *refused, crashed, attempt(5, Reason.CRASHED)) == Enough()


def test_a_provider_is_waited_for_as_long_as_allowed_and_no_longer() -> None:
    waited = [attempt(n, Reason.RATE_LIMITED, next_in_seconds=30.0, waited_seconds=9999.0) for n in (1, 2)]

    assert isinstance(decide(SPEC, *waited, attempt(3, Reason.RATE_LIMITED), retry_after_s=30.0), Again)
    # 60 s are over; a queue of hours behind others (waited_seconds) does not count.
    over = decide(SPEC, *waited, attempt(3, Reason.RATE_LIMITED), retry_after_s=50.0)
    assert isinstance(over, Enough)
    assert "asks to wait" in (over.because or "")


@given(
    failures=st.integers(1, 1000),
    random=st.floats(0, 1, exclude_max=True),
    asked_s=st.floats(0, 1e6, allow_nan=False),
)
def test_nobody_comes_back_before_the_provider_said(failures: int, random: float, asked_s: float) -> None:
    wait_s = delay_s(failures, random, at_least_s=asked_s)
    assert asked_s <= wait_s <= asked_s + LONGEST_S
    assert wait_s > 0


def test_the_same_error_twice_in_a_row_ends_refining_whatever_its_figures() -> None:
    spec = replace(SPEC, retries=9, refine=True)
    one, two = (
        attempt(1, Reason.AGENT_ERROR, "pid 17: no such file"),
        attempt(3, Reason.AGENT_ERROR, "pid 99: no such file"),
    )
    between = attempt(2, Reason.RATE_LIMITED, "429")

    decided = decide(spec, one, between, two)
    assert isinstance(decided, Enough)
    assert "same error" in (decided.because or "")
    assert isinstance(decide(spec, one, replace(two, error="another")), Again)
    # Without --refine the user asked for the same again.
    assert isinstance(decide(replace(spec, refine=False), one, two), Again)


@pytest.mark.parametrize(
    "limits",
    [Limits(timeout_s=2.0), Limits(max_steps=4), Limits(budget_usd=0.5)],
    ids=["time", "steps", "money"],
)
def test_no_attempt_begins_with_nothing(limits: Limits) -> None:
    spent = attempt(1, Reason.CRASHED, steps=4, cost=0.5)
    decided = decide(replace(SPEC, retries=5, limits=limits), spent)
    assert isinstance(decided, Enough)
    assert "no further attempt" in (decided.because or "")


@given(durations=st.lists(st.floats(0, 100), max_size=5), limit_s=st.floats(1, 100))
def test_limits_hold_over_all_attempts(durations: list[float], limit_s: float) -> None:
    history = [attempt(n, Reason.CRASHED, duration=each) for n, each in enumerate(durations, 1)]
    left = left_of(Limits(timeout_s=limit_s), history).timeout_s
    assert left is not None
    assert left + sum(durations) == pytest.approx(limit_s)


def result(**more: object) -> WorkerResult:
    made = WorkerResult(
        worker_id=1, branch="b", model="m", status=Status.FAILED, steps=3, cost=0.5, duration=2.0, files_modified=[],
        worktree_path="/w", reason=Reason.CHECK_FAILED, error="it broke", output="all done", started_at=BEGAN,
        finished_at=BEGAN + timedelta(seconds=2), usage=Usage(input_tokens=10, output_tokens=1),
    )  # fmt: skip
    return replace(made, **more)  # type: ignore[arg-type]  # test data


def test_the_next_attempt_is_told_what_went_wrong_only_when_refining() -> None:
    failed = result(
        checks=[CheckResult(command="make test", passed=False, exit_code=2, duration_seconds=1, output_tail="x != y")]
    )
    history = [attempt(1, Reason.CHECK_FAILED)]

    told = next_spec(replace(SPEC, refine=True), history, failed).lesson
    assert all(word in told for word in ("check failed", "it broke", "make test", "x != y", "all done"))
    assert next_spec(SPEC, history, failed).lesson == ""
    assert next_spec(SPEC, history, failed).attempt == 2
    assert len(retry_feedback(result(output="x" * 10**6, error="y" * 10**6))) < 10_000


def test_a_resume_is_told_what_the_launch_before_it_learned() -> None:
    broken = attempt(1, Reason.AGENT_ERROR, "missing semicolon")
    stopped = attempt(2, Reason.CANCELED, "stopped", status=Status.CANCELED)

    def told(*history: Attempt) -> str:
        return lesson_of(result(output="its words", reason=history[-1].reason, attempt_history=list(history)))

    assert "missing semicolon" in told(broken)
    assert "its words" in told(broken)
    assert "missing semicolon" in told(broken, stopped)
    assert "its words" not in told(broken, stopped)  # the last attempt's, which failed for nothing of its own
    assert told(stopped) == told(attempt(1, Reason.RATE_LIMITED)) == ""
    # A launch that begins with a lesson keeps it when only its provider refuses.
    taught = replace(SPEC, refine=True, lesson="as before")
    assert next_spec(taught, [attempt(3, Reason.RATE_LIMITED)], None).lesson == "as before"


def test_a_result_is_the_sum_of_its_attempts() -> None:
    first = attempt_of(result(attempts=1))
    second = attempt_of(result(attempts=2, status=Status.SUCCESS), waited_s=10.0)

    whole = summed(result(attempts=2, status=Status.SUCCESS), [first, second])

    assert (whole.steps, whole.cost, whole.attempts) == (6, 1.0, 2)
    assert (whole.duration, whole.duration_seconds, whole.working_seconds) == (14.0, 14.0, 4.0)
    assert (whole.usage.input_tokens, whole.usage.output_tokens, whole.usage.cached_tokens) == (20, 2, None)
    assert [each.status for each in whole.attempt_history] == [Status.FAILED, Status.SUCCESS]
    assert history_of(whole) == (first, second)


def test_one_unknown_cost_makes_the_sum_unknown_and_none_begun_is_free() -> None:
    known, unknown = attempt(1, Reason.CRASHED, cost=1.0), attempt(2, Reason.CRASHED, cost=None)
    assert summed(result(), [known, unknown]).cost is None
    assert summed(result(), []).cost == 0.0
    # An attempt whose agent never ran cost nothing, whatever stands there.
    assert summed(result(), [known, replace(unknown, started_at=None)]).cost == 1.0


def test_an_attempt_that_was_refused_before_any_reply_costs_nothing() -> None:
    paid = replace(attempt(2, Reason.COMPLETED), cost=1.0, usage=Usage(input_tokens=10, output_tokens=1))
    refused = replace(attempt(1, Reason.RATE_LIMITED), cost=None, steps=0, usage=Usage())

    whole = summed(result(), [refused, paid])

    assert (whole.cost, whole.usage.input_tokens) == (1.0, 10)
    # Refused after a reply, or ended otherwise: what it cost is not known.
    assert summed(result(), [replace(refused, steps=1), paid]).cost is None
    assert summed(result(), [replace(refused, reason=Reason.CRASHED), paid]).cost is None
    assert summed(result(), [refused]).cost is None


def test_a_single_attempts_usage_stays_as_it_was() -> None:
    usage = Usage(input_tokens=1, reported_cost=0.25, cost_basis=CostBasis.REPORTED)
    assert summed(result(), [attempt(1, Reason.CRASHED, usage=usage)]).usage == usage
