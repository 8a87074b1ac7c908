"""From the words of flags, tasks, profiles and configuration to the containment of one worker. Pure but for the probe.

A level that somebody asked for is had, or nothing starts. `auto` takes the best that there is, and says if it is none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from architect_parallel.containment import bwrap, filters, landlock
from architect_parallel.domain import (
    AUTO,
    Limits,
    Mechanism,
    Network,
    Sandbox,
    SandboxLevel,
    SandboxMode,
    SandboxSettings,
)
from architect_parallel.errors import EnvironmentProblem, UsageError

ORDER = (Mechanism.NAMESPACES, Mechanism.BWRAP, Mechanism.LANDLOCK)
"""Mechanisms, the best first."""
LEVELS: Mapping[Mechanism, frozenset[str]] = {
    Mechanism.NAMESPACES: frozenset({AUTO, *SandboxLevel}),
    Mechanism.BWRAP: frozenset({AUTO, *SandboxLevel}),
    Mechanism.LANDLOCK: frozenset({AUTO, SandboxLevel.WRITE}),
}
"""The levels that a mechanism can hold."""
NETWORKS: Mapping[Mechanism, frozenset[Network]] = {
    Mechanism.NAMESPACES: frozenset(Network),
    Mechanism.BWRAP: frozenset(Network),
    Mechanism.LANDLOCK: frozenset({Network.OPEN}),
}
"""The networks that a mechanism can hold."""
REMEDY = "apt install bubblewrap, allow user namespaces (docs/containment.md)"
"""The way to a better mechanism."""
SOCKETS_GAP = "abstract sockets can be reached with --network open"
"""Of namespaces, with a kernel whose Landlock has no scopes."""
Probe = Callable[[Mechanism], str | None]
"""Returns why a mechanism cannot be used here. `None` means that it can."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The containment that somebody asks for. `None` means that nothing was said."""

    flag: str | None = None
    task: str | None = None
    mode: SandboxMode | None = None
    """The `sandbox_mode` of the task or its profile."""
    network: Network | None = None
    """Of a flag or the task."""
    hosts: tuple[str, ...] = ()
    """Allowed hosts: of flags, and the backend's own."""
    has_host_flag: bool = False
    write: tuple[str, ...] = ()
    """Places that the backend needs to write."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The containment of a worker, and the warning if there is none although none was asked not to be."""

    sandbox: Sandbox
    warning: str | None = None
    by_default: bool = False
    """Nobody asked for it: it is what `auto` gave."""

    def sandbox_of(self, limits: Limits, *, in_place: bool = False) -> Sandbox:
        """The containment of a program with these limits.

        Args:
            in_place: It works in the user's own directory, which is meant for it: there nothing is held by default.
        """
        if not self.sandbox.is_contained or (in_place and self.by_default):
            return Sandbox()
        return replace(self.sandbox, processes=limits.processes)


def decide(wanted: Wanted, settings: SandboxSettings, probe: Probe) -> Decision:
    """The containment of a worker.

    Raises:
        UsageError: A network was asked for without a level that could hold it.
        EnvironmentProblem: Something that was asked for cannot be had here.
    """
    level = _level(wanted, settings)
    network = wanted.network or settings.network
    if level == SandboxLevel.OFF:
        if wanted.network not in (None, Network.OPEN):
            raise UsageError(f"--network {network} needs a sandbox", hint="--sandbox write")
        if wanted.has_host_flag:
            raise UsageError("--allow-host needs a sandbox", hint="--sandbox write --network hosts")
        return Decision(sandbox=Sandbox())
    if network is not Network.HOSTS and wanted.has_host_flag:
        raise UsageError("--allow-host needs the network hosts", hint="--network hosts")
    problems: list[str] = []
    for mechanism in ORDER:
        if level not in LEVELS[mechanism]:
            problems.append(f"{mechanism}: cannot hold the level {level}")
            continue
        if network not in NETWORKS[mechanism]:
            problems.append(f"{mechanism}: cannot hold the network {network}")
            continue
        problem = probe(mechanism)
        if problem is None:
            by_default = level == AUTO and network is Network.OPEN
            return Decision(sandbox=_sandbox(level, mechanism, network, wanted, settings), by_default=by_default)
        problems.append(f"{mechanism}: {problem}")
    why = "; ".join(problems)
    if level != AUTO or network is not Network.OPEN:
        asked = f"--sandbox {level}" if level != AUTO else f"--network {network}"
        weaker = "--sandbox write" if level == SandboxLevel.CLOSED else f"--sandbox {level}"
        # Whoever asks for more than Landlock has may have that.
        has_less = probe(Mechanism.LANDLOCK) is None
        hint = f"{REMEDY}, or {f'{weaker} --network open' if has_less else '--sandbox off runs agents as you'}"
        raise EnvironmentProblem(f"{asked} cannot be had here: {why}", hint=hint)
    return Decision(sandbox=Sandbox(), warning=f"agents are not contained: {why}")


def gaps_of(mechanism: Mechanism) -> tuple[str, ...]:
    """The parts of the promise that a mechanism cannot keep here, or keeps at a price."""
    common = filters.gaps()
    if mechanism is Mechanism.LANDLOCK:
        return (*landlock.gaps(), *common)
    own = bwrap.GAPS if mechanism is Mechanism.BWRAP else ()
    return (*own, *(() if landlock.scopes() else (SOCKETS_GAP,)), *common)


def _level(wanted: Wanted, settings: SandboxSettings) -> str:
    """The flag beats the task, and the task its `sandbox_mode`, which beats the configuration."""
    if wanted.flag is not None:
        return wanted.flag
    if wanted.task is not None:
        return wanted.task
    if wanted.mode is SandboxMode.FULL:
        return SandboxLevel.OFF
    if wanted.mode is SandboxMode.WORKSPACE and settings.level in (AUTO, SandboxLevel.OFF):
        return SandboxLevel.WRITE
    return settings.level


def _sandbox(level: str, mechanism: Mechanism, network: Network, wanted: Wanted, settings: SandboxSettings) -> Sandbox:
    return Sandbox(
        level=SandboxLevel.WRITE if level == AUTO else SandboxLevel(level),
        mechanism=mechanism,
        network=network,
        hosts=tuple(dict.fromkeys((*wanted.hosts, *settings.hosts))) if network is Network.HOSTS else (),
        write=tuple(dict.fromkeys((*settings.write, *wanted.write))),
        read=settings.read,
        show=settings.show,
        hide=settings.hide,
        read_only=wanted.mode is SandboxMode.READ_ONLY,
        gaps=gaps_of(mechanism),
    )
