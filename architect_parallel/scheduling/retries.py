"""Whether a failed attempt is followed by another one, what that one is told, and what all of them add up to. Pure.

Two kinds of failure, two purses. A provider that said *later* costs the worker nothing but time: it waits, at most
`rate_limit_wait_s` over all its attempts, and its `retries` stay untouched. Any other failure that another attempt may
mend takes one of the `retries`. The limits of a worker hold over all its attempts: each begins with what the ones
before left of time, steps and money, and none begins with nothing.
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
    total_usd,
)
from architect_parallel.scheduling.backoff import delay_s
from architect_parallel.text.names import DEFAULT_MODEL

MENDABLE = frozenset({Reason.AGENT_ERROR, Reason.AGENT_PARTIAL, Reason.CHECK_FAILED, Reason.CRASHED})
"""What another attempt may mend. Limits, stops, missing programs and failures to collect are not among them."""
IMMEDIATE = frozenset({Reason.AGENT_PARTIAL, Reason.CHECK_FAILED})
"""The agent did its work and it was not good enough: there is nothing to wait for. The others may be the network's."""
_FAILURES = frozenset({Status.FAILED, Status.PARTIAL, Status.TIMEOUT})
TOLD_CHARACTERS = 2000
"""Of the earlier attempt's final text, how much its successor is told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Again:
    """There is another attempt."""

    wait_s: float
    because: str
    """In words, for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Enough:
    """There is none."""

    because: str | None = None
    """Why, where the user did not ask for that and should know; `None`: nothing to tell."""


def decide_next(
    spec: WorkerSpec,
    history: Sequence[Attempt],
    *,
    retryable: bool = True,
    retry_after_s: float | None = None,
    rate_limit_wait_s: float,
    random: float,
) -> Again | Enough:
    """What follows the last attempt of `history`.

    Args:
        spec: The worker as planned, with its whole limits.
        history: Its attempts in this launch, in order; at least one.
        retryable: Whether the backend thinks that another attempt may end better.
        retry_after_s: When the provider said to come back; `None`: it did not.
        rate_limit_wait_s: The longest the worker waits for its provider over all attempts.
        random: From 0 (included) to 1: the jitter.
    """
    last = history[-1]
    if last.reason is Reason.RATE_LIMITED:
        return _wait_for_provider(spec, history, retry_after_s, rate_limit_wait_s, random)
    if not _repeatable(spec, last, retryable):
        return Enough()
    failures = [each for each in history if each.reason is not Reason.RATE_LIMITED]
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
    """Whether a worker whose attempts are used up may be tried again as its `recovery` says.

    Args:
        tried: How many attempts of this launch were tries at recovery.
        retryable: As for `decide_next`.
    """
    if spec.recovery is None or tried >= spec.recovery.retries or not _repeatable(spec, history[-1], retryable):
        return False
    if _nothing_left(spec.limits, history) is not None:
        return False
    failures = [each for each in history if each.reason is not Reason.RATE_LIMITED]
    return not (tried and len(failures) > 1 and _same(failures[-2], failures[-1]))


def _repeatable(spec: WorkerSpec, last: Attempt, retryable: bool) -> bool:
    if not retryable or last.reason in (Reason.ESCAPED, Reason.BLOCKED):
        return False
    if spec.retry is not None:
        return last.status in (Status.FAILED, Status.PARTIAL, Status.TIMEOUT)
    return last.reason in MENDABLE


def next_spec(spec: WorkerSpec, history: Sequence[Attempt], failure: WorkerResult | None) -> WorkerSpec:
    """`spec` as its next attempt: the next number, what is left of its limits, and what it is told.

    Args:
        failure: Result of the last attempt that failed for another reason than its provider; `None`: there was none in
            this launch, and what `spec` was told of an earlier one still holds.
    """
    return replace(
        spec,
        attempt=max(each.number for each in history) + 1,
        limits=left_of(spec.limits, history),
        lesson=retry_feedback(failure) if spec.refine and failure is not None else spec.lesson,
    )


def left_of(limits: Limits, history: Sequence[Attempt]) -> Limits:
    """What earlier attempts left of a worker's limits. Attempts of unknown cost took nothing that could be counted.

    >>> from architect_parallel.domain import Status
    >>> before = Attempt(number=1, status=Status.FAILED, duration=20, steps=8)
    >>> left = left_of(Limits(timeout_s=60, max_steps=50), [before])
    >>> left.timeout_s, left.max_steps, left.budget_usd
    (40, 42, None)
    """
    worked_s = sum(each.duration for each in history)
    steps = sum(each.steps for each in history)
    cost = sum(each.cost or 0.0 for each in history)
    return replace(
        limits,
        timeout_s=None if limits.timeout_s is None else limits.timeout_s - worked_s,
        max_steps=None if limits.max_steps is None else limits.max_steps - steps,
        budget_usd=None if limits.budget_usd is None else limits.budget_usd - cost,
    )


