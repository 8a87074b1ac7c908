"""A program at a terminal, and a user who types: what it shows is read as text without control sequences."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

from support.console import wait_until

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]|[\x07\x08]")


class TypingUser:
    """Starts a program at a terminal of its own. `end` it."""

    def __init__(self, argv: Sequence[str | Path], cwd: Path, env: Mapping[str, str] | None = None) -> None:
        self.pid, self._descriptor = pty.fork()
        if self.pid == 0:
            os.chdir(cwd)
            os.execvpe(argv[0], [os.fspath(word) for word in argv], {**os.environ, "TERM": "xterm", **(env or {})})
        self.shown = ""
        self._is_over = False

    def type(self, text: str) -> None:
        """Types; what was shown before counts no more."""
        self.shown = ""
        os.write(self._descriptor, text.encode())

    def wait_for(self, pattern: str) -> None:
        """Waits until the screen has shown the pattern."""
        wait_until(lambda: self._read() and re.search(pattern, self.shown) is not None, f"{pattern!r} on the terminal")

    def exit_code(self) -> int:
        """Waits for the end of the program."""
        wait_until(lambda: self._read() and self._is_over, "the end of the program")
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def end(self) -> None:
        """Ends the program if it is still there."""
        if not self._is_over:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self._descriptor)

    def _read(self) -> bool:
        if not self._is_over and select.select([self._descriptor], [], [], 0.1)[0]:
            try:
                data = os.read(self._descriptor, 4096)
            except OSError:  # Linux tells so that the other side is closed
                data = b""
            self._is_over = not data
            self.shown += _CONTROL.sub("", data.decode(errors="replace"))
        return True
