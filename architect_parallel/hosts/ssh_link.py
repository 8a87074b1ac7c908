"""The link `ssh://HOST,USER@HOST:PORT`: one OpenSSH client for each host, which runs `architect host --stdio` there.

All requests to a host share its connection. A lost connection loses its requests and no agent (`hosts.stdio`). The
next request connects again.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from architect_parallel.errors import EnvironmentProblem, UsageError
from architect_parallel.hosts.link import LinkBroken, LinkOptions, Placer
from architect_parallel.hosts.stdio import GREETING
from architect_parallel.hosts.wire import Message, pack, read_frame, unpack, write_frame
from architect_parallel.system.ssh import SshProcess

COMMAND = ("architect", "host", "--stdio")
MOST_WORDS = 1 << 16
"""Bytes that a login shell may print before the greeting."""
PAUSE_S = 0.5
"""Seconds after a lost connection until the next one is tried. Each failure in a row doubles it."""
MOST_PAUSE_S = 30.0


@dataclass(frozen=True, slots=True)
class SshDestination:
    """One host of the URL."""

    host: str
    """`HOST` or `USER@HOST`."""
    port: int | None
    """`None` means the one of the user's configuration of ssh."""


def read_destinations(url: str) -> dict[str, SshDestination]:
    """The hosts of an `ssh://` URL by their names in it.

    Raises:
        UsageError: It is no such URL.
    """
    destinations: dict[str, SshDestination] = {}
    for name in url.removeprefix("ssh://").rstrip("/").split(","):
        user, at, address = name.rpartition("@")
        host, colon, port = address.rpartition(":") if ":" in address.rpartition("]")[2] else (address, "", "")
        is_port = port.isdecimal() and 0 < int(port) < 65536
        plain = host.removeprefix("[").removesuffix("]")
        # A name that begins with a hyphen would be an option of ssh.
        if not plain or plain.startswith("-") or user.startswith("-") or (at and not user) or (colon and not is_port):
            raise UsageError(
                f"--hosts {url}: {name!r} is not HOST, USER@HOST or HOST:PORT", hint="--hosts ssh://box1,box2"
            )
        if any(not (letter.isalnum() or letter in "-._:%") for letter in plain):
            raise UsageError(
                f"--hosts {url}: {name!r} is not HOST, USER@HOST or HOST:PORT", hint="--hosts ssh://box1,box2"
            )
        if name in destinations:
            raise UsageError(f"--hosts {url}: {name!r} is there twice")
        destinations[name] = SshDestination(f"{user}{at}{plain}", int(port) if port else None)
    return destinations


def open_link(url: str, options: LinkOptions) -> SshLink:
    """See `link.open_link`. No host is asked yet."""
    return SshLink(read_destinations(url))


class SshLink:
    """See `Link`. All hosts of the URL are members all the time. A request to one that cannot be reached is broken."""

    def __init__(self, destinations: Mapping[str, SshDestination], command: Sequence[str] = COMMAND) -> None:
        self._destinations = destinations
        self._command = command
        self._names = MappingProxyType({name: name for name in destinations})
        self._connections: dict[str, _Connection] = {}
        self._locks = {name: threading.Lock() for name in destinations}
        self._placer = Placer(self.members, self.call)
        self.ask_place = self._placer.ask_place
        self.granted = self._placer.granted
        self.give_back = self._placer.give_back

    def members(self) -> Mapping[str, str]:
        """See `Link.members`."""
        return self._names

    def call(self, address: str, verb: str, message: Message, timeout_s: float) -> Message:
        """See `Link.call`."""
        return self._connected(address).ask(verb, message, timeout_s)

    def close(self) -> None:
        """See `Link.close`."""
        self._placer.close()
        for name, lock in self._locks.items():
            with lock:
                if (connection := self._connections.pop(name, None)) is not None:
                    connection.close()

    def _connected(self, address: str) -> _Connection:
        """The living connection to a host. A new one, whose client may still be connecting, if there is none."""
        destination = self._destinations.get(address)
        if destination is None:
            raise LinkBroken(f"{address}: no host of this name")
        with self._locks[address]:
            connection = self._connections.get(address)
            if connection is None or connection.failure is not None:
                failures = 0 if connection is None or connection.has_worked else connection.failures + 1
                pause_s = min(MOST_PAUSE_S, PAUSE_S * 2**failures)
                if connection is not None and time.monotonic() < connection.failed_at + pause_s:
                    raise LinkBroken(f"{address}: {connection.failure}")
                try:
                    process = SshProcess(destination.host, destination.port, self._command)
                except FileNotFoundError as error:
                    hint = "install openssh-client"
                    raise EnvironmentProblem("--hosts ssh:// needs the program ssh", hint=hint) from error
                connection = self._connections[address] = _Connection(address, process, failures)
            return connection


