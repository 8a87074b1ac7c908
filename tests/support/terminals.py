"""A command in a pseudo-terminal, and the screen that a person would see."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import termios
import time
from collections.abc import Mapping
from pathlib import Path

import pyte

from support.console import SCRIPT

PATIENCE_S = 120
"""Enough on a machine that is busy with other tests."""


class Terminal:
    """`architect`, or another program, with these arguments in a terminal. Use `close` at the end."""

    def __init__(
        self,
        cwd: Path,
        *args: str,
        columns: int = 80,
        rows: int = 24,
        program: str | Path = SCRIPT,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.screen = pyte.Screen(columns, rows)
        self._parser = pyte.ByteStream(self.screen)
        self.written = b""
        self._master, self.slave = pty.openpty()
        termios.tcsetwinsize(self.slave, (rows, columns))
        self.before = termios.tcgetattr(self.slave)
        self.process = subprocess.Popen(
            [program, *args], cwd=cwd, stdin=self.slave, stdout=self.slave, stderr=self.slave, start_new_session=True,
            env={**os.environ, "TERM": "xterm-256color", **(env or {})},
        )  # fmt: skip

    def resize(self, columns: int, rows: int) -> None:
        termios.tcsetwinsize(self.slave, (rows, columns))
        self.screen.resize(rows, columns)
        self.process.send_signal(signal.SIGWINCH)  # the kernel sends it where the terminal controls the process

    def type(self, keys: bytes) -> None:
        os.write(self._master, keys)

    @property
    def text(self) -> str:
        """The screen as it is now."""
        while select.select([self._master], [], [], 0.02)[0]:
            data = os.read(self._master, 65536)
            self.written += data
            self._parser.feed(data)
        return "\n".join(line.rstrip() for line in self.screen.display)

    def shows(self, *words: str) -> None:
        """Wait until all `words` are on the screen."""
        deadline = time.monotonic() + PATIENCE_S
        while not all(word in self.text for word in words):
            assert time.monotonic() < deadline, f"{words} are not on the screen:\n{self.text}"

    def ends(self) -> int:
        """Wait for the end of the command, and return its exit code."""
        deadline = time.monotonic() + PATIENCE_S
        while self.process.poll() is None:
            shown = self.text  # a terminal that nobody reads would hold the command up
            assert time.monotonic() < deadline, f"it does not end:\n{shown}"
        return self.process.returncode

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._master)
        os.close(self.slave)