def retry_feedback(failure: WorkerResult) -> str:
    """What went wrong before, as the end of a prompt."""
    lines = ["", "", "An earlier attempt at this task failed; its changes are not in this directory."]
    lines.append(f"It ended as: {str(failure.reason or failure.status).replace('_', ' ')}.")
    if failure.error:
        lines.append(f"Error: {failure.error[:TOLD_CHARACTERS]}")
    for check in failure.checks:
        if not check.passed:
            lines += [f"This check failed: {check.command}", check.output_tail[-TOLD_CHARACTERS:]]
    if failure.output.strip():
        lines += ["The end of what it said:", failure.output.strip()[-TOLD_CHARACTERS:]]
    lines.append("Do the task again from the start and avoid that failure.")
    return "\n".join(lines)


def lesson_of(result: WorkerResult) -> str:
    """What an earlier launch of the worker taught; `""`: nothing (it was stopped, or only its provider refused it).

    Of an attempt before the last one only its error is known.
    """
    history = history_of(result)
    taught = [each for each in history if each.status in _FAILURES and each.reason is not Reason.RATE_LIMITED]
    if not taught:
        return ""
    last = taught[-1]
    ended = result if last == history[-1] else replace(result, output="", checks=[])
    return retry_feedback(replace(ended, status=last.status, reason=last.reason, error=last.error))


def unstarted(spec: WorkerSpec, status: Status, reason: Reason) -> WorkerResult:
    """The result of a worker whose agent never ran, as far as anybody knows."""
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
    )


def attempt_of(result: WorkerResult, *, waited_s: float = 0.0) -> Attempt:
    """A single attempt's result as an entry of its worker's history."""
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
    """The attempts behind a result; of one that was written before there was a history, itself."""
    if result.attempt_history:
        return tuple(result.attempt_history)
    return (attempt_of(result),) if result.started_at is not None else ()


def summed(result: WorkerResult, history: Sequence[Attempt]) -> WorkerResult:
    """`result`, its last attempt's or a later end's, with the sums over `history` (all its attempts)."""
    began = [each for each in history if each.started_at is not None]
    charged = [each for each in began if not _refused(each)] or began
    worked_s = sum(each.duration for each in began)
    wall_s = worked_s + sum(each.waited_seconds for each in began)
    return replace(
        result,
        steps=sum(each.steps for each in history),
        cost=total_usd(each.cost for each in charged),
        duration=round(wall_s, 3),
        duration_seconds=round(wall_s, 3),
        working_seconds=round(worked_s, 3),
        usage=_usage(charged),
        started_at=began[0].started_at if began else None,
        attempts=max((each.number for each in history), default=result.attempts),
        attempt_history=list(history),
    )


def _wait_for_provider(
    spec: WorkerSpec, history: Sequence[Attempt], retry_after_s: float | None, longest_s: float, random: float
) -> Again | Enough:
    limited = [each for each in history if each.reason is Reason.RATE_LIMITED]
    # Only what this worker was told to wait counts: a queue behind others is no refusal.
    waited_s = sum(each.next_in_seconds or 0.0 for each in limited)
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
    """Whether two failures say the same; figures in them (times, process ids) may differ."""
    return (one.reason, shape(one.error)) == (other.reason, shape(other.error))


def _refused(attempt: Attempt) -> bool:
    """Whether the provider let nothing through: a step is a model's reply, and who got none was charged for none."""
    return attempt.reason is Reason.RATE_LIMITED and attempt.steps == 0 and attempt.usage.input_tokens is None


def shape(error: str | None) -> str:
    """An error without its numbers: times and process ids differ where the failure is the same.

    >>> shape("exit code 3 after 12 s") == shape("exit code 3 after 7 s")
    True
    """
    return re.sub(r"\d+", "#", error or "")


def _usage(history: Sequence[Attempt]) -> Usage:
    """Tokens of all attempts; a figure is unknown when it is in any of them, but a single attempt's stays as it is."""
    if len(history) <= 1:
        return history[0].usage if history else Usage()
    usages = [each.usage for each in history]
    bases = {usage.cost_basis for usage in usages}

    def known(values: list[int | None]) -> int | None:
        found = [value for value in values if value is not None]
        return sum(found) if len(found) == len(values) else None

    return Usage(
        input_tokens=known([usage.input_tokens for usage in usages]),
        cached_tokens=known([usage.cached_tokens for usage in usages]),
        cache_write_tokens=known([usage.cache_write_tokens for usage in usages]),
        output_tokens=known([usage.output_tokens for usage in usages]),
        reported_cost=total_usd(usage.reported_cost for usage in usages),
        cost_basis=bases.pop() if len(bases) == 1 else CostBasis.UNKNOWN if CostBasis.UNKNOWN in bases
        else CostBasis.REPORTED,
    )  # fmt: skip
