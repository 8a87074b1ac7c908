"""The launcher's side of `dask://`: members, requests through the scheduler, and places that Dask grants.

A place is claimed by a task that asks for the resource `agent` and the labels (`dask_host.hold_place`). Never more of
them are submitted than there are free places: Dask assigns such a task to a host at once and does not move it when
another host joins. If Dask runs a place task again, only a place is claimed twice, and the second claim is given back.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import queue
import threading
import time
import uuid
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from architect_parallel.errors import EnvironmentProblem
from architect_parallel.hosts.dask_host import hold_place
from architect_parallel.hosts.dask_setup import (
    CONNECT_S,
    VERB,
    engine_address,
    load_distributed,
    reason_of,
    require_listener,
    security,
)
from architect_parallel.hosts.link import HostPlace, LinkBroken, LinkOptions, ask_all
from architect_parallel.hosts.wire import AGENT, Message, pack, unpack

LOOK_S = 1.0
"""Seconds between two looks at the members and their free places."""
STALE_S = 3.0
"""Seconds after which a claim that waits at a busy host is made again, if another host has room."""


def open_link(url: str, options: LinkOptions) -> DaskLink:
    """See `link.open_link`."""
    distributed = load_distributed("--hosts")
    address = engine_address(url, options)
    keys = security(options, distributed)

    def connect() -> Any:
        require_listener(address)
        return distributed.Client(
            address, security=keys, timeout=CONNECT_S, set_as_default=False, name="architect", heartbeat_interval=5000
        )

    try:
        return DaskLink(connect)
    except (OSError, TimeoutError, ValueError, RuntimeError) as error:
        raise EnvironmentProblem(
            f"{url} cannot be reached: {reason_of(error)}",
            hint=f"architect host serve --listen {address.partition('//')[2]}",
        ) from error


@dataclass(frozen=True, slots=True)
class _Claim:
    """A place that is asked for."""

    key: str
    needs: Mapping[str, int]
    avoid: frozenset[str]
    task: str = ""
    """Name of its task. Empty means that none is submitted."""
    future: Any = None
    submitted_at: float = 0.0
    is_granted: bool = False


class DaskLink:
    """See `Link`."""

    def __init__(self, connect: Callable[[], Any]) -> None:
        self._connect = connect
        self._topic = f"architect-{uuid.uuid4().hex}"
        self._numbers = itertools.count(1)
        self._claims: dict[str, _Claim] = {}
        self._grants: queue.SimpleQueue[Mapping[str, Any] | None] = queue.SimpleQueue()
        self._lock = threading.RLock()
        self._members: tuple[float, Mapping[str, str]] = (float("-inf"), {})
        self._looked_at = float("-inf")
        self._is_closed = False
        self._client = connect()
        self._comm = self._client.scheduler_comm
        self._client.subscribe_topic(self._topic, self._hear)

    def members(self) -> Mapping[str, str]:
        """See `Link.members`."""
        asked_at, members = self._members
        if time.monotonic() - asked_at >= LOOK_S:
            identity = self._ask(lambda client: client.scheduler.identity(n_workers=-1), CONNECT_S)
            # A cluster may have workers that are no hosts of ours.
            members = {
                address: str(worker["name"]).rpartition("/")[0]
                for address, worker in identity["workers"].items()
                if AGENT in worker.get("resources", {})
            }
            self._members = (time.monotonic(), members)
        return members

    def call(self, address: str, verb: str, message: Message, timeout_s: float) -> Message:
        """See `Link.call`."""
        request = {"op": VERB, "data": pack({"verb": verb, "message": message})}
        data = self._ask(lambda client: client.scheduler.proxy(worker=address, msg=request), timeout_s)
        try:
            return unpack(data)
        except (TypeError, ValueError) as error:
            raise LinkBroken(f"{address}: no reply of a host") from error

    def ask_place(self, key: str, needs: Mapping[str, int], avoid: Collection[str] = ()) -> None:
        """See `Link.ask_place`."""
        with self._lock:
            self._claims[key] = _Claim(key, {AGENT: 1, **needs}, frozenset(avoid))
        self._grants.put(None)

    def give_back(self, key: str) -> None:
        """See `Link.give_back`."""
        with self._lock:
            claim = self._claims.pop(key, None)
        if claim is not None and claim.future is not None:
            claim.future.release()
            self._looked_at = float("-inf")

    def granted(self, wait_s: float) -> Sequence[HostPlace]:
        """See `Link.granted`."""
        deadline = time.monotonic() + wait_s
        places: list[HostPlace] = []
        while not places and not self._is_closed:
            with contextlib.suppress(LinkBroken):
                self._submit()
            left = deadline - time.monotonic()
            with contextlib.suppress(queue.Empty):
                grant = self._grants.get(timeout=max(0.0, min(left, LOOK_S)))
                places += self._taken(grant)
                while True:
                    places += self._taken(self._grants.get_nowait())
            if left <= 0:
                break
        return places

    def close(self) -> None:
        """See `Link.close`."""
        with self._lock:
            self._is_closed = True
            self._grants.put(None)
            self._claims.clear()
            _end(self._client)

    def _taken(self, grant: Mapping[str, Any] | None) -> list[HostPlace]:
        """The place of a grant, unless the claim was given back, made again, or granted before."""
        if grant is None:
            return []
        with self._lock:
            claim = self._claims.get(str(grant["key"]))
            if claim is None or claim.is_granted or claim.task != grant["task"]:
                return []
            self._claims[claim.key] = replace(claim, is_granted=True)
        return [HostPlace(key=claim.key, address=str(grant["address"]), incarnation=str(grant["incarnation"]))]

    def _hear(self, event: tuple[float, Mapping[str, Any]]) -> None:
        self._grants.put(event[1])

    def _submit(self) -> None:
        """Submit what fits into the free places. Make claims again that wait at a busy host."""
        client = self._living()
        now = time.monotonic()
        with self._lock:
            waiting = [claim for claim in self._claims.values() if not claim.is_granted]
        if not waiting or now - self._looked_at < LOOK_S:
            return
        self._looked_at = now
        infos = ask_all(self.members(), self.call)
        free = {address: dict(info.free) for address, info in infos.items()}
        with self._lock:
            for claim in [claim for claim in waiting if self._claims.get(claim.key) == claim]:
                fitting = [
                    address
                    for address, room in free.items()
                    if address not in claim.avoid
                    and all(room.get(name, 0) >= amount for name, amount in claim.needs.items())
                ]
                if not fitting or (claim.future is not None and now - claim.submitted_at < STALE_S):
                    continue
                # Only for the count: Dask decides.
                address = max(fitting, key=lambda name: free[name].get(AGENT, 0))
                for name, amount in claim.needs.items():
                    free[address][name] -= amount
                self._claims[claim.key] = self._submitted(client, claim, infos.keys() - claim.avoid)

    def _submitted(self, client: Any, claim: _Claim, allowed: Collection[str]) -> _Claim:
        if claim.future is not None:
            claim.future.release()
        task = f"{claim.key} #{next(self._numbers)} {uuid.uuid4().hex[:8]}"
        future = client.submit(
            hold_place,
            task,
            claim.key,
            dict(claim.needs),
            self._topic,
            key=task,
            resources=dict(claim.needs),
            workers=sorted(allowed) if claim.avoid else None,
            retries=0,
            pure=False,
        )
        return replace(claim, task=task, future=future, submitted_at=time.monotonic())

    def _ask(self, request: Callable[[Any], Coroutine[Any, Any, Any]], timeout_s: float) -> Any:
        """Do a request in the loop of the client.

        Raises:
            LinkBroken: There was no answer in time.
        """
        client = self._living()
        loop = client.loop.asyncio_loop

        async def ask() -> Any:
            return await request(client)

        try:
            future = asyncio.run_coroutine_threadsafe(ask(), loop)
        except RuntimeError as error:
            raise LinkBroken("the connection to the scheduler is closed") from error
        try:
            return future.result(timeout_s)
        except TimeoutError as error:
            future.cancel()
            raise LinkBroken(f"no answer within {timeout_s:g} s") from error
        except Exception as error:
            raise LinkBroken(reason_of(error)) from error

    def _living(self) -> Any:
        """The client, a new one if it lost the scheduler. The claims without a grant are then made again."""
        with self._lock:
            client = self._client
            if self._is_closed:
                raise LinkBroken("the link is closed")
            if client.status == "running" and client.scheduler_comm is self._comm:
                return client
            _end(client)
            try:
                self._client = self._connect()
            except (OSError, TimeoutError, ValueError, RuntimeError) as error:
                raise LinkBroken(f"the scheduler cannot be reached: {reason_of(error)}") from error
            self._comm = self._client.scheduler_comm
            self._client.subscribe_topic(self._topic, self._hear)
            for key, claim in self._claims.items():
                # The place tasks went with the scheduler. The hosts count the orders that run.
                is_open = not claim.is_granted
                self._claims[key] = replace(claim, future=None, task="" if is_open else claim.task)
            return self._client


def _end(client: Any) -> None:
    with contextlib.suppress(Exception):
        client.close(timeout=2)
