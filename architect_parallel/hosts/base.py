"""The contract of a host, which runs workers: plain data in, events out.

A host gets a `WorkerSpec` and reports everything through the `emit` it was made with. Each start ends with exactly one
`WorkerFinished`, also after a failure. A further attempt of a worker is another start. `LocalHost` is this machine.
`RemoteHost` sends the base commit to other machines as a bundle and brings a bundle back.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from architect_parallel.checks.checker import BaselineOrder
from architect_parallel.domain import Reason, Role, WorkerSpec
from architect_parallel.events import Event, EventSource, WorkerPlaced

Target = int | Role
"""A worker's id, or `Role.BASELINE` for the checks of the base commit."""


class Emit(Protocol):
    """Takes an event from any thread."""

    def __call__(self, worker_id: int | None, event: Event, source: EventSource | None = None, /) -> None:
        """Args:
        worker_id: `None` means that the event is the run's.
        source: Where it stood in the journal of another machine. `None` means that it is from this one.
        """
        ...


class Host(Protocol):
    """Runs the workers of one launch."""

    def start(self, spec: WorkerSpec) -> None:
        """Start a worker and return at once. A start that fails ends with `WorkerFinished`, too."""
        ...

    def placed(self, worker_id: int, event: WorkerPlaced) -> None:
        """Order the attempt that `event` names. The host emitted the event, and it is durable now."""
        ...

    def attached(self) -> Collection[int]:
        """Ids of the workers whose attempts an earlier launch placed on other machines.

        The runner starts them first, all of them: no event of theirs is emitted before that.
        """
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
