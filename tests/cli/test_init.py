"""`architect init`: three questions, and a configuration that works at once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.console import Architect, write_program
from support.terminals import Terminal

CHECK = "[project]\nname = 'x'\n[tool.pytest.ini_options]\n"


@pytest.fixture
def env(tmp_path: Path, checkout: Path) -> dict[str, str]:
    """`claude` and `codex` are ready, and the repository has tests."""
    for name in ("claude", "codex"):
        write_program(tmp_path / name, "")
    (checkout / "pyproject.toml").write_text(CHECK)
    path = f"{tmp_path}{os.pathsep}/usr/bin:/bin"
    return {"PATH": path, "CLAUDE_CODE_OAUTH_TOKEN": "k-123", "CODEX_API_KEY": "k-123"}


@pytest.fixture
def terminal(checkout: Path, env: dict[str, str]) -> Iterator[Terminal]:
    opened = Terminal(checkout, "init", rows=60, env=env)
    yield opened
    opened.close()


def configured(architect: Architect, env: dict[str, str]) -> tuple[object, object]:
    settings = architect("config", "show", "--json", env=env).json["settings"]["parallel_runs"]
    return settings["backend"], settings["checks"]


def test_questions_and_answers(terminal: Terminal, architect: Architect, env: dict[str, str], checkout: Path) -> None:
    terminal.shows(
        "Not ready here: architect, gemini", "Which agent runs tasks when none is named?", "  1  claude", "  2  codex"
    )
    terminal.type(b"2\n")
    terminal.shows("Where do worktrees go?", "  1  in the repository")
    terminal.type(b"2\n")
    terminal.shows("must pass:", "  pytest -q")
    terminal.type(b"pytest -q, ruff check .\n")
    terminal.shows('checks: ["pytest -q", "ruff check ."]', "Write this? [Y/n]")
    assert not (checkout / ".architect-parallel.yaml").exists()
    terminal.type(b"y\n")
    assert terminal.ends() == 0
    # What the user has just confirmed is trusted: it counts without another command.
    assert configured(architect, env) == ("codex", ["pytest -q", "ruff check ."])
    root = architect("config", "show", "--json", env=env).json["settings"]["worktrees"]["root"]
    assert root == "../{repo}.worktrees/{name}"


def test_no_means_no(terminal: Terminal, checkout: Path, home: Path) -> None:
    terminal.type(b"1\n\n\n")
    terminal.shows("Write this?")
    terminal.type(b"n\n")
    assert terminal.ends() == 0
    assert not (checkout / ".architect-parallel.yaml").exists()
    assert not (home / ".config").exists()


def test_yes_takes_the_defaults(architect: Architect, env: dict[str, str], checkout: Path) -> None:
    one = env | {"CODEX_API_KEY": ""}
    shown = architect("init", "--yes", "--dry-run", env=one)
    assert (shown.code, "  backend: claude\n" in shown.out) == (0, True)
    assert not (checkout / ".architect-parallel.yaml").exists()
    written = architect("init", "--yes", "--json", env=one).json
    assert [file["values"] for file in written["files"]] == [
        {"parallel_runs": {"backend": "claude"}},
        {"parallel_runs": {"checks": ["pytest -q"]}},
    ]
    assert configured(architect, one) == ("claude", ["pytest -q"])
    again = architect("init", "--yes", env=one)
    assert (again.code, again.out) == (0, "nothing to write: everything is configured already\n")


def test_with_several_agents_yes_chooses_none(architect: Architect, env: dict[str, str]) -> None:
    assert architect("init", "--yes", env=env).code == 0
    assert configured(architect, env)[0] is None


def test_a_file_with_other_entries_is_not_trusted_by_the_way(
    architect: Architect, env: dict[str, str], checkout: Path
) -> None:
    """The control: what a cloned repository brings would run with the checks that the user confirms."""
    (checkout / ".architect-parallel.yaml").write_text("worktrees: {setup: [touch planted]}\n")
    answer = architect("init", "--yes", env=env)
    assert answer.code == 0
    assert "look at it, then `architect config trust`" in answer.err
    assert "checks:" in (checkout / ".architect-parallel.yaml").read_text()
    assert configured(architect, env)[1] == []


def test_without_a_terminal_it_asks_nothing(architect: Architect, checkout: Path) -> None:
    refused = architect("init")
    assert (refused.code, refused.err.splitlines()[1]) == (2, "  try: architect init --yes")
