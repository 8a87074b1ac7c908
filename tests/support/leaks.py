"""What a block of code leaves open in the test's own process."""

from __future__ import annotations

import contextlib
import gc
import os
import threading
from collections.abc import Iterator


def open_descriptors() -> dict[str, str]:
    """The open descriptors of this process and what they name, after a garbage collection."""
    gc.collect()
    named = {}
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # the descriptor of the listing itself
            named[number] = os.readlink(f"/proc/self/fd/{number}")
    return named


@contextlib.contextmanager
def nothing_left_open() -> Iterator[None]:
    """Fail where the block leaves a descriptor or a thread that was not there before.

    What earlier tests left may be collected meanwhile, therefore fewer afterwards is no fault.
    """
    descriptors, threads = open_descriptors(), set(threading.enumerate())
    yield
    assert open_descriptors().items() - descriptors.items() == set()
    assert set(threading.enumerate()) - threads == set()
