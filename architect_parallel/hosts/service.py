"""The side of a host: it takes orders, runs them as workers of its machine, and keeps the results until they are taken.

`HostService.handle` is everything that a link calls, from any thread. It never raises: a reply with `refused` says in
words why nothing was done. `busy` in such a reply means that it may be done later. The verbs:

| verb | message | reply |
|---|---|---|
| `hello` | | the fields of `HostInfo` |
| `bases` | `origin` | `bases`: the commits that the host has |
| `base` | `origin`, `commit`, `object_format`, `offset`, `data`, `total`, `digest` | `size`: the next part's offset |
| `start` | `order` | `state`: `started`, or `running` or `ended` for an order that it has already |
| `poll` | `origin`, `run_id`, `epoch`, `after`, `wait_s` | ids, `events`, `lines`, `orders`, `broken` |
| `read` | `origin`, `run_id`, `key`, `what`, `offset` | `size` and `data`. Without such a file the size is null |
| `stop` | `origin`, `run_id`, `epoch`, `key`, `reason`, `detail`, `kill` | `state` |
| `taken` | `origin`, `run_id`, `keys` | `state` |
| `finish` | `origin`, `run_id`, `epoch` | `state` |
"""

from __future__ import annotations

import contextlib
import logging
import platform
import re
import threading
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from architect_parallel._version import __version__
from architect_parallel.backends.command import command_backend
from architect_parallel.backends.registry import load_backends
from architect_parallel.config.paths import home_dir
from architect_parallel.config.settings import load_settings
from architect_parallel.containment.probe import prober
from architect_parallel.domain import BackendSettings, Reason, SandboxLevel
from architect_parallel.errors import ArchitectParallelError, EnvironmentProblem
from architect_parallel.hosts.hosted_run import HostedRun
from architect_parallel.hosts.mirror import CHUNK_BYTES, Mirror
from architect_parallel.hosts.wire import (
    AGENT,
    BUSY,
    EARLIER,
    PROTOCOL,
    REFUSED,
    HostInfo,
    Message,
    Order,
    from_message,
    to_message,
)
from architect_parallel.system import machine
from architect_parallel.system.files import HeldLock, replace_file
from architect_parallel.system.git import version

LONGEST_WAIT_S = 30.0
DELIVERY_S = 60.0
"""How long a host that stops waits for launchers to take the results."""
_NAME = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,127}")
_log = logging.getLogger(__name__)


