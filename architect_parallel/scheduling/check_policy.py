"""Rules about check results: compared with the base, for a repetition, and for the worker. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from architect_parallel.domain import CheckChange, CheckResult, Isolation, WorkerSpec
from architect_parallel.errors import UsageError
from architect_parallel.text.sanitize import one_line

MOST_REPEATS = 2
"""The most repetitions of a failing check."""
CANNOT_START = frozenset({126, 127})
"""Exit codes of a shell for a command that is not executable, or does not exist."""


def read_command(text: str) -> str:
    """Validate a check command and return it.

    Raises:
        ValueError: It is empty, or no shell can run it.
    """
    if not text.strip():
        raise ValueError("must not be empty")
    if "\0" in text:
        raise ValueError("must not hold a NUL character")
    return text


def change(base: CheckResult, now: CheckResult) -> CheckChange:
    """The change of a check since the base."""
    if now.passed:
        return CheckChange.UNCHANGED if base.passed else CheckChange.MENDED
    return CheckChange.NEWLY_BROKEN if base.passed else CheckChange.BROKEN_BEFORE


def compared(checks: Iterable[CheckResult], baseline: Iterable[CheckResult]) -> list[CheckResult]:
    """The checks with their changes. A check that the baseline does not have is returned unchanged."""
    before = {check.command: check for check in baseline}
    return [
        replace(check, change=change(before[check.command], check)) if check.command in before else check
        for check in checks
    ]


def of_base(workers: Iterable[WorkerSpec]) -> tuple[str, ...]:
    """The check commands to run on the base commit, each once. A worker in place does not start from that commit."""
    isolated = (spec for spec in workers if spec.isolation is not Isolation.NONE)
    return tuple(dict.fromkeys(command for spec in isolated for command in spec.checks))


def cannot_start(check: CheckResult) -> bool:
    """Return whether the command could not be started at all."""
    return not check.timed_out and (check.exit_code is None or check.exit_code in CANNOT_START)


def refusal(baseline: Iterable[CheckResult]) -> UsageError | None:
    """The error that forbids a run with this baseline. `None` means that the run may begin."""
    for check in baseline:
        if cannot_start(check):
            last_line = (check.output_tail.splitlines() or [f"exit code {check.exit_code}"])[-1]
            return UsageError(
                f"check {check.command!r} cannot be started on the base commit: {last_line}",
                hint="install what it needs, or leave the base commit out with --no-baseline",
            )
    return None


def worth_repeating(check: CheckResult, runs: int) -> bool:
    """Return whether a check may pass when it is run again. A check that was stopped or could not start will not.

    Args:
        runs: The number of runs so far.
    """
    if check.passed or check.timed_out or runs > MOST_REPEATS:
        return False
    return check.exit_code is not None and check.exit_code not in CANNOT_START


def failing(checks: Iterable[CheckResult]) -> list[CheckResult]:
    """The checks that did not pass."""
    return [check for check in checks if not check.passed]


def words(check: CheckResult) -> str:
    """A failed check on one line: `make test (exit code 2, newly broken)`."""
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
    """The error of a worker whose checks failed, in one line. The last line of the first check's output is part of it,
    so that two different failures are not taken for the same."""
    first = failed[0]
    last = next((line for line in reversed(first.output_tail.splitlines()) if line.strip()), "")
    more = f"; {len(failed) - 1} more failed" if len(failed) > 1 else ""
    return words(first) + (f": {one_line(last, 200)}" if last else "") + more
