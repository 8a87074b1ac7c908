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

    before = {}
    for each in STOPPING:
        if each is signal.SIGHUP and signal.getsignal(each) is signal.SIG_IGN:
            continue
        before[each] = signal.signal(each, handle)
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler if handler is not None else signal.SIG_DFL)
