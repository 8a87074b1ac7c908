"""The door to processes: start a program under a supervisor, receive its messages, end its whole tree for certain.

Callers see messages, never pids that they would have to signal. Nothing here reads what the program prints or decides
how a worker ended. Each program has a supervisor process of its own (`child/supervisor.py` documents how it works and
what it proves). It ends the program's whole tree when this process dies, however it dies.

Output comes straight from the program's pipes, in chunks and only when the caller asks for it. A slow caller slows the
program down, and no line is held here. The end of a pipe is never waited for, because a process elsewhere may hold it
open for ever. When the tree is gone, the rest in the pipes is read.

`Gone` comes exactly once and last. Where the supervisor can prove nothing (it was killed, or this is macOS, which has
no child subreaper), the tree is swept from here by the cookie in the environment and by session.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from architect_parallel.supervision.messages import (
    Exhausted,
    Exited,
    Gone,
    Launch,
    Message,
    Output,
    SpawnFailed,
    Started,
    Stream,
)
from architect_parallel.supervision.sweep import COOKIE, forget_guard, start_guard, sweep

CHUNK_BYTES = 65536
PIPE_BYTES = 4 * CHUNK_BYTES
"""Asked of the system for an agent's pipes, and read at a time: a flood costs a third less than in chunks of 64 KiB."""
MOST_LISTENERS = 64
"""Listening sockets of a contained program that are taken."""
DRAIN_BYTES = 1 << 20
"""No pipe of an unprivileged process holds more than this."""
SLICE_S = 0.25
"""The longest sleep of `wait` before it checks the deadline of a stop that was ordered meanwhile, in seconds."""
OVERDUE_S = 1.5
"""Seconds after the end of grace until a silent supervisor is taken for dead."""
OVERDUE_SWEEP_S = 0.4
"""Seconds that a sweep from here may take after that. Together they keep a stop within its grace and 2 s."""
LOST_S = 1.5
"""Seconds that a sweep may take when the supervisor died, which is noticed at once."""
REAP_S = 0.2
"""Seconds that a guard has to exit after `gone`."""
PROVES_EMPTINESS = sys.platform == "linux"
"""True if this system can prove that no process of a tree is left. Elsewhere group, parentage and cookie are swept."""
LOADER_VARIABLES = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "DYLD_FALLBACK_LIBRARY_PATH")
"""Variables that some Python builds need to start. The supervisor gets nothing else of our environment."""
SUPERVISOR = Path(__file__).resolve().parent / "child" / "supervisor.py"


