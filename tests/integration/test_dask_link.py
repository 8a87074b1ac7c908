"""`dask://` with TLS on loopback: Dask grants places, and the host process outlives the scheduler."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from support.console import wait_until
from support.host_services import IdleService

from architect_parallel.errors import EnvironmentProblem
from architect_parallel.hosts import dask_link
from architect_parallel.hosts.certificates import make_certificates
from architect_parallel.hosts.link import HostPlace, Link, LinkBroken, LinkOptions, open_link

pytest.importorskip("distributed")

from architect_parallel.hosts.dask_host import DaskHost, serve_scheduler
from architect_parallel.hosts.dask_setup import engine_address, load_distributed, security

# Dask leaves its own sockets and coroutines to the garbage collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning"),
]


class Scheduler:
    """`architect host serve` in a thread."""

    def __init__(self, tls_dir: Path, port: int = 0, *, insecure: bool = False) -> None:
        keys = security(LinkOptions(tls_dir=tls_dir, insecure=insecure), load_distributed("tests"))
        self._stopped = threading.Event()
        self._ports: list[int] = []

        def listening(host: str, port: int, dashboard: str | None) -> None:
            self._ports.append(port)

        serving = serve_scheduler("127.0.0.1", port, keys, listening, self._stopped)
        self._thread = threading.Thread(target=lambda: asyncio.run(serving))
        self._thread.start()
        wait_until(lambda: bool(self._ports) or not self._thread.is_alive(), "the scheduler")
        self.port = self._ports[0]
        self.url = f"dask://127.0.0.1:{self.port}"

    def end(self) -> None:
        self._stopped.set()
        self._thread.join()


@dataclass
class Cluster:
    """A scheduler, and hosts that join it."""

    place: Path
    certificates: Path
    scheduler: Scheduler
    joined: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    hosts: list[DaskHost] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)

    def join(self, service: IdleService) -> None:
        options = LinkOptions(tls_dir=self.certificates / "worker")
        keys = security(options, load_distributed("tests"))
        address = engine_address(self.scheduler.url, options)
        port_file = self.place / f"{service.name}.port"
        host = DaskHost(service, address, keys, port_file, lambda: self.joined.append(service.name), self.lost.append)
        self.hosts.append(host)
        host.start()

    def link(self, members: int) -> Link:
        link = open_link(self.scheduler.url, LinkOptions(tls_dir=self.certificates / "client"))
        self.links.append(link)
        wait_until(lambda: len(link.members()) == members, "the hosts")
        return link


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("tls") / "certs"
    make_certificates(directory)
    return directory


@pytest.fixture
def cluster(certificates: Path, tmp_path: Path) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path, certificates, Scheduler(certificates / "scheduler"))
    yield cluster
    for link in cluster.links:
        link.close()
    for host in cluster.hosts:
        host.close()
    cluster.scheduler.end()


def _granted(link: Link, count: int) -> list[HostPlace]:
    places: list[HostPlace] = []
    wait_until(lambda: places.extend(link.granted(0.2)) or len(places) >= count, f"{count} places")  # type: ignore[func-returns-value]
    return places


def test_dask_grants_no_more_places_than_there_are_and_heeds_labels(cluster: Cluster) -> None:
    plain, gpu = IdleService("plain", slots=1), IdleService("gpu", slots=2, labels={"gpu": 1})
    cluster.join(plain)
    cluster.join(gpu)
    link = cluster.link(2)
    assert sorted(link.members().values()) == ["gpu", "plain"]
    address = next(address for address, name in link.members().items() if name == "gpu")
    assert link.call(address, "echo", {"data": b"\0" * 5_000_000, "n": None}, 60)["data"] == b"\0" * 5_000_000
    for key in ("first", "second"):
        link.ask_place(key, {"gpu": 1})
    assert [place.incarnation for place in _granted(link, 1)] == [gpu.incarnation]
    for key in ("third", "fourth", "fifth"):
        link.ask_place(key, {})
    others = _granted(link, 2)
    assert sorted(place.incarnation for place in others) == sorted([plain.incarnation, gpu.incarnation])
    assert list(link.granted(2.5)) == []  # two looks at the hosts: all three places are taken
    for place in (*others, HostPlace(key="first", address="", incarnation="")):
        link.give_back(place.key)
    assert {place.key for place in _granted(link, 2)} >= {"second"}


def test_a_scheduler_that_is_started_again_finds_the_same_process_and_its_order(cluster: Cluster) -> None:
    service = IdleService("box", slots=2)
    cluster.join(service)
    link = cluster.link(1)
    link.ask_place("one", {})
    place = _granted(link, 1)[0]
    service.running.add("one")
    cluster.scheduler.end()
    with pytest.raises(LinkBroken):
        link.call(place.address, "hello", {}, 5)
    wait_until(lambda: cluster.lost[-1:] == ["Connection refused"], "an attempt to return")
    cluster.scheduler = Scheduler(cluster.certificates / "scheduler", cluster.scheduler.port)
    wait_until(lambda: cluster.joined == ["box", "box"], "the return of the host")
    link.ask_place("two", {})
    link.ask_place("three", {})
    again = _granted(link, 1)
    # The order holds its place although this scheduler never heard of it.
    assert [(found.address, found.incarnation) for found in again] == [(place.address, place.incarnation)]
    assert list(link.granted(2.5)) == []
    service.running.clear()
    assert len(_granted(link, 1)) == 1


def test_the_places_of_a_launcher_that_died_are_free_once_its_orders_have_ended(cluster: Cluster) -> None:
    service = IdleService("box", slots=2)
    cluster.join(service)
    first = cluster.link(1)
    for key in ("ordered", "not ordered"):
        first.ask_place(key, {})
    _granted(first, 2)
    service.running.add("ordered")
    first.close()
    second = cluster.link(1)
    for key in ("a", "b"):
        second.ask_place(key, {})
    assert len(_granted(second, 1)) == 1
    assert list(second.granted(2.5)) == []
    service.running.clear()
    assert len(_granted(second, 1)) == 1


def test_a_host_that_must_be_avoided_gets_no_place(cluster: Cluster) -> None:
    services = [IdleService("a", slots=4), IdleService("b", slots=1)]
    for service in services:
        cluster.join(service)
    link = cluster.link(2)
    avoided = [address for address, name in link.members().items() if name == "a"]
    for key in ("one", "two"):
        link.ask_place(key, {}, avoided)
    assert [place.incarnation for place in _granted(link, 1)] == [services[1].incarnation]
    assert list(link.granted(2.5)) == []


@pytest.mark.parametrize("role", ["none", "foreign", "tcp"])
def test_without_the_right_certificate_nobody_gets_in(cluster: Cluster, role: str, tmp_path: Path) -> None:
    options = LinkOptions(tls_dir=tmp_path / "other" / "client", insecure=role == "tcp")
    if role == "foreign":
        make_certificates(tmp_path / "other")
    with pytest.raises(EnvironmentProblem) as caught:
        open_link(cluster.scheduler.url, options)
    assert "\n" not in caught.value.message
    assert ("no certificate" if role == "none" else "cannot be reached") in caught.value.message


def test_a_clients_certificate_serves_nothing(certificates: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask_link, "CONNECT_S", 3)
    impostor = Scheduler(certificates / "client")
    try:
        with pytest.raises(EnvironmentProblem, match="cannot be reached"):
            open_link(impostor.url, LinkOptions(tls_dir=certificates / "client"))
    finally:
        impostor.end()


def test_functions_are_not_taken_out_of_requests(cluster: Cluster) -> None:
    cluster.join(IdleService("box"))
    link = cluster.link(1)
    client: Any = link._client  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="disallowed"):
        client.run(int)
    with pytest.raises(ValueError, match="disallowed"):
        client.run_on_scheduler(int)
    address = next(iter(link.members()))
    with pytest.raises(Exception, match="The 'run' handler has been explicitly disallowed in Worker"):
        client.sync(client.scheduler.proxy, worker=address, msg={"op": "run", "function": b""})
    # What holds no longer: a task is a function. The certificate is the border.
    assert client.submit(int, "7", pure=False).result(timeout=60) == 7


def test_a_host_that_is_started_again_has_its_address(cluster: Cluster) -> None:
    cluster.join(IdleService("box"))
    link = cluster.link(1)
    (address,) = link.members()
    cluster.hosts.pop().close()
    wait_until(lambda: not link.members(), "the leave of the host")
    cluster.join(IdleService("box"))
    wait_until(lambda: list(link.members()) == [address], "the return of the host")
