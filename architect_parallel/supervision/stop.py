"""The one way to stop what runs: a `StopToken`, stopped once, from any thread, at any time.

The token is also the gate of every start: a process is started under the same lock that a stop takes. So nothing starts
after a stop, and a stop misses nothing that was started.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from signal import Signals

from architect_parallel.domain import Reason
from architect_parallel.supervision.process import Supervised
from architect_parallel.system import signals

AGENT_LIMITS = frozenset(
    {Reason.BUDGET, Reason.MAX_STEPS, Reason.OUTPUT_LIMIT, Reason.MEMORY, Reason.PROCESSES, Reason.DISK}
)
"""Reasons that end an agent but not what follows it: its work is saved and checked."""


class StopToken:
    """Stops what runs now, and forbids what would start later. It keeps the first reason."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reason: Reason | None = None
        self._detail = ""
        self._cancelled_by: tuple[Reason, str] | None = None
        self._running: Supervised | None = None
        self._children: list[StopToken] = []
        self._agent_has_ended = False
        self.signal: Signals | None = None
        """The first signal that stopped it. `None` means that no signal did."""

    @property
    def reason(self) -> Reason | None:
        """The first reason to stop. `None` means that it was not stopped."""
        return self._reason

    @property
    def detail(self) -> str:
        """The reason in words. May be empty."""
        return self._detail

    @property
    def description(self) -> str | None:
        """The detail, or the reason when there is none. `None` means that it was not stopped."""
        return None if self._reason is None else self._detail or str(self._reason)

    def is_cancelled(self) -> bool:
        """Return true when nothing more may start. A limit of the agent (`AGENT_LIMITS`) does not cancel."""
        return self._cancelled_by is not None

    def child(self) -> StopToken:
        """Make a token that is cancelled with this one. A stop of the child leaves this one alone."""
        child = StopToken()
        with self._lock:
            self._children.append(child)
            if self._cancelled_by is not None:
                child.stop(*self._cancelled_by)
        return child

    def start(self, begin: Callable[[], Supervised]) -> Supervised | None:
        """Call `begin` and return the process that it started, or `None` after a stop. Then `begin` is not called."""
        with self._lock:
            if self._reason is not None:
                return None
            self._running = begin()
            return self._running

    def stop(self, reason: Reason, detail: str = "") -> None:
        """Stop what runs, politely first. The first reason is kept."""
        with self._lock:
            if reason is Reason.RUN_BUDGET and self._agent_has_ended:
                return
            if self._reason is None:
                self._reason, self._detail = reason, detail
            if self._running is not None:
                # Who fills the disk gets no grace: the others would run out of space meanwhile.
                self._running.stop(0.0 if reason is Reason.DISK else None)
            if reason in AGENT_LIMITS:
                return
            self._cancelled_by = self._cancelled_by or (reason, detail)
            for child in self._children:
                child.stop(reason, detail)

    def kill(self) -> None:
        """Kill what runs at once. Without a `stop` before, the reason is *interrupted*."""
        with self._lock:
            if self._reason is None:
                self._reason = Reason.INTERRUPTED
            self._cancelled_by = self._cancelled_by or (Reason.INTERRUPTED, "")
            if self._running is not None:
                self._running.kill()
            for child in self._children:
                child.kill()

    def agent_ended(self) -> None:
        """From now on the run's budget stops nothing here: the agent has ended by itself, and what follows is free.

        Its last cost often comes with its last word. Without this, the agent that spends the last of the budget would
        count as stopped or not, depending on who is quicker.
        """
        with self._lock:
            self._agent_has_ended = True

    def ended(self) -> None:
        """Forget the process that was started: nothing of it is left."""
        with self._lock:
            self._running = None


@contextlib.contextmanager
def stop_on_signals(token: StopToken) -> Iterator[None]:
    """Within the block, the first SIGINT, SIGTERM or SIGHUP stops `token` and a further one kills."""

    def receive(number: Signals) -> None:
        is_first = token.signal is None
        token.signal = token.signal or number
        order = (lambda: token.stop(Reason.INTERRUPTED, "interrupted")) if is_first else token.kill
        # Not from here: a handler must not wait for a lock that the thread it interrupts may hold.
        threading.Thread(target=order, daemon=True).start()

    with signals.forwarded(receive):
        yield
