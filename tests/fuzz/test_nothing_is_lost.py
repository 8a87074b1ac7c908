"""Random repositories, agents and commands: the law of `fuzz_world` holds in every order.

`FUZZ_SECONDS` (60) and `FUZZ_SEED` (0) say how long and from where; `make fuzz` sets them. `FUZZ_WITHOUT` names states
to leave out. A failure prints the story; put it into `STORIES` to play it again by itself.
"""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import hypothesis
import pytest
from hypothesis import HealthCheck, Phase, strategies
from support.fuzz_world import ACTS, COMMANDS, STATES, USER, Broken, World
from support.repositories import git

SECONDS = float(os.environ.get("FUZZ_SECONDS", "60"))
SEED = int(os.environ.get("FUZZ_SEED", "0"))
BATCH = 10
CONFLICTING = (
    {"rebase", "detached"}, {"rebase", "bisect"}, {"rebase", "dirty"}, {"bisect", "dirty"}, {"bisect", "detached"},
    {"shallow", "bisect"}, {"shallow", "reftable"}, {"shallow", "sha256"}, {"shallow", "rebase"},
)  # fmt: skip
"""States that exclude each other; the first by name goes."""


@dataclass(frozen=True)
class Story:
    """The states of the repository, what each agent does, and what the user types and does after that."""

    states: frozenset[str]
    agents: tuple[tuple[str, ...], ...]
    steps: tuple[str, ...]


STORIES: tuple[Story, ...] = ()
"""Stories that broke the law once."""


def _stories() -> strategies.SearchStrategy[Story]:
    without = os.environ.get("FUZZ_WITHOUT", "").split()
    states = strategies.frozensets(strategies.sampled_from([s for s in STATES if s not in without]), max_size=4)
    acts = strategies.lists(strategies.sampled_from(sorted(ACTS)), min_size=1, max_size=3).map(tuple)
    agents = strategies.lists(acts, min_size=1, max_size=3).map(tuple)
    later = strategies.sampled_from([*COMMANDS, *COMMANDS, *(f"user:{name}" for name in USER)])
    steps = strategies.lists(later, min_size=1, max_size=6).map(tuple)
    return strategies.builds(Story, states, agents, steps)


def _supported(states: frozenset[str], tmp_path: Path) -> frozenset[str]:
    """The states without those that this git cannot have or that exclude each other."""
    if "reftable" in states and not _has_reftable(tmp_path):
        states -= {"reftable"}
    for group in CONFLICTING:
        if group <= states:
            states -= {sorted(group)[0]}
    return states


def _has_reftable(tmp_path: Path) -> bool:
    place = tmp_path / "probe"
    try:
        git(tmp_path, "init", "-q", "--ref-format=reftable", place)
    except AssertionError:
        return False
    shutil.rmtree(place)
    return True


def play(story: Story, directory: Path) -> None:
    """Play one story in an empty directory.

    Raises:
        AssertionError: The law was broken; the message tells the story.
    """
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    world = World(directory, _supported(story.states, directory))
    try:
        for step in ("parallel", *story.steps):
            kind, _, name = step.rpartition(":")
            if kind:
                world.act(name)
            else:
                world.command(name, story.agents)
    except Broken as broken:
        log = "\n".join(world.log)
        raise AssertionError(f"{broken}\n{story!r}\nin {sorted(world.states)}:\n{log}") from None


@pytest.mark.timeout(int(SECONDS) + 300)
def test_nothing_is_lost(tmp_path: Path) -> None:
    until = time.monotonic() + SECONDS
    played = 0

    def one(story: Story) -> None:
        nonlocal played
        if time.monotonic() < until:
            play(story, tmp_path / "world")
            played += 1

    batch = 0
    while time.monotonic() < until:
        settings = hypothesis.settings(
            max_examples=BATCH, deadline=None, database=None, phases=(Phase.generate,), print_blob=False,
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        hypothesis.seed(SEED * 1_000_003 + batch)(settings(hypothesis.given(_stories())(one)))()
        batch += 1
    assert played >= SECONDS / 60
    print(f"{played} stories")


@pytest.mark.parametrize("story", STORIES)
def test_a_story_that_broke_the_law_once(story: Story, tmp_path: Path) -> None:
    play(story, tmp_path / "world")


def test_the_law_notices_what_is_lost(tmp_path: Path) -> None:
    """The control: a program that loses something is caught."""
    from support.fuzz_world import Inventory

    world = World(tmp_path, frozenset({"hide"}))
    world.sh("echo precious > file.txt; git switch -qc side; git commit -q --allow-empty -m x; git switch -q main")
    before, status = Inventory.of(world), world.status()
    world.sh("rm file.txt")
    with pytest.raises(Broken, match="files are lost"):
        world.hold(before, status, "status")
    world.sh("echo precious > file.txt; git branch -qD side")
    with pytest.raises(Broken, match="commits are lost"):
        world.hold(before, status, "status")
    world.sh("git -c filter.hide.clean=cat hash-object -w --stdin <<< SECRET | xargs git tag plain")
    with pytest.raises(Broken):
        world.hold(Inventory.of(world), world.status(), "status")
