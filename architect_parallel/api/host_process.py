"""`architect host`: the processes of a cluster: hosts by ssh or Dask, and the Dask scheduler."""

from __future__ import annotations

import asyncio
import os
import queue
import signal
import socket
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from architect_parallel.config.paths import home_dir, user_state_dir
from architect_parallel.errors import EnvironmentProblem, UsageError
from architect_parallel.hosts.link import LinkOptions
from architect_parallel.hosts.service import HostService
from architect_parallel.system import machine
from architect_parallel.system.files import make_private_dir
from architect_parallel.system.signals import forwarded
from architect_parallel.system.ssh import start_detached
from architect_parallel.text.names import read_label
from architect_parallel.text.quantities import parse_count, read_count

MEMORY_BYTES = 2 << 30
"""Memory for each agent, and for the rest of the machine, behind the default number of places."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostOptions:
    """A host as its user described it."""

    root: Path
    slots: int
    name: str
    labels: Mapping[str, int]


def host_options(root: Path | None, slots: str | None, name: str | None, labels: Sequence[str] | None) -> HostOptions:
    """Read the options of a host.

    Raises:
        UsageError: One is wrong.
        EnvironmentProblem: The root cannot be made.
    """
    counts: dict[str, int] = {}
    for text in labels or ():
        label, _, count = text.partition("=")
        try:
            counts[read_label(label)] = read_count(count or "1")
        except ValueError as error:
            raise UsageError(f"--label {text!r}: {error}", hint="--label gpu=1") from None
    chosen = name or socket.gethostname()
    if "/" in chosen or not chosen.isprintable():
        raise UsageError(f"--name {chosen!r}: must be text without '/'")
    return HostOptions(
        root=make_private_dir((root or user_state_dir(os.environ, home_dir()) / "host").absolute()),
        slots=default_slots() if slots is None else parse_count(slots, "--slots"),
        name=chosen,
        labels=counts,
    )


def default_slots() -> int:
    """The number of agents that this machine runs at the same time: by processors and memory, at least 1."""
    return max(1, min(machine.processors(), (machine.memory_bytes() - MEMORY_BYTES) // MEMORY_BYTES))


def serve_stdio(options: HostOptions, argv: Sequence[str]) -> None:
    """Relay the standard streams to the host process of the root. Start one if none is there.

    Args:
        argv: The command that starts the host process (`keep_host`).

    Raises:
        EnvironmentProblem: No host process can be started.
    """
    from architect_parallel.hosts.stdio import relay

    relay(options.root, lambda: start_detached([sys.executable, *argv], options.root / "host.log"))


def keep_host(options: HostOptions) -> None:
    """Be the host process of a root: answer its relays until nothing is to be done. SIGTERM drains it."""
    from architect_parallel.hosts.stdio import SocketServer

    service = _service(options)
    server = SocketServer(service, options.root)
    stopped = threading.Event()
    arrived: queue.SimpleQueue[signal.Signals] = queue.SimpleQueue()

    def drain() -> None:
        arrived.get()
        try:
            service.drain()
        finally:  # a host that cannot drain must end all the same
            stopped.set()

    try:
        with forwarded(arrived.put):
            threading.Thread(target=drain, name="drain", daemon=True).start()
            server.serve(stopped)
    finally:
        server.close()
        service.close()


def join(url: str, options: HostOptions, link_options: LinkOptions, say: Callable[[str], None]) -> None:
    """Be a host of a Dask cluster until a signal arrives. The first one drains it, the second one ends it.

    Raises:
        UsageError: The URL is wrong.
        EnvironmentProblem: Dask or a certificate is missing.
    """
    from architect_parallel.hosts.dask_host import DaskHost
    from architect_parallel.hosts.dask_setup import engine_address, load_distributed, security

    address = engine_address(url, link_options, "architect host join")
    keys = security(link_options, load_distributed("architect host join"), "worker")
    service = _service(options)
    problems: list[str] = []

    def joined() -> None:
        problems.clear()
        say(f"joined {url} as {options.name} ({options.slots} places)")

    def lost(reason: str) -> None:
        if problems[-1:] != [reason]:
            say(f"{url}: {reason}; trying again")
        problems.append(reason)

    def drain() -> None:
        try:
            service.drain()
        finally:  # a host that cannot drain must end all the same
            arrived.put(signal.SIGTERM)

    host = DaskHost(service, address, keys, options.root / "port", joined, lost)
    arrived: queue.SimpleQueue[signal.Signals] = queue.SimpleQueue()
    with forwarded(arrived.put):
        host.start()
        try:
            arrived.get()
            say("draining: stopping agents and keeping their work; once more to end at once")
            threading.Thread(target=drain, name="drain", daemon=True).start()
            arrived.get()
        finally:
            host.close()
            service.close()


def serve_scheduler(listen: str, link_options: LinkOptions, say: Callable[[str], None]) -> None:
    """Run a Dask scheduler until a signal arrives.

    Raises:
        UsageError: `listen` is not `HOST:PORT`.
        EnvironmentProblem: Dask or a certificate is missing, or the address cannot be had.
    """
    from architect_parallel.hosts import dask_host
    from architect_parallel.hosts.dask_setup import load_distributed, reason_of, security

    host, colon, port = listen.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise UsageError(f"--listen {listen}: not HOST:PORT", hint="--listen 0.0.0.0:8786")
    keys = security(link_options, load_distributed("architect host serve"), "scheduler")
    machine.raise_open_files_limit()
    stopped = threading.Event()

    def on_listening(host: str, port: int, dashboard: str | None) -> None:
        say(f"listening on dask://{host}:{port}")
        if dashboard is not None:
            say(f"dashboard on {dashboard}")

    with forwarded(lambda number: stopped.set()):
        try:
            asyncio.run(dask_host.serve_scheduler(host, int(port), keys, on_listening, stopped))
        except (OSError, RuntimeError) as error:
            raise EnvironmentProblem(f"--listen {listen} cannot be used: {reason_of(error)}") from error


def _service(options: HostOptions) -> HostService:
    return HostService(options.root, options.slots, options.name, os.environ, options.labels)
