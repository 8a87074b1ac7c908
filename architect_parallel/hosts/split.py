"""Workers that need this machine stay here, all others go to the hosts of a link."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from architect_parallel.checks.checker import BaselineOrder
from architect_parallel.domain import Isolation, Reason, Role, WorkerSpec
from architect_parallel.events import WorkerPlaced
from architect_parallel.hosts.base import Host, Target


@dataclass(slots=True)
class SplitHost:
    """Workers in place, the debugger and the checks of the base commit run here. The rest runs on the hosts."""

    local: Host
    remote: Host
    _here: set[Target] = field(default_factory=lambda: {Role.BASELINE})

    def start(self, spec: WorkerSpec) -> None:
        """See `Host.start`."""
        if spec.isolation is Isolation.NONE or spec.role is Role.DEBUGGER:
            self._here.add(spec.worker_id)
        self._of(spec.worker_id).start(spec)

    def placed(self, worker_id: int, event: WorkerPlaced) -> None:
        """See `Host.placed`."""
        self.remote.placed(worker_id, event)

    def attached(self) -> Collection[int]:
        """See `Host.attached`."""
        return self.remote.attached()

    def check_base(self, order: BaselineOrder) -> None:
        """See `Host.check_base`."""
        self.local.check_base(order)

    def stop(self, target: Target, reason: Reason, detail: str = "") -> None:
        """See `Host.stop`."""
        self._of(target).stop(target, reason, detail)

    def kill(self, target: Target) -> None:
        """See `Host.kill`."""
        self._of(target).kill(target)

    def close(self) -> None:
        """See `Host.close`."""
        self.remote.close()
        self.local.close()

    def _of(self, target: Target) -> Host:
        return self.local if target in self._here else self.remote
