"""JSON-RPC with an ACP agent over two pipes: one message on a line."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import IO

from architect_parallel.backends import reader_tools as read
from architect_parallel.backends.reader_tools import Json

LONGEST_MESSAGE_BYTES = 64 * 2**20


class AgentError(Exception):
    """The agent answered with an error, or cannot do what it has to."""

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code


class AgentEnded(Exception):
    """The agent closed its output."""


class Connection:
    """JSON-RPC with the agent. Only the main thread writes. A thread reads lines into a queue."""

    def __init__(self, to_agent: IO[bytes], from_agent: IO[bytes]) -> None:
        self._to_agent = to_agent
        self._from_agent = from_agent
        self._messages = SimpleQueue[bytes | Callable[[], None]]()
        self._last_id = 0
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def _read(self) -> None:
        while line := self._from_agent.readline(LONGEST_MESSAGE_BYTES):
            self._messages.put(line)
        self._messages.put(b"")

    def interrupt(self, action: Callable[[], None]) -> None:
        """Let the waiting `call` run `action`. May be called by a signal handler: the queue is reentrant."""
        self._messages.put(action)

    def send(self, **message: object) -> None:
        """Write a message."""
        try:
            self._to_agent.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
            self._to_agent.flush()
        except OSError:
            raise AgentEnded from None

    def call(self, method: str, params: Json, on_message: Callable[[Json], None]) -> Json:
        """Send a request and return its result. Other messages that arrive before go to `on_message`.

        Raises:
            AgentError: The agent answered with an error.
            AgentEnded: It closed its output.
        """
        self._last_id += 1
        self.send(id=self._last_id, method=method, params=params)
        while True:
            message = self._messages.get()
            if callable(message):
                message()
            elif not message:
                raise AgentEnded
            elif (parsed := read.parse_object(message)) is None:
                continue  # some agents print warnings on stdout
            elif "method" in parsed:
                on_message(parsed)
            elif parsed.get("id") == self._last_id:
                return _result(parsed)


def _result(message: Json) -> Json:
    error = message.get("error")
    if isinstance(error, dict):
        details = error.get("data")
        more = read.text(details, "details") or read.text(details, "message") if isinstance(details, dict) else details
        words = [read.text(error, "message"), more if isinstance(more, str) else ""]
        code = error.get("code")
        status = f"status {code}" if isinstance(code, int) and 400 <= code < 600 else ""
        raise AgentError(": ".join(filter(None, (status, *words))), code if isinstance(code, int) else 0)
    return read.child(message, "result")
