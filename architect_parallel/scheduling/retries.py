"""The decision about another attempt after a failure, its prompt, and the sums over all attempts. Pure.

There are two kinds of failure. A provider that refused for now costs the worker time only: it waits, at most
`rate_limit_wait_s` over all its attempts, and keeps its `retries`. Any other failure that another attempt may fix takes
one of the `retries`. The limits of a worker hold over all its attempts: each begins with the time, steps and money that
the earlier ones left, and none begins without any.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from architect_parallel.domain import (
    Attempt,
    CostBasis,
    Limits,
    Reason,
    Status,
    Usage,
    WorkerResult,
    WorkerSpec,
    report_of,
    total_usd,
)
from architect_parallel.scheduling.backoff import delay_s
from architect_parallel.text.names import DEFAULT_MODEL

RETRYABLE = frozenset({Reason.AGENT_ERROR, Reason.AGENT_PARTIAL, Reason.CHECK_FAILED, Reason.CRASHED})
"""Failures that another attempt may fix. Limits, stops, missing programs and failures to collect are not among them."""
IMMEDIATE = frozenset({Reason.AGENT_PARTIAL, Reason.CHECK_FAILED})
"""Failures that are retried without a wait: the agent finished, but its work was not good enough. Other failures may
come from the network."""
_FAILURES = frozenset({Status.FAILED, Status.PARTIAL, Status.TIMEOUT})
QUOTED_CHARACTERS = 2000
"""The longest quotation of an earlier attempt's final text in the prompt of the next one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Again:
    """There is another attempt."""

    wait_s: float
    because: str
    """The reason, for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Enough:
    """There is no other attempt."""

    because: str | None = None
    """The reason, where the user should know it. `None` means that there is nothing to say."""


def decide_next(
    spec: WorkerSpec,
    history: Sequence[Attempt],
    *,
    retryable: bool = True,
    retry_after_s: float | None = None,
    rate_limit_wait_s: float,
    random: float,
) -> Again | Enough:
    """Decide whether another attempt follows the last one of `history`.

    Args:
        spec: The worker as planned, with its whole limits.
        history: Its attempts in this launch, in order. At least one.
        retryable: Whether another attempt may end better, as far as the backend can tell.
        retry_after_s: The provider's word on when to come back. `None` means that it gave none.
        rate_limit_wait_s: The longest time that the worker waits for its provider over all attempts.
        random: A number from 0 (included) to 1, for the jitter.
    """
    last = history[-1]
    if last.reason is Reason.RATE_LIMITED:
        return _wait_for_provider(spec, history, retry_after_s, rate_limit_wait_s, random)
    if not _repeatable(spec, last, retryable):
        return Enough()
    failures = [attempt for attempt in history if attempt.reason is not Reason.RATE_LIMITED]
    retries = spec.retries if spec.retry is None else spec.retry.max_attempts - 1
    if len(failures) > retries:
        return Enough()
    if spec.refine and len(failures) > 1 and _same(failures[-2], failures[-1]):
        return Enough(because="the same error twice in a row: no further attempt")
    spent = _nothing_left(spec.limits, history)
    if spent is not None:
        return Enough(because=f"no further attempt: {spent}")
    if spec.retry is not None:
        wait_s = min(
            spec.retry.max_delay_s, spec.retry.initial_delay_s * spec.retry.backoff_factor ** (len(failures) - 1)
        )
    else:
        wait_s = 0.0 if last.reason in IMMEDIATE else delay_s(len(failures), random)
    what = str(last.reason).replace("_", " ")
    return Again(wait_s=wait_s, because=f"{what}, retry {len(failures)} of {retries}")


def recoverable(spec: WorkerSpec, history: Sequence[Attempt], tried: int, *, retryable: bool) -> bool:
    """Return whether a worker without further retries may be tried again by its `recovery`.

    Args:
        tried: How many recoveries this launch has made.
        retryable: As for `decide_next`.
    """
    if spec.recovery is None or tried >= spec.recovery.retries or not _repeatable(spec, history[-1], retryable):
        return False
    if _nothing_left(spec.limits, history) is not None:
        return False
    failures = [attempt for attempt in history if attempt.reason is not Reason.RATE_LIMITED]
    return not (tried and len(failures) > 1 and _same(failures[-2], failures[-1]))


def _repeatable(spec: WorkerSpec, last: Attempt, retryable: bool) -> bool:
    if not retryable or last.reason in (Reason.ESCAPED, Reason.BLOCKED, Reason.SECRET_IN_RESULT):
        return False
    if spec.retry is not None:
        return last.status in (Status.FAILED, Status.PARTIAL, Status.TIMEOUT)
    return last.reason in RETRYABLE


def next_spec(spec: WorkerSpec, history: Sequence[Attempt], failure: WorkerResult | None) -> WorkerSpec:
    """The next attempt of `spec`: the next number, the rest of its limits, and the lesson of the failure.

    Args:
        failure: The result of the last attempt that failed for another reason than its provider. `None` means that this
            launch has none, and the lesson of an earlier launch still holds.
    """
    return replace(
        spec,
        attempt=max(attempt.number for attempt in history) + 1,
        limits=left_of(spec.limits, history),
        lesson=retry_feedback(failure) if spec.refine and failure is not None else spec.lesson,
    )


def left_of(limits: Limits, history: Sequence[Attempt]) -> Limits:
    """The rest of a worker's limits after these attempts. Attempts of unknown cost count as free.

    >>> from architect_parallel.domain import Status
    >>> before = Attempt(number=1, status=Status.FAILED, duration=20, steps=8)
    >>> left = left_of(Limits(timeout_s=60, max_steps=50), [before])
    >>> left.timeout_s, left.max_steps, left.budget_usd
    (40, 42, None)
    """
    worked_s = sum(attempt.duration for attempt in history)
    steps = sum(attempt.steps for attempt in history)
    cost = sum(attempt.cost or 0.0 for attempt in history)
    return replace(
        limits,
        timeout_s=None if limits.timeout_s is None else limits.timeout_s - worked_s,
        max_steps=None if limits.max_steps is None else limits.max_steps - steps,
        budget_usd=None if limits.budget_usd is None else limits.budget_usd - cost,
    )


def retry_feedback(failure: WorkerResult) -> str:
    """The description of a failure at the end of the next attempt's prompt."""
    lines = ["", "", "An earlier attempt at this task failed; its changes are not in this directory."]
    lines.append(f"It ended as: {str(failure.reason or failure.status).replace('_', ' ')}.")
    if failure.error:
        lines.append(f"Error: {failure.error[:QUOTED_CHARACTERS]}")
    for check in failure.checks:
        if not check.passed:
            lines += [f"This check failed: {check.command}", check.output_tail[-QUOTED_CHARACTERS:]]
    if failure.output.strip():
        lines += ["The end of what it said:", failure.output.strip()[-QUOTED_CHARACTERS:]]
    lines.append("Do the task again from the start and avoid that failure.")
    return "\n".join(lines)


