"""Status and reason of a worker and of a run, decided from what was observed.

Pure. What the program did (a stop, a failed start) comes first, then what it saw (exit code, git). The agent's claim
(`Outcome`) counts last, so no output can turn a killed or crashed worker into a success.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import assert_never

from architect_parallel.domain import CheckResult, Outcome, Reason, RunStatus, Status, WorkerResult
from architect_parallel.errors import ExitCode

Verdict = tuple[Status, Reason]

_TIMEOUTS = frozenset({Reason.WORKER_TIMEOUT, Reason.RUN_TIMEOUT, Reason.IDLE_TIMEOUT})
_CANCELS = frozenset({Reason.FAIL_FAST, Reason.INTERRUPTED, Reason.CANCELED, Reason.RUN_BUDGET})
_LIMITS = frozenset(
    {Reason.BUDGET, Reason.MAX_STEPS, Reason.OUTPUT_LIMIT, Reason.MEMORY, Reason.PROCESSES, Reason.DISK}
)


def decide(
    *,
    outcome: Outcome | None,
    exit_code: int | None,
    stopped_by: Reason | None = None,
    spawn_failed: bool = False,
    collect_failed: bool = False,
    escaped: bool = False,
    has_secret: bool = False,
    files_changed: int | None = None,
    denied: bool = False,
) -> Verdict:
    """Decide the status and the reason of a worker.

    Args:
        outcome: The claim in the agent's output. `None` means that it was not read, like output without a final event.
        exit_code: A negative one is the signal that killed the agent. `None` means that its end was not seen.
        stopped_by: The limit or person that stopped it. `None` means that it ended by itself.
        spawn_failed: The agent could not be started, or its worktree could not be made.
        collect_failed: Its work could not be saved in git.
        escaped: It changed the main checkout, as far as the program can tell. Its work is saved all the same.
        has_secret: Its result holds a key that the agent was given. It is kept, but not on its branch.
        files_changed: The number of changed paths in git. `None` means unknown, which counts as no work.
        denied: The agent was refused a tool that it needs for changes.

    >>> decide(outcome=Outcome.COMPLETED, exit_code=0, files_changed=2)
    (<Status.SUCCESS: 'success'>, <Reason.COMPLETED: 'completed'>)
    """
    if spawn_failed:
        return Status.FAILED, Reason.SPAWN_FAILED
    if collect_failed:
        return Status.FAILED, Reason.COLLECT_FAILED
    if escaped and stopped_by not in _CANCELS:
        return Status.FAILED, Reason.ESCAPED
    if has_secret and stopped_by not in _CANCELS:
        return Status.FAILED, Reason.SECRET_IN_RESULT
    if stopped_by is not None:
        return _stopped(stopped_by, files_changed)
    return _ended(outcome, exit_code, files_changed, denied=denied)


def checked(before: Verdict, checks: Sequence[CheckResult], *, complete: bool = True) -> Verdict:
    """The verdict after the checks. A success or a partial result fails when a check fails, or when not all checks
    could be run (`complete`). A worker that was stopped, crashed or failed by itself keeps its verdict.

    >>> bad = CheckResult(command="make test", passed=False, exit_code=2, duration_seconds=1.0)
    >>> checked((Status.PARTIAL, Reason.MAX_STEPS), [bad])
    (<Status.FAILED: 'failed'>, <Reason.CHECK_FAILED: 'check_failed'>)
    """
    if before[0] in (Status.SUCCESS, Status.PARTIAL) and not (complete and all(check.passed for check in checks)):
        return Status.FAILED, Reason.CHECK_FAILED
    return before


def _stopped(reason: Reason, files_changed: int | None) -> Verdict:
    if reason in _TIMEOUTS:
        return Status.TIMEOUT, reason
    if reason in _CANCELS:
        return Status.CANCELED, reason
    if reason in _LIMITS:
        return _limited(reason, files_changed)
    raise ValueError(f"{reason} does not stop a worker")


def _limited(reason: Reason, files_changed: int | None) -> Verdict:
    return (Status.PARTIAL if files_changed else Status.FAILED), reason


def _ended(outcome: Outcome | None, exit_code: int | None, files_changed: int | None, *, denied: bool) -> Verdict:
    killed = exit_code is None or exit_code < 0
    match outcome:
        case Outcome.COMPLETED if exit_code == 0 and denied and not files_changed:
            return Status.PARTIAL, Reason.BLOCKED
        case Outcome.COMPLETED if exit_code == 0:
            return Status.SUCCESS, Reason.NO_CHANGES if files_changed == 0 else Reason.COMPLETED
        case Outcome.UNREADABLE if exit_code == 0:
            return Status.PARTIAL, Reason.UNREADABLE_OUTPUT
        case Outcome.COMPLETED | Outcome.UNREADABLE:
            return Status.FAILED, Reason.CRASHED if killed else Reason.AGENT_ERROR
        case Outcome.PARTIAL:
            return Status.PARTIAL, Reason.AGENT_PARTIAL
        case Outcome.ERROR:
            return Status.FAILED, Reason.AGENT_ERROR
        case Outcome.RATE_LIMITED:
            return Status.FAILED, Reason.RATE_LIMITED
        case Outcome.BLOCKED:
            return Status.FAILED, Reason.BLOCKED
        case Outcome.MAX_STEPS:
            return _limited(Reason.MAX_STEPS, files_changed)
        case Outcome.BUDGET:
            return _limited(Reason.BUDGET, files_changed)
        case Outcome.RUN_BUDGET:
            return Status.CANCELED, Reason.RUN_BUDGET
        case Outcome.TIMEOUT:
            return Status.TIMEOUT, Reason.WORKER_TIMEOUT
        case Outcome.NO_FINAL_EVENT | None:
            return Status.FAILED, Reason.CRASHED
        case _:
            assert_never(outcome)


def run_outcome(
    results: Sequence[WorkerResult],
    *,
    allow_partial: bool = False,
    interrupted_by: ExitCode | None = None,
    uncritical: Collection[int] = (),
    escalated: bool = False,
) -> tuple[RunStatus, ExitCode]:
    """Status and exit code of a run that ended with `results`, one per planned worker.

    Args:
        allow_partial: One success is enough for exit code 0.
        interrupted_by: The exit code of the signal that ended the launcher's run (130, 143, 129). `None` means none.
            `RunStatus.INTERRUPTED` is not this: that is a launcher that died, and only the journal can tell.
        escalated: A group of tasks failed alike and was left to a person.
        uncritical: Ids of workers whose failure does not count for the exit code. The status still tells it.
    """
    succeeded = sum(result.status is Status.SUCCESS for result in results)
    if results and succeeded == len(results):
        status = RunStatus.SUCCESS
    elif interrupted_by is not None or any(_canceled_by_a_person(result) for result in results):
        status = RunStatus.CANCELED
    elif escalated:
        status = RunStatus.ESCALATED
    else:
        status = RunStatus.PARTIAL if succeeded else RunStatus.FAILED
    if interrupted_by is not None:
        return status, interrupted_by
    counted = [result for result in results if result.worker_id not in uncritical]
    good = all(result.status is Status.SUCCESS for result in counted) or (allow_partial and succeeded > 0)
    good = good and bool(results)
    return status, ExitCode.SUCCESS if good else ExitCode.NOT_ALL_SUCCEEDED


def _canceled_by_a_person(result: WorkerResult) -> bool:
    return result.reason in (Reason.CANCELED, Reason.INTERRUPTED)