class HostService:
    """One host process."""

    def __init__(
        self, root: Path, slots: int, name: str, environ: Mapping[str, str], labels: Mapping[str, int] | None = None
    ) -> None:
        """Args:
        root: The host's directory. It is made if it is missing, and locked while the service lives.
        slots: Agents that may run at the same time.
        environ: The host's environment. Agents get what their allow-lists name.
        labels: Further resources, such as `{"gpu": 1}`. `None` means none.

        Raises:
            EnvironmentProblem: Another process uses the root, or it cannot be used.
        """
        self._root, self._slots, self._name, self._environ = root, slots, name, dict(environ)
        self._labels = dict(labels or {})
        self._incarnation = uuid.uuid4().hex
        self._lock = threading.RLock()
        self._is_draining = False
        self._places: dict[str, Mapping[str, int]] = {}
        """Key of a place that a running order holds → its needs."""
        self._untaken = threading.Condition(self._lock)
        try:
            root.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = HeldLock.try_acquire(root / "lock")
            if lock is None:
                raise EnvironmentProblem(f"another host process uses {root}", hint="--root OTHER-DIRECTORY")
            self._held = lock
            self._host_id = self._read_id()
        except OSError as error:
            raise EnvironmentProblem(f"{root} cannot be used: {error.strerror}", hint="--root DIRECTORY") from error
        settings = load_settings(None, None, self._environ, home_dir())
        self._backends = load_backends(settings, self._environ)
        self._runs: dict[tuple[str, str], HostedRun] = {}
        for folder in sorted(root.glob("*/runs/*/")):
            run = self._run(folder.parent.parent.name, folder.name)
            try:
                run.open()
            except (ArchitectParallelError, OSError):
                _log.exception("run %s cannot be read", folder)

    def handle(self, verb: str, message: Message) -> Message:
        """Do what a launcher asks and return the reply."""
        try:
            match verb:
                case "hello":
                    return to_message(self._info())
                case "start":
                    return self._start(from_message(Order, message["order"]))
                case "bases":
                    return {"bases": self._mirror(message["origin"]).bases()}
                case "base":
                    return self._take_base(message)
            run = self._run(message["origin"], message["run_id"])
            match verb:
                case "poll" | "stop" | "finish" if not run.is_current(int(message["epoch"])):
                    return {REFUSED: "a later launch of the run has taken over"}
                case "poll":
                    wait_s = min(float(message["wait_s"]), LONGEST_WAIT_S)
                    reply = run.poll(message["run_id"], int(message["after"]), wait_s)
                    return {"incarnation": self._incarnation, "host_id": self._host_id, **reply}
                case "read":
                    return _read(run.file(message["key"], message["what"]), int(message["offset"]))
                case "taken":
                    return self._taken(run, message["keys"])
                case "stop":
                    reason, detail = Reason(message["reason"]), str(message["detail"])
                    run.stop(message["key"], reason, detail, kill=bool(message["kill"]))
                    return {"state": "stopping"}
                case "finish":
                    return self._finish(run)
            return {REFUSED: f"unknown verb {verb!r}"}
        except (ArchitectParallelError, OSError) as error:
            return {REFUSED: str(error)}
        except (ValueError, KeyError, TypeError) as error:
            return {REFUSED: f"the message does not fit: {error!r}"}

    def drain(self) -> None:
        """Take nothing more, stop the agents politely, collect their work, and wait for launchers to take it.

        Agents that have not ended after `DELIVERY_S` are killed. `handle` answers until `close`.
        """
        with self._lock:
            self._is_draining = True
            runs = list(self._runs.values())
        for kill in (False, True):
            for run in runs:
                for key in list(run.orders):
                    run.stop(key, Reason.INTERRUPTED, f"the host {self._name} stops", kill=kill)
            with self._untaken:
                if self._untaken.wait_for(lambda: not self._places, DELIVERY_S):
                    break
        with self._untaken:
            self._untaken.wait_for(lambda: not self._undelivered(), DELIVERY_S)

    def close(self) -> None:
        """Release the root. Agents that still run are stopped."""
        with self._lock:
            self._is_draining = True
            runs = list(self._runs.values())
        for run in runs:
            for key in list(run.orders):
                run.stop(key, Reason.INTERRUPTED, f"the host {self._name} stops", kill=True)
            run.close()
        self._held.release()

    def _read_id(self) -> str:
        file = self._root / "id"
        if not file.is_file():
            replace_file(file, uuid.uuid4().hex.encode())
        return file.read_text().strip()

    def _mirror(self, origin: str) -> Mirror:
        if not _NAME.fullmatch(origin):
            raise ValueError("no origin")
        return Mirror(self._root / origin)

    def _run(self, origin: str, run_id: str) -> HostedRun:
        mirror = self._mirror(origin)
        if not _NAME.fullmatch(run_id):
            raise ValueError("no run")
        with self._lock:
            if (origin, run_id) not in self._runs:
                self._runs[origin, run_id] = HostedRun(
                    mirror.folder / "runs" / run_id, mirror, dict(self._backends), self._environ, self._on_end
                )
            return self._runs[origin, run_id]

    def _info(self) -> HostInfo:
        missing = {name: backend.availability(self._environ).missing for name, backend in self._backends.items()}
        ready = {f"backend-{name}": self._slots for name, problem in missing.items() if problem is None}
        resources = {AGENT: self._slots, **ready, **self._labels}
        with self._lock:
            free = dict(resources)
            for needs in self._places.values():
                for name, amount in needs.items():
                    free[name] = free.get(name, 0) - amount
            places, undelivered = tuple(self._places), tuple(self._undelivered())
            if self._is_draining:
                free[AGENT] = 0
        return HostInfo(
            name=self._name,
            host_id=self._host_id,
            incarnation=self._incarnation,
            protocol=PROTOCOL,
            version=__version__,
            slots=self._slots,
            resources=resources,
            free=free,
            places=places,
            backends={name: problem or "" for name, problem in missing.items()},
            python=platform.python_version(),
            git=".".join(map(str, version())),
            system=platform.system(),
            proves_emptiness=platform.system() == "Linux",
            sandbox_levels=tuple(level.value for level in SandboxLevel),
            free_memory_bytes=machine.free_memory_bytes(),
            free_disk_bytes=machine.free_disk_bytes(self._root),
            undelivered=undelivered,
        )

    def _start(self, order: Order) -> Message:
        """Start an order once. The claim is made under the lock, before anything of it runs."""
        run = self._run(order.origin, order.spec.run_id)
        with self._lock:
            if not run.is_current(order.epoch):
                return {REFUSED: "a later launch of the run has taken over"}
            if order.key in run.orders:
                return {"state": "ended" if order.key in run.ended else "running"}
            if order.incarnation != self._incarnation:
                return {REFUSED: "the order is for an earlier process of this host", EARLIER: True}
            needs = {AGENT: 1, **order.needs}
            if (problem := self._problem(run, order, needs)) is not None:
                return problem
            self._places[order.place] = needs
            try:
                run.start(order)
            except BaseException:
                if order.key not in run.orders:
                    del self._places[order.place]
                raise
        return {"state": "started"}

    def _problem(self, run: HostedRun, order: Order, needs: Mapping[str, int]) -> dict[str, Any] | None:
        """The reason why a new order cannot start here. `None` means that it can."""
        info, spec = self._info(), order.spec
        if self._is_draining:
            return {REFUSED: "the host stops", BUSY: True}
        if any(run.orders[key].spec.worker_id == spec.worker_id for key in run.orders.keys() - run.ended):
            return {REFUSED: "an earlier attempt of the worker still runs here", BUSY: True}
        if order.backend is not None and spec.backend not in self._backends:
            described = from_message(BackendSettings, order.backend)
            run.backends = {**run.backends, spec.backend: command_backend(spec.backend, described, self._environ)}
        backend = run.backends.get(spec.backend)
        if backend is None:
            return {REFUSED: f"there is no backend {spec.backend!r}"}
        if (missing := backend.availability(self._environ, model=spec.model).missing) is not None:
            return {REFUSED: f"backend {spec.backend} cannot run: {missing}"}
        if lacking := [name for name in needs if info.resources.get(name, 0) < needs[name]]:
            return {REFUSED: f"it has no {lacking[0]}"}
        if any(info.free[name] < amount for name, amount in needs.items()):
            return {REFUSED: "every place is taken", BUSY: True}
        if spec.sandbox.is_contained:
            problem = prober(self._environ)(spec.sandbox.mechanism)
            if problem is not None:
                return {REFUSED: f"it cannot contain an agent by {spec.sandbox.mechanism}: {problem}"}
        if spec.base_commit not in self._mirror(order.origin).bases():
            return {REFUSED: f"it lacks the base {spec.base_commit[:12]}", BUSY: True}
        minimum = load_settings(None, None, self._environ, home_dir()).parallel.min_free_disk
        if (info.free_disk_bytes or 0) < minimum:
            return {REFUSED: f"its disk has {(info.free_disk_bytes or 0) >> 20} MiB left"}
        return None

    def _take_base(self, message: Message) -> Message:
        mirror = self._mirror(message["origin"])
        with self._lock:
            size = mirror.take(
                str(message["commit"]),
                str(message["object_format"]),
                int(message["offset"]),
                message["data"],
                int(message["total"]),
                str(message["digest"]),
            )
        return {"size": size}

    def _on_end(self, place: str) -> None:
        # In the thread of a worker that may hold its run's condition: nothing is taken here but this lock.
        with self._untaken:
            self._places.pop(place, None)
            self._untaken.notify_all()

    def _taken(self, run: HostedRun, keys: list[str]) -> Message:
        with self._untaken:
            for key in keys:
                if key in run.ended:
                    run.mark_taken(key)
            self._untaken.notify_all()
        return {"state": "taken"}

    def _finish(self, run: HostedRun) -> Message:
        if run.orders.keys() - run.ended:
            return {REFUSED: "an agent of the run still runs", BUSY: True}
        run.remove()
        return {"state": "finished"}

    def _undelivered(self) -> list[tuple[str, int]]:
        return [
            (order.spec.run_id, order.spec.worker_id)
            for run in self._runs.values()
            for key, order in run.orders.items()
            if key in run.ended and key not in run.taken
        ]


def _read(path: Path | None, offset: int) -> Message:
    if path is None:
        return {"size": None, "data": b""}
    with contextlib.closing(path.open("rb")) as stream:
        size = path.stat().st_size
        stream.seek(min(offset, size))
        return {"size": size, "data": stream.read(CHUNK_BYTES)}
