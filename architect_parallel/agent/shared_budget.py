"""The purse of a run: a file all embedded agents of a run share, so that none asks its model when all is spent.

The launcher hears of a reply only when it is over and stops agents from outside, which takes a moment; on a busy
machine a model can be through with further replies by then (100 runs there: 9 went up to 4 replies beyond). Whoever
looks into the purse before each reply needs no luck: the run goes over its budget by at most one reply of each worker
that runs. The launcher, which makes the file, believes nothing in it and counts for itself.

First line: the budget in USD; each further line: what one reply cost.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path

PURSE_VARIABLE = "ARCHITECT_PURSE"


class SharedBudget:
    """The run's money as this agent sees it; without a file (`None`) it is never empty."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> SharedBudget:
        """The purse the environment names."""
        path = environ.get(PURSE_VARIABLE)
        return cls(Path(path) if path else None)

    def pay(self, cost: float | None) -> None:
        """Writes down what a reply cost (`None`: unknown, nothing to write); a full disk does not stop the agent."""
        if self._path is None or not cost:
            return
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
            try:
                os.write(descriptor, f"{cost!r}\n".encode())
            finally:
                os.close(descriptor)
        except OSError:
            self._path = None

    def spent_of(self) -> tuple[float, float] | None:
        """What the whole run spent and its budget, in USD, once nothing is left; `None` before."""
        if self._path is None:
            return None
        try:
            budget, *costs = (_amount(line) for line in self._path.read_text().splitlines())
        except (OSError, ValueError):
            return None
        spent = math.fsum(costs)
        return (spent, budget) if spent >= budget else None


def _amount(line: str) -> float:
    value = float(line)
    if not math.isfinite(value) or value < 0:
        raise ValueError(line)
    return value
