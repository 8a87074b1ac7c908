"""One worker over its attempts. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from architect_parallel.domain import Attempt, Reason, WorkerResult, WorkerSpec
from architect_parallel.scheduling.recovery import results_of_others
from architect_parallel.scheduling.retries import attempt_of, next_spec, summed

ANSWER_CHARACTERS = 2000
"""The longest part of a debugger's answer in the prompt of a further attempt."""


@dataclass(slots=True, kw_only=True)
class WorkerAttempts:
    """The attempts of one worker in this launch, and its end."""

    planned: WorkerSpec
    """The specification with its whole limits."""
    earlier: tuple[Attempt, ...] = ()
    """Attempts of earlier launches of this run. They count in the sums, but not in the decisions."""
    history: list[Attempt] = field(default_factory=list)
    last: WorkerResult | None = None
    failure: WorkerResult | None = None
    """The result of the last attempt that failed for another reason than its provider."""
    started_s: float = 0.0
    recoveries: int = 0
    """The number of attempts that followed a recovery of its group."""
    end: WorkerResult | None = None
    """Its final result. `None` means that it has not ended."""

    def add(self, number: int, result: WorkerResult) -> WorkerResult:
        """Add the attempt with this number to the history, and return its result with the earlier warnings."""
        waited_s = _seconds_between(self.last.finished_at if self.last else None, result.started_at)
        self.history.append(replace(attempt_of(result, waited_s=waited_s), number=number))
        if self.last is not None:  # a warning of an earlier attempt (about its saved work, for example) still holds
            result = replace(result, warnings=list(dict.fromkeys([*self.last.warnings, *result.warnings])))
        self.last = result
        if result.reason is not Reason.RATE_LIMITED:
            self.failure = result
        return result

    def whole(self, result: WorkerResult) -> WorkerResult:
        """The result with the sums over all attempts."""
        return summed(result, [*self.earlier, *self.history])

    def recover(self, ended: Sequence[WorkerResult], answer: str) -> WorkerSpec:
        """The next attempt of a worker that is tried again with its group.

        Args:
            ended: The results of the whole group.
            answer: The debugger's answer. Empty without one.
        """
        self.recoveries += 1
        is_refined = self.planned.recovery is not None and self.planned.recovery.refine
        again = next_spec(replace(self.planned, refine=is_refined), self.history, self.failure)
        if not is_refined:
            return again
        lesson = again.lesson + results_of_others(self.planned.worker_id, ended)
        lesson += f"\n\nWhat a debugger says of these failures:\n{answer[:ANSWER_CHARACTERS]}" if answer else ""
        return replace(again, lesson=lesson)


def _seconds_between(before: datetime | None, after: datetime | None) -> float:
    if before is None or after is None:
        return 0.0
    seconds = (after - before).total_seconds()
    return seconds if math.isfinite(seconds) and seconds > 0 else 0.0
