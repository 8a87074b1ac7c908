"""The host that is this machine: a thread per worker, one sampler for all, one stop token each.

The gate is the promise that nothing starts after a stop: a worker's process is started under the lock of its
`StopToken`. A thread that breaks still reports the end of its worker, because the runner would wait for it for ever.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection
from dataclasses import replace

from architect_parallel.checks.checker import BaselineOrder
from architect_parallel.domain import Reason, Role, Status, WorkerSpec
from architect_parallel.events import BaselineFinished, Event, WorkerFinished, WorkerPlaced
from architect_parallel.hosts.base import Emit, Target
from architect_parallel.scheduling.retries import unstarted
from architect_parallel.supervision.disk import DiskWatch
from architect_parallel.supervision.monitor import Sampler
from architect_parallel.supervision.stop import StopToken
from architect_parallel.workers.context import WorkerContext
from architect_parallel.workers.worker import run_worker

_log = logging.getLogger(__name__)


class LocalHost:
    """Runs workers on this machine, in the repository's own worktrees."""

    def __init__(self, context: WorkerContext, emit: Emit, *, least_disk_bytes: int = 0) -> None:
        """Args:
        least_disk_bytes: Below this much free space the worker that wrote most is stopped. 0 means never.
        """
        self._context = context
        self._emit = emit
        self._sampler = Sampler(disk=DiskWatch(context.repository.common_dir, least_disk_bytes))
        self._stop_tokens: dict[Target, StopToken] = {}
        self._threads: list[threading.Thread] = []

    def start(self, spec: WorkerSpec) -> None:
        """See `Host.start`."""
        if self._context.tripwire is not None:
            self._context.tripwire.arm()
        stop_token = StopToken()
        self._stop_tokens[spec.worker_id] = stop_token
        worker_id = spec.worker_id

        def work() -> None:
            run_worker(spec, self._context, self._sampler, stop_token, lambda event: self._emit(worker_id, event))

        def broken(error: str) -> Event:
            # Its agent may have run: there may be uncollected work in the worktree, and its cost is unknown.
            blank = unstarted(spec, Status.FAILED, Reason.COLLECT_FAILED)
            return WorkerFinished(result=replace(blank, error=error, cost=None), retryable=False)

        self._begin(worker_id, work, broken)

    def placed(self, worker_id: int, event: WorkerPlaced) -> None:
        """See `Host.placed`. Workers of this machine have no place."""

    def attached(self) -> Collection[int]:
        """See `Host.attached`. The workers of a launcher that died have died with it."""
        return ()

    def check_base(self, order: BaselineOrder) -> None:
        """See `Host.check_base`."""
        stop_token, context = StopToken(), self._context
        self._stop_tokens[Role.BASELINE] = stop_token
        checker = context.checker(self._sampler, stop_token)

        def check() -> None:
            environ = context.setup_environment(context.backends[order.backend])
            checker.check_base(order, context.worktrees, environ, lambda event: self._emit(None, event))

        self._begin(Role.BASELINE, check, lambda error: BaselineFinished(checks=(), error=error))

    def _begin(self, target: Target, work: Callable[[], None], broken: Callable[[str], Event]) -> None:
        """Do `work` in a thread. `broken` makes the event of its end if it raises."""

        def run() -> None:
            try:
                work()
            except Exception as error:
                _log.exception("thread of worker %s failed", target)
                self._emit(
                    target if isinstance(target, int) else None,
                    broken(f"internal error: {type(error).__name__}: {error}"),
                )

        thread = threading.Thread(target=run, name=f"worker-{target}")
        self._threads.append(thread)
        thread.start()

    def stop(self, target: Target, reason: Reason, detail: str = "") -> None:
        """See `Host.stop`."""
        stop_token = self._stop_tokens.get(target)
        if stop_token is not None:
            stop_token.stop(reason, detail)

    def kill(self, target: Target) -> None:
        """See `Host.kill`."""
        stop_token = self._stop_tokens.get(target)
        if stop_token is not None:
            stop_token.kill()

    def close(self) -> None:
        """See `Host.close`."""
        for thread in self._threads:
            thread.join()
        if self._context.tripwire is not None:
            self._context.tripwire.close()
