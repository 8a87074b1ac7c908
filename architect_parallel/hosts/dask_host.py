"""The sides of `dask://` that are not the launcher: a host as a member of a Dask cluster, and the scheduler.

The host process owns the agents. Its Dask worker is only its way to the cluster: it is made anew when the scheduler
goes away. A place task holds one place of the worker and tells its launcher which host process it runs in. No agent is
a Dask task.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from architect_parallel.hosts.dask_setup import (
    BLOCKED_ON_HOSTS,
    BLOCKED_ON_SCHEDULER,
    VERB,
    cause_of,
    load_distributed,
    reason_of,
    require_listener,
)
from architect_parallel.hosts.stdio import Service
from architect_parallel.hosts.wire import HostInfo, from_message, pack, unpack
from architect_parallel.system.files import replace_file

PAUSE_S = 1.0
"""Seconds between two attempts to join."""
LOOK_S = 0.5
"""Seconds between two looks of a place task at the host."""


class DaskHost:
    """A host's membership, from `start` to `close`, over any number of schedulers' lives."""

    def __init__(
        self,
        service: Service,
        address: str,
        security: Any,
        port_file: Path,
        on_joined: Callable[[], None],
        on_lost: Callable[[str], None],
    ) -> None:
        """Args:
        address: Of the scheduler, as `dask_setup.engine_address` has it.
        security: From `dask_setup.security`.
        port_file: Keeps the port, so that a host that is started again has the address that launchers know.
        on_joined: Called each time that the host is a member.
        on_lost: Called with the reason each time that it is none any more, or could not become one.
        """
        self._service = service
        self._address = address
        self._security = security
        self._port_file = port_file
        self._on_joined = on_joined
        self._on_lost = on_lost
        self._info = from_message(HostInfo, service.handle("hello", {}))
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._stay()), name="dask")

    def start(self) -> None:
        """Join and stay a member until `close`."""
        self._thread.start()

    def close(self) -> None:
        """Leave the cluster."""
        self._stopped.set()
        self._thread.join()

    async def _stay(self) -> None:
        distributed = load_distributed("architect host join")
        port = self._known_port()
        with tempfile.TemporaryDirectory(prefix="architect-dask-") as directory:
            while not self._stopped.is_set():
                try:
                    await asyncio.to_thread(require_listener, self._address)
                    worker = self._worker(distributed, directory, port)
                    async with asyncio.timeout(30):
                        await worker
                except Exception as error:  # whatever Dask raises: a host that gave up would hold its agents for nobody
                    if getattr(cause_of(error), "errno", None) == errno.EADDRINUSE:
                        port = 0
                    self._on_lost(reason_of(error))
                    await self._pause()
                    continue
                if worker.port != port:
                    port = worker.port
                    replace_file(self._port_file, str(port).encode())
                self._on_joined()
                await self._while_member(worker)
                if not self._stopped.is_set():
                    self._on_lost("the scheduler has gone")
                    await self._pause()

    def _known_port(self) -> int:
        """The port that this root had last. 0 means any that is free."""
        try:
            return int(self._port_file.read_text())
        except (OSError, ValueError):
            return 0

    def _worker(self, distributed: Any, directory: str, port: int) -> Any:
        worker = distributed.Worker(
            self._address,
            nthreads=self._info.slots,
            name=f"{self._info.name}/{self._info.incarnation[:8]}",
            resources=dict(self._info.resources),
            security=self._security,
            port=port,
            memory_limit=0,
            dashboard=False,
            local_directory=directory,
            blocked_handlers=list(BLOCKED_ON_HOSTS),
            death_timeout=20,
        )
        worker.handlers[VERB] = self._handle
        worker.architect_places = PlacesHere(self._service, self._info.incarnation)
        return worker

    async def _handle(self, data: bytes) -> bytes:
        request = unpack(data)
        return pack(await asyncio.to_thread(self._service.handle, request["verb"], request["message"]))

    async def _while_member(self, worker: Any) -> None:
        finished = asyncio.ensure_future(worker.finished())
        while not finished.done() and not self._stopped.is_set():
            await asyncio.wait([finished], timeout=0.1)
        finished.cancel()
        with contextlib.suppress(Exception):
            await worker.close(timeout=2, executor_wait=False)

    async def _pause(self) -> None:
        await asyncio.to_thread(self._stopped.wait, PAUSE_S)


class PlacesHere:
    """The place tasks that run in this process."""

    def __init__(self, service: Service, incarnation: str) -> None:
        self._service = service
        self._incarnation = incarnation
        self._granted: dict[str, Mapping[str, int]] = {}

    async def hold(self, worker: Any, task: str, key: str, needs: Mapping[str, int], topic: str) -> None:
        """Wait for room, tell the launcher, and hold the place while the task is wanted or its order runs."""
        while key not in self._granted:
            if not _is_wanted(worker, task):
                return
            info = await self._look()
            # After the scheduler was started again, Dask knows nothing of the orders that run here.
            if all(amount <= self._free(info, name) for name, amount in needs.items()):
                self._granted[key] = needs
            else:
                await asyncio.sleep(LOOK_S)
        try:
            grant = {"key": key, "task": task, "address": worker.address, "incarnation": self._incarnation}
            worker.log_event(topic, grant)
            while _is_wanted(worker, task) or key in (await self._look()).places:
                await asyncio.sleep(LOOK_S)
        finally:
            self._granted.pop(key, None)

    async def _look(self) -> HostInfo:
        return from_message(HostInfo, await asyncio.to_thread(self._service.handle, "hello", {}))

    def _free(self, info: HostInfo, name: str) -> int:
        """The free amount of a resource, less the places that were granted and whose orders did not arrive yet."""
        coming = sum(needs.get(name, 0) for key, needs in self._granted.items() if key not in info.places)
        return info.free.get(name, 0) - coming


def _is_wanted(worker: Any, task: str) -> bool:
    state = worker.state.tasks.get(task)
    return state is not None and state.state == "executing"


async def hold_place(task: str, key: str, needs: Mapping[str, int], topic: str) -> None:
    """The place task. Dask imports it by name on a host. Anywhere else it fails at once."""
    import distributed

    worker: Any = distributed.get_worker()
    await worker.architect_places.hold(worker, task, key, needs, topic)


async def serve_scheduler(
    host: str, port: int, security: Any, on_listening: Callable[[str, int, str | None], None], stopped: threading.Event
) -> None:
    """Run a Dask scheduler until `stopped` is set.

    Args:
        on_listening: Called with its host, its port, and the address of the dashboard. `None` means that there is none.

    Raises:
        OSError: The address cannot be had.
    """
    import importlib.util

    distributed = load_distributed("architect host serve")
    has_dashboard = importlib.util.find_spec("bokeh") is not None
    async with distributed.Scheduler(
        host=host,
        port=port,
        protocol="tcp" if security is None else "tls",
        security=security,
        dashboard=has_dashboard,
        dashboard_address="127.0.0.1:8787" if has_dashboard else "127.0.0.1:0",
        blocked_handlers=list(BLOCKED_ON_SCHEDULER),
    ) as scheduler:
        dashboard = f"http://127.0.0.1:{scheduler.http_server.port}/status" if has_dashboard else None
        on_listening(host, scheduler.port, dashboard)
        while not stopped.is_set():
            await asyncio.sleep(0.1)
