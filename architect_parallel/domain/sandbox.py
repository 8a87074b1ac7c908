"""Containment: the words of the levels, networks and mechanisms, the settings, and what a result says of them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

AUTO = "auto"
"""The level `write` by the best mechanism of this machine, and `off` where there is none."""


class SandboxLevel(StrEnum):
    """The promise that the operating system keeps about an agent."""

    OFF = "off"
    """None. A change outside of the worktree is only noticed."""
    WRITE = "write"
    """It changes only its worktree, temporary files and home, reaches no other process, and reads no credentials."""
    CLOSED = "closed"
    """As `write`, and of the user's files it reads only its worktree, its tools and what is named."""


class Network(StrEnum):
    """The reach of an agent over the network."""

    OPEN = "open"
    """Everything that you reach."""
    HOSTS = "hosts"
    """The hosts of its model provider and those that are named, over HTTP and HTTPS."""
    NONE = "none"
    """Nothing but its own loopback."""


class Mechanism(StrEnum):
    """The part of the operating system that holds a level."""

    NAMESPACES = "namespaces"
    BWRAP = "bwrap"
    LANDLOCK = "landlock"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxSettings:
    """The section `sandbox` of the configuration."""

    level: str = AUTO
    network: Network = Network.OPEN
    hosts: tuple[str, ...] = ()
    """Hosts beside the backend's own, as `--allow-host` takes them."""
    write: tuple[str, ...] = ()
    """Further paths that agents may write. `~` is the home directory, here and below."""
    read: tuple[str, ...] = ()
    """With `closed`: further paths that agents may read."""
    show: tuple[str, ...] = ()
    """Paths that are taken off the list of hidden ones."""
    hide: tuple[str, ...] = ()
    """Paths that are added to the list of hidden ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """The containment of one worker as it was decided. The default is none."""

    level: SandboxLevel = SandboxLevel.OFF
    mechanism: Mechanism = Mechanism.NONE
    network: Network = Network.OPEN
    hosts: tuple[str, ...] = ()
    """The allowed hosts with the network `hosts`."""
    write: tuple[str, ...] = ()
    """As in `SandboxSettings`, also the next three."""
    read: tuple[str, ...] = ()
    show: tuple[str, ...] = ()
    hide: tuple[str, ...] = ()
    read_only: bool = False
    """The worktree cannot be changed either."""
    processes: int | None = None
    """Number of processes at the same time. `None` means no limit."""
    gaps: tuple[str, ...] = ()
    """The parts of the level's promise that this mechanism cannot keep here."""

    @property
    def is_contained(self) -> bool:
        return self.level is not SandboxLevel.OFF


@dataclass(frozen=True, slots=True, kw_only=True)
class DeniedHost:
    """A host that an agent tried to reach and was not allowed to."""

    host: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxReport:
    """The containment of a worker, as its result shows it."""

    level: SandboxLevel = SandboxLevel.OFF
    mechanism: Mechanism = Mechanism.NONE
    network: Network = Network.OPEN
    gaps: tuple[str, ...] = ()
    denied: tuple[DeniedHost, ...] = ()


def report_of(sandbox: Sandbox, denied: tuple[DeniedHost, ...] = ()) -> SandboxReport:
    """The report of a worker that ran with `sandbox`."""
    return SandboxReport(
        level=sandbox.level,
        mechanism=sandbox.mechanism,
        network=sandbox.network,
        gaps=sandbox.gaps,
        denied=denied,
    )
