"""The contract of a link, which is all that an engine has to give: members, one request to one host, and places.

The engine places: an engine with a scheduler of its own (Dask) claims a place there. `Placer` does it for links whose
engine has none (ssh, in memory). A place only names the process that may get an order. The host has the last word and
may refuse the order. So a place that is claimed twice never starts an agent twice.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

from architect_parallel.errors import UsageError
from architect_parallel.hosts.wire import AGENT, PROTOCOL, HostInfo, Message, from_message

SCHEMES: Mapping[str, str] = MappingProxyType(
    {"dask": "architect_parallel.hosts.dask_link", "ssh": "architect_parallel.hosts.ssh_link"}
)
"""Scheme of a URL → the module whose `open_link(url, options)` opens it. Imported when a URL has the scheme."""

HELLO_S = 20.0
"""Seconds that a host has to answer `hello`. It may have to be started first."""
ASK_S = 5.0
"""The same while others wait for a place."""


class LinkBroken(Exception):
    """A request or its reply was lost, or the engine cannot be reached: it is unknown if the host acted on it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkOptions:
    """The options of a link, as the user gave them."""

    tls_dir: Path | None = None
    """Directory with certificates. `None` means the user's default directory, if it is there."""
    insecure: bool = False
    """Use a connection without encryption."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostPlace:
    """A place that an engine granted."""

    key: str
    """As it was asked for."""
    address: str
    """The host, as `members` has it."""
    incarnation: str
    """The host's process."""


class Link(Protocol):
    """A way to hosts. Every method may be called from any thread."""

    def members(self) -> Mapping[str, str]:
        """Address → name of each host that is there now.

        Raises:
            LinkBroken: The engine cannot be reached for now.
        """
        ...

    def call(self, address: str, verb: str, message: Message, timeout_s: float) -> Message:
        """Ask one host and return its reply.

        Raises:
            LinkBroken: There was no reply in time. The host may have acted on it or may yet do so.
        """
        ...

    def ask_place(self, key: str, needs: Mapping[str, int], avoid: Collection[str] = ()) -> None:
        """Ask for a place and return at once. `granted` has it when there is one.

        Args:
            needs: Resources beyond the place itself (`HostInfo.resources`), such as `{"gpu": 1}`.
            avoid: Addresses of hosts that must not get it.
        """
        ...

    def granted(self, wait_s: float) -> Sequence[HostPlace]:
        """The places granted since the last call, each once. Waits up to `wait_s` seconds for the first one.

        It never raises: while the engine cannot be reached, nothing is granted.
        """
        ...

    def give_back(self, key: str) -> None:
        """Give a place back, or stop waiting for it. An unknown key is ignored."""
        ...

    def close(self) -> None:
        """Give everything back and release the connection. Orders go on."""
        ...


def open_link(url: str, options: LinkOptions) -> Link:
    """Open the link of a URL by its scheme.

    Raises:
        UsageError: It is no URL of a known scheme.
        EnvironmentProblem: The engine cannot be reached, or the connection is not allowed.
    """
    scheme, separator, rest = url.partition("://")
    if not separator or not rest or scheme not in SCHEMES:
        raise UsageError(f"--hosts {url}: not dask://HOST:PORT or ssh://HOST,HOST")
    link: Link = importlib.import_module(SCHEMES[scheme]).open_link(url, options)
    return link


@dataclass(slots=True)
class _Wish:
    needs: Mapping[str, int]
    avoid: frozenset[str]


@dataclass(slots=True)
class _Grant:
    needs: Mapping[str, int]
    place: HostPlace


@dataclass(slots=True)
class Placer:
    """Places for a link whose engine has no scheduler: first come, first served, to the host with most room.

    A link holds one and passes its three methods on. Free resources come from `hello`, which is asked while somebody
    waits for a place, at most once a second for each host.
    """

    members: Callable[[], Mapping[str, str]]
    call: Callable[[str, str, Message, float], Message]
    look_s: float = 1.0
    """Seconds between two looks at the hosts."""
    _wishes: dict[str, _Wish] = field(default_factory=dict)
    _grants: dict[str, _Grant] = field(default_factory=dict)
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _is_closed: bool = False

    def ask_place(self, key: str, needs: Mapping[str, int], avoid: Collection[str] = ()) -> None:
        """See `Link.ask_place`."""
        with self._changed:
            self._wishes[key] = _Wish({AGENT: 1, **needs}, frozenset(avoid))
            self._changed.notify_all()

    def give_back(self, key: str) -> None:
        """See `Link.give_back`."""
        with self._changed:
            self._wishes.pop(key, None)
            self._grants.pop(key, None)
            self._changed.notify_all()

    def close(self) -> None:
        """Grant nothing more. A waiting `granted` returns at once."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def granted(self, wait_s: float) -> Sequence[HostPlace]:
        """See `Link.granted`."""
        with self._changed:
            if not self._wishes and not self._is_closed:
                self._changed.wait(wait_s)
            if not self._wishes or self._is_closed:
                return []
        places = self._match(self._infos())
        if not places:
            with self._changed:
                if not self._is_closed:
                    self._changed.wait(min(wait_s, self.look_s))
        return places

    def _infos(self) -> dict[str, HostInfo]:
        try:
            return ask_all(self.members(), self.call)
        except LinkBroken:
            return {}

    def _match(self, infos: Mapping[str, HostInfo]) -> list[HostPlace]:
        """Grant what fits. A grant whose order the host does not count yet takes room here."""
        with self._changed:
            free = {address: dict(info.free) for address, info in infos.items() if info.protocol == PROTOCOL}
            for key, grant in self._grants.items():
                address = grant.place.address
                if address in free and key not in infos[address].places:
                    for name, amount in grant.needs.items():
                        free[address][name] = free[address].get(name, 0) - amount
            places: list[HostPlace] = []
            for key, wish in list(self._wishes.items()):
                fitting = [
                    address
                    for address, room in free.items()
                    if address not in wish.avoid
                    and all(room.get(name, 0) >= amount for name, amount in wish.needs.items())
                ]
                if not fitting:
                    continue
                address = max(fitting, key=lambda name: free[name].get(AGENT, 0))
                for name, amount in wish.needs.items():
                    free[address][name] -= amount
                place = HostPlace(key=key, address=address, incarnation=infos[address].incarnation)
                self._grants[key] = _Grant(wish.needs, place)
                del self._wishes[key]
                places.append(place)
            return places


def ask_all(members: Collection[str], call: Callable[[str, str, Message, float], Message]) -> dict[str, HostInfo]:
    """Ask hosts for `hello`, all at the same time. One that does not answer soon is left out."""
    infos: dict[str, HostInfo] = {}

    def ask(address: str) -> None:
        try:
            infos[address] = from_message(HostInfo, call(address, "hello", {}, ASK_S))
        except (LinkBroken, ValueError):
            return

    threads = [threading.Thread(target=ask, args=(address,), name=f"hello-{address}") for address in members]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return infos
