"""From a run's events to its result: pure, total, and the only way a `RunResult` comes about.

The same events give the same result. The one thing that events cannot tell is an argument: whether the launcher still
lives. Once a run is over, every planned worker has exactly one result, so that the counts of the envelope add up.
"""

from __future__ import annotations

from collections.abc import Iterable

from architect_parallel.domain import RunResult
from architect_parallel.events import Recorded
from architect_parallel.journal.view import RunView


def replay(recorded: Iterable[Recorded], *, live: bool) -> RunResult:
    """Compute the result of one run.

    Args:
        recorded: The events of one run in order of `seq`; those with `seq` 0 change nothing.
        live: Whether the run's launcher still lives.

    Returns:
        The result: of a live run only with the workers that ended, else with every planned worker.

    Raises:
        InternalError: When the events do not begin with `RunStarted`.
    """
    return RunView.of("", recorded).result(live=live)
