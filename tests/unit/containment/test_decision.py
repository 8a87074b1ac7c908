"""The containment of a worker, from what flags, tasks, profiles and configuration say."""

from __future__ import annotations

import pytest

from architect_parallel.containment import bwrap, filters, landlock
from architect_parallel.containment.decision import SOCKETS_GAP, Wanted, decide, gaps_of
from architect_parallel.domain import Mechanism, Network, Sandbox, SandboxLevel, SandboxMode, SandboxSettings
from architect_parallel.errors import EnvironmentProblem, ExitCode, UsageError


def possible(mechanism: Mechanism) -> str | None:
    return None


def impossible(mechanism: Mechanism) -> str | None:
    return "unshare: Operation not permitted"


def level_of(wanted: Wanted, level: str = "auto") -> SandboxLevel:
    return decide(wanted, SandboxSettings(level=level), possible).sandbox.level


def test_a_flag_beats_the_task_and_the_task_its_mode_and_the_mode_the_configuration() -> None:
    assert level_of(Wanted(flag="off", task="write", mode=SandboxMode.WORKSPACE), "write") is SandboxLevel.OFF
    assert level_of(Wanted(task="off", mode=SandboxMode.WORKSPACE), "write") is SandboxLevel.OFF
    assert level_of(Wanted(mode=SandboxMode.FULL), "write") is SandboxLevel.OFF
    assert level_of(Wanted(mode=SandboxMode.WORKSPACE), "off") is SandboxLevel.WRITE
    assert level_of(Wanted(), "off") is SandboxLevel.OFF
    assert level_of(Wanted(flag="write", mode=SandboxMode.FULL), "off") is SandboxLevel.WRITE


def test_read_only_takes_the_worktree_as_well() -> None:
    assert decide(Wanted(mode=SandboxMode.READ_ONLY), SandboxSettings(level="write"), possible).sandbox.read_only
    assert not decide(Wanted(), SandboxSettings(level="write"), possible).sandbox.read_only


def test_auto_is_off_where_nothing_holds_and_says_so() -> None:
    decision = decide(Wanted(), SandboxSettings(level="auto"), impossible)
    assert decision.sandbox == Sandbox()
    assert decision.warning is not None
    assert decision.warning.startswith("agents are not contained: namespaces: unshare: Operation not permitted; ")


@pytest.mark.parametrize(
    ("wanted", "settings"),
    [
        (Wanted(flag="write"), SandboxSettings(level="auto")),
        (Wanted(task="write"), SandboxSettings(level="off")),
        (Wanted(), SandboxSettings(level="write")),
        (Wanted(mode=SandboxMode.WORKSPACE), SandboxSettings(level="auto")),
        (Wanted(network=Network.NONE), SandboxSettings(level="auto")),
        (Wanted(), SandboxSettings(level="auto", network=Network.NONE)),
    ],
)
def test_what_was_asked_for_is_had_or_nothing_starts(wanted: Wanted, settings: SandboxSettings) -> None:
    with pytest.raises(EnvironmentProblem, match="cannot be had here: namespaces: unshare") as caught:
        decide(wanted, settings, impossible)
    assert caught.value.exit_code == ExitCode.ENVIRONMENT
    assert caught.value.hint is not None
    assert "--sandbox off" in caught.value.hint


def test_a_network_needs_a_level_that_holds_it() -> None:
    with pytest.raises(UsageError, match="--network none needs a sandbox"):
        decide(Wanted(flag="off", network=Network.NONE), SandboxSettings(), possible)


def test_what_this_machine_lacks_is_a_gap_of_every_mechanism(monkeypatch: pytest.MonkeyPatch) -> None:
    assert gaps_of(Mechanism.NAMESPACES) == (() if landlock.scopes() else (SOCKETS_GAP,))
    monkeypatch.setattr(filters, "machine_name", lambda: "riscv64")
    monkeypatch.setattr(landlock, "scopes", lambda: 0)
    unfiltered = "system calls are not filtered on this processor"
    assert gaps_of(Mechanism.NAMESPACES) == (SOCKETS_GAP, unfiltered)
    assert gaps_of(Mechanism.BWRAP) == (*bwrap.GAPS, SOCKETS_GAP, unfiltered)
    assert gaps_of(Mechanism.LANDLOCK) == (*landlock.gaps(), unfiltered)


def test_whoever_asks_for_more_than_landlock_has_is_offered_that() -> None:
    def only_landlock(mechanism: Mechanism) -> str | None:
        return None if mechanism is Mechanism.LANDLOCK else "no"

    with pytest.raises(EnvironmentProblem) as caught:
        decide(Wanted(flag="closed"), SandboxSettings(), only_landlock)
    assert caught.value.hint is not None
    assert caught.value.hint.startswith("apt install bubblewrap, ")
    assert caught.value.hint.endswith(", or --sandbox write --network open")
