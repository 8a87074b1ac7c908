"""The profile of a contained program: a function of settings and places."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from architect_parallel.containment.profile import ProfilePlaces, profile
from architect_parallel.domain import Sandbox, SandboxLevel

HOME = Path("/home/u")
PLACES = ProfilePlaces(
    home=HOME,
    directory=Path("/r/.architect-parallel-1"),
    checkout=Path("/r"),
    architect_dir=Path("/r/.git/architect"),
    write=(Path("/r/.git/architect/runs/x/repo/worker-1"),),
    scratch=Path("/r/.git/architect/runs/x/scratch"),
)
SANDBOX = Sandbox(level=SandboxLevel.WRITE)


def test_it_writes_its_worktree_its_own_places_and_what_the_user_names() -> None:
    made = profile(replace(SANDBOX, write=("~/data", "/srv/x")), PLACES)
    assert made.write == (PLACES.directory, *PLACES.write, HOME / "data", Path("/srv/x"))


def test_read_only_means_that_the_worktree_is_only_read() -> None:
    made = profile(replace(SANDBOX, read_only=True), PLACES)
    assert PLACES.directory not in made.write
    assert PLACES.directory in made.read


def test_credentials_agents_and_our_own_files_are_hidden() -> None:
    hidden = profile(SANDBOX, PLACES).hidden
    assert {HOME / ".ssh", HOME / ".claude", HOME / ".config/gh", Path("/r/.git/architect"), Path("/run")} <= {*hidden}


def test_the_user_takes_off_the_list_and_adds_to_it() -> None:
    made = profile(replace(SANDBOX, show=("~/.npmrc", "/run/postgresql"), hide=("~/secret",)), PLACES)
    assert HOME / ".npmrc" not in made.hidden
    assert HOME / "secret" in made.hidden
    assert Path("/run") in made.hidden
    assert Path("/run/postgresql") in made.read
