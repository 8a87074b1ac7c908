"""A read-only HTTP server on 127.0.0.1 that answers only requests with its token.

It has pages, and for each a stream of server-sent events that reports a new version of the page. Other users
of this machine, and pages of other sites in the same browser, get nothing. The token is compared in constant time. The
Host header must be this server's, so that a name which starts to point to 127.0.0.1 (DNS rebinding) does not help.

Each connection has a thread, up to a limit, and a time limit for every read and write. So a client that does not read
or send delays no other client, and `close` leaves no thread running.
"""

from __future__ import annotations

import contextlib
import errno
import hmac
import logging
import select
import socket
import socketserver
import threading
import time
import urllib.parse
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

from architect_parallel.errors import ArchitectParallelError, EnvironmentProblem

logger = logging.getLogger(__name__)

Pages = Callable[[str], bytes | None]
States = Callable[[str], str | None]
HOST = "127.0.0.1"
CLIENT_TIMEOUT_S = 10.0
"""Time limit in seconds for each read and write of a connection, and for the whole head of a request."""
CONNECTIONS = 32
LOOK_S = 1.0
"""Seconds between two checks of a stream for a new state."""
QUIET_S = 15.0
"""Seconds without a new state after which a stream sends a sign of life."""
HEADERS: Mapping[str, str] = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class Loopback:
    """A server that runs until `close`.

    Args:
        port: 0: any that is free.
        page: Path → the page as bytes. `None` means that there is none. Called per request, from several threads.
        state: Path of a stream → what its page shows, as one line. Another state is another page. `None` as above.
        policy: Content-Security-Policy of the page.
        token: What a request has to know.

    Raises:
        EnvironmentProblem: The port cannot be had.
    """

    def __init__(
        self,
        *,
        port: int,
        page: Callable[[str], bytes | None],
        state: Callable[[str], str | None],
        policy: str,
        token: str,
    ) -> None:
        self._token = token
        try:
            self._server = _Server((HOST, port), _handler(page, state, policy, token))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise EnvironmentProblem(
                    f"port {port} is in use", hint="leave --port out to take a free one"
                ) from error
            raise EnvironmentProblem(f"port {port} cannot be used: {error.strerror}", hint="--port 8080") from error
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, name="serve")
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def address(self) -> str:
        """The address to open in a browser, with the token."""
        return f"http://{HOST}:{self.port}/?token={self._token}"

    def close(self) -> None:
        """End every connection, and wait for every thread."""
        self._server.stopping.set()
        self._server.shutdown()
        self._thread.join()
        self._server.end_connections()
        self._server.server_close()

    def __enter__(self) -> Loopback:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Server(socketserver.ThreadingMixIn, HTTPServer):
    daemon_threads = False
    block_on_close = True
    request_queue_size = CONNECTIONS

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self.stopping = threading.Event()
        self._open: set[socket.socket] = set()
        self._guard = threading.Lock()
        super().__init__(address, handler)

    def server_bind(self) -> None:
        # HTTPServer's own method would ask the name service for this host's name.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = HOST, int(self.server_address[1])

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._guard:
            if len(self._open) >= CONNECTIONS:
                request.close()
                return
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._guard:
            self._open.discard(request)
        super().shutdown_request(request)

    def end_connections(self) -> None:
        with self._guard:
            for request in self._open:
                try:
                    request.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue

    def handle_error(self, request: Any, client_address: Any) -> None:
        logger.debug("a connection ended badly", exc_info=True)


