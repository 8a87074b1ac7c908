"""The control of `hosts`: agents as plain Dask tasks. Dask starts those of a dead host again."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest
from support.clusters import two_hosts
from support.console import wait_until

from architect_parallel.hosts.link import LinkOptions, open_link

pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
TASKS = 3


def test_agents_as_tasks_are_started_twice_when_a_host_dies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    starts = tmp_path / "starts"
    starts.touch()
    agent = f'echo x >> "{starts}"; read nothing < "{tmp_path}/end"'
    os.mkfifo(tmp_path / "end")
    with two_hosts("dask", tmp_path / "cluster", monkeypatch) as cluster:
        link = open_link(cluster.words[1], LinkOptions(tls_dir=Path(cluster.words[3])))
        try:
            wait_until(lambda: len(link.members()) == 2, "the hosts")
            client = link._client  # type: ignore[attr-defined]
            futures = [client.submit(subprocess.run, ["sh", "-c", agent], pure=False) for _ in range(TASKS)]
            wait_until(lambda: len(starts.read_text().split()) == TASKS, "the start of all agents")
            busiest = max(client.processing().items(), key=lambda item: len(item[1]))[0]
            os.kill(cluster.pid(int(link.members()[busiest] == "box2")), signal.SIGKILL)
            wait_until(lambda: len(starts.read_text().split()) > TASKS, "agents that are started twice")
            del futures
        finally:
            end = os.open(tmp_path / "end", os.O_RDWR)
            link.close()
            os.close(end)
