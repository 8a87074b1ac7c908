"""Workers on other machines, from the launcher's side: a place, an order, events, and what is lost.

The engine grants a place. `WorkerPlaced` is durable before the order goes out, and the order names one process: it is
sent to that process again and again until there is a reply, and to no other one unless that process has refused it or
has ended without a claim. So an attempt starts at most once, whatever is lost on the way.
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from architect_parallel.checks.checker import BaselineOrder
from architect_parallel.domain import Price, Reason, Status, WorkerSpec, WorktreeSettings
from architect_parallel.errors import ArchitectParallelError
from architect_parallel.events import WorkerFinished, WorkerPlaced
from architect_parallel.hosts.base import Emit, Target
from architect_parallel.hosts.link import HELLO_S, HostPlace, Link, LinkBroken
from architect_parallel.hosts.listening import Lane, Listener
from architect_parallel.hosts.shipping import Shipping, git_facts, origin_of
from architect_parallel.hosts.taking_over import reserve
from architect_parallel.hosts.wire import BUSY, EARLIER, REFUSED, GitFacts, HostInfo, Order, from_message, to_message
from architect_parallel.scheduling.retries import unstarted
from architect_parallel.system import clock
from architect_parallel.system.git import Repository

ORDERS_AT_ONCE = 8
START_S = 10.0
"""Seconds that a host has to answer an order. Without an answer the same order is sent again."""
AGAIN_S = 0.2
"""Seconds before a request is repeated."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteLaunch:
    """The things that all workers of a launch on other machines share."""

    repository: Repository
    run_dir: Path
    run_id: str
    epoch: int
    """Number of launches of the run, this one included."""
    timeout_s: float
    """A host that is silent for longer is lost."""
    worktrees: WorktreeSettings = field(default_factory=WorktreeSettings)
    checks_env: tuple[str, ...] = ()
    prices: Mapping[str, Price] = field(default_factory=dict)
    allow_secrets: bool = False
    described: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Name → the launcher's description of a backend that is not built in."""
    resolve_inputs: Callable[[WorkerSpec], WorkerSpec] = lambda spec: spec
    placed: Mapping[int, WorkerPlaced] = field(default_factory=dict)
    """Worker id → the place of its attempt, for attempts of earlier launches that have no end."""
    cursors: Mapping[str, int] = field(default_factory=dict)
    """Host id → the number of the newest recorded event of its journal."""


