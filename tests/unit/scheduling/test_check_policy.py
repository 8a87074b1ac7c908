"""What a check's result means."""

from __future__ import annotations

from dataclasses import replace

import pytest

from architect_parallel.domain import AgentProfile, CheckChange, CheckResult, Isolation, Reason, Status, WorkerSpec
from architect_parallel.scheduling import check_policy
from architect_parallel.scheduling.verdict import checked


def result(passed: bool, exit_code: int | None = None, **more: object) -> CheckResult:
    code = (0 if passed else 1) if exit_code is None else exit_code
    return CheckResult(command="make", passed=passed, exit_code=code, duration_seconds=1.0, **more)  # type: ignore[arg-type]  # names are CheckResult's


@pytest.mark.parametrize(
    ("base", "now", "change"),
    [
        (True, True, CheckChange.UNCHANGED), (True, False, CheckChange.NEWLY_BROKEN),
        (False, True, CheckChange.MENDED), (False, False, CheckChange.BROKEN_BEFORE),
    ],
)  # fmt: skip
def test_a_check_is_compared_with_the_base(base: bool, now: bool, change: CheckChange) -> None:
    assert check_policy.compared([result(now)], [result(base)])[0].change is change
    assert check_policy.compared([result(now)], [replace(result(base), command="other")])[0].change is None


def test_a_failing_check_is_repeated_twice_and_not_when_it_cannot_pass() -> None:
    assert [check_policy.worth_repeating(result(False), runs) for runs in (1, 2, 3)] == [True, True, False]
    assert not check_policy.worth_repeating(result(True), 1)
    assert not check_policy.worth_repeating(result(False, timed_out=True), 1)
    assert not check_policy.worth_repeating(result(False, 127), 1)
    assert not check_policy.worth_repeating(replace(result(False), exit_code=None), 1)
    assert check_policy.worth_repeating(result(False, -11), 1)


def test_what_cannot_start_is_told_from_what_fails() -> None:
    assert check_policy.cannot_start(result(False, 126))
    assert check_policy.cannot_start(result(False, 127))
    assert check_policy.cannot_start(replace(result(False), exit_code=None))
    assert not check_policy.cannot_start(result(False, 1))
    assert not check_policy.cannot_start(replace(result(False, timed_out=True), exit_code=None))


@pytest.mark.parametrize("status", list(Status))
def test_a_failed_check_fails_what_would_be_good_and_changes_nothing_else(status: Status) -> None:
    before = (status, Reason.WORKER_TIMEOUT)
    good = status in (Status.SUCCESS, Status.PARTIAL)
    assert checked(before, [result(True), result(False)]) == ((Status.FAILED, Reason.CHECK_FAILED) if good else before)
    assert checked(before, [result(True), result(True, flaky=True)]) == before
    assert checked(before, [], complete=False)[1] is (Reason.CHECK_FAILED if good else Reason.WORKER_TIMEOUT)


def test_words_and_errors_name_the_command_and_its_last_words() -> None:
    failed = result(False, 2, output_tail="one\n2 failed\n\n", change=CheckChange.NEWLY_BROKEN)
    assert check_policy.words(failed) == "make (exit code 2, newly broken)"
    assert check_policy.words(result(False, -9)) == "make (killed by signal 9)"
    assert (
        check_policy.words(replace(result(False, timed_out=True), duration_seconds=60))
        == "make (out of time after 60 s)"
    )
    assert check_policy.error_of([failed, failed]) == "make (exit code 2, newly broken): 2 failed; 1 more failed"


def test_the_base_runs_each_command_of_isolated_workers_once() -> None:
    def spec(worker_id: int, *commands: str, isolation: Isolation = Isolation.WORKTREE) -> WorkerSpec:
        return WorkerSpec(
            run_id="r", worker_id=worker_id, index=worker_id - 1, number=worker_id, name="w", prompt="p",
            backend="shell", model=None, agent=AgentProfile(name="build"), branch="b", worktree_path="/w",
            base_commit="c", checks=commands, isolation=isolation,
        )  # fmt: skip

    workers = [spec(1, "a", "b"), spec(2, "b", "c"), spec(3, "d", isolation=Isolation.NONE)]
    assert check_policy.of_base(workers) == ("a", "b", "c")


@pytest.mark.parametrize("text", ["", "  ", "a\0b"])
def test_a_command_must_say_something(text: str) -> None:
    with pytest.raises(ValueError, match="must"):
        check_policy.read_command(text)
