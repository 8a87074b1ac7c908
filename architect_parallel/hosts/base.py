"""The contract of a host, which runs workers: plain data in, events out.

A host gets a `WorkerSpec` and reports everything through the `emit` it was made with. Each start ends with exactly one
`WorkerFinished`, also after a failure. A further attempt of a worker is another start. Nothing here assumes that the
host is this machine: a distributed host ships the base commit as a bundle and brings a bundle back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from architect_parallel.checks.checker import BaselineOrder
from architect_parallel.domain import Reason, Role, WorkerSpec
from architect_parallel.events import Event

Target = int | Role
"""A worker's id, or `Role.BASELINE` for the checks of the base commit."""

Emit = Callable[[int | None, Event], None]
"""Takes (worker id, event) from any thread. `None` means that the event is the run's."""


class Host(Protocol):
    """Runs the workers of one launch."""

    def start(self, spec: WorkerSpec) -> None:
        """Start a worker and return at once. A start that fails ends with `WorkerFinished`, too."""
        ...

    def check_base(self, order: BaselineOrder) -> None:
        """Start the checks of the base commit and return at once. They end with one `BaselineFinished` of the run."""
        ...

    def stop(self, target: Target, reason: Reason, detail: str = "") -> None:
        """Stop the agent of a worker, politely first. Its work is still collected. An unknown target, or one that has
        ended, is ignored."""
        ...

    def kill(self, target: Target) -> None:
        """Kill the processes of a worker at once. Its work is still collected."""
        ...

    def close(self) -> None:
        """Wait until every started worker has finished, and release the host's resources."""
        ...