class RemoteHost:
    """Runs workers on the hosts of a link."""

    def __init__(self, link: Link, launch: RemoteLaunch, emit: Emit) -> None:
        self._link = link
        self._launch = launch
        self._emit = emit
        self._git: GitFacts = git_facts(launch.repository)
        self._origin = origin_of(launch.repository)
        self.shipping = Shipping(link, launch.repository, self._origin, self._git.object_format)
        self._lanes: dict[int, Lane] = {}
        """Worker id → its newest attempt."""
        self._wishes: dict[str, Lane] = {}
        """Key of a place → the attempt that it is for."""
        self._listeners: dict[str, Listener] = {}
        """Host id → the one that polls it."""
        self._unattached = set(launch.placed)
        self._changed = threading.Condition(threading.RLock())
        self._is_closed = False
        self._pool = ThreadPoolExecutor(ORDERS_AT_ONCE, thread_name_prefix="order")
        self._placing = threading.Thread(target=self._place, name="placing", daemon=True)
        self._placing.start()

    def start(self, spec: WorkerSpec) -> None:
        """See `Host.start`."""
        lane = Lane(spec=spec, place_key=f"{spec.run_id}/{spec.worker_id}-{spec.attempt}/{uuid.uuid4().hex[:8]}")
        with self._changed:
            self._lanes[spec.worker_id] = lane
            placed = self._launch.placed.get(spec.worker_id)
            if placed is not None and placed.attempt == spec.attempt:
                lane.placed, lane.is_durable, lane.was_sent = placed, True, True
                self._listener(placed).add(lane)
                self._unattached.discard(spec.worker_id)
                self._pool.submit(self._order, lane)
                if not self._unattached:  # a poll before that would lose events of those not registered yet
                    for listener in self._listeners.values():
                        listener.start()
                return
        self._ask_place(lane)

    def placed(self, worker_id: int, event: WorkerPlaced) -> None:
        """See `Host.placed`."""
        lane = self._lanes[worker_id]
        with self._changed:
            if lane.is_ended or lane.placed != event:
                return
            lane.is_durable = True
        self._pool.submit(self._order, lane)

    def attached(self) -> Collection[int]:
        """See `Host.attached`."""
        return self._launch.placed.keys()

    def check_base(self, order: BaselineOrder) -> None:
        """Not done here: see `SplitHost`."""
        raise NotImplementedError

    def stop(self, target: Target, reason: Reason, detail: str = "") -> None:
        """See `Host.stop`."""
        self._stop(target, reason, detail, kill=False)

    def kill(self, target: Target) -> None:
        """See `Host.kill`."""
        self._stop(target, Reason.CANCELED, "", kill=True)

    def close(self) -> None:
        """See `Host.close`."""
        with self._changed:
            while any(not lane.is_ended for lane in self._lanes.values()):
                self._changed.wait(1.0)
            self._is_closed = True
            listeners = list(self._listeners.values())
        for listener in listeners:
            listener.close()
        self._pool.shutdown(wait=True)
        self._link.close()
        self._placing.join()

    # Places

    def _ask_place(self, lane: Lane) -> None:
        with self._changed:
            if lane.is_ended or self._is_closed:
                return
            self._wishes[lane.place_key] = lane
        needs = {f"backend-{lane.spec.backend}": 1, **lane.spec.needs}
        self._link.ask_place(lane.place_key, needs, tuple(lane.refusals))

    def _place(self) -> None:
        while not self._is_closed:
            for place in self._link.granted(0.5):
                try:
                    self._take_place(place)
                except Exception:  # a bug must not end the placing of all others
                    _log.exception("place %s failed", place)

    def _take_place(self, place: HostPlace) -> None:
        with self._changed:
            lane = self._wishes.pop(place.key, None)
        if lane is None or lane.is_ended:
            self._link.give_back(place.key)
            return
        try:
            info = from_message(HostInfo, self._link.call(place.address, "hello", {}, HELLO_S))
        except (LinkBroken, ValueError):
            self._ask_again(lane)
            return
        event = WorkerPlaced(
            attempt=lane.spec.attempt,
            host=info.name,
            host_id=info.host_id,
            address=place.address,
            incarnation=place.incarnation,
        )
        with self._changed:
            if not lane.is_ended:
                lane.placed = event
                self._emit(lane.spec.worker_id, event)  # the runner calls `placed` when it is durable

    def _ask_again(self, lane: Lane) -> None:
        """Give the place of an attempt back, because nothing can have started there, and ask for another one."""
        self._link.give_back(lane.place_key)
        with self._changed:
            lane.placed, lane.is_durable = None, False
            lane.place_key = f"{lane.place_key.rpartition('/')[0]}/{uuid.uuid4().hex[:8]}"
        try:
            members = self._link.members()
        except LinkBroken:
            members = {}
        if members and members.keys() <= lane.refusals.keys():
            reasons = "; ".join(f"{members[address]}: {lane.refusals[address]}" for address in members)
            self._end(lane, Status.FAILED, Reason.SPAWN_FAILED, f"no host takes it: {reasons}")
        else:
            self._ask_place(lane)

    # Orders

    def _order(self, lane: Lane) -> None:
        try:
            self._send(lane)
        except ArchitectParallelError as error:
            self._end(lane, Status.FAILED, Reason.SPAWN_FAILED, str(error))
        except Exception as error:
            _log.exception("order of worker %s failed", lane.spec.worker_id)
            self._end(
                lane, Status.FAILED, Reason.SPAWN_FAILED, f"internal error: {type(error).__name__}: {error}", None
            )

    def _send(self, lane: Lane) -> None:
        """Send the order until the host has answered. Only its refusal or its loss ends this."""
        placed, launch = lane.placed, self._launch
        assert placed is not None
        if not lane.is_resolved:
            lane.spec, lane.is_resolved = launch.resolve_inputs(lane.spec), True
            if lane.spec.worker_id not in launch.placed:
                reserve(launch.repository, lane.spec)
        spec = lane.spec
        order = Order(
            origin=self._origin,
            epoch=launch.epoch,
            incarnation=placed.incarnation,
            place=lane.place_key,
            needs={f"backend-{spec.backend}": 1, **spec.needs},
            spec=spec,
            git=self._git,
            worktrees=replace(launch.worktrees, copy=(), link=()),
            checks_env=launch.checks_env,
            prices=launch.prices,
            allow_secrets=launch.allow_secrets,
            backend=launch.described.get(spec.backend),
        )
        message = {"order": to_message(order)}
        with self._changed:
            listener = self._listener(placed)
            listener.add(lane)
            if not self._unattached:
                listener.start()
        while not lane.is_ended:
            if lane.stop is not None and not lane.was_sent:
                self._end(lane, *lane.stopped)
                return
            try:
                self.shipping.bring(placed.address, placed.host_id, spec.base_commit)
                lane.was_sent = True  # from now on it may run
                reply = self._link.call(placed.address, "start", message, START_S)
            except LinkBroken:
                clock.pause(AGAIN_S)
                continue
            if REFUSED not in reply:
                lane.is_ordered = True
                if lane.stop is not None:
                    self._pool.submit(self._send_stop, lane)
                return
            if not reply.get(BUSY) and not reply.get(EARLIER):
                lane.refusals[placed.address] = str(reply[REFUSED])
            listener.remove(lane)
            lane.was_sent = False
            if reply.get(BUSY):
                clock.pause(AGAIN_S)
            self._ask_again(lane)
            return

    def _listener(self, placed: WorkerPlaced) -> Listener:
        listener = self._listeners.get(placed.host_id)
        if listener is None:
            listener = self._listeners[placed.host_id] = Listener(
                link=self._link,
                launch_id=(self._origin, self._launch.run_id, self._launch.epoch),
                repository=self._launch.repository,
                run_dir=self._launch.run_dir,
                timeout_s=self._launch.timeout_s,
                emit=self._emit,
                on_end=self._on_end,
                placed=placed,
                after=self._launch.cursors.get(placed.host_id, 0),
            )
        listener.placed = placed
        return listener

    # Stops and ends

    def _stop(self, target: Target, reason: Reason, detail: str, *, kill: bool) -> None:
        lane = self._lanes.get(target) if isinstance(target, int) else None
        if lane is None or lane.is_ended:
            return
        with self._changed:
            lane.stop = lane.stop or (reason, detail)
            lane.is_killed = lane.is_killed or kill
            waits = not lane.is_durable
        if waits:
            self._end(lane, *lane.stopped)
        elif lane.is_ordered:
            self._pool.submit(self._send_stop, lane)

    def _send_stop(self, lane: Lane) -> None:
        reason, detail = lane.stop or (Reason.CANCELED, "")
        while not lane.is_ended and lane.placed is not None:
            message = {
                "origin": self._origin,
                "run_id": self._launch.run_id,
                "epoch": self._launch.epoch,
                "key": lane.key,
                "reason": reason.value,
                "detail": detail,
                "kill": lane.is_killed,
            }
            try:
                self._link.call(lane.placed.address, "stop", message, START_S)
                return
            except LinkBroken:
                clock.pause(AGAIN_S)

    def _end(self, lane: Lane, status: Status, reason: Reason, error: str | None, cost: float | None = 0.0) -> None:
        """End an attempt whose agent has not started."""
        with self._changed:
            if lane.is_ended:
                return
            lane.is_ended = True
            result = replace(unstarted(lane.spec, status, reason), error=error, cost=cost)
            self._emit(lane.spec.worker_id, WorkerFinished(result=result, retryable=False))
        self._on_end(lane)

    def _on_end(self, lane: Lane) -> None:
        self._link.give_back(lane.place_key)
        with self._changed:
            self._wishes.pop(lane.place_key, None)
            self._changed.notify_all()
