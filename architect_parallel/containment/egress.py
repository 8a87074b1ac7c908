"""The way out of a sandbox with `--network hosts`: a proxy in the launcher that dials only allowed hosts.

The sandbox has a network of its own. Its first process makes listening sockets on its loopback and hands them over, so
the proxy accepts inside and dials outside. There is no port that another program could use. Names are resolved here,
and what is dialled is the address that was examined. TLS is not opened.
"""

from __future__ import annotations

import base64
import ipaddress
import logging
import socket
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import SplitResult, unquote, urlsplit

from architect_parallel.text.hosts import Rule

HEAD_BYTES = 64 * 1024
CONNECT_S = 30.0
"""Seconds that a connection may take to be made, and a request to arrive."""
CHUNK_BYTES = 64 * 1024
MOST_CONNECTIONS = 256
_log = logging.getLogger(__name__)


@dataclass(eq=False, slots=True)
class Proxy:
    """Serves one sandbox. `close` ends every connection."""

    rules: Sequence[Rule]
    forwards: Sequence[int]
    """Ports of the listeners after the first, which is the proxy's own."""
    environ: Mapping[str, str]
    denied: Counter[str]
    """Refused hosts, counted up."""
    _open: set[socket.socket] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _closed: bool = False

    def serve(self, descriptors: Sequence[int]) -> None:
        """Take the listening sockets over, and serve them from threads of their own."""
        for descriptor, port in zip(descriptors, (None, *self.forwards), strict=True):
            listener = socket.socket(fileno=descriptor)
            self._keep(listener)
            threading.Thread(target=self._accept, args=(listener, port), name="egress", daemon=True).start()

    def close(self) -> None:
        """Close every socket. Threads end by that."""
        with self._lock:
            self._closed = True
            left = list(self._open)
        for connection in left:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            with suppress(OSError):
                connection.close()

    def _keep(self, connection: socket.socket) -> bool:
        with self._lock:
            if self._closed or len(self._open) > 2 * MOST_CONNECTIONS:
                connection.close()
                return False
            self._open.add(connection)
            return True

    def _drop(self, connection: socket.socket) -> None:
        with self._lock:
            self._open.discard(connection)
        connection.close()

    def _accept(self, listener: socket.socket, port: int | None) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            if self._keep(client):
                work = self._answer if port is None else (lambda client, port=port: self._forward(client, port))
                threading.Thread(target=self._guarded, args=(work, client), name="egress", daemon=True).start()

    def _guarded(self, work: Callable[[socket.socket], None], client: socket.socket) -> None:
        try:
            work(client)
        except (OSError, ValueError) as error:
            _log.debug("a connection of a sandbox ended: %s", error)
        finally:
            self._drop(client)

    def _forward(self, client: socket.socket, port: int) -> None:
        self._join(client, socket.create_connection(("localhost", port), timeout=CONNECT_S), b"")

    def _answer(self, client: socket.socket) -> None:
        client.settimeout(CONNECT_S)
        head = b""
        while b"\r\n\r\n" not in head:
            part = client.recv(CHUNK_BYTES)
            if not part or len(head) > HEAD_BYTES:
                return
            head += part
        line, _, rest = head.partition(b"\r\n")
        method, target, version = line.decode("latin-1").split(" ", 2)
        if method == "CONNECT":
            host, _, port_text = target.rpartition(":")
            port, first = int(port_text), head.partition(b"\r\n\r\n")[2]
        else:
            url = urlsplit(target)
            host, port = url.hostname or "", url.port or 80
            path = (url.path or "/") + (f"?{url.query}" if url.query else "")
            first = f"{method} {path} {version}\r\nConnection: close\r\n".encode("latin-1") + _without_connection(rest)
        host = host.strip("[]").lower().rstrip(".")
        server = self._dial(host, port) if host else None
        if server is None:
            # A host that is allowed was refused for its private address. Only its name with the port allows that.
            is_private = any(rule.allows(host, port) for rule in self.rules)
            name = f"{host}:{port}" if is_private or port not in (80, 443) else host
            self.denied[name] += 1
            text = f"{host}:{port} is not allowed here; --allow-host {name} allows it\n".encode()
            client.sendall(
                b"HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(text) + text
            )
            return
        if method == "CONNECT":
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        self._join(client, server, first)

    def _dial(self, host: str, port: int) -> socket.socket | None:
        """Connect to an allowed host. `None` means that it is not allowed."""
        matching = [rule for rule in self.rules if rule.allows(host, port)]
        if not matching:
            return None
        by_port = any(rule.port == port for rule in matching)
        upstream = upstream_proxy(self.environ, host)
        if upstream is not None and not by_port:
            return _through(upstream, host, port)
        error: OSError | None = None
        for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            if not by_port and not ipaddress.ip_address(str(address[0]).partition("%")[0]).is_global:
                continue
            connection = socket.socket(family, kind, protocol)
            connection.settimeout(CONNECT_S)
            try:
                connection.connect(address)
            except OSError as problem:
                connection.close()
                error = problem
            else:
                return connection
        if error is not None:
            raise error
        return None

    def _join(self, client: socket.socket, server: socket.socket, first: bytes) -> None:
        """Pass everything on in both directions until both have ended."""
        if not self._keep(server):
            return
        try:
            for connection in (client, server):
                connection.settimeout(None)
            server.sendall(first)
            back = threading.Thread(target=_pump, args=(server, client), name="egress", daemon=True)
            back.start()
            _pump(client, server)
            back.join()
        finally:
            self._drop(server)


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(CHUNK_BYTES):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def _without_connection(headers: bytes) -> bytes:
    head, end, body = headers.partition(b"\r\n\r\n")
    dropped = (b"connection:", b"proxy-connection:", b"proxy-authorization:")
    lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(dropped)]
    return b"\r\n".join(lines) + end + body


def upstream_proxy(environ: Mapping[str, str], host: str) -> str | None:
    """The user's own proxy for `host`. `None` means that there is none."""
    url = next((environ[name] for name in ("HTTPS_PROXY", "https_proxy") if environ.get(name)), None)
    without = environ.get("NO_PROXY") or environ.get("no_proxy") or ""
    names = [name.strip().lstrip(".*") for name in without.split(",") if name.strip()]
    excepted = "*" in without.split(",") or any(host == name or host.endswith(f".{name}") for name in names if name)
    return None if url is None or excepted else url


def proxy_authorization(url: SplitResult) -> dict[str, str]:
    """The header with the password that the address of a proxy holds. Empty means that it holds none."""
    if not url.username:
        return {}
    pair = f"{unquote(url.username)}:{unquote(url.password or '')}".encode()
    return {"Proxy-Authorization": f"Basic {base64.b64encode(pair).decode()}"}


def _through(upstream: str, host: str, port: int) -> socket.socket:
    url = urlsplit(upstream if "//" in upstream else f"http://{upstream}")
    connection = socket.create_connection((url.hostname or "", url.port or 80), timeout=CONNECT_S)
    secret = "".join(f"{name}: {value}\r\n" for name, value in proxy_authorization(url).items())
    connection.sendall(f"CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n{secret}\r\n".encode())
    head = b""
    while b"\r\n\r\n" not in head:
        part = connection.recv(1)
        if not part or len(head) > HEAD_BYTES:
            raise OSError("the proxy closed the connection")
        head += part
    if head.split(b" ", 2)[1:2] != [b"200"]:
        raise OSError(f"the proxy refused: {head.splitlines()[0].decode('latin-1')}")
    return connection
