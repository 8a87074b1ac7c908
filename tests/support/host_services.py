"""A host's service that starts nothing: it answers `hello`, and the test says which orders run."""

from __future__ import annotations

import uuid
from collections.abc import Mapping

from architect_parallel.hosts.wire import AGENT, PROTOCOL, HostInfo, Message, to_message


class IdleService:
    """See `HostService`. `running` has the place key of each order that runs."""

    def __init__(self, name: str, slots: int = 2, labels: Mapping[str, int] | None = None) -> None:
        self.name = name
        self.slots = slots
        self.labels = dict(labels or {})
        self.incarnation = uuid.uuid4().hex
        self.running: set[str] = set()

    def handle(self, verb: str, message: Message) -> Message:
        if verb == "echo":
            return message
        resources = {AGENT: self.slots, **self.labels}
        info = HostInfo(
            name=self.name,
            host_id=self.name,
            incarnation=self.incarnation,
            protocol=PROTOCOL,
            version="1",
            slots=self.slots,
            resources=resources,
            free={**resources, AGENT: self.slots - len(self.running)},
            places=tuple(self.running),
        )
        return to_message(info)
