"""The shared budget of a run: a file of all embedded agents of the run. None asks its model when everything is spent.

The launcher learns of a reply only when it is over, and it takes a moment to stop agents from outside. On a busy
machine a model can give further replies meanwhile (of 100 runs there, 9 gave up to 4 replies more). An agent that reads
the file before each reply avoids that: the run exceeds its budget by at most one reply of each running worker. The
launcher, which makes the file, trusts nothing in it and counts for itself.

First line: the budget in USD. Each further line: the cost of one reply.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path

PURSE_VARIABLE = "ARCHITECT_PURSE"


class SharedBudget:
    """The run's money as this agent sees it. Without a file (`None`) it never runs out."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> SharedBudget:
        """Open the shared budget that the environment names."""
        path = environ.get(PURSE_VARIABLE)
        return cls(Path(path) if path else None)

    def pay(self, cost: float | None) -> None:
        """Record the cost of a reply. `None` means unknown, and nothing is written. A full disk does not stop the
        agent.
        """
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
        """Total cost and budget of the run in USD, once nothing is left. `None` before."""
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
