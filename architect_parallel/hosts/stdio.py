"""The host's side of `ssh://`: a relay between an ssh connection and the host process of this user and root.

The relay (`architect host --stdio`) ends with its connection. The host process owns the agents and listens on a socket
in its root. So a lost connection ends no agent, and the next relay finds the same process. The host process ends when
nothing runs and nobody is connected.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Protocol

from architect_parallel.errors import EnvironmentProblem
from architect_parallel.hosts.wire import HostInfo, Message, from_message, pack, read_frame, unpack, write_frame

GREETING = b"architect host: here are the messages\n"
"""The relay writes it before the first message. What a login shell printed before it is skipped."""
SOCKET = "host.socket"
IDLE_S = 60.0
"""Seconds without a connection and without work after which the host process ends."""
START_S = 20.0
"""Seconds that a host process has to listen."""
SILENT_S = 300.0
"""Seconds without a message after which a connection is taken for lost."""
LOOK_S = 0.5
_CHUNK = 1 << 16


class Service(Protocol):
    """The part of `HostService` that is needed here."""

    def handle(self, verb: str, message: Message) -> Message:
        """Do what a launcher asks and return the reply."""
        ...


def relay(root: Path, start: Callable[[], None], stdin: int = 0, stdout: int = 1) -> None:
    """Pass bytes on between this process's standard streams and the host process, until one side ends.

    Args:
        start: Starts the host process, which may lose against another one that was started for the same root.

    Raises:
        EnvironmentProblem: No host process listens in time.
    """
    os.chdir(root)  # the path of a socket has at most 107 bytes: it is named from here
    with _connect(root, start) as connection:
        os.write(stdout, GREETING)
        streams = {stdin: connection.fileno(), connection.fileno(): stdout}
        with contextlib.suppress(OSError):
            while True:
                for source in select.select(list(streams), [], [])[0]:
                    data = os.read(source, _CHUNK)
                    if not data:
                        return
                    while data:
                        data = data[os.write(streams[source], data) :]


def _connect(root: Path, start: Callable[[], None]) -> socket.socket:
    deadline, is_started = time.monotonic() + START_S, False
    while True:
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(SOCKET)
            return connection
        except OSError as error:
            connection.close()
            if time.monotonic() > deadline:
                raise EnvironmentProblem(
                    f"no host process listens in {root}: {error.strerror}", hint=f"tail {root}/host.log"
                ) from error
        if not is_started:
            start()
            is_started = True
        time.sleep(0.05)


class SocketServer:
    """Answers the relays of one root. It belongs to the process that holds the root's lock."""

    def __init__(self, service: Service, root: Path, idle_s: float = IDLE_S) -> None:
        os.chdir(root)
        Path(SOCKET).unlink(missing_ok=True)
        self._service = service
        self._idle_s = idle_s
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(SOCKET)
        os.chmod(SOCKET, 0o600)
        self._listener.listen(64)
        self._listener.settimeout(LOOK_S)
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()

    def serve(self, stopped: threading.Event) -> None:
        """Answer until `stopped` is set or the process is idle."""
        idle_since = time.monotonic()
        while not stopped.is_set():
            with contextlib.suppress(TimeoutError):
                connection = self._listener.accept()[0]
                with self._lock:
                    self._open.add(connection)
                threading.Thread(target=self._answer, args=(connection,), name="relay", daemon=True).start()
            if self._open or (time.monotonic() - idle_since > self._idle_s and self._has_work()):
                idle_since = time.monotonic()
            elif time.monotonic() - idle_since > self._idle_s:
                return

    def close(self) -> None:
        """End all connections. The socket's name goes first, so that the next relay starts another process."""
        Path(SOCKET).unlink(missing_ok=True)
        self._listener.close()
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def _has_work(self) -> bool:
        # Results that nobody fetched yet are on disk: the next host process of the root has them.
        return bool(from_message(HostInfo, self._service.handle("hello", {})).places)

    def _answer(self, connection: socket.socket) -> None:
        connection.settimeout(SILENT_S)
        lock = threading.Lock()
        try:
            with connection, connection.makefile("rb") as source, connection.makefile("wb") as sink:
                while (data := read_frame(source)) is not None:
                    # Each in a thread: a poll waits, and an order must not wait for it.
                    request = unpack(data)
                    threading.Thread(
                        target=self._reply, args=(request, sink, lock), name="request", daemon=True
                    ).start()
        except (OSError, ValueError):
            return
        finally:
            with self._lock:
                self._open.discard(connection)

    def _reply(self, request: Message, sink: BinaryIO, lock: threading.Lock) -> None:
        reply = self._service.handle(str(request.get("verb")), request.get("message") or {})
        data = pack({"id": request.get("id"), "reply": reply})
        with contextlib.suppress(OSError, ValueError), lock:  # the connection has gone: the launcher asks again
            write_frame(sink, data)
