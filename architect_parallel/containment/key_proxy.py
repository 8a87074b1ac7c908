"""The launcher's key proxy: agents send it a token, and it sends the real key to the provider.

One proxy serves one agent, on the loopback of this machine. Only requests with one of its tokens pass, and only those
whose cost can be counted: messages, chat completions, responses, Gemini's content, and what is free. Answers are passed
on as they arrive. An answer that the agent does not wait for is read to its end all the same, because it costs as much.
"""

from __future__ import annotations

import hmac
import http.client
import json
import logging
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import unquote, urlsplit

from architect_parallel.containment.key_requests import Refused, countable, protocol_of
from architect_parallel.containment.metering import Account, AnswerReader, Protocol
from architect_parallel.containment.upstream import connect_to

MOST_REQUEST_BYTES = 128 * 1024 * 1024
ANSWER_S = 1800.0
"""Seconds without a byte from the provider until the request ends. Agents have shorter limits of their own."""
CHUNK_BYTES = 64 * 1024
_HOP_BY_HOP = frozenset(
    {
        *("connection", "keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authorization", "te", "trailer"),
        *("transfer-encoding", "upgrade", "content-length", "host", "expect", "accept-encoding", "date", "server"),
    }
)
_KEY_HEADERS = frozenset({"authorization", "x-api-key", "x-goog-api-key", "api-key"})
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyTarget:
    """The real key behind a token, and where it may be sent."""

    key: str
    upstream: str
    """Base URL. The path of a request is added to it."""