def lesson_of(result: WorkerResult) -> str:
    """The lesson of an earlier launch. It is empty where the worker was stopped, or only refused by its provider.

    For an attempt before the last one, only the error is known.
    """
    history = history_of(result)
    failed = [attempt for attempt in history if attempt.status in _FAILURES]
    failed = [attempt for attempt in failed if attempt.reason is not Reason.RATE_LIMITED]
    if not failed:
        return ""
    last = failed[-1]
    ended = result if last == history[-1] else replace(result, output="", checks=[])
    return retry_feedback(replace(ended, status=last.status, reason=last.reason, error=last.error))


def unstarted(spec: WorkerSpec, status: Status, reason: Reason) -> WorkerResult:
    """The result of a worker whose agent is not known to have run."""
    return WorkerResult(
        worker_id=spec.worker_id,
        branch=spec.branch,
        model=spec.model or DEFAULT_MODEL,
        model_requested=spec.model,
        status=status,
        steps=0,
        cost=0.0,
        duration=0.0,
        files_modified=[],
        worktree_path=spec.worktree_path,
        index=spec.index,
        name=spec.name,
        task=spec.prompt,
        backend=spec.backend,
        agent=spec.agent.name,
        reason=reason,
        attempts=spec.attempt,
        warnings=list(spec.warnings),
        tags=list(spec.tags),
        meta=dict(spec.meta),
        sandbox=report_of(spec.sandbox),
    )


def attempt_of(result: WorkerResult, *, waited_s: float = 0.0) -> Attempt:
    """The entry in a worker's history for the result of one attempt."""
    return Attempt(
        number=result.attempts,
        status=result.status,
        reason=result.reason,
        error=result.error,
        exit_code=result.exit_code,
        steps=result.steps,
        cost=result.cost,
        usage=result.usage,
        started_at=result.started_at,
        duration=result.duration,
        waited_seconds=round(max(0.0, waited_s), 3),
    )


