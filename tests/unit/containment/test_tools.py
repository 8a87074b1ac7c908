"""The tools of a contained program that lie in a place which is private inside."""

from __future__ import annotations

from pathlib import Path

import pytest

from architect_parallel.containment import steps
from architect_parallel.containment.profile import ProfilePlaces, profile
from architect_parallel.domain import Mechanism, Sandbox, SandboxLevel
from architect_parallel.supervision.messages import Launch


@pytest.mark.parametrize("named_by", ["the command line", "PATH"])
def test_a_virtual_environment_is_seen_although_its_program_is_a_link_out_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named_by: str
) -> None:
    monkeypatch.setattr(steps, "PRIVATE_PLACES", (str(tmp_path),))
    program = tmp_path / "venv" / "bin" / "python"
    program.parent.mkdir(parents=True)
    program.symlink_to("/bin/sh")
    (tmp_path / "other").mkdir()
    path = "/usr/bin" if named_by == "the command line" else f"/usr/bin:{program.parent}"
    argv = (str(program) if named_by == "the command line" else "python",)
    sandbox = Sandbox(level=SandboxLevel.WRITE, mechanism=Mechanism.NAMESPACES)
    places = ProfilePlaces(home=tmp_path / "home", directory=tmp_path / "work", scratch=tmp_path / "scratch")
    launch = Launch(argv=argv, cwd=tmp_path, env={"PATH": path})
    cage = steps.contained(launch, sandbox, profile(sandbox, places)).cage
    assert b"\0".join((b"read", bytes(tmp_path / "venv"), bytes(tmp_path / "venv"))) in cage
    assert not any(bytes(tmp_path / "other") in step for step in cage), "the control: nothing else of it"