class KeyProxy:
    """Serves one agent from threads. `close` ends every connection, and its tokens are worthless then."""

    def __init__(self, targets: Mapping[str, KeyTarget], account: Account, environ: Mapping[str, str]) -> None:
        """Args:
        targets: By token.
        environ: The launcher's environment, which may name a proxy and certificates of the user.

        Raises:
            OSError: No port can be had.
        """
        self.targets = targets
        self.account = account
        self.environ = environ
        self._open: set[socket.socket] = set()
        self._answering = 0
        self._changed = threading.Condition()
        self._closed = False
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, name="key-proxy", daemon=True).start()

    def close(self, wait_s: float = 0.0) -> None:
        """End every connection.

        Args:
            wait_s: Seconds to wait for answers that are still arriving, so that they are counted.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._answering == 0, wait_s)
            self._closed = True
            left = list(self._open)
        with suppress(OSError):  # wakes the thread that accepts
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        self._listener.close()
        for connection in left:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Within the block, `close` waits."""
        with self._changed:
            self._answering += 1
        try:
            yield
        finally:
            with self._changed:
                self._answering -= 1
                self._changed.notify_all()

    @contextmanager
    def kept(self, connection: socket.socket) -> Iterator[None]:
        """Within the block, `close` ends this connection."""
        with self._changed:
            if self._closed:
                raise OSError("the agent has ended")
            self._open.add(connection)
        try:
            yield
        finally:
            with self._changed:
                self._open.discard(connection)

    def target(self, token: str) -> KeyTarget | None:
        """The key behind a token. `None` means that it is no token of this agent."""
        given = token.encode()
        matching = [target for known, target in self.targets.items() if hmac.compare_digest(known.encode(), given)]
        return matching[0] if matching else None

    def _accept(self) -> None:
        while True:
            try:
                client, address = self._listener.accept()
            except OSError:
                return
            if self._closed:
                client.close()
                return
            threading.Thread(target=self._serve, args=(client, address), name="key-proxy", daemon=True).start()

    def _serve(self, client: socket.socket, address: object) -> None:
        try:
            with client, self.kept(client):
                _Handler(client, address, self)  # type: ignore[arg-type]  # it only keeps its third argument
        except (OSError, ValueError, http.client.HTTPException) as error:
            _log.debug("a connection to the key proxy ended: %s", error)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "architect-parallel"
    sys_version = ""

    def do_POST(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing: stderr is the user's."""

    @property
    def _proxy(self) -> KeyProxy:
        proxy: Any = self.server
        assert isinstance(proxy, KeyProxy)
        return proxy

    def _answer(self) -> None:
        with self._proxy.answering():
            try:
                body = self._body()
                if (
                    "upgrade" in self.headers
                ):  # codex asks so for WebSockets, and goes on without them after this answer
                    raise Refused(426, "invalid_request_error", "the key proxy speaks HTTP only")
                parts = urlsplit(self.path)
                path, query = parts.path, parts.query
                target, headers, query = self._authorized(query)
                protocol, model = protocol_of(self.command, path)
                reads_usage = False
                if protocol is not None:
                    if refusal := self._proxy.account.refusal():
                        raise Refused(402, "billing_error", refusal)
                    body, asked, reads_usage = countable(protocol, path, body, self.headers)
                    model = model or asked
                self._forward(target, f"{path}?{query}" if query else path, headers, body, protocol, model, reads_usage)
            except Refused as refused:
                self._refuse(refused)

    def _body(self) -> bytes:
        if (self.headers.get("Transfer-Encoding") or "").lower() == "chunked":
            parts, size = [], 0
            while count := int(self.rfile.readline(64).split(b";")[0].strip() or b"0", 16):
                size += count
                if count < 0 or size > MOST_REQUEST_BYTES:
                    raise ValueError("the request is too large")
                parts.append(self.rfile.read(count))
                self.rfile.readline(64)
            self.rfile.readline(64)
            return b"".join(parts)
        length = int(self.headers.get("Content-Length") or 0)
        if not 0 <= length <= MOST_REQUEST_BYTES:
            raise ValueError("the request is too large")
        return self.rfile.read(length)

    def _authorized(self, query: str) -> tuple[KeyTarget, list[tuple[str, str]], str]:
        """The target of the request, its headers and its query with the real key in the place of the token.

        Other keys in it are left out.
        """
        used: KeyTarget | None = None
        headers = []
        for name, value in self.headers.items():
            if name.lower() in _HOP_BY_HOP:
                continue
            if name.lower() in _KEY_HEADERS:
                scheme, space, token = value.rpartition(" ")
                target = self._proxy.target(token)
                if target is None or (used is not None and target.upstream != used.upstream):
                    continue
                used, value = target, f"{scheme}{space}{target.key}"
            headers.append((name, value))
        parts = []
        for part in query.split("&") if query else ():
            name, _, value = part.partition("=")
            if name == "key":
                target = self._proxy.target(unquote(value))
                if target is None:
                    continue
                used, part = target, f"key={target.key}"
            parts.append(part)
        if used is None:
            raise Refused(401, "authentication_error", "this is no token of an agent that runs")
        return used, headers, "&".join(parts)

    def _forward(
        self,
        target: KeyTarget,
        path: str,
        headers: list[tuple[str, str]],
        body: bytes,
        protocol: Protocol | None,
        model: str | None,
        drops_usage: bool,
    ) -> None:
        base = urlsplit(target.upstream)
        connection = connect_to(base, self._proxy.environ, ANSWER_S)
        try:
            try:
                connection.connect()
                sock = connection.sock
                with self._proxy.kept(sock):
                    connection.putrequest(self.command, base.path.rstrip("/") + path, skip_accept_encoding=True)
                    for name, value in headers:
                        connection.putheader(name, value)
                    connection.putheader("Accept-Encoding", "identity")
                    if body or self.command == "POST":
                        connection.putheader("Content-Length", str(len(body)))
                    connection.endheaders(body or None)
                    answer = connection.getresponse()
                    self._pass_on(answer, protocol, model, drops_usage)
            except (OSError, http.client.HTTPException) as error:
                if self._has_begun:
                    self.close_connection = True
                    return
                raise Refused(502, "api_error", f"{base.hostname} cannot be reached: {_words(error)}") from error
        finally:
            connection.close()

    _has_begun = False

    def _pass_on(
        self, answer: http.client.HTTPResponse, protocol: Protocol | None, model: str | None, drops_usage: bool
    ) -> None:
        is_stream = (answer.getheader("Content-Type") or "").startswith("text/event-stream")
        counts = protocol is not None and 200 <= answer.status < 300
        reader = AnswerReader(protocol or Protocol.CHAT, is_stream=is_stream, drops_usage=drops_usage)
        account = self._proxy.account
        number = account.begin()
        self._has_begun = True
        is_there = self._begin(answer)
        try:
            while data := answer.read1(CHUNK_BYTES):
                kept = reader.feed(data) if counts else data
                if reader.is_new():  # before the agent sees it: its next request must find it counted
                    account.count(number, reader.usage, reader.models(model))
                is_there = is_there and self._send(kept)
            last = reader.end() if counts else b""
        finally:
            if counts:
                account.count(number, reader.usage, reader.models(model))
        if is_there and self._send(last) and self.command != "HEAD":
            self._write(b"0\r\n\r\n")
        self.close_connection |= not is_there
        self._has_begun = False

    def _begin(self, answer: http.client.HTTPResponse) -> bool:
        self.send_response(answer.status, answer.reason)
        for name, value in answer.getheaders():
            if name.lower() not in _HOP_BY_HOP:
                self.send_header(name, value)
        self.send_header("Transfer-Encoding", "chunked")
        try:
            self.end_headers()
        except OSError:
            return False
        return True

    def _send(self, data: bytes) -> bool:
        return not data or self._write(b"%x\r\n%s\r\n" % (len(data), data))

    def _write(self, data: bytes) -> bool:
        """Returns false if the agent is gone."""
        try:
            self.wfile.write(data)
        except OSError:
            return False
        return True

    def _refuse(self, refused: Refused) -> None:
        """Answer with an error that every protocol understands."""
        error = {"type": refused.kind, "code": refused.status, "message": str(refused), "status": "FAILED_PRECONDITION"}
        body = json.dumps({"type": "error", "error": error}).encode()
        self.send_response(refused.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("x-should-retry", "false")
        self.end_headers()
        if self.command != "HEAD":
            self._write(body)


def _words(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) and error.strerror else str(error)) or type(error).__name__
