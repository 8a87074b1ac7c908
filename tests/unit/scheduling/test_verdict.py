"""Status and reason are decided by what was observed; the agent's claim comes last."""

from __future__ import annotations

import dataclasses
import itertools

import pytest

from architect_parallel.domain import Outcome, Reason, RunStatus, Status, WorkerResult
from architect_parallel.errors import ExitCode
from architect_parallel.scheduling.verdict import decide, run_outcome

TABLE = {
    Status.SUCCESS: {Reason.COMPLETED, Reason.NO_CHANGES},
    Status.PARTIAL: {
        Reason.AGENT_PARTIAL, Reason.UNREADABLE_OUTPUT, Reason.BUDGET, Reason.MAX_STEPS, Reason.OUTPUT_LIMIT,
        Reason.MEMORY, Reason.PROCESSES, Reason.DISK,
    },
    Status.FAILED: {
        Reason.AGENT_ERROR, Reason.CRASHED, Reason.SPAWN_FAILED, Reason.RATE_LIMITED, Reason.BLOCKED,
        Reason.COLLECT_FAILED, Reason.ESCAPED, Reason.BUDGET, Reason.MAX_STEPS, Reason.OUTPUT_LIMIT, Reason.MEMORY,
        Reason.PROCESSES,
        Reason.DISK,
    },
    Status.TIMEOUT: {Reason.WORKER_TIMEOUT, Reason.RUN_TIMEOUT, Reason.IDLE_TIMEOUT},
    Status.CANCELED: {Reason.FAIL_FAST, Reason.INTERRUPTED, Reason.CANCELED, Reason.RUN_BUDGET},
}  # fmt: skip
"""The contract's table, as far as one worker can end before checks and dependencies exist."""

STOPS = [
    *TABLE[Status.TIMEOUT], *TABLE[Status.CANCELED], Reason.BUDGET, Reason.MAX_STEPS, Reason.OUTPUT_LIMIT,
    Reason.MEMORY, Reason.PROCESSES, Reason.DISK,
]  # fmt: skip
ENDINGS = list(itertools.product([*Outcome, None], [0, 1, 143, -9, None], [None, 0, 3]))


@pytest.mark.parametrize(
    ("outcome", "exit_code", "files", "status", "reason"),
    [
        (Outcome.COMPLETED, 0, 2, Status.SUCCESS, Reason.COMPLETED),
        (Outcome.COMPLETED, 0, 0, Status.SUCCESS, Reason.NO_CHANGES),
        (Outcome.COMPLETED, 1, 2, Status.FAILED, Reason.AGENT_ERROR),
        (Outcome.COMPLETED, -9, 2, Status.FAILED, Reason.CRASHED),
        (Outcome.COMPLETED, None, 2, Status.FAILED, Reason.CRASHED),
        (Outcome.PARTIAL, 0, 2, Status.PARTIAL, Reason.AGENT_PARTIAL),
        (Outcome.ERROR, 0, 2, Status.FAILED, Reason.AGENT_ERROR),
        (Outcome.RATE_LIMITED, 1, 0, Status.FAILED, Reason.RATE_LIMITED),
        (Outcome.BLOCKED, 0, 0, Status.FAILED, Reason.BLOCKED),
        (Outcome.MAX_STEPS, 1, 1, Status.PARTIAL, Reason.MAX_STEPS),
        (Outcome.MAX_STEPS, 1, 0, Status.FAILED, Reason.MAX_STEPS),
        (Outcome.BUDGET, 1, 1, Status.PARTIAL, Reason.BUDGET),
        (Outcome.BUDGET, 1, None, Status.FAILED, Reason.BUDGET),
        (Outcome.UNREADABLE, 0, 0, Status.PARTIAL, Reason.UNREADABLE_OUTPUT),
        (Outcome.UNREADABLE, 2, 3, Status.FAILED, Reason.AGENT_ERROR),
        (Outcome.NO_FINAL_EVENT, 0, 3, Status.FAILED, Reason.CRASHED),
        (None, 0, 3, Status.FAILED, Reason.CRASHED),
    ],
)
def test_worker_that_ended_by_itself(
    outcome: Outcome | None, exit_code: int | None, files: int | None, status: Status, reason: Reason
) -> None:
    assert decide(outcome=outcome, exit_code=exit_code, files_changed=files) == (status, reason)


@pytest.mark.parametrize("stop", sorted(STOPS))
def test_nothing_an_agent_says_undoes_a_stop(stop: Reason) -> None:
    for outcome, exit_code, files in ENDINGS:
        status, reason = decide(outcome=outcome, exit_code=exit_code, stopped_by=stop, files_changed=files)
        assert reason is stop
        assert status is not Status.SUCCESS
        if stop in TABLE[Status.PARTIAL]:
            assert status is (Status.PARTIAL if files else Status.FAILED)


def test_every_ending_stands_in_the_table() -> None:
    seen = set()
    for (outcome, exit_code, files), stop, spawn, collect, escaped in itertools.product(
        ENDINGS, [None, *STOPS], [False, True], [False, True], [False, True]
    ):
        status, reason = decide(
            outcome=outcome, exit_code=exit_code, stopped_by=stop, spawn_failed=spawn, collect_failed=collect,
            escaped=escaped, files_changed=files,
        )  # fmt: skip
        assert reason in TABLE[status]
        seen.add((status, reason))
    assert seen == {(status, reason) for status, reasons in TABLE.items() for reason in reasons}


def test_success_needs_a_final_event_and_exit_code_0() -> None:
    good = {
        (outcome, exit_code)
        for outcome, exit_code, files in ENDINGS
        if decide(outcome=outcome, exit_code=exit_code, files_changed=files)[0] is Status.SUCCESS
    }
    assert good == {(Outcome.COMPLETED, 0)}