def history_of(result: WorkerResult) -> tuple[Attempt, ...]:
    """The attempts of a result. Old results without a history count as one attempt."""
    if result.attempt_history:
        return tuple(result.attempt_history)
    return (attempt_of(result),) if result.started_at is not None else ()


def summed(result: WorkerResult, history: Sequence[Attempt]) -> WorkerResult:
    """A worker's result with the sums over `history`, all its attempts."""
    began = [attempt for attempt in history if attempt.started_at is not None]
    charged = [attempt for attempt in began if not _refused(attempt)] or began
    worked_s = sum(attempt.duration for attempt in began)
    wall_s = worked_s + sum(attempt.waited_seconds for attempt in began)
    return replace(
        result,
        steps=sum(attempt.steps for attempt in history),
        cost=total_usd(attempt.cost for attempt in charged),
        duration=round(wall_s, 3),
        duration_seconds=round(wall_s, 3),
        working_seconds=round(worked_s, 3),
        usage=_usage(charged),
        started_at=began[0].started_at if began else None,
        attempts=max((attempt.number for attempt in history), default=result.attempts),
        attempt_history=list(history),
    )


def _wait_for_provider(
    spec: WorkerSpec, history: Sequence[Attempt], retry_after_s: float | None, longest_s: float, random: float
) -> Again | Enough:
    limited = [attempt for attempt in history if attempt.reason is Reason.RATE_LIMITED]
    # Only waits after a refusal count: a wait for other workers is no refusal.
    waited_s = sum(attempt.next_in_seconds or 0.0 for attempt in limited)
    wait_s = delay_s(len(limited), random, at_least_s=retry_after_s or 0.0)
    if waited_s + wait_s > longest_s:
        asked = f"its provider asks to wait {wait_s:.0f} s" if retry_after_s else "its provider still refuses"
        return Enough(because=f"{asked}; rate_limit_wait is {longest_s:g} s and {waited_s:.0f} s of it are over")
    spent = _nothing_left(spec.limits, history)
    if spent is not None:
        return Enough(because=f"no further attempt: {spent}")
    return Again(wait_s=wait_s, because="rate limited")


def _nothing_left(limits: Limits, history: Sequence[Attempt]) -> str | None:
    left = left_of(limits, history)
    if left.timeout_s is not None and left.timeout_s <= 0:
        return f"the time limit of {limits.timeout_s:g} s is used up"
    if left.max_steps is not None and left.max_steps < 1:
        return f"no step of {limits.max_steps} is left"
    if left.budget_usd is not None and left.budget_usd <= 0:
        return f"the budget of ${limits.budget_usd:.4f} is spent"
    return None


def _same(one: Attempt, other: Attempt) -> bool:
    """Return whether two failures are the same, apart from numbers such as times and process ids."""
    return (one.reason, shape(one.error)) == (other.reason, shape(other.error))


def _refused(attempt: Attempt) -> bool:
    """Return whether the provider refused the whole attempt. Without a step (a model's reply) nothing is charged."""
    return attempt.reason is Reason.RATE_LIMITED and attempt.steps == 0 and attempt.usage.input_tokens is None


def shape(error: str | None) -> str:
    """An error without its numbers: times and process ids differ where the failure is the same.

    >>> shape("exit code 3 after 12 s") == shape("exit code 3 after 7 s")
    True
    """
    return re.sub(r"\d+", "#", error or "")


def _usage(history: Sequence[Attempt]) -> Usage:
    """Tokens of all attempts. A figure is unknown when it is in any of them, but a single attempt's stays as it is."""
    if len(history) <= 1:
        return history[0].usage if history else Usage()
    usages = [attempt.usage for attempt in history]
    bases = {usage.cost_basis for usage in usages}

    def known(values: list[int | None]) -> int | None:
        numbers = [value for value in values if value is not None]
        return sum(numbers) if len(numbers) == len(values) else None

    basis = CostBasis.UNKNOWN if CostBasis.UNKNOWN in bases else CostBasis.REPORTED
    basis = bases.pop() if len(bases) == 1 else basis
    return Usage(
        input_tokens=known([usage.input_tokens for usage in usages]),
        cached_tokens=known([usage.cached_tokens for usage in usages]),
        cache_write_tokens=known([usage.cache_write_tokens for usage in usages]),
        output_tokens=known([usage.output_tokens for usage in usages]),
        reported_cost=total_usd(usage.reported_cost for usage in usages),
        cost_basis=basis,
    )