class Supervised:
    """A program under supervision. `wait` is for one thread. `stop` and `kill` are for any, at any time.

    The death of this process stops the tree with the grace of its `Launch`. As a context manager it ends with `close`.
    """

    def __init__(self, launch: Launch) -> None:
        self._launch = launch
        self._lock = threading.Lock()
        self._deadline: float | None = None
        self._guard: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None
        self._pipes: dict[int, Stream] = {}
        self._poll = select.poll()
        self._facts = b""
        self._agent_pid: int | None = None
        self._ready: list[Message] = []
        self.supervisor_pid: int | None = None
        """Its descendants are the program's tree. The guard's pid until `Started`. `None` means never started."""
        self.finished = False
        """True once `Gone` has been returned."""

    def wait(self, timeout_s: float | None = None) -> list[Message]:
        """Wait for messages and return them, oldest first. At most one chunk per stream at a time.

        Returns an empty list after `timeout_s` seconds, and at once after `Gone`. `None` waits without a limit.
        """
        until = None if timeout_s is None else time.monotonic() + timeout_s
        while not self.finished:
            messages = self._ready or self._poll_once(until)
            self._ready = []
            if messages:
                self.finished = isinstance(messages[-1], Gone)
                return messages
            if until is not None and time.monotonic() >= until:
                break
        return []

    def stop(self, grace_s: float | None = None) -> None:
        """Stop the tree: politely first, by force after `grace_s`. `None` means the grace of the `Launch`.

        A further call can only bring the end forward.
        """
        grace = self._launch.grace_s if grace_s is None else max(0.0, grace_s)
        self._order(f"stop {grace:.3f}\n", grace)

    def kill(self) -> None:
        """Kill the tree at once."""
        self._order("kill\n", 0.0)

    def close(self) -> None:
        """Kill the processes that are left and wait for the end. Do nothing after `Gone`."""
        self.kill()
        while not self.finished:
            self.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _order(self, line: str, grace_s: float) -> None:
        with self._lock:
            overdue = time.monotonic() + grace_s + OVERDUE_S
            self._deadline = overdue if self._deadline is None else min(self._deadline, overdue)
            if self._channel is not None and self._guard is not None:
                with contextlib.suppress(OSError):  # a dead supervisor is noticed by `wait`
                    self._channel.sendall(line.encode(), socket.MSG_DONTWAIT)
                self._guard.send_signal(signal.SIGCONT)  # should the agent have stopped it; it wakes the supervisor

    def _start(self) -> None:
        with contextlib.ExitStack() as ours, contextlib.ExitStack() as theirs:
            stdin = theirs.enter_context(open(self._launch.stdin_file or os.devnull, "rb"))
            ends: list[int] = []
            for stream in ("stdout", "stderr"):
                end, far_end = os.pipe()
                ours.callback(os.close, end)
                theirs.callback(os.close, far_end)
                os.set_blocking(end, False)
                if hasattr(fcntl, "F_SETPIPE_SZ"):
                    with contextlib.suppress(OSError):  # what this user may have of it is used up
                        fcntl.fcntl(end, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
                self._pipes[end] = stream
                ends.append(far_end)
            self._channel, far_channel = socket.socketpair()
            ours.callback(self._channel.close)
            theirs.callback(far_channel.close)
            self._guard = start_guard(
                lambda: subprocess.Popen(
                    [sys.executable, "-I", "-S", os.fspath(SUPERVISOR), str(far_channel.fileno())],
                    stdin=stdin,
                    stdout=ends[0],
                    stderr=ends[1],
                    env={name: os.environ[name] for name in LOADER_VARIABLES if name in os.environ},
                    pass_fds=(far_channel.fileno(),),
                    start_new_session=True,
                    cwd="/",
                )
            )
            ours.pop_all()  # kept from here on: it runs
        self.supervisor_pid = self._guard.pid
        self._poll.register(self._channel.fileno(), select.POLLIN)
        with contextlib.suppress(OSError):  # a supervisor that died is noticed by `wait`
            self._channel.sendall(_configuration(self._launch))

    def _poll_once(self, until: float | None) -> list[Message]:
        """Poll the channel and the pipes once, for at most a slice."""
        slice_s = SLICE_S if until is None else min(SLICE_S, max(0.0, until - time.monotonic()))
        messages: list[Message] = []
        reports: list[Message] = []
        assert self._channel is not None
        for descriptor, _ in self._poll.poll(slice_s * 1000):
            if descriptor == self._channel.fileno():
                reports = self._receive()
            elif (chunk := self._read(descriptor)) is not None:
                messages.append(chunk)
        messages += reports
        if self._deadline is not None and time.monotonic() > self._deadline and not _ends(messages):
            messages.append(self._sweep_without_supervisor(OVERDUE_SWEEP_S))
        if _ends(messages):
            gone = messages.pop()
            messages += self._drain()
            self._close_all()
            messages.append(gone)
        return messages

    def _read(self, descriptor: int) -> Output | None:
        try:
            data = os.read(descriptor, PIPE_BYTES)
        except BlockingIOError:
            return None
        if not data:
            self._poll.unregister(descriptor)
            return None
        return Output(stream=self._pipes[descriptor], data=data)

    def _drain(self) -> list[Message]:
        """Read what lies in the pipes now."""
        chunks: list[Message] = []
        for descriptor in self._pipes:
            size = 0
            while size < DRAIN_BYTES:
                try:
                    data = os.read(descriptor, PIPE_BYTES)
                except BlockingIOError:
                    break
                if not data:
                    break
                size += len(data)
                chunks.append(Output(stream=self._pipes[descriptor], data=data))
        return chunks

    def _receive(self) -> list[Message]:
        """Receive from the supervisor. The end of the channel means that it died."""
        assert self._channel is not None
        try:
            data, descriptors, _, _ = socket.recv_fds(self._channel, CHUNK_BYTES, MOST_LISTENERS)
        except OSError:
            data, descriptors = b"", []
        if descriptors and self._launch.gateway is not None:
            self._launch.gateway.serve(descriptors)
        if not data:
            return [self._sweep_without_supervisor(LOST_S)]
        *lines, self._facts = (self._facts + data).split(b"\n")
        return [message for line in lines for message in self._parse_fact(*line.decode().split(" "))]

    def _parse_fact(self, fact: str, *details: str) -> list[Message]:
        if fact == "spawn_failed":
            return [SpawnFailed(message=bytes.fromhex(details[0]).decode())]
        numbers = [None if word == "-" else int(word) for word in details]
        match fact, numbers:
            case "listening", []:
                return []
            case "exhausted", []:
                return [Exhausted()]
            case "started", [int(agent), int(supervisor)]:
                self._agent_pid, self.supervisor_pid = agent, supervisor
                for descriptor in self._pipes:  # not before, so that `Started` comes before any `Output`
                    self._poll.register(descriptor, select.POLLIN)
                return [Started(pid=agent)]
            case "exited", [int(exit_code)]:
                return [Exited(exit_code=exit_code)]
            case "gone", [leaked, int(survivors)]:
                if not PROVES_EMPTINESS:
                    survivors = sweep(self._launch.cookie, self._agent_pid, timeout_s=OVERDUE_SWEEP_S)
                    return [Gone(leaked=leaked, survivors=survivors, proven=False)]
                return [Gone(leaked=leaked, survivors=survivors)]
            case _:
                raise AssertionError(f"not a fact of a supervisor: {fact}")

    def _sweep_without_supervisor(self, timeout_s: float) -> Gone:
        """End the tree from here: the supervisor is dead, or overdue and left to finish what it can."""
        survivors = sweep(self._launch.cookie, self._agent_pid, timeout_s=timeout_s)
        return Gone(leaked=None, survivors=survivors, proven=False)

    def _close_all(self) -> None:
        with self._lock:
            assert self._channel is not None
            self._channel.close()
            self._channel = None
        if self._launch.gateway is not None:
            self._launch.gateway.close()
        for descriptor in self._pipes:
            os.close(descriptor)
        self._pipes = {}
        try:
            self._reap(REAP_S)
        except subprocess.TimeoutExpired:  # it hunts survivors; a thread must reap it when it is done
            threading.Thread(target=self._reap, name="guard-reaper", daemon=True).start()

    def _reap(self, timeout_s: float | None = None) -> None:
        assert self._guard is not None
        self._guard.wait(timeout_s)
        forget_guard(self._guard.pid)


def _ends(messages: list[Message]) -> bool:
    return bool(messages) and isinstance(messages[-1], Gone)


def _configuration(launch: Launch) -> bytes:
    """The line that the supervisor reads. `child.channel.Config` documents its fields."""

    def word(text: str | Path) -> str:
        return os.fsencode(text).hex()

    env = {**launch.env, COOKIE: launch.cookie}
    words = [
        str(launch.nice),
        str(int(launch.polite_signal)),
        repr(float(launch.polite_wait_s)),
        repr(float(launch.grace_s)),
        word(f"{COOKIE}={launch.cookie}"),
        word(launch.cwd.absolute()),
        word(launch.scratch or ""),
        word(launch.cgroup or ""),
        str(len(launch.argv)),
        str(len(launch.cage)),
        *map(word, launch.argv),
        *(step.hex() for step in launch.cage),
        *(word(text) for pair in env.items() for text in pair),
    ]
    return " ".join(words).encode() + b"\n"


def start_supervised(launch: Launch) -> Supervised:
    """Start the program and return before it runs. A failed start is reported by `SpawnFailed`, not raised."""
    supervised = Supervised(launch)
    try:
        supervised._start()
    except OSError as error:
        supervised._channel = None
        supervised._ready = [SpawnFailed(message=_explain(error, launch)), Gone(leaked=0)]
    return supervised


def _explain(error: OSError, launch: Launch) -> str:
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return "too many open files: raise the limit (ulimit -n) or lower --max-parallel"
    if error.errno in (errno.EAGAIN, errno.ENOMEM):
        return f"cannot start a process: {error.strerror}; lower --max-parallel"
    if launch.stdin_file is not None and error.filename == os.fspath(launch.stdin_file):
        return f"cannot read {launch.stdin_file}: {error.strerror}"
    return f"cannot start a supervisor ({sys.executable}): {error.strerror}"