def test_failed_start_and_failed_collection_come_before_all_else() -> None:
    start = decide(outcome=Outcome.COMPLETED, exit_code=0, stopped_by=Reason.CANCELED, spawn_failed=True)
    collect = decide(outcome=Outcome.COMPLETED, exit_code=0, stopped_by=Reason.WORKER_TIMEOUT, collect_failed=True)
    assert start == (Status.FAILED, Reason.SPAWN_FAILED)
    assert collect == (Status.FAILED, Reason.COLLECT_FAILED)


def test_who_escaped_has_failed_whatever_it_says_and_a_cancel_is_still_a_cancel() -> None:
    for outcome, exit_code, files in ENDINGS:
        verdict = decide(outcome=outcome, exit_code=exit_code, escaped=True, files_changed=files)
        assert verdict == (Status.FAILED, Reason.ESCAPED)
    late = decide(outcome=None, exit_code=-9, stopped_by=Reason.WORKER_TIMEOUT, escaped=True)
    assert late == (Status.FAILED, Reason.ESCAPED)
    canceled = decide(outcome=None, exit_code=-9, stopped_by=Reason.INTERRUPTED, escaped=True)
    assert canceled == (Status.CANCELED, Reason.INTERRUPTED)


def test_a_secret_in_the_result_fails_whatever_the_agent_says() -> None:
    for outcome, exit_code, files in ENDINGS:
        verdict = decide(outcome=outcome, exit_code=exit_code, has_secret=True, files_changed=files)
        assert verdict == (Status.FAILED, Reason.SECRET_IN_RESULT)
    canceled = decide(outcome=None, exit_code=-9, stopped_by=Reason.INTERRUPTED, has_secret=True)
    assert canceled == (Status.CANCELED, Reason.INTERRUPTED)


@pytest.mark.parametrize("reason", sorted(set(Reason) - set(STOPS)))
def test_what_is_no_stop_is_refused_as_one(reason: Reason) -> None:
    with pytest.raises(ValueError, match=reason):
        decide(outcome=None, exit_code=None, stopped_by=reason)


def ended(status: Status, reason: Reason = Reason.COMPLETED) -> WorkerResult:
    return WorkerResult(
        worker_id=1, branch="b", model="m", status=status, steps=0, cost=None, duration=0.0, files_modified=[],
        worktree_path="/w", reason=reason,
    )  # fmt: skip


GOOD, BAD = ended(Status.SUCCESS), ended(Status.FAILED, Reason.CRASHED)
HALF, STOPPED = ended(Status.PARTIAL, Reason.MAX_STEPS), ended(Status.CANCELED, Reason.CANCELED)
REST = ended(Status.CANCELED, Reason.FAIL_FAST)


@pytest.mark.parametrize(
    ("results", "allow_partial", "status", "code"),
    [
        ([GOOD, GOOD], False, RunStatus.SUCCESS, 0),
        ([GOOD, BAD], False, RunStatus.PARTIAL, 1),
        ([GOOD, BAD], True, RunStatus.PARTIAL, 0),
        ([GOOD, HALF], False, RunStatus.PARTIAL, 1),
        ([BAD, HALF], True, RunStatus.FAILED, 1),
        ([BAD, REST], False, RunStatus.FAILED, 1),
        ([GOOD, STOPPED], False, RunStatus.CANCELED, 1),
        ([], True, RunStatus.FAILED, 1),
    ],
)
def test_run_ends_as_its_workers_did(
    results: list[WorkerResult], allow_partial: bool, status: RunStatus, code: int
) -> None:
    assert run_outcome(results, allow_partial=allow_partial) == (status, code)


@pytest.mark.parametrize(("files_changed", "status"), [(0, "partial"), (None, "partial"), (2, "success")])
def test_who_was_denied_and_changed_nothing_is_blocked(files_changed: int | None, status: str) -> None:
    verdict = decide(outcome=Outcome.COMPLETED, exit_code=0, files_changed=files_changed, denied=True)
    assert verdict[0].value == status
    assert (verdict[1] is Reason.BLOCKED) == (status == "partial")
    # Controls: without a refusal doing nothing is a success, and a crash stays one.
    assert decide(outcome=Outcome.COMPLETED, exit_code=0, files_changed=0) == (Status.SUCCESS, Reason.NO_CHANGES)
    assert decide(outcome=None, exit_code=-9, files_changed=0, denied=True)[0] is Status.FAILED


def test_what_is_not_critical_counts_for_the_status_and_not_for_the_exit_code() -> None:
    other = dataclasses.replace(BAD, worker_id=2)
    assert run_outcome([GOOD, other], uncritical={2}) == (RunStatus.PARTIAL, 0)
    assert run_outcome([GOOD, other], uncritical={1}) == (RunStatus.PARTIAL, 1)
    assert run_outcome([other], uncritical={2}) == (RunStatus.FAILED, 0)
    assert run_outcome([BAD, other], uncritical={2}) == (RunStatus.FAILED, 1)


@pytest.mark.parametrize("signal", [ExitCode.INTERRUPTED, ExitCode.TERMINATED, ExitCode.HANGUP])
def test_signal_gives_the_exit_code_whatever_else(signal: ExitCode) -> None:
    interrupted = ended(Status.CANCELED, Reason.INTERRUPTED)
    assert run_outcome([GOOD, interrupted], allow_partial=True, interrupted_by=signal) == (RunStatus.CANCELED, signal)
    assert run_outcome([GOOD], interrupted_by=signal) == (RunStatus.SUCCESS, signal)
