"""The console script as a user starts it."""

from __future__ import annotations

import functools
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from support.fork_server import ForkServer, serves

SCRIPT = Path(sys.executable).with_name("architect")


@dataclass(frozen=True)
class Answer:
    """What a command left."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """stdout as the one JSON object it has to be."""
        return json.loads(self.out)


@functools.cache
def fork_server() -> ForkServer:
    """The one server of this test process. It ends with it."""
    return ForkServer()


class Architect:
    """Starts `architect` in a directory."""

    def __init__(self, cwd: Path) -> None:
        self.cwd = cwd
        self._live: list[subprocess.Popen[bytes]] = []

    def __call__(
        self,
        *args: str | bytes | os.PathLike[str],
        cwd: Path | None = None,
        stdin: bytes | None = None,
        env: Mapping[str, str] | None = None,
        timeout_s: float = 90,
    ) -> Answer:
        if serves(env or {}):
            words = [os.fsdecode(word) for word in (SCRIPT, *args)]
            done = fork_server().run(words, cwd or self.cwd, {**os.environ, **(env or {})}, stdin, timeout_s)
            return Answer(done[0], done[1].decode(), done[2].decode())
        started = subprocess.run(
            [SCRIPT, *args],
            cwd=cwd or self.cwd,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            env={**os.environ, **(env or {})},
            timeout=timeout_s,
            check=False,
        )
        return Answer(started.returncode, started.stdout.decode(), started.stderr.decode())

    def begin(self, *args: str) -> subprocess.Popen[bytes]:
        """Starts a command and returns at once; it is ended with the test."""
        process = subprocess.Popen(
            [SCRIPT, *args],
            cwd=self.cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self._live.append(process)
        return process

    def finish(self, process: subprocess.Popen[bytes], timeout_s: float = 60) -> Answer:
        """Waits for a command started with `begin`."""
        out, err = process.communicate(timeout=timeout_s)
        return Answer(process.returncode, out.decode(), err.decode())

    def end_all(self) -> None:
        for process in self._live:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
            process.communicate()


def deliver(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Send a signal and wait until it has reached the process: of two that are pending the later may come first."""
    process.send_signal(number)
    status = Path(f"/proc/{process.pid}/status")
    pending = re.compile(r"^ShdPnd:.*[1-9a-f]", re.MULTILINE)
    wait_until(lambda: process.poll() is not None or not pending.search(status.read_text()), f"the arrival of {number}")


def write_program(path: Path, code: str) -> None:
    """Write an executable of this Python. `sh` starts it: a `#!` line takes no path with a space or a very long one."""
    path.write_text(f"#!/bin/sh\n'''exec' \"{sys.executable}\" \"$0\" \"$@\"\n' '''\n{code}")
    path.chmod(0o755)


def wait_until(condition: Callable[[], bool], what: str, timeout_s: float = 60) -> None:
    """Waits for a fact; fails the test when it does not come about."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"{what} did not come about within {timeout_s} s")
        time.sleep(0.02)


def running_with(token: str) -> list[int]:
    """Processes with `token` as a word of their command line."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if token in (process.info["cmdline"] or []):
            found.append(process.pid)
    return found


def working_in(directory: Path) -> list[int]:
    """Processes whose current directory is `directory` or below it: a dead launcher's git, say."""
    found = []
    for process in psutil.process_iter(["cwd"]):
        cwd = process.info["cwd"]
        if cwd and Path(cwd).is_relative_to(directory):
            found.append(process.pid)
    return found
