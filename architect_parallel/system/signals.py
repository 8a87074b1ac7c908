"""Forward the launcher's signals to one callable, and restore the old handlers afterwards.

Python runs handlers only in the main thread. In another thread (of a program that calls `ParallelRunner` there), no
handler is installed, and the program keeps its own.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def stopping_signals() -> tuple[signal.Signals, ...]:
    """SIGINT, SIGTERM and SIGHUP. An ignored SIGHUP is left out: under `nohup` a run outlives its terminal."""
    is_hangup_ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return tuple(number for number in STOPPING if number is not signal.SIGHUP or not is_hangup_ignored)


@contextlib.contextmanager
def forwarded(receive: Callable[[signal.Signals], None]) -> Iterator[None]:
    """Call `receive` for SIGINT, SIGTERM and SIGHUP within the block. It must be reentrant and quick.

    A SIGHUP that was ignored before (`nohup`) stays ignored. An ignored SIGINT is handled, so that `kill -INT` stops a
    run that a script started with `&`.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, frame: FrameType | None) -> None:
        receive(signal.Signals(number))

    before = {number: signal.signal(number, handle) for number in stopping_signals()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
