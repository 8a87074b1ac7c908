"""Run one program with a limit for its time, and end its process group: of the embedded agent, or of the user.

Workers have a supervisor instead (`supervision.process`), which also finds processes that left the group. A worker's
agent runs inside such a supervised tree, so that processes which escape here are ended there.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

CHUNK_BYTES = 65536
TICK_S = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramOutcome:
    """The result of a program."""

    exit_code: int | None
    """A negative number means that signal. `None` means that the time limit or a stop ended the program."""
    output: bytes
    """stdout and stderr in their order. Too much output is cut in the middle."""
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
    """Run a program to its end, its time limit, or until `stop` is set. Then end its process group.

    The end of the program counts, not the end of its output, because a background process may keep the pipe open.

    Raises:
        OSError: The program cannot be started.
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
        # No other group gets this id before the leader is reaped, and a group outlives its leader. So this also ends
        # programs started with `&`.
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


def feed(command: str, data: bytes, *, timeout_s: float) -> str | None:
    """Run a shell command with `data` on stdin, to its end or its time limit. Its stdout is dropped.

    Returns:
        The problem in words. `None` means that it ended with exit code 0.
    """
    try:
        with tempfile.TemporaryFile() as errors:
            code = _fed(("sh", "-c", command), data, errors.fileno(), timeout_s)
            errors.seek(0)
            last_line = (errors.read(CHUNK_BYTES).decode(errors="replace").strip().splitlines() or [""])[-1]
    except OSError as error:
        return f"cannot be run: {error.strerror}"
    except subprocess.TimeoutExpired:
        return f"stopped after {timeout_s:g} s"
    return f"ended with exit code {code}" + (f": {last_line}" if last_line else "") if code else None


def _fed(argv: tuple[str, ...], data: bytes, errors: int, timeout_s: float) -> int:
    nowhere = subprocess.DEVNULL
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=nowhere, stderr=errors, start_new_session=True
    ) as process:
        try:
            process.communicate(data, timeout=timeout_s)
        finally:
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(process.pid, signal.SIGKILL)
    return process.returncode
