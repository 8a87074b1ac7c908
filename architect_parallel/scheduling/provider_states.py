"""The providers of a run's workers: their windows, their buckets, and when they may be asked again. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from architect_parallel.domain import WorkerSpec
from architect_parallel.scheduling.admission import ProviderState, Rules
from architect_parallel.scheduling.rate_limits import Bucket


class ProviderStates:
    """The state of each provider, made when its first worker is seen."""

    def __init__(self, rules: Rules) -> None:
        self.by_name: dict[str, ProviderState] = {}
        self._rules = rules
        self._names: dict[int, str] = {}
        """Worker id → name of its provider."""

    def name_of(self, spec: WorkerSpec) -> str:
        """The name of a worker's provider."""
        if spec.worker_id not in self._names:
            self._names[spec.worker_id] = self._rules.provider_of(spec)
        return self._names[spec.worker_id]

    def state_of(self, spec: WorkerSpec, now_s: float) -> ProviderState:
        """The state of a worker's provider. Its bucket begins full."""
        name = self.name_of(spec)
        if name not in self.by_name:
            limit = self._rules.rate_limits.get(name)
            bucket = Bucket.full(limit, now_s) if limit is not None and limit.enabled else None
            self.by_name[name] = ProviderState(bucket=bucket)
        return self.by_name[name]

    def started(self, spec: WorkerSpec, now_s: float) -> None:
        """Note that a worker starts."""
        state = self.state_of(spec, now_s)
        if state.bucket is not None:
            state.bucket = state.bucket.taken(now_s)

    def served(self, spec: WorkerSpec, now_s: float) -> None:
        """Note that the provider served a worker to its end."""
        state = self.state_of(spec, now_s)
        state.window = state.window.served()

    def refused(
        self,
        spec: WorkerSpec,
        *,
        started_s: float,
        now_s: float,
        running: Iterable[WorkerSpec],
        retry_after_s: float | None = None,
    ) -> None:
        """Note that the provider refused a worker.

        Args:
            running: All workers that run, this one included.
            retry_after_s: The provider's word on when to come back. `None` means that it gave none.
        """
        name, state = self.name_of(spec), self.state_of(spec, now_s)
        count = sum(self.name_of(other) == name for other in running)
        state.window = state.window.refused(started_s=started_s, now_s=now_s, running=max(1, count))
        # Where the provider asks for more than a worker may wait, each worker asks it once and says so in its result.
        if retry_after_s is not None and retry_after_s <= self._rules.rate_limit_wait_s:
            state.not_before_s = max(state.not_before_s, now_s + retry_after_s)
