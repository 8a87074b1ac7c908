"""`ssh://` against a real sshd on loopback: the host process outlives its connections and is found again."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from support.console import wait_until
from support.host_services import IdleService
from support.sshd import SshHosts, host_processes, running_sshd

from architect_parallel.errors import UsageError
from architect_parallel.hosts.link import LinkBroken, LinkOptions, open_link
from architect_parallel.hosts.stdio import SOCKET, SocketServer
from architect_parallel.hosts.wire import HostInfo, from_message

ANSWER_S = 60.0


@pytest.fixture
def hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SshHosts]:
    with running_sshd(tmp_path / "sshd", monkeypatch) as server:
        yield server


def _hello(url: str, name: str) -> HostInfo:
    link = open_link(url, LinkOptions())
    try:
        return from_message(HostInfo, link.call(name, "hello", {}, ANSWER_S))
    finally:
        link.close()


def test_two_hosts_answer_and_the_next_launcher_finds_the_same_processes(hosts: SshHosts) -> None:
    first = [_hello(hosts.url, name) for name in hosts.names]
    assert [(info.name, info.slots) for info in first] == [("box1", 2), ("box2", 2)]
    assert [_hello(hosts.url, name).incarnation for name in hosts.names] == [info.incarnation for info in first]
    assert [len(host_processes(hosts.root(index))) for index in range(2)] == [1, 1]


def test_a_killed_connection_is_made_again_and_a_killed_host_process_is_another_one(hosts: SshHosts) -> None:
    name = hosts.names[0]
    link = open_link(hosts.url, LinkOptions())
    try:
        first = link.call(name, "hello", {}, ANSWER_S)["incarnation"]
        clients = [process for process in psutil.Process().children() if process.name() == "ssh"]
        assert len(clients) == 1
        clients[0].kill()
        assert _eventually(link, name) == first
        os.kill(host_processes(hosts.root(0))[0], signal.SIGKILL)
        wait_until(lambda: _eventually(link, name) != first, "the next host process")
    finally:
        link.close()


def _eventually(link: object, name: str) -> str:
    """The incarnation that answers, after requests that were lost with a connection."""
    answers: list[str] = []

    def is_answered() -> bool:
        try:
            answers.append(link.call(name, "hello", {}, ANSWER_S)["incarnation"])  # type: ignore[attr-defined]
        except LinkBroken:
            return False
        return True

    wait_until(is_answered, "an answer")
    return answers[0]


def test_launchers_that_come_at_the_same_time_share_one_host_process(hosts: SshHosts) -> None:
    seen: list[str] = []
    threads = [
        threading.Thread(target=lambda: seen.append(_hello(hosts.url, hosts.names[0]).incarnation)) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(seen), len(set(seen))) == (3, 1)
    wait_until(lambda: len(host_processes(hosts.root(0))) == 1, "the end of those that lost the root's lock")


def test_what_ssh_or_the_shell_says_is_the_reason(hosts: SshHosts, tmp_path: Path) -> None:
    with pytest.raises(LinkBroken, match="Connection refused"):
        _hello("ssh://127.0.0.1:1", "127.0.0.1:1")
    (hosts.homes[0] / ".profile").write_text("PATH=/usr/bin:/bin\n")
    with pytest.raises(LinkBroken, match="architect: not found"):
        _hello(hosts.url, hosts.names[0])
    (tmp_path / "sshd" / "authorized_keys").write_text("")
    with pytest.raises(LinkBroken, match="Permission denied"):
        _hello(hosts.url, hosts.names[1])


def test_a_host_process_that_has_nothing_to_do_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    service = IdleService("box")
    service.running.add("a place")
    server = SocketServer(service, tmp_path, idle_s=0)
    thread = threading.Thread(target=server.serve, args=(threading.Event(),))
    thread.start()
    with socket.socket(socket.AF_UNIX) as relay:
        relay.connect(SOCKET)
        service.running.clear()
        thread.join(2)  # two looks
        assert thread.is_alive()  # somebody is connected
    thread.join()
    server.close()
    assert not (tmp_path / SOCKET).exists()


@pytest.mark.parametrize(
    "url",
    [
        "ssh://",
        "ssh://a,",
        "ssh://-oProxyCommand=x",
        "ssh://a:0",
        "ssh://a:x",
        "ssh://@a",
        "ssh://a b",
        "ssh://a,a",
        "ssh://-u@a",
        "ssh://a/b",
        "ftp://a",
        "a",
    ],
)
def test_what_is_no_url_of_hosts_is_a_usage_error(url: str) -> None:
    with pytest.raises(UsageError, match="--hosts"):
        open_link(url, LinkOptions())
