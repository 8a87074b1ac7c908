"""The supervisor's side of the channel: the configuration and the orders in, the facts out.

No JSON: its modules would take as long to load as the interpreter itself. For the same reason this package uses the C
modules instead of `signal` and `ctypes`, and `try` instead of `contextlib`.
"""

from __future__ import annotations

import os


class Config:
    """The program to start, and how to stop it.

    The line holds, with one space between: niceness, polite signal, polite wait and grace in seconds, cookie, working
    directory, scratch directory, control group, the numbers of words in the argv and of steps of the cage, these words
    and steps, and name and value of each environment variable. All text is in hexadecimal: paths and values may hold
    spaces and newlines, and need not be valid in any encoding.
    """

    def __init__(self, line: str) -> None:
        nice, polite_signal, polite_wait_s, grace_s, cookie, cwd, scratch, cgroup, count, step_count, *rest = (
            line.split(" ")
        )
        words = [bytes.fromhex(word) for word in rest]
        argc = int(count)
        first = argc + int(step_count)
        if argc < 1 or len(words) < first:
            raise ValueError("the configuration is not whole")
        self.argv = words[:argc]
        self.cage = words[argc:first]
        """The steps of `cage.Cage`. Empty means that the program is not held."""
        self.env = dict(zip(words[first::2], words[first + 1 :: 2], strict=True))
        self.cwd = bytes.fromhex(cwd)
        self.scratch = bytes.fromhex(scratch)
        """A directory to remove when the tree is gone. Empty means none."""
        self.cgroup = bytes.fromhex(cgroup)
        """The directory of a control group that the program starts in. Empty means none."""
        self.cookie = bytes.fromhex(cookie)
        self.nice = int(nice)
        self.polite_signal = int(polite_signal)
        self.polite_wait_s = float(polite_wait_s)
        self.grace_s = float(grace_s)

    def forget(self) -> None:
        """Drop the parts that may hold secrets, once they are used."""
        self.argv, self.env, self.cage = [], {}, []


class Channel:
    """The door to the launcher."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._pending = b""

    def lines(self) -> list[str] | None:
        """Wait for bytes and return the complete lines. `None` means that the launcher closed it or is gone."""
        try:
            data = os.read(self.descriptor, 1 << 20)
        except OSError:
            return None
        if not data:
            return None
        *complete, self._pending = (self._pending + data).split(b"\n")
        return [line.decode() for line in complete]

    def report(self, fact: str, *details: int | str | None) -> None:
        """Send one fact and its details (numbers, `-` for `None`, text in hexadecimal), unless the launcher is gone."""
        words = [fact]
        for detail in details:
            words.append("-" if detail is None else str(detail) if isinstance(detail, int) else detail.encode().hex())
        try:
            os.write(self.descriptor, " ".join(words).encode() + b"\n")
        except OSError:
            pass
