"""The one switch that ends a worker: thrown once, by anybody, at any time.

It also is the gate of every start: a process is started under the same lock that a stop takes, so nothing starts
after a stop and nothing that started is missed by one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from architect_parallel.domain import Reason
from architect_parallel.supervision.process import Supervised

OF_THE_AGENT = frozenset({Reason.BUDGET, Reason.MAX_STEPS, Reason.OUTPUT_LIMIT, Reason.MEMORY})
"""Reasons that end an agent and not what comes after it: its work is kept, and checked."""


class StopToken:
    """Carries the first reason to stop to whatever runs now and to whatever would start later."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reason: Reason | None = None
        self._detail = ""
        self._killed = False
        self._over = False
        self._running: Supervised | None = None

    @property
    def reason(self) -> Reason | None:
        """Why the worker was stopped; `None`: it was not."""
        return self._reason

    @property
    def detail(self) -> str:
        """The reason in words; may be empty."""
        return self._detail

    @property
    def over(self) -> bool:
        """Whether nothing more may start, not only no agent."""
        return self._over

    def start(self, begin: Callable[[], Supervised], *, after_agent: bool = False) -> Supervised | None:
        """What `begin` started, or `None` when the switch was thrown before; then `begin` is not called.

        Args:
            after_agent: A limit of the agent's own does not forbid it.
        """
        with self._lock:
            if self._over if after_agent else self._reason is not None:
                return None
            self._running = begin()
            return self._running

    def stop(self, reason: Reason, detail: str = "") -> None:
        """Throws the switch; the first reason stays. What runs is stopped by the ladder."""
        with self._lock:
            if self._reason is None:
                self._reason, self._detail = reason, detail
            self._over = self._over or reason not in OF_THE_AGENT
            if self._running is not None:
                self._running.stop()

    def kill(self) -> None:
        """Ends what runs at once; without a `stop` before it the reason is *interrupted*."""
        with self._lock:
            if self._reason is None:
                self._reason = Reason.INTERRUPTED
            self._killed = self._over = True
            if self._running is not None:
                self._running.kill()

    def ended(self) -> None:
        """What was started is gone; a later stop keeps its reason out of this worker's end."""
        with self._lock:
            self._running = None
