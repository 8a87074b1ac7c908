"""The contract of a place where workers run: plain data in, events out.

A host gets a `WorkerSpec` and reports everything through the `emit` it was made with, in the end exactly one
`WorkerFinished` per start, whatever happens (a further attempt of a worker is another start). Nothing here assumes that
the host is this machine: a distributed host ships the base commit as a bundle and brings a bundle back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from architect_parallel.checks.checker import BaselineOrder
from architect_parallel.domain import Reason, WorkerSpec
from architect_parallel.events import Event

BASELINE = 0
"""Stands for a worker's id where the checks of the base commit are meant; workers count from 1."""

Emit = Callable[[int | None, Event], None]
"""Takes (worker_id, event) from any thread; `None`: of the run as a whole."""


class Host(Protocol):
    """Where workers run."""

    def start(self, spec: WorkerSpec) -> None:
        """Begins a worker and returns at once; its end is a `WorkerFinished` event, also when it could not begin."""
        ...

    def check_base(self, order: BaselineOrder) -> None:
        """Begins the checks of the base commit and returns at once; it ends with one `BaselineFinished`. It can be
        stopped and killed as `BASELINE`."""
        ...

    def stop(self, worker_id: int, reason: Reason, detail: str = "") -> None:
        """Asks a worker to end by the stop ladder; its work is still collected. Unknown or ended: nothing happens."""
        ...

    def kill(self, worker_id: int) -> None:
        """Ends a worker's processes at once; its work is still collected."""
        ...

    def close(self) -> None:
        """Waits until every started worker has finished and releases what the host holds."""
        ...
