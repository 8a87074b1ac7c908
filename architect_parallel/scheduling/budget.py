"""The money a run has spent, against its budget. Pure."""

from __future__ import annotations

from dataclasses import replace

from architect_parallel.domain import WorkerSpec


class Spending:
    """The cost of one launch of a run: of the attempts that ended, and of those that run as far as it is known."""

    def __init__(self, budget_usd: float | None) -> None:
        """Args:
        budget_usd: The budget of the whole launch. `None` means no limit.
        """
        self._budget_usd = budget_usd
        self._running: dict[int, float] = {}
        """USD of the running attempts, by worker id."""
        self._ended = 0.0
        """USD of the attempts that ended."""

    @property
    def usd(self) -> float:
        """All that was spent, in USD."""
        return self._ended + sum(self._running.values())

    def seen(self, worker_id: int, cost: float) -> None:
        """Note what a running attempt has cost so far, in USD."""
        self._running[worker_id] = cost

    def ended(self, worker_id: int, cost: float | None) -> None:
        """Note the end of an attempt. Without a `cost`, what was seen of it stays spent."""
        seen = self._running.pop(worker_id, 0.0)
        self._ended += seen if cost is None else cost

    def limited(self, spec: WorkerSpec) -> WorkerSpec:
        """Give `spec` what is left of the budget as a further limit."""
        if self._budget_usd is None:
            return spec
        return replace(spec, limits=replace(spec.limits, run_budget_usd=self._budget_usd - self.usd))

    @property
    def exhausted(self) -> str | None:
        """A sentence when the budget is spent. `None` means that it is not, or that there is none.

        >>> spending = Spending(0.5)
        >>> spending.exhausted
        >>> spending.seen(1, 0.5)
        >>> spending.exhausted
        "$0.5000 of the run's $0.5000 spent"
        """
        if self._budget_usd is None or self.usd < self._budget_usd:
            return None
        return f"${self.usd:.4f} of the run's ${self._budget_usd:.4f} spent"

    @property
    def overshoot(self) -> str | None:
        """A sentence when more than the budget was spent. `None` means that it was not."""
        if self._budget_usd is None or self.usd <= self._budget_usd:
            return None
        over = self.usd - self._budget_usd
        return f"the run spent ${self.usd:.4f}: ${over:.4f} over its budget of ${self._budget_usd:.4f}"
