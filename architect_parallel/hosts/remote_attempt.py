"""One attempt of a worker on its way to a host and back, as the launcher knows it."""

from __future__ import annotations

from dataclasses import dataclass, field

from architect_parallel.domain import Reason, Status, WorkerSpec
from architect_parallel.events import WorkerPlaced


@dataclass(slots=True)
class RemoteAttempt:
    """One attempt on its way."""

    spec: WorkerSpec
    place_key: str
    placed: WorkerPlaced | None = None
    refusals: dict[str, str] = field(default_factory=dict)
    """Address → the reason why the host does not take it."""
    stop: tuple[Reason, str] | None = None
    is_killed: bool = False
    is_resolved: bool = False
    is_durable: bool = False
    """Its place is recorded."""
    was_sent: bool = False
    """A host may have its order."""
    is_ordered: bool = False
    """A host has its order."""
    is_ended: bool = False
    is_lost: bool = False
    has_started: bool = False
    """An agent may have run."""
    cost: float | None = None
    """USD as last reported. `None` means unknown."""
    line: str = ""
    """The newest line of its agent."""
    problem: str | None = None
    """The reason why its result could not be taken over."""

    @property
    def key(self) -> str:
        return f"{self.spec.worker_id}-{self.spec.attempt}"

    @property
    def stopped(self) -> tuple[Status, Reason, str | None]:
        """The end of an attempt that was stopped before it began."""
        reason, detail = self.stop or (Reason.CANCELED, "")
        status = Status.TIMEOUT if reason is Reason.RUN_TIMEOUT else Status.CANCELED
        return status, reason, detail or None
