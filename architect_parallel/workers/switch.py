"""The one switch that ends a worker: thrown once, by anybody, at any time.

It also is the gate of every start: a process is started under the same lock that a stop takes, so nothing starts
after a stop and nothing that started is missed by one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from architect_parallel.domain import Reason
from architect_parallel.system.process import Supervised


class StopSwitch:
    """Carries the first reason to stop to whatever runs now and to whatever would start later."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reason: Reason | None = None
        self._detail = ""
        self._killed = False
        self._running: Supervised | None = None

    @property
    def reason(self) -> Reason | None:
        """Why the worker was stopped; `None`: it was not."""
        return self._reason

    @property
    def detail(self) -> str:
        """The reason in words; may be empty."""
        return self._detail

    def start(self, begin: Callable[[], Supervised]) -> Supervised | None:
        """What `begin` started, or `None` when the switch was thrown before; then `begin` is not called."""
        with self._lock:
            if self._reason is not None:
                return None
            self._running = begin()
            return self._running

    def stop(self, reason: Reason, detail: str = "") -> None:
        """Throws the switch; the first reason stays. What runs is stopped by the ladder."""
        with self._lock:
            if self._reason is None:
                self._reason, self._detail = reason, detail
            if self._running is not None:
                self._running.stop()

    def kill(self) -> None:
        """Ends what runs at once; without a `stop` before it the reason is *interrupted*."""
        with self._lock:
            if self._reason is None:
                self._reason = Reason.INTERRUPTED
            self._killed = True
            if self._running is not None:
                self._running.kill()

    def ended(self) -> None:
        """What was started is gone; a later stop keeps its reason out of this worker's end."""
        with self._lock:
            self._running = None
