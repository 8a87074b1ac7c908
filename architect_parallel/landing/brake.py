"""What stops a merge at work: the user's signal, passed on to whatever runs at that moment."""

from __future__ import annotations

import threading

from architect_parallel.domain import Reason
from architect_parallel.supervision.stop import StopToken


class Brake:
    """Stays on once it is pulled. Each agent or check has a switch of its own, so that a limit of one ends only it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pulled = False
        self._current: StopToken | None = None

    @property
    def pulled(self) -> bool:
        return self._pulled

    def switch(self) -> StopToken:
        """The switch for what runs next; thrown already where the brake was pulled before."""
        with self._lock:
            self._current = StopToken()
            if self._pulled:
                self._current.stop(Reason.INTERRUPTED, "interrupted")
            return self._current

    def pull(self) -> None:
        """Stops what runs, and whatever would run next."""
        with self._lock:
            self._pulled = True
            current = self._current
        if current is not None:
            current.stop(Reason.INTERRUPTED, "interrupted")

    def kill(self) -> None:
        """The same at once."""
        self.pull()
        if self._current is not None:
            self._current.kill()
