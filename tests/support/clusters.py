"""Two hosts with two places each, by ssh and by Dask, as real processes that a test can kill."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.console import SCRIPT, wait_until
from support.sshd import SshHosts, host_processes, running_sshd


class OverSsh:
    """Hosts behind an ssh server."""

    def __init__(self, hosts: SshHosts) -> None:
        self.hosts = hosts
        self.words = ["--hosts", hosts.url]

    def pid(self, index: int) -> int:
        return host_processes(self.hosts.root(index))[0]

    def restart(self, index: int) -> None:
        """The next request starts it."""


class OverDask:
    """A scheduler and hosts of a Dask cluster with TLS."""

    def __init__(self, place: Path) -> None:
        self.place = place
        place.mkdir()
        subprocess.run([SCRIPT, "host", "certs", place / "tls"], check=True, capture_output=True)
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.start_scheduler("0")
        self.words = ["--hosts", self.url, "--tls-dir", str(place / "tls" / "client")]
        for index in range(2):
            self.restart(index)

    def start_scheduler(self, port: str) -> None:
        words = ("host", "serve", "--listen", f"127.0.0.1:{port}", "--tls-dir", str(self.place / "tls" / "scheduler"))
        self.url = self._start("scheduler", words).removeprefix("listening on ")

    def restart(self, index: int) -> None:
        name = f"box{index + 1}"
        words = ("--tls-dir", str(self.place / "tls" / "worker"), "--root", str(self.place / name), "--slots", "2")
        self._start(name, ("host", "join", self.url, "--name", name, *words))

    def pid(self, index: int) -> int:
        return self.processes[f"box{index + 1}"].pid

    def _start(self, name: str, words: tuple[str, ...]) -> str:
        """Start a process and return the first line that it prints."""
        log = self.place / f"{name}.log"
        log.unlink(missing_ok=True)
        with log.open("wb") as output:
            process = subprocess.Popen([SCRIPT, *words], stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        self.processes[name] = process
        wait_until(lambda: process.poll() is not None or b"\n" in log.read_bytes(), f"{name}'s first line")
        return log.read_text().splitlines()[0]

    def end(self) -> None:
        for process in self.processes.values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGCONT)
            process.kill()
            process.wait()


@contextlib.contextmanager
def two_hosts(engine: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OverSsh | OverDask]:
    """Two hosts by `ssh` or by `dask`."""
    if engine == "ssh":
        with running_sshd(place, monkeypatch) as hosts:
            yield OverSsh(hosts)
        return
    pytest.importorskip("distributed")
    cluster = OverDask(place)
    try:
        yield cluster
    finally:
        cluster.end()
