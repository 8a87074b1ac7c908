"""Free memory and disk before a worker starts."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto

from architect_parallel.scheduling.admission import FreeResources, Rules

STARVED_S = 10.0
"""Workers wait this long for memory or disk before the user is warned."""


class Admission(Enum):
    """The answer of the gate."""

    START = auto()
    WAIT = auto()
    FAIL = auto()
    """The worker cannot start: its work could not be kept."""


class ResourceGate:
    """Decides whether the machine has the memory and disk for one more worker."""

    def __init__(self, rules: Rules, free: Callable[[], FreeResources], warn: Callable[[str], None]) -> None:
        """Args:
        free: Returns what the machine has left. Called before each start.
        warn: Called with a warning for the user.
        """
        self._rules = rules
        self._free = free
        self._warn = warn
        self._starved_s: float | None = None

    def check(self, now_s: float, *, is_idle: bool) -> tuple[Admission, str]:
        """Decide about one more worker, with what is short in words.

        With nothing running, waiting would not free anything. Then a worker starts in spite of little memory, with a
        warning, and fails for lack of disk.

        Args:
            is_idle: Whether no worker runs.
        """
        shortage = self._free().shortage(self._rules)
        if shortage is None:
            self._starved_s = None
            return Admission.START, ""
        if not is_idle:
            self._starved_s = now_s if self._starved_s is None else self._starved_s
            if now_s - self._starved_s >= STARVED_S:
                self._warn(f"workers wait for free memory or disk: {shortage.text}")
            return Admission.WAIT, shortage.text
        if shortage.of_disk:
            return Admission.FAIL, shortage.text
        self._warn(f"started a worker although resources are short: {shortage.text}")
        return Admission.START, shortage.text
