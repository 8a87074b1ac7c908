"""The turns of checkouts."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Iterator

from architect_parallel.system import machine


class CheckoutSlots:
    """Allows one checkout per core at a time. The first checkout of the process runs alone.

    So one agent starts early instead of all of them late. The others follow even if the first one fails.
    """

    def __init__(self, count: int) -> None:
        self._free = threading.Semaphore(1)
        self._lock = threading.Lock()
        self._held_back = count - 1

    @contextlib.contextmanager
    def one(self) -> Iterator[None]:
        """Wait for a slot, and hold it."""
        with self._free:
            try:
                yield
            finally:
                with self._lock:
                    held_back, self._held_back = self._held_back, 0
                if held_back:
                    self._free.release(held_back)


@functools.cache
def checkout_slots() -> CheckoutSlots:
    """The slots of this process."""
    return CheckoutSlots(machine.processors())
