"""A real OpenSSH server on loopback, unprivileged, with a home directory of its own for each port."""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.console import wait_until

SSHD = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin:/usr/local/sbin")

IN_CI = bool(os.environ.get("CI"))
"""There it must be installed."""


@dataclass(frozen=True)
class SshHosts:
    """The running server."""

    url: str
    """`ssh://127.0.0.1:PORT,…`, one for each host."""
    names: tuple[str, ...]
    """The hosts as the URL names them."""
    homes: tuple[Path, ...]
    process: subprocess.Popen[bytes]

    def root(self, index: int) -> Path:
        """The root of a host."""
        return self.homes[index] / "root"


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for listener in sockets:
            listener.bind(("127.0.0.1", 0))
        return [listener.getsockname()[1] for listener in sockets]


def _keygen(path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)


def _quoted(path: Path) -> str:
    return f'"{path}"'


@contextlib.contextmanager
def running_sshd(place: Path, monkeypatch: pytest.MonkeyPatch, count: int = 2) -> Iterator[SshHosts]:
    """Start a server with `count` hosts. `ssh` on PATH knows its keys. No host process is left behind."""
    if SSHD is None and not IN_CI:
        pytest.skip("no sshd (Debian: openssh-server)")
    assert SSHD is not None
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # root's server demands it; the package's service makes it
    place.mkdir()
    ports = _free_ports(count)
    _keygen(place / "host_key")
    _keygen(place / "user_key")
    shutil.copy(place / "user_key.pub", place / "authorized_keys")
    homes = tuple(place / f"home {number}" for number in range(count))
    lines = [
        *(f"Port {port}" for port in ports),
        "ListenAddress 127.0.0.1",
        f"HostKey {_quoted(place / 'host_key')}",
        f"AuthorizedKeysFile {_quoted(place / 'authorized_keys')}",
        f"PidFile {_quoted(place / 'pid')}",
        "StrictModes no",
        "UsePAM no",
        "PasswordAuthentication no",
    ]
    for port, home in zip(ports, homes, strict=True):
        home.mkdir()
        # A login shell may print something, and sets the PATH.
        profile = {
            "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
            "ARCHITECT_HOST_ROOT": str(home / "root"),
            "ARCHITECT_HOST_NAME": f"box{ports.index(port) + 1}",
            "ARCHITECT_HOST_SLOTS": "2",
            "ARCHITECT_SANDBOX": "off",
        }
        text = "".join(f'export {name}="{value}"\n' for name, value in profile.items())
        (home / ".profile").write_text(f"echo welcome\n{text}")
        lines += [f"Match LocalPort {port}", f'  SetEnv "HOME={home}"']
    (place / "sshd_config").write_text("\n".join(lines) + "\n")
    (place / "ssh_config").write_text(
        f"Host *\n  User {getpass.getuser()}\n  IdentityFile {_quoted(place / 'user_key')}\n  IdentitiesOnly yes\n"
        f"  UserKnownHostsFile {_quoted(place / 'known_hosts')}\n  StrictHostKeyChecking accept-new\n"
    )
    client = shutil.which("ssh")
    assert client is not None
    (place / "bin").mkdir()
    (place / "bin" / "ssh").write_text(f'#!/bin/sh\nexec {client} -F "{place}/ssh_config" "$@"\n')
    (place / "bin" / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{place / 'bin'}:/usr/bin:/bin:/usr/local/bin:{Path(sys.executable).parent}")
    with (place / "log").open("wb") as log:
        process = subprocess.Popen([SSHD, "-D", "-e", "-f", place / "sshd_config"], stderr=log)
    try:
        wait_until(lambda: process.poll() is not None or _listens(ports[-1]), "the ssh server")
        assert process.poll() is None, (place / "log").read_text()
        names = tuple(f"127.0.0.1:{port}" for port in ports)
        yield SshHosts(f"ssh://{','.join(names)}", names, homes, process)
    finally:
        process.terminate()
        process.wait()
        for home in homes:
            end_host_process(home / "root")


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def host_processes(root: Path) -> list[int]:
    """The host processes of a root."""
    import psutil

    return [
        process.pid
        for process in psutil.process_iter(["cmdline"])
        if "--keep" in (words := process.info["cmdline"] or []) and str(root) in words
    ]


def end_host_process(root: Path) -> None:
    """Kill the host process of a root, as a power cut would."""
    import psutil

    for pid in host_processes(root):
        with contextlib.suppress(psutil.NoSuchProcess):
            psutil.Process(pid).kill()
