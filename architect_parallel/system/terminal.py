"""Terminals: whether there is one, and lines at its end that are drawn again and again, below text that stays.

Between two drawings the cursor is at the beginning of the first line. A terminal that is resized moves the cursor with
the text around it, so everything below the cursor is old and can be erased, however the terminal wrapped it. The echo
of keys is off meanwhile: Enter would push the lines up.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import termios
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, TextIO

from architect_parallel.errors import EnvironmentProblem
from architect_parallel.text.sanitize import one_line

_HIDE, _SHOW = "\x1b[?25l", "\x1b[?25h"
_BEGIN, _END = "\x1b[?2026h", "\x1b[?2026l"
"""Terminals that know them show a drawing at once, without flicker. Others ignore them."""
_ERASE_LINE, _ERASE_BELOW = "\x1b[K", "\x1b[J"

Draw = Callable[[int, int], Sequence[str]]
"""Width and height in cells → lines of at most this width, with colours but without other control sequences."""


def is_interactive() -> bool:
    """Return whether keys come from a terminal and output goes to one."""
    return sys.stdin.isatty() and shows_live(sys.stdout)


def shows_live(stream: TextIO) -> bool:
    """Return whether lines can be drawn there again and again: on a terminal, outside CI, in the foreground."""
    if not stream.isatty() or os.environ.get("CI") or os.environ.get("TERM", "dumb") == "dumb":
        return False
    return _is_foreground(stream.fileno())


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


def run_in_front(argv: Sequence[str], *, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> int:
    """Run a program at this terminal to its end, which also gets Ctrl-C. Returns its exit code.

    Args:
        cwd, env: `None` means those of this process.

    Raises:
        EnvironmentProblem: It cannot be started.
    """
    in_main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGINT, lambda *_: None) if in_main else None  # an ignored one would be inherited
    try:
        return subprocess.run(list(argv), cwd=cwd, env=env, check=False).returncode
    except OSError as error:
        place = f" in {cwd}" if cwd is not None else ""
        raise EnvironmentProblem(f"cannot start {argv[0]}{place}: {error.strerror}") from error
    finally:
        if in_main:
            signal.signal(signal.SIGINT, before)


def start_behind(argv: Sequence[str], *, cwd: Path, env: Mapping[str, str]) -> None:
    """Start a program without a terminal. It outlives this process.

    Raises:
        EnvironmentProblem: It cannot be started.
    """
    try:
        process = subprocess.Popen(
            argv,
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError as error:
        raise EnvironmentProblem(f"cannot start {argv[0]} in {cwd}: {error.strerror}") from error
    threading.Thread(target=process.wait, name="behind", daemon=True).start()


def notification(title: str, text: str, environ: Mapping[str, str]) -> str:
    r"""The control sequences that ring the bell, show a notification and set the title of a terminal.

    Terminals know one of two notifications, and those that know both would show it twice. tmux passes on what is
    wrapped, if it is allowed to.

    >>> notification("done", "3 OK", {"TERM": "foot"})
    '\x07\x1b]777;notify;done;3 OK\x1b\\\x1b]2;done: 3 OK\x1b\\'
    """
    title, text = (one_line(part, 200).replace(";", ",") for part in (title, text))
    knows_777 = environ.get("TERM", "").startswith(("rxvt", "foot")) or "VTE_VERSION" in environ
    shown = f"\x1b]777;notify;{title};{text}\x1b\\" if knows_777 else f"\x1b]9;{title}: {text}\x1b\\"
    if "TMUX" in environ:
        shown = "\x1bPtmux;" + shown.replace("\x1b", "\x1b\x1b") + "\x1b\\"
    return f"\a{shown}\x1b]2;{title}: {text}\x1b\\"


class LiveBlock:
    """The lines at the end of a terminal. A thread draws them until `close`.

    A terminal that fails loses the lines and nothing more.

    Args:
        stream: The terminal.
        draw: Called in the thread, and for each text above.
        period_s: Seconds between two drawings.
    """

    def __init__(self, stream: TextIO, draw: Draw, *, period_s: float) -> None:
        self._stream = stream
        self._draw = draw
        self._period_s = period_s
        self._lock = threading.RLock()
        self._is_closed = threading.Event()
        self._held = contextlib.ExitStack()
        self._held.enter_context(_without_echo(stream))
        self._write(_HIDE + self._lines())
        self._thread = threading.Thread(target=self._work, name="live block", daemon=True)
        self._thread.start()

    @contextlib.contextmanager
    def above(self) -> Iterator[None]:
        """Remove the lines within the block, for text that stays. The text has to end with a newline."""
        with self._lock:
            self._write(_ERASE_BELOW)
            try:
                yield
            finally:
                if not self._is_closed.is_set():
                    self._write(self._lines())

    def close(self) -> None:
        """Remove the lines. Keys are echoed again, and the cursor is shown."""
        self._is_closed.set()
        self._thread.join()
        self._write(_ERASE_BELOW + _SHOW)
        self._held.close()

    def _work(self) -> None:
        while not self._is_closed.wait(self._period_s):
            with self._lock:
                self._write(self._lines())

    def _lines(self) -> str:
        """One drawing, from the cursor and back to it."""
        try:
            columns, rows = os.get_terminal_size(self._stream.fileno())
        except (OSError, ValueError):
            return ""
        # The last column stays empty: behind it, terminals differ in where the cursor is.
        lines = list(self._draw(max(1, columns - 1), max(1, rows - 1)))[: max(1, rows - 1)]
        if not lines:
            return _ERASE_BELOW
        up = f"\x1b[{len(lines) - 1}A" if len(lines) > 1 else ""
        return f"{_BEGIN}{f'{_ERASE_LINE}{chr(10)}'.join(lines)}{_ERASE_BELOW}\r{up}{_END}"

    def _write(self, data: str) -> None:
        if not _is_foreground(self._stream.fileno()):
            return  # stopped with Ctrl-Z and continued with `bg`: the terminal is another program's
        with contextlib.suppress(OSError):
            self._stream.write("\r" + data)
            self._stream.flush()


def _is_foreground(descriptor: int) -> bool:
    try:
        return os.tcgetpgrp(descriptor) == os.getpgrp()
    except OSError:
        return True  # no terminal that controls this process: there are no jobs


@contextlib.contextmanager
def _without_echo(stream: TextIO) -> Iterator[None]:
    """Switch the echo of keys off on this terminal within the block. What is typed stays for the shell."""
    descriptor = stream.fileno()
    try:
        before: list[Any] = termios.tcgetattr(descriptor)
    except termios.error:
        yield
        return
    _set_mode(descriptor, [*before[:3], before[3] & ~termios.ECHO, *before[4:]])
    try:
        yield
    finally:
        _set_mode(descriptor, before)


def _set_mode(descriptor: int, mode: list[Any]) -> None:
    if _is_foreground(descriptor):  # the kernel stops a background process that changes its terminal
        with contextlib.suppress(termios.error):
            termios.tcsetattr(descriptor, termios.TCSADRAIN, mode)
