"""Read single keys from a terminal, and restore the terminal afterwards."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NoReturn

from architect_parallel.errors import EnvironmentProblem

SEQUENCES: Final = {
    b"\x1b[A": "up",
    b"\x1bOA": "up",
    b"\x1b[B": "down",
    b"\x1bOB": "down",
    b"\x1b[C": "right",
    b"\x1bOC": "right",
    b"\x1b[D": "left",
    b"\x1bOD": "left",
    b"\x1b[5~": "page up",
    b"\x1b[6~": "page down",
    b"\x1b[H": "home",
    b"\x1b[1~": "home",
    b"\x1bOH": "home",
    b"\x1b[F": "end",
    b"\x1b[4~": "end",
    b"\x1bOF": "end",
    b"\r": "enter",
    b"\n": "enter",
    b"\x1b": "escape",
    b"\x7f": "backspace",
    b"\x08": "backspace",
}
_REST_S = 0.05
"""Seconds to wait for the rest of a sequence after its escape character (a slow connection)."""


def is_interactive() -> bool:
    """Return whether keys come from a terminal and output goes to one."""
    on_terminals = sys.stdin.isatty() and sys.stdout.isatty()
    return on_terminals and not os.environ.get("CI") and os.environ.get("TERM", "dumb") != "dumb"


def become(argv: Sequence[str], *, cwd: Path, env: Mapping[str, str]) -> NoReturn:
    """Replace this process by a program that takes over the terminal.

    Raises:
        EnvironmentProblem: It cannot be started, or there is no directory `cwd`.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        os.chdir(cwd)
        for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, and a program would inherit that
            signal.signal(number, signal.SIG_DFL)
        os.execvpe(argv[0], list(argv), dict(env))
    except OSError as error:
        raise EnvironmentProblem(f"cannot start {argv[0]} in {cwd}: {error.strerror}") from error


def run_at_terminal(argv: Sequence[str]) -> int:
    """Run a program of the user at the terminal to its end, and return its exit code.

    Raises:
        EnvironmentProblem: It cannot be started.
    """
    before = signal.signal(signal.SIGINT, lambda *_: None)  # Ctrl-C is for the program
    try:
        return subprocess.run(list(argv), check=False).returncode
    except OSError as error:
        raise EnvironmentProblem(f"cannot start {argv[0]}: {error.strerror}") from error
    finally:
        signal.signal(signal.SIGINT, before)


class Keys:
    """The keys of the terminal at stdin."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def read(self, timeout_s: float) -> list[str]:
        """Names of the keys pressed within `timeout_s` seconds. `q` means that the terminal is gone."""
        if not self._waits(timeout_s):
            return []
        data = self._some()
        if data.endswith(b"\x1b") and self._waits(_REST_S):
            data += self._some()
        return ["q"] if not data else split_keys(data)

    def _waits(self, timeout_s: float) -> bool:
        return bool(select.select([self._descriptor], [], [], timeout_s)[0])

    def _some(self) -> bytes:
        try:
            return os.read(self._descriptor, 4096)
        except OSError:
            return b""


def split_keys(data: bytes) -> list[str]:
    r"""Names of the typed keys: those of `SEQUENCES`, otherwise characters. Unknown sequences are left out.

    >>> split_keys(b"\x1b[A\x1bq\x1b[99~c")
    ['up', 'escape', 'q', 'c']
    """
    keys = []
    while data:
        length = next((size for size in (4, 3, 1) if data[:size] in SEQUENCES and len(data) >= size), 0)
        if data[:2] in (b"\x1b[", b"\x1bO") and length < 3:
            length = _unknown_length(data)
        elif length:
            keys.append(SEQUENCES[data[:length]])
        else:
            length = 1
            keys.append(chr(data[0]))
        data = data[length:]
    return keys


def _unknown_length(data: bytes) -> int:
    for position in range(2, len(data)):
        if 0x40 <= data[position] <= 0x7E:
            return position + 1
    return len(data)


@contextlib.contextmanager
def pressed_keys() -> Iterator[Keys]:
    """Read single keys without echo within the block. Ctrl-C still sends its signal, Ctrl-Z does not."""
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    changed = termios.tcgetattr(descriptor)
    changed[3] &= ~(termios.ICANON | termios.ECHO)
    changed[6][termios.VMIN], changed[6][termios.VTIME] = 1, 0
    changed[6][termios.VSUSP] = b"\0"  # after a stop, the shell would get the terminal in this mode
    termios.tcsetattr(descriptor, termios.TCSAFLUSH, changed)
    try:
        yield Keys(descriptor)
    finally:
        termios.tcsetattr(descriptor, termios.TCSAFLUSH, before)
