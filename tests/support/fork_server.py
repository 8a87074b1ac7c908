"""A process that has imported the program and forks for each command, so that a test pays for no import.

A command still is a process with its own working directory, environment, streams and umask. It only skips the start of
the interpreter. `serves` says for which commands that makes no difference.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

PRELOADED = (
    "architect_parallel.cli.app",
    *("architect_parallel.api.launch", "architect_parallel.api.resume", "architect_parallel.api.merge"),
    *("architect_parallel.specs.runner", "architect_parallel.flows.runner"),
)
READ_AT_START = ("PYTHON", "LC_", "LANG", "COVERAGE_")


def serves(env: Mapping[str, str]) -> bool:
    """True if a command with these additional variables is the same as one that a fresh interpreter runs."""
    return not any(name.startswith(READ_AT_START) for name in env) and not any(
        name.startswith("COVERAGE_") for name in os.environ
    )


class ForkServer:
    """The server process of this test process, and the way to have it run one command."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        self._orders = ours
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(theirs.fileno())], pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL
        )
        theirs.close()

    def run(
        self, argv: Sequence[str], cwd: Path, env: Mapping[str, str], stdin: bytes | None, timeout_s: float
    ) -> tuple[int, bytes, bytes]:
        """Run one command to its end: its exit code (minus the signal that ended it), stdout and stderr.

        Raises subprocess.TimeoutExpired after ending the command.
        """
        order = json.dumps({"argv": list(argv), "cwd": str(cwd), "env": dict(env), "umask": _umask()}).encode()
        (out, out_end), (error, error_end) = os.pipe(), os.pipe()
        input_end, feed = (os.open(os.devnull, os.O_RDONLY), None) if stdin is None else os.pipe()
        answers, answer_end = socket.socketpair()
        try:
            socket.send_fds(
                self._orders,
                [len(order).to_bytes(8, "little")],
                [input_end, out_end, error_end, answer_end.fileno()],
            )
            self._orders.sendall(order)
        finally:
            for end in (input_end, out_end, error_end):
                os.close(end)
            answer_end.close()
        texts: dict[int, bytes] = {}
        threads = [threading.Thread(target=_drain, args=(end, texts)) for end in (out, error)]
        if stdin is not None:
            threads.append(threading.Thread(target=_feed, args=(feed, stdin)))
        for thread in threads:
            thread.start()
        with answers, answers.makefile("r") as lines:
            pid = int(lines.readline())
            answers.settimeout(timeout_s)
            try:
                code = int(lines.readline())
            except TimeoutError:
                os.kill(pid, signal.SIGKILL)
                raise subprocess.TimeoutExpired(list(argv), timeout_s) from None
        for thread in threads:
            thread.join()
        return code, texts[out], texts[error]


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _drain(end: int, texts: dict[int, bytes]) -> None:
    with open(end, "rb") as stream:
        texts[end] = stream.read()


def _feed(end: int, content: bytes) -> None:
    with contextlib.suppress(BrokenPipeError), open(end, "wb") as stream:
        stream.write(content)


def _serve(orders: socket.socket) -> None:
    """Read orders until the tests' process has gone; in a forked child return with its streams in place."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the keepers below are collected by the kernel
    while True:
        head, descriptors, _, _ = socket.recv_fds(orders, 8, 4)
        if not head:
            os._exit(0)
        size = int.from_bytes(head, "little")
        order = json.loads(orders.recv(size, socket.MSG_WAITALL))
        if os.fork() == 0:
            orders.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _keep(order, descriptors)
            return
        for descriptor in descriptors:
            os.close(descriptor)


def _keep(order: dict[str, Any], descriptors: list[int]) -> None:
    """Fork the command, wait for it and answer with its pid and its code. Returns in the command only."""
    *streams, answer = descriptors
    pid = os.fork()
    if pid:
        for descriptor in streams:
            os.close(descriptor)
        os.write(answer, b"%d\n" % pid)
        _, status = os.waitpid(pid, 0)
        with contextlib.suppress(BrokenPipeError):
            os.write(answer, b"%d\n" % os.waitstatus_to_exitcode(status))
        os._exit(0)
    os.close(answer)
    for number, descriptor in enumerate(streams):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.umask(order["umask"])
    os.chdir(order["cwd"])
    os.environ.clear()
    os.environ.update(order["env"])
    sys.argv = order["argv"]


if __name__ == "__main__":
    import gc
    import importlib

    sys.path.pop(0)  # the directory of this file
    for name in PRELOADED:
        importlib.import_module(name)
    gc.freeze()
    _serve(socket.socket(fileno=int(sys.argv[1])))
    from architect_parallel.cli.app import main

    main()
