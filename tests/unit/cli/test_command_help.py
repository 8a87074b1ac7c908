"""Every command's help is whole with whatever version of typer is installed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import typer.main

from architect_parallel.cli.app import build_app


def commands(group: Any, *path: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, *path, name)
        else:
            yield (*path, name), command


def test_every_help_shows_each_argument_and_option(capsys: pytest.CaptureFixture[str]) -> None:
    program: Any = typer.main.get_command(build_app())
    for path, command in commands(program):
        program(args=[*path, "--help"], standalone_mode=False)
        shown = "".join(capsys.readouterr().out.split())  # lines are wrapped, also within a word
        texts = [parameter.help for parameter in command.params if not getattr(parameter, "hidden", False)]
        assert [text for text in texts if text and "".join(text.split()) not in shown] == [], path


def test_lists_of_commands_cut_no_sentence_at_80_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    program: Any = typer.main.get_command(build_app())
    for path in [(), *((name,) for name, command in program.commands.items() if hasattr(command, "commands"))]:
        program(args=[*path, "--help"], standalone_mode=False)
        _usage, *lines = capsys.readouterr().out.splitlines()
        assert [line for line in lines if line.endswith("...")] == [], path


def test_the_sole_command_is_the_same_as_among_the_others() -> None:
    everything: Any = typer.main.get_command(build_app())
    for name, command in everything.commands.items():
        sole: Any = typer.main.get_command(build_app(name))
        assert list(sole.commands) == [name]
        for path, leaf in commands(sole):
            alike = everything.commands[path[0]] if len(path) == 1 else everything.commands[path[0]].commands[path[1]]
            assert [(one.name, one.opts, one.help) for one in leaf.params] == [
                (one.name, one.opts, one.help) for one in alike.params
            ]
        assert command.help == sole.commands[name].help
