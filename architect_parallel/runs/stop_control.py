"""Reasons to stop a run: a signal, its time limit, its budget, a cancel request, or the first failure."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from signal import Signals
from typing import NamedTuple

from architect_parallel.domain import Reason
from architect_parallel.journal.requests import cancel_requested
from architect_parallel.scheduling.budget import Spending
from architect_parallel.system.clock import monotonic_s

LOOK_S = 0.5
"""The pause between two looks for cancel requests, and for free memory and disk."""


class StopOrder(NamedTuple):
    """A reason to stop the whole run, with its details in words."""

    reason: Reason
    detail: str


class StopControl:
    """Decides when a run is to be stopped. It stops nothing itself."""

    def __init__(self, run_dir: Path, *, timeout_s: float | None = None, budget_usd: float | None = None) -> None:
        """Args:
        run_dir: The directory in which cancel requests appear.
        timeout_s: The run's time limit, counted from now. `None` means no limit.
        budget_usd: The budget of this launch. `None` means no limit.
        """
        self.spending = Spending(budget_usd)
        self.stopped_by: Reason | None = None
        """The first reason that `next_reason` returned. `None` means that the run may start workers."""
        self.signal: Signals | None = None
        """The first signal. `None` means that none arrived."""
        self._run_dir = run_dir
        self._timeout_s = timeout_s
        self._deadline_s = math.inf if timeout_s is None else monotonic_s() + timeout_s
        self._next_look_s = -math.inf
        self._canceled: set[int | None] = set()
        """Workers whose request was seen. `None` stands for the run."""
        self._orders: deque[StopOrder] = deque()
        self._is_over_budget = False

    @property
    def deadline_s(self) -> float:
        """The end of the time limit on the monotonic clock. Infinite without one, and once it has passed."""
        return self._deadline_s

    def add(self, reason: Reason, detail: str) -> None:
        """Add a reason that the caller found."""
        self._orders.append(StopOrder(reason, detail))

    def receive(self, number: Signals) -> bool:
        """Take note of a signal. Returns true for a further one, which asks to kill what still runs."""
        if self.signal is not None:
            return True
        self.signal = number
        self.add(Reason.INTERRUPTED, number.name)
        return False

    def look_for_requests(self, worker_ids: Iterable[int]) -> list[int]:
        """Return the workers whose cancellation was requested since the last look. A request for the run as a whole
        becomes a reason of `next_reason`. Looks at most once per `LOOK_S`."""
        now_s = monotonic_s()
        if now_s < self._next_look_s:
            return []
        self._next_look_s = now_s + LOOK_S
        unseen = {None, *worker_ids} - self._canceled
        requested = {target for target in unseen if cancel_requested(self._run_dir, target)}
        self._canceled |= requested
        if None in requested:
            self.add(Reason.CANCELED, "canceled on request")
        return sorted(worker_id for worker_id in requested if worker_id is not None)

    def next_reason(self) -> StopOrder | None:
        """Return the next reason to stop the run, each once. `None` means that there is no further one now."""
        if monotonic_s() >= self._deadline_s:
            self._deadline_s = math.inf
            self.add(Reason.RUN_TIMEOUT, f"the run took longer than {self._timeout_s:g} s")
        exhausted = self.spending.exhausted
        if exhausted is not None and not self._is_over_budget:
            self._is_over_budget = True
            self.add(Reason.RUN_BUDGET, exhausted)
        if not self._orders:
            return None
        order = self._orders.popleft()
        self.stopped_by = self.stopped_by or order.reason
        return order
