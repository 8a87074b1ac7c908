"""The door for the embedded agent's own commands: one program, bounded in time and output, that leaves nothing in its
process group.

Not for workers: those have a supervisor (`process.py`) that also finds what leaves the group. A worker's agent runs
inside such a tree, so what escapes here is ended there.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

CHUNK_BYTES = 65536
TICK_S = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramOutcome:
    """How a program ended."""

    exit_code: int | None
    """Negative: that signal. `None`: it was ended because of the time limit or a stop."""
    output: bytes
    """stdout and stderr in their order; the first and the last part when there was too much."""
    omitted_bytes: int
    timed_out: bool


class _Tape:
    """Keeps the first and the last half of `limit` bytes."""

    def __init__(self, limit: int) -> None:
        self._half = limit // 2
        self._head = bytearray()
        self._tail = bytearray()
        self.omitted = 0

    def add(self, data: bytes) -> None:
        room = self._half - len(self._head)
        self._head += data[:room]
        self._tail += data[room:] if room > 0 else data
        excess = len(self._tail) - self._half
        if excess > 0:
            self.omitted += excess
            del self._tail[:excess]

    def content(self) -> bytes:
        gap = f"\n[... {self.omitted} bytes left out ...]\n".encode() if self.omitted else b""
        return bytes(self._head) + gap + bytes(self._tail)


def run_bounded(
    argv: tuple[str, ...],
    *,
    cwd: Path,
    env: Mapping[str, str],
    timeout_s: float,
    output_bytes: int,
    stop: threading.Event,
) -> ProgramOutcome:
    """Run a program to its end, its time limit, or until `stop` is set; then its process group is gone.

    The program's end counts, not the end of its output: a background process may hold the pipe.

    Raises:
        OSError: When the program cannot be started.
    """
    tape = _Tape(output_bytes)
    process = subprocess.Popen(
        argv,
        cwd=cwd,
        env=dict(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    assert process.stdout is not None
    descriptor = process.stdout.fileno()
    os.set_blocking(descriptor, False)
    deadline = time.monotonic() + timeout_s
    timed_out = False
    try:
        with selectors.DefaultSelector() as selector:
            selector.register(descriptor, selectors.EVENT_READ)
            while process.poll() is None and not stop.is_set():
                if time.monotonic() >= deadline:
                    timed_out = True
                    break
                if selector.get_map():
                    if selector.select(TICK_S) and not _read(descriptor, tape):
                        selector.unregister(descriptor)
                else:
                    stop.wait(TICK_S)
        ended = process.poll()
        while _read(descriptor, tape) and len(tape.content()) < output_bytes:
            pass
    finally:
        # The group id stays ours until the leader is reaped, and a group outlives its leader: what was started with
        # `&` is ended here too.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
    return ProgramOutcome(exit_code=ended, output=tape.content(), omitted_bytes=tape.omitted, timed_out=timed_out)


def _read(descriptor: int, tape: _Tape) -> bool:
    """Read the available output. Returns `False` if there is none, or at its end."""
    try:
        data = os.read(descriptor, CHUNK_BYTES)
    except BlockingIOError:
        return False
    tape.add(data)
    return bool(data)
