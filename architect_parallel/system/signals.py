"""The door to signals: what arrives for the launcher is handed to one callable, and the old handlers come back.

Python runs handlers in the main thread only; used from another thread (a program that calls `ParallelRunner` from
one), nothing is installed and the program keeps its own handling.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def stopping_signals() -> tuple[signal.Signals, ...]:
    """SIGINT, SIGTERM and SIGHUP, without a SIGHUP that is ignored: under `nohup` a run outlives its terminal."""
    is_hangup_ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return tuple(number for number in STOPPING if number is not signal.SIGHUP or not is_hangup_ignored)


@contextlib.contextmanager
def forwarded(receive: Callable[[signal.Signals], None]) -> Iterator[None]:
    """Within the block SIGINT, SIGTERM and SIGHUP call `receive`, which must be reentrant and quick.

    A SIGHUP that was ignored before (`nohup`) stays ignored. SIGINT is taken even where it was ignored: a run started
    with `&` from a script can be stopped with `kill -INT`.
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
        for each, handler in before.items():
            signal.signal(each, handler if handler is not None else signal.SIG_DFL)
