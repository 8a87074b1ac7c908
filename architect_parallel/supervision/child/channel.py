"""The supervisor's side of the channel: the configuration and the orders in, the facts out.

No JSON: its modules would take as long to load as the interpreter itself. In `supervision` the C modules stand in for
`signal` and `ctypes` for the same reason, and `try` for `contextlib`.
"""

from __future__ import annotations

import os


class Config:
    """What to start and how to stop it.

    The line holds, with one space between: niceness, polite signal, polite wait and grace in seconds, cookie, working
    directory, the number of words in the argv, these words, and name and value of each environment variable. All that
    is text is in hexadecimal: paths and values may hold spaces and newlines, and need not be text in any encoding.
    """

    def __init__(self, line: str) -> None:
        nice, polite_signal, polite_wait_s, grace_s, cookie, cwd, count, *rest = line.split(" ")
        words = [bytes.fromhex(word) for word in rest]
        argc = int(count)
        if argc < 1 or len(words) < argc:
            raise ValueError("the configuration is not whole")
        self.argv = words[:argc]
        self.env = dict(zip(words[argc::2], words[argc + 1 :: 2], strict=True))
        self.cwd = bytes.fromhex(cwd)
        self.cookie = bytes.fromhex(cookie)
        self.nice = int(nice)
        self.polite_signal = int(polite_signal)
        self.polite_wait_s = float(polite_wait_s)
        self.grace_s = float(grace_s)

    def forget(self) -> None:
        """Drops what may hold secrets, once it is used."""
        self.argv, self.env = [], {}


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

    def say(self, fact: str, *details: int | str | None) -> None:
        """Tells one fact and its details: numbers, `-` for `None`, text in hexadecimal. A launcher that is gone is not
        told."""
        words = [fact]
        for each in details:
            words.append("-" if each is None else str(each) if isinstance(each, int) else each.encode().hex())
        try:
            os.write(self.descriptor, " ".join(words).encode() + b"\n")
        except OSError:
            pass
