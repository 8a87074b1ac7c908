"""A process of the user beside the agents, and the things that it keeps: sockets, shared memory, files in /tmp.

A program: `python3 victim.py DIRECTORY` prints one line of JSON and waits for the end of its stdin.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import sys
import tempfile
from pathlib import Path

LIBC = ctypes.CDLL(None)


def main() -> None:
    signal.signal(signal.SIGUSR1, lambda *_: None)
    name = f"victim-{os.getpid() % 100000}"
    LIBC.prctl(15, name.encode())
    place = tempfile.mkdtemp(prefix="architect-victim-", dir="/tmp")
    (Path(place) / "file").write_text("hunter2\n")
    servers = [socket.socket(socket.AF_UNIX) for _ in range(2)] + [socket.socket()]
    servers[0].bind(f"{place}/socket")
    servers[1].bind(f"\0architect-{os.getpid()}")
    servers[2].bind(("127.0.0.1", 0))
    for server in servers:
        server.listen(64)
    shm = f"/dev/shm/architect-{os.getpid()}"
    Path(shm).write_text("x")
    segment = LIBC.shmget(0, 4096, 0o600 | 0o1000)
    facts = {"victim": os.getpid(), "victim_name": f"{name}\n", "tmp": place, "abstract": f"architect-{os.getpid()}"}
    facts |= {"port": servers[2].getsockname()[1], "shm": shm, "segment": segment}
    run_socket = f"/run/architect-{os.getpid()}"
    if os.geteuid() == 0:
        servers.append(socket.socket(socket.AF_UNIX))
        servers[-1].bind(run_socket)
        servers[-1].listen()
        facts["run_socket"] = run_socket
    print(json.dumps(facts), flush=True)
    try:
        sys.stdin.read()
    finally:
        LIBC.shmctl(segment, 0, None)
        for path in (shm, run_socket, f"{place}/socket", f"{place}/file"):
            Path(path).unlink(missing_ok=True)
        os.rmdir(place)


main()
