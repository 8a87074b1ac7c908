"""Versions of agent CLIs: from their package, else from the program itself, and never a wait."""

from __future__ import annotations

from pathlib import Path

import pytest

from architect_parallel.api import agent_versions
from architect_parallel.api.agent_versions import agent_version
from architect_parallel.backends.base import Availability
from architect_parallel.backends.registry import load_backends
from architect_parallel.domain import BackendSettings, Settings

ENVIRON = {"PATH": "/usr/bin:/bin"}


def version(name: str, program: Path | None, settings: BackendSettings | None = None) -> str | None:
    backend = load_backends(Settings(), ENVIRON)[name]
    return agent_version(backend, Availability(program=str(program) if program else None), settings, ENVIRON)


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_a_package_says_its_version_and_nothing_is_started(tmp_path: Path) -> None:
    package = tmp_path / "node_modules" / "@google" / "gemini-cli"
    program = script(package / "bundle" / "gemini.js", f"touch '{tmp_path}/started'; echo 9.9.9")
    (package / "package.json").write_text('{"name": "x", "version": "0.61.0"}')
    link = tmp_path / "bin" / "gemini"
    link.parent.mkdir()
    link.symlink_to(program)
    assert version("gemini", link) == "0.61.0"
    assert not (tmp_path / "started").exists()
    (package / "package.json").unlink()  # the control: without it the program is asked
    assert version("gemini", link) == "9.9.9"
    assert (tmp_path / "started").exists()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("echo aider 0.86.2", "0.86.2"),
        ("echo 2.1.329 '(Claude Code)'", "2.1.329"),
        ("echo codex-cli 0.169.0-beta.1", "0.169.0-beta.1"),
        ("echo no number", None),
        ("echo 1.2.3; exit 1", None),
    ],
)
def test_a_program_is_asked(tmp_path: Path, text: str, told: str | None) -> None:
    assert version("aider", script(tmp_path / "tool", text)) == told


def test_a_program_that_does_not_answer_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_versions, "LIMIT_S", 0.5)  # the only way to a short wait
    assert version("codex", script(tmp_path / "codex", "sleep 600")) is None


def test_words_of_the_configuration_stand_before_the_question(tmp_path: Path) -> None:
    program = script(tmp_path / "wrapper", 'echo "$1 $2 3.4.5"; test "$1 $2" = "exec --version"')
    assert version("codex", program, BackendSettings(command=(str(program), "exec"))) == "3.4.5"


def test_tools_that_may_not_know_the_question_are_not_asked(tmp_path: Path) -> None:
    assert version("shell", script(tmp_path / "sh", f"touch '{tmp_path}/started'; echo 1.2.3")) is None
    assert not (tmp_path / "started").exists()
    assert version("gemini", None) is None
