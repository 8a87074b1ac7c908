"""A host's side: it takes orders, runs them as this machine's workers, and keeps what became of them.

`HostService.handle` is everything that a link calls, from any thread. It never raises: a reply with `refused` says in
words why nothing was done. The verbs:

| verb | message | reply |
|---|---|---|
| `hello` | | the fields of `HostInfo` |
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from pathlib import Path

from architect_parallel._version import __version__
from architect_parallel.hosts.wire import AGENT, PROTOCOL, REFUSED, HostInfo, Message, to_message


class HostService:
    """One host process."""

    def __init__(
        self, root: Path, slots: int, name: str, environ: Mapping[str, str], labels: Mapping[str, int] | None = None
    ) -> None:
        """Args:
        root: The host's directory. It is made if it is missing, and locked while the service lives.
        slots: Agents that may run at the same time.
        environ: The host's environment. Agents get what their allow-lists name.
        labels: Further resources, such as `{"gpu": 1}`. `None` means none.

        Raises:
            EnvironmentProblem: Another process uses the root, or it cannot be used.
        """
        self._name = name
        self._slots = slots
        self._labels = dict(labels or {})
        self._incarnation = uuid.uuid4().hex

    def handle(self, verb: str, message: Message) -> Message:
        """Do what a launcher asks and return the reply."""
        if verb != "hello":
            return {REFUSED: f"unknown verb {verb!r}"}
        resources = {AGENT: self._slots, **self._labels}
        return to_message(
            HostInfo(
                name=self._name,
                host_id=self._name,
                incarnation=self._incarnation,
                protocol=PROTOCOL,
                version=__version__,
                slots=self._slots,
                resources=resources,
                free=resources,
            )
        )

    def drain(self) -> None:
        """Take nothing more, stop the agents politely, collect their work, and wait for launchers to take it.

        It returns when all has ended. `handle` answers until `close`.
        """

    def close(self) -> None:
        """Release the root. Agents that still run are stopped."""