def _shut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def _handler(page: Pages, state: States, policy: str, token: str) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = CLIENT_TIMEOUT_S
        server: _Server

        def handle_one_request(self) -> None:
            # The timeout is one for each read. A client that sends a byte now and then would hold its connection.
            watch = threading.Timer(CLIENT_TIMEOUT_S, _shut, (self.connection,))
            watch.daemon = True
            watch.start()
            self._watch = watch
            try:
                super().handle_one_request()
            finally:
                watch.cancel()
                watch.join()

        def parse_request(self) -> bool:
            try:
                return super().parse_request()
            finally:
                self._watch.cancel()  # the whole head is here

        def do_GET(self) -> None:
            target = urllib.parse.urlsplit(self.path)
            if not self._is_ours() or not self._knows(target.query):
                self._plain(HTTPStatus.FORBIDDEN, "The address printed by `architect serve` has a token in it.")
            elif target.path.startswith("/events"):
                self._events(target.path)
            else:
                self._page(target.path)

        def _is_ours(self) -> bool:
            port = "" if self.server.server_port == 80 else f":{self.server.server_port}"
            return (self.headers.get_all("Host") or []) in ([HOST + port], ["localhost" + port])

        def _knows(self, query: str) -> bool:
            given = urllib.parse.parse_qs(query).get("token", [])
            return len(given) == 1 and hmac.compare_digest(given[0].encode("utf-8", "replace"), token.encode())

        def _page(self, path: str) -> None:
            try:
                body = page(path)
            except ArchitectParallelError as error:
                self._plain(HTTPStatus.INTERNAL_SERVER_ERROR, error.message)
                return
            if body is None:
                self._plain(HTTPStatus.NOT_FOUND, "There is nothing here.")
                return
            self._head(HTTPStatus.OK, "text/html; charset=utf-8", {"Content-Length": str(len(body))})
            self.wfile.write(body)

        def _events(self, path: str) -> None:
            if state(path) is None:
                self._plain(HTTPStatus.NOT_FOUND, "There is nothing here.")
                return
            self._head(HTTPStatus.OK, "text/event-stream; charset=utf-8")
            self.wfile.write(b"retry: 1000\n\n")
            sent, told_at = None, time.monotonic()
            while not self.server.stopping.is_set():
                try:
                    now = state(path)
                except ArchitectParallelError:
                    return  # the browser connects again
                if now != sent:
                    self.wfile.write(f"event: state\ndata: {now}\n\n".encode())
                    sent, told_at = now, time.monotonic()
                elif time.monotonic() - told_at > QUIET_S or self._has_gone():
                    self.wfile.write(b": still here\n\n")
                    told_at = time.monotonic()
                self.server.stopping.wait(LOOK_S)

        def _has_gone(self) -> bool:
            # Not MSG_DONTWAIT: `recv` on a socket with a time limit waits for data all the same.
            readable = select.poll()
            readable.register(self.connection, select.POLLIN)
            return bool(readable.poll(0)) and not self.connection.recv(1, socket.MSG_PEEK)

        def _plain(self, status: HTTPStatus, words: str, more: Mapping[str, str] | None = None) -> None:
            body = f"{words}\n".encode()
            self._head(status, "text/plain; charset=utf-8", {"Content-Length": str(len(body)), **(more or {})})
            if self.command != "HEAD":
                self.wfile.write(body)

        def _head(self, status: HTTPStatus, kind: str, more: Mapping[str, str] | None = None) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Security-Policy", f"{policy}; frame-ancestors 'none'")
            for name, value in {**HEADERS, **(more or {})}.items():
                self.send_header(name, value)
            self.end_headers()

        def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
            # Another method than GET, or what is not even HTTP: plain words, the same headers.
            self.request_version = "HTTP/1.0"  # before there is one it is 0.9, and an answer has no headers
            if code == HTTPStatus.NOT_IMPLEMENTED:
                self._plain(HTTPStatus.METHOD_NOT_ALLOWED, "Looking is all there is.", {"Allow": "GET"})
            else:
                self._plain(HTTPStatus(code), HTTPStatus(code).phrase)

        def version_string(self) -> str:
            return "architect"

        def log_message(self, format: str, *args: Any) -> None:
            # The request line has the token in it.
            logger.debug("answered %s", args[1] if len(args) > 1 else "")

    return Handler
