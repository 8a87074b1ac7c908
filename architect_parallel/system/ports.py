"""Blocks of TCP ports that are free and that no other launcher on this machine gives to a worker.

A launcher holds a lock for each cell of ten ports that its block touches. On Linux the lock is a name of an abstract
socket. It is valid where the ports are (in the network namespace) and for all users. It ends with the process.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from architect_parallel.errors import EnvironmentProblem
from architect_parallel.system.files import HeldLock, make_private_dir

HIGHEST_PORT = 65_535
_CELL = 10


@contextmanager
def free_ports(first: int, count: int, *, preferred: int | None = None) -> Iterator[int]:
    """Yield the first port of a block that was free, and keep other launchers away from it until the end.

    Args:
        first: The first port of the first block.
        count: The number of ports in a block.
        preferred: The block to take if it is free. `None` means the first free one.

    Raises:
        EnvironmentProblem: No block is free.
    """
    blocks = range(first, HIGHEST_PORT + 2 - count, count)
    order = [preferred] if preferred is not None and preferred in blocks else []
    for start in (*order, *blocks):
        with ExitStack() as held:
            if _locked(start, count, held) and all(map(_is_free, range(start, start + count))):
                yield start
                return
    raise EnvironmentProblem(
        f"no {count} ports in a row are free from {first} on", hint="worktrees.ports: {first: 20000, each: 10}"
    )


def _locked(start: int, count: int, held: ExitStack) -> bool:
    """Take the locks of all cells, and return true on success. `held` releases them."""
    for cell in range(start // _CELL, (start + count - 1) // _CELL + 1):
        if sys.platform == "linux":
            claim = held.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
            try:
                claim.bind(f"\0architect-parallel-ports-{cell}")
            except OSError:
                return False
        else:
            folder = make_private_dir(Path(tempfile.gettempdir()) / f"architect-parallel-ports-{os.getuid()}")
            lock = HeldLock.try_acquire(folder / str(cell))
            if lock is None:
                return False
            held.callback(lock.release)
    return True


def _is_free(port: int) -> bool:
    for family, address in ((socket.AF_INET, ""), (socket.AF_INET6, "::")):
        try:
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                if family == socket.AF_INET6:
                    probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                probe.bind((address, port))
        except OSError as error:
            # Any other error means that this machine has no such addresses, or does not let us look.
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                return False
    return True
