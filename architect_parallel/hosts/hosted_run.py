"""One run of a launcher on a host: its claims, its repository, its journal and its agents.

A claim is a file with the order. It is durable before anything starts, so the same order never starts twice, whatever
was lost or killed. The journal is the same as a launcher's: the launcher reads it by a cursor. After a kill of this
process, `salvage` ends every attempt that has a claim and no end, and keeps its partial work.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from architect_parallel.backends.base import Backend
from architect_parallel.domain import Reason, Status
from architect_parallel.errors import ArchitectParallelError
from architect_parallel.event_json import encode
from architect_parallel.events import (
    AgentExited,
    AgentOutput,
    AgentStarted,
    Collected,
    Event,
    EventSource,
    Recorded,
    Warned,
    WorkerFinished,
    WorkerPlaced,
)
from architect_parallel.hosts.local import LocalHost
from architect_parallel.hosts.mirror import Mirror
from architect_parallel.hosts.wire import Order, from_message, to_message
from architect_parallel.journal import Journal
from architect_parallel.journal.worker_view import WorkerView
from architect_parallel.snapshots.bundles import BundleContent, write_bundles
from architect_parallel.snapshots.keep_attempt import keep_attempt
from architect_parallel.snapshots.keep_refs import KEEP
from architect_parallel.supervision.process_table import runs_since
from architect_parallel.system import clock
from architect_parallel.system.files import delete_tree, replace_file, sync_directory
from architect_parallel.system.git import Repository
from architect_parallel.workers.context import WorkerContext
from architect_parallel.worktrees import worker_repository

MOST_EVENTS = 500
"""Events in one reply."""
SUPERVISOR_S = 30.0
"""The longest wait for a supervisor of a killed process to end its agent. Its grace is shorter."""

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class HostedRun:
    """A run in `folder`, which is made with its first claim."""

    folder: Path
    mirror: Mirror
    backends: Mapping[str, Backend]
    environ: Mapping[str, str]
    on_end: Callable[[str], None]
    """Called with the key of the place of an order that has ended."""
    orders: dict[str, Order] = field(default_factory=dict)
    """Key of the attempt → its order."""
    ended: set[str] = field(default_factory=set)
    taken: set[str] = field(default_factory=set)
    """Keys of the attempts whose result a launcher has."""
    epoch: int = 0
    """Number of the newest launch that was heard of."""
    lines: dict[int, str] = field(default_factory=dict)
    """Worker id → the newest line of its agent."""
    _bounds: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    """Worker id → for each of its attempts, the number of its first event and the number of the attempt."""
    _host: LocalHost | None = None
    _journal: Journal | None = None
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def open(self) -> None:
        """Read the claims and the journal that an earlier process left, and `salvage` what it had started."""
        for file in sorted((self.folder / "claims").glob("*-*.json")):
            with suppress(ValueError):
                order = from_message(Order, json.loads(file.read_bytes()))
                self.orders[order.key] = order
                if file.with_suffix(".taken").exists():
                    self.taken.add(order.key)
        if not self.orders or not (self.folder / "repo.git").is_dir():
            self.ended |= self.orders.keys()  # removed at the end of the run
            self.taken |= self.orders.keys()
            return
        for entry in self._events(self._here(next(iter(self.orders.values())))).recorded(self.folder.name):
            if isinstance(entry.event, WorkerPlaced) and entry.worker_id is not None:
                self._bounds.setdefault(entry.worker_id, []).append((entry.seq, entry.event.attempt))
        for key, order in self.orders.items():
            recorded = self._of(order)
            if any(isinstance(entry.event, WorkerFinished) for entry in recorded):
                self.ended.add(key)
            else:
                if not recorded:  # killed between the claim and the first event
                    self._begin(order)
                self._salvage(order, recorded)

    def is_current(self, epoch: int) -> bool:
        """Return whether no later launch of the run has been heard of. A launcher that slept must not fight that."""
        self.epoch = max(self.epoch, epoch, *(order.epoch for order in self.orders.values()), 0)
        return epoch == self.epoch

    def start(self, order: Order) -> None:
        """Claim the order and start its worker. The caller has checked that it is new and may start.

        Raises:
            ArchitectParallelError: It cannot be claimed, and nothing was started.
            OSError: The same.
        """
        claims = self.folder / "claims"
        claims.mkdir(parents=True, exist_ok=True)
        repository = self.mirror.run_repository(self.folder, order.git)
        host = self._host or self._open_host(order, repository)
        text = json.dumps(to_message(order), ensure_ascii=True).encode()
        replace_file(claims / f"{order.key}.json", text, mode=0o600)
        sync_directory(claims)
        self.orders[order.key] = order
        self._begin(order)
        host.start(self._spec_here(order))

    def _begin(self, order: Order) -> None:
        """Record where the events of an attempt begin."""
        placed = WorkerPlaced(
            attempt=order.spec.attempt, host="", host_id="", address="", incarnation=order.incarnation
        )
        recorded = self._events(self._here(order)).append([(order.spec.run_id, order.spec.worker_id, placed)])
        self._bounds.setdefault(order.spec.worker_id, []).append((recorded[0].seq, order.spec.attempt))

    def stop(self, key: str, reason: Reason, detail: str, *, kill: bool = False) -> None:
        """Stop the worker of an attempt, or kill its processes. One that has ended is ignored."""
        if self._host is None or key not in self.orders or key in self.ended:
            return
        worker_id = self.orders[key].spec.worker_id
        if kill:
            self._host.kill(worker_id)
        else:
            self._host.stop(worker_id, reason, detail)

    def poll(self, run_id: str, after: int, wait_s: float) -> dict[str, Any]:
        """Return the events after a position in the journal. Waits up to `wait_s` seconds for the first one."""
        with self._changed:
            events = self._after(run_id, after)
            if not events and wait_s > 0:
                self._changed.wait(wait_s)
                events = self._after(run_id, after)
        return {
            "events": [[entry.seq, self._key(entry), *encode(entry.event)] for entry in events],
            "lines": {str(worker_id): line for worker_id, line in self.lines.items()},
            "orders": {key: "ended" if key in self.ended else "running" for key in self.orders},
        }

    def file(self, key: str, what: str) -> Path | None:
        """The bundle or the log of an attempt. `None` means that there is none."""
        order = self.orders.get(key)
        if order is None:
            return None
        if what == "bundle":
            path = self._bundle(order)
        else:
            ends = [entry.event for entry in self._of(order) if isinstance(entry.event, WorkerFinished)]
            path = Path((ends[-1].result.log_path if ends else None) or "/nonexistent")
        return path if path.is_file() else None

    def mark_taken(self, key: str) -> None:
        """Note that a launcher has the result of an attempt."""
        (self.folder / "claims" / f"{key}.taken").touch()
        self.taken.add(key)

    def remove(self) -> None:
        """Remove everything but the claims, which keep a late order from starting again. Nothing may run any more."""
        self.close()
        for path in self.folder.iterdir() if self.folder.is_dir() else ():
            if path.name != "claims":
                delete_tree(path)

    def close(self) -> None:
        """Wait for the agents, and close the journal."""
        if self._host is not None:
            self._host.close()
            self._host = None
        if self._journal is not None:
            self._journal.close()
            self._journal = None

    def _open_host(self, order: Order, repository: Repository) -> LocalHost:
        context = WorkerContext(
            repository=repository,
            run_dir=self._events(repository).run_dir(order.spec.run_id),
            backends=self.backends,
            environ=self.environ,
            worktrees=order.worktrees,
            checks_env=order.checks_env,
            prices=order.prices,
            allow_secrets=order.allow_secrets,
        )
        self._host = LocalHost(context, self._take)
        return self._host

    def _events(self, repository: Repository) -> Journal:
        self._journal = self._journal or Journal.of(repository)
        return self._journal

    def _here(self, order: Order) -> Repository:
        return self.mirror.run_repository(self.folder, order.git)

    def _spec_here(self, order: Order) -> Any:
        return replace(order.spec, worktree_path=str(self.folder / f".architect-parallel-{order.spec.number}"))

    def _bundle(self, order: Order) -> Path:
        return self.folder / "out" / f"{order.key}.bundle"

    def _after(self, run_id: str, after: int) -> list[Recorded]:
        return [] if self._journal is None else self._journal.recorded(run_id, after)[:MOST_EVENTS]

    def _key(self, entry: Recorded) -> str:
        """The key of the attempt that an event belongs to. Attempts of a worker here follow each other."""
        attempts = [attempt for first, attempt in self._bounds.get(entry.worker_id or 0, ()) if first <= entry.seq]
        return f"{entry.worker_id}-{attempts[-1] if attempts else 0}"

    def _of(self, order: Order) -> list[Recorded]:
        """The events of an attempt."""
        recorded = self._events(self._here(order)).recorded(order.spec.run_id)
        return [entry for entry in recorded if self._key(entry) == order.key]

    def _take(self, worker_id: int | None, event: Event, source: EventSource | None = None, /) -> None:
        """Record an event of a worker. Its bundle is complete before the event that announces it."""
        if worker_id is None:
            return
        if isinstance(event, AgentOutput):
            self.lines[worker_id] = event.text[:200]
            return
        order = max(
            (item for item in self.orders.values() if item.spec.worker_id == worker_id),
            key=lambda item: item.spec.attempt,
        )
        if isinstance(event, Collected):
            self._write_bundle(order)
        with self._changed:
            self._events(self._here(order)).append([(order.spec.run_id, worker_id, event)])
            if isinstance(event, WorkerFinished):
                self.ended.add(order.key)
                self.lines.pop(worker_id, None)
                self.on_end(order.place)
            self._changed.notify_all()

    def _write_bundle(self, order: Order) -> None:
        """Bundle the branch and the keep refs of a worker, as far as they have commits that the launcher lacks."""
        spec, store = order.spec, self._here(order).store
        names = (f"refs/heads/{spec.branch}", f"{KEEP}/{spec.run_id}/{spec.number}", f"{KEEP}/{spec.run_id}/")
        lines = store.text("for-each-ref", "--format=%(refname) %(objectname)", *names).splitlines()
        refs = dict(line.split(" ") for line in lines)
        stem = f"{KEEP}/{spec.run_id}/{spec.number}"
        own = {
            name: commit
            for name, commit in refs.items()
            if name in (names[0], stem) or name.startswith(f"{stem}-")
            if commit != spec.base_commit and not name.startswith(f"{stem}-secret")
        }
        file = self._bundle(order)
        file.parent.mkdir(exist_ok=True)
        file.unlink(missing_ok=True)
        write_bundles(self._here(order), [BundleContent(file=file, refs=own, without=[spec.base_commit])])

    def _salvage(self, order: Order, recorded: list[Recorded]) -> None:
        """End an attempt whose process was killed, and keep its partial work."""
        repository, spec = self._here(order), self._spec_here(order)
        run_dir = self._events(repository).run_dir(spec.run_id)
        error = "its host process ended while it ran"
        warnings: list[str] = []
        try:
            _wait_for_supervisor(recorded)
            warnings += worker_repository.settle(repository, run_dir, spec)
            kept = keep_attempt(repository, spec, run_dir / "git" / f"worker-{spec.worker_id}-{spec.attempt}")
            if kept is not None:
                warnings.append(f"its partial work is kept as {kept}")
                self._write_bundle(order)
        except (ArchitectParallelError, OSError) as problem:
            _log.warning("salvage of %s failed", order.key, exc_info=True)
            error += f"; its work is untouched in {spec.worktree_path}: {problem}"
        view = WorkerView(spec=spec, attempt=spec.attempt)
        for entry in recorded:
            view.take(entry)
        result = view.result_so_far(over=True)
        assert result is not None
        cost = 0.0 if view.started_at is None else view.cost
        result = replace(result, status=Status.FAILED, reason=Reason.HOST_LOST, error=error, cost=cost)
        result.warnings += warnings
        for message in warnings:
            self._take(spec.worker_id, Warned(message=message))
        self._take(spec.worker_id, WorkerFinished(result=result, retryable=False))


def _wait_for_supervisor(recorded: list[Recorded]) -> None:
    """Wait until the supervisor of a killed process has ended its agent: nothing may write to the tree any more."""
    started = [entry for entry in recorded if isinstance(entry.event, AgentStarted | AgentExited)]
    if not started or not isinstance(started[-1].event, AgentStarted):
        return
    until_s = clock.monotonic_s() + SUPERVISOR_S
    while runs_since(started[-1].event.supervisor_pid, started[-1].time):
        if clock.monotonic_s() > until_s:
            raise ArchitectParallelError("its agent still runs")
        clock.pause(0.05)
