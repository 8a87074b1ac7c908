"""The supervisor's side of the channel: the configuration and the orders in, the facts out."""

from __future__ import annotations

import contextlib
import json
import os

TYPE_CHECKING = False  # the name type checkers know; importing typing would cost a fifth of the memory
if TYPE_CHECKING:
    from typing import Any


class Config:
    """What to start and how to stop it."""

    def __init__(self, line: str) -> None:
        data: dict[str, Any] = json.loads(line)
        self.argv = [raw(word) for word in data["argv"]]
        self.env = {raw(name): raw(value) for name, value in data["env"].items()}
        self.cwd = raw(data["cwd"])
        self.cookie = raw(data["cookie"])
        self.nice = int(data["nice"])
        self.polite_signal = int(data["polite_signal"])
        self.polite_wait_s = float(data["polite_wait_s"])
        self.grace_s = float(data["grace_s"])

    def forget(self) -> None:
        """Drops what may hold secrets, once it is used."""
        self.argv, self.env = [], {}


def raw(text: str) -> bytes:
    """The bytes behind a string of the configuration: paths and values need not be text in any encoding."""
    return text.encode("latin-1")


class Channel:
    """The door to the launcher."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._pending = b""

    def lines(self) -> list[str] | None:
        """Lines that arrived, after waiting for some bytes; `None`: the launcher closed it or is gone."""
        try:
            data = os.read(self.descriptor, 1 << 20)
        except OSError:
            return None
        if not data:
            return None
        *complete, self._pending = (self._pending + data).split(b"\n")
        return [line.decode() for line in complete]

    def say(self, **fact: object) -> None:
        """Tells one fact; a launcher that is gone is not told."""
        with contextlib.suppress(OSError):
            os.write(self.descriptor, json.dumps(fact).encode() + b"\n")
