"""What a run has spent, against its budget. Pure."""

from __future__ import annotations

from dataclasses import replace

from architect_parallel.domain import Attempt, WorkerSpec


class Spending:
    """The cost of one launch of a run: of what has ended, and of what runs as far as it is known."""

    def __init__(self, budget_usd: float | None) -> None:
        """Args:
        budget_usd: Of the whole launch; `None`: there is no limit.
        """
        self._budget_usd = budget_usd
        self._running: dict[int, float] = {}
        """USD of what runs now, by worker."""
        self._ended = 0.0
        """USD of the attempts that ended."""

    @property
    def usd(self) -> float:
        """All of it."""
        return self._ended + sum(self._running.values())

    def seen(self, worker_id: int, cost: float) -> None:
        """What a running attempt has cost so far."""
        self._running[worker_id] = cost

    def ended(self, worker_id: int, attempt: Attempt) -> None:
        """An attempt has ended. What was seen of it stays spent, even where its end does not know the cost any more."""
        live = self._running.pop(worker_id, 0.0)
        self._ended += live if attempt.cost is None else attempt.cost

    def limited(self, spec: WorkerSpec) -> WorkerSpec:
        """`spec` with what is left of the budget as its limit beside its own."""
        if self._budget_usd is None:
            return spec
        return replace(spec, limits=replace(spec.limits, run_budget_usd=self._budget_usd - self.usd))

    @property
    def exhausted(self) -> str | None:
        """In words, when the budget is spent; `None`: it is not, or there is none.

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
        """In words, what was spent beyond the budget; `None`: nothing was."""
        if self._budget_usd is None or self.usd <= self._budget_usd:
            return None
        over = self.usd - self._budget_usd
        return f"the run spent ${self.usd:.4f}: ${over:.4f} over its budget of ${self._budget_usd:.4f}"
