"""The skill file for agents: its commands exist, and its head is what Claude Code and Codex read."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

from architect_parallel.cli.app import build_app

SKILL = Path(__file__).resolve().parents[2] / "docs" / "agents" / "architect-parallel" / "SKILL.md"
COMMANDS = re.findall(r"^architect .*$", SKILL.read_text(), flags=re.MULTILINE)


def test_the_head_has_the_name_of_the_directory_and_a_short_description() -> None:
    head = yaml.safe_load(SKILL.read_text().split("---")[1])
    assert head["name"] == SKILL.parent.name
    assert 0 < len(head["description"]) <= 1024


@pytest.mark.parametrize("line", COMMANDS)
def test_its_commands_are_ones(line: str) -> None:
    _, name, *words = shlex.split(line)
    command = get_command(build_app()).commands[name]  # type: ignore[attr-defined]  # a group
    assert command.make_context(name, words).params
