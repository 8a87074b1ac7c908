"""The OpenSSH client as two streams to a program on another machine, and a process here that outlives its starter."""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, cast

CONNECT_S = 10
"""Seconds that the client has to connect."""
OPTIONS = (
    *("-T", "-o", "BatchMode=yes", "-o", f"ConnectTimeout={CONNECT_S}"),
    # A cable that was pulled out is noticed after 15 s. Without this it would be noticed never.
    *("-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=3"),
)
_REAP_S = 5.0


class SshProcess:
    """A running client. It never asks for a password."""

    def __init__(self, destination: str, port: int | None, command: Sequence[str]) -> None:
        """Start it.

        Args:
            destination: `HOST` or `USER@HOST`.
            port: `None` means the port of the user's own configuration of ssh.
            command: Runs in the user's login shell there, which sets its PATH and keys.

        Raises:
            FileNotFoundError: There is no ssh client here.
        """
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `close`
        words = ["ssh", *OPTIONS, *(() if port is None else ("-p", str(port))), "--", destination]
        remote = f'exec "$SHELL" -lc {shlex.quote("exec " + shlex.join(command))}'
        try:
            self._process = subprocess.Popen(
                [*words, remote],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                start_new_session=True,  # Ctrl-C is the launcher's, which stops the agents first
            )
        except BaseException:
            self._errors.close()
            raise
        self.stdin = cast(BinaryIO, self._process.stdin)
        self.stdout = cast(BinaryIO, self._process.stdout)

    def close(self) -> str:
        """End the client and wait for it. Returns the last line that it printed on stderr."""
        with contextlib.suppress(OSError):
            self.stdin.close()
        self._process.terminate()
        try:
            self._process.wait(_REAP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        self._errors.close()
        return lines[-1].strip() if lines else ""


def start_detached(argv: Sequence[str], log: Path) -> None:
    """Start a process in a session of its own, so that it outlives the connection that this process belongs to."""
    with open(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600), "wb") as output:
        child = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True, cwd="/"
        )
    child.returncode = 0  # it is not waited for: no warning about a process that still runs