class _Connection:
    """One client and the requests that wait for its replies."""

    def __init__(self, address: str, process: SshProcess, failures: int) -> None:
        self._address = address
        self.failures = failures
        """Connections before this one that did not work."""
        self.failed_at = 0.0
        """The time of the failure, on the monotonic clock."""
        self._process = process
        self._numbers = itertools.count()
        self._waiting: dict[int, Future[Message]] = {}
        self._lock = threading.Lock()
        self._closing = threading.Lock()
        self._greeted: Future[None] = Future()
        self.failure: str | None = None
        """The reason why no reply comes any more. `None` means that it works."""
        self._reader = threading.Thread(target=self._read, name=f"ssh-{address}", daemon=True)
        self._reader.start()

    @property
    def has_worked(self) -> bool:
        """The host has answered."""
        return self._greeted.done() and self._greeted.exception() is None

    def ask(self, verb: str, message: Message, timeout_s: float) -> Message:
        number, future = next(self._numbers), Future[Message]()
        data = pack({"id": number, "verb": verb, "message": message})
        deadline = time.monotonic() + timeout_s
        try:
            self._greeted.result(timeout_s)
            with self._lock:
                if self.failure is not None:
                    raise LinkBroken(f"{self._address}: {self.failure}")
                self._waiting[number] = future
                write_frame(self._process.stdin, data)
            return future.result(max(0.0, deadline - time.monotonic()))
        except TimeoutError as error:  # before OSError, which it is one of
            raise LinkBroken(f"{self._address}: no reply to {verb} within {timeout_s:g} s") from error
        except (OSError, ValueError) as error:
            self._fail(f"the connection was lost: {error}")
            raise LinkBroken(f"{self._address}: {self.failure}") from error
        finally:
            self._waiting.pop(number, None)

    def close(self) -> None:
        self._fail("closed")
        self._reader.join()

    def _read(self) -> None:
        problem = "the connection was lost"
        try:
            self._skip_to_greeting()
            self._greeted.set_result(None)
            while (data := read_frame(self._process.stdout)) is not None:
                reply = unpack(data)
                future = self._waiting.get(reply["id"])
                if future is not None:
                    future.set_result(reply["reply"])
        except (OSError, ValueError, KeyError) as error:
            problem = f"{problem}: {error}"
        self._fail(problem)
        self._process.stdout.close()

    def _skip_to_greeting(self) -> None:
        size, line = 0, b""
        while not line.endswith(GREETING):
            line = self._process.stdout.readline(MOST_WORDS)
            size += len(line)
            if not line or size > MOST_WORDS:
                raise ValueError("it did not start the host")

    def _fail(self, problem: str) -> None:
        """End the client, and every request that waits for a reply."""
        with self._closing:
            if self.failure is not None:
                return
            # What ssh or the shell printed last is the cause: `Permission denied`, `architect: not found`.
            words = self._process.close()
            self.failed_at = time.monotonic()
            self.failure = words or problem
        error = LinkBroken(f"{self._address}: {self.failure}")
        with self._lock:
            waiting: list[Future[Any]] = [self._greeted, *self._waiting.values()]
        for future in waiting:
            with contextlib.suppress(InvalidStateError):  # it has its result already
                future.set_exception(error)
