"""What a check's result means: against the base, for its repetition, for the worker. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from architect_parallel.domain import CheckChange, CheckResult, Isolation, WorkerSpec
from architect_parallel.errors import UsageError
from architect_parallel.text.sanitize import one_line

MOST_REPEATS = 2
"""How often a failing check is run again at most."""
CANNOT_START = frozenset({126, 127})
"""What a shell answers for a command that is not executable, or not there."""


def read_command(text: str) -> str:
    """A check as the user wrote it.

    Raises:
        ValueError: It is empty, or no shell can be given it.
    """
    if not text.strip():
        raise ValueError("must not be empty")
    if "\0" in text:
        raise ValueError("must not hold a NUL character")
    return text


def change(base: CheckResult, now: CheckResult) -> CheckChange:
    """What became of a check since the base."""
    if now.passed:
        return CheckChange.UNCHANGED if base.passed else CheckChange.MENDED
    return CheckChange.NEWLY_BROKEN if base.passed else CheckChange.BROKEN_BEFORE


def compared(checks: Iterable[CheckResult], baseline: Iterable[CheckResult]) -> list[CheckResult]:
    """The checks, each with its change; those the baseline does not have as they are."""
    before = {each.command: each for each in baseline}
    return [
        replace(each, change=change(before[each.command], each)) if each.command in before else each for each in checks
    ]


def of_base(workers: Iterable[WorkerSpec]) -> tuple[str, ...]:
    """The commands that are run on the base for these workers, each once. A worker in place does not start from it."""
    isolated = (spec for spec in workers if spec.isolation is not Isolation.NONE)
    return tuple(dict.fromkeys(command for spec in isolated for command in spec.checks))


def cannot_start(check: CheckResult) -> bool:
    """Whether there is no such command, rather than that it found something wrong."""
    return not check.timed_out and (check.exit_code is None or check.exit_code in CANNOT_START)


def refusal(baseline: Iterable[CheckResult]) -> UsageError | None:
    """What is wrong with the run whose checks ran so on its base; `None`: it may begin."""
    for each in baseline:
        if cannot_start(each):
            said = (each.output_tail.splitlines() or [f"exit code {each.exit_code}"])[-1]
            return UsageError(
                f"check {each.command!r} cannot be started on the base commit: {said}",
                hint="install what it needs, or leave the base commit out with --no-baseline",
            )
    return None


def worth_repeating(check: CheckResult, runs: int) -> bool:
    """Whether a check may pass when it is run once more. One that had to be stopped, or is not there, will not.

    Args:
        runs: How often it has run so far.
    """
    if check.passed or check.timed_out or runs > MOST_REPEATS:
        return False
    return check.exit_code is not None and check.exit_code not in CANNOT_START


def failing(checks: Iterable[CheckResult]) -> list[CheckResult]:
    """Those that did not pass."""
    return [each for each in checks if not each.passed]


def words(check: CheckResult) -> str:
    """A check that failed, on one line: `make test (exit code 2, newly broken)`."""
    if check.timed_out:
        how = [f"out of time after {check.duration_seconds:.0f} s"]
    elif check.exit_code is None:
        how = ["not run to its end"]
    elif check.exit_code < 0:
        how = [f"killed by signal {-check.exit_code}"]
    else:
        how = [f"exit code {check.exit_code}"]
    how += [str(check.change).replace("_", " ")] if check.change is not None else []
    return f"{one_line(check.command, 200)} ({', '.join(how)})"


def error_of(failed: Sequence[CheckResult]) -> str:
    """Why a worker whose checks failed has failed, in one line: with the last line of the first one's output, so that
    two attempts that failed differently are told apart."""
    first = failed[0]
    last = next((line for line in reversed(first.output_tail.splitlines()) if line.strip()), "")
    more = f"; {len(failed) - 1} more failed" if len(failed) > 1 else ""
    return words(first) + (f": {one_line(last, 200)}" if last else "") + more
