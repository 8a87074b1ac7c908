"""Lines at the end of a terminal: they leave nothing behind, whatever is typed or printed and however it is resized."""

from __future__ import annotations

import os
import pty
import termios
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import pyte
import pytest
from support.leaks import nothing_left_open

from architect_parallel.system.terminal import LiveBlock, shows_live


class FakeTerminal:
    """A pseudo-terminal of 30 columns and 8 rows, and the screen that a person would see."""

    def __init__(self) -> None:
        self.master, self.slave = pty.openpty()
        termios.tcsetwinsize(self.slave, (8, 30))
        self.stream: TextIO = os.fdopen(self.slave, "w", closefd=False)
        self.screen = pyte.Screen(30, 8)
        self._parser = pyte.ByteStream(self.screen)

    def echoes(self) -> bool:
        return bool(termios.tcgetattr(self.slave)[3] & termios.ECHO)

    @property
    def lines(self) -> list[str]:
        """The screen as it is now, without the empty lines at its end."""
        self.stream.flush()
        os.write(self.slave, b"\x00")  # the end of what was written so far
        data = b""
        while not data.endswith(b"\x00"):
            data += os.read(self.master, 65536)
        self._parser.feed(data)
        return "\n".join(line.rstrip() for line in self.screen.display).rstrip().split("\n")


@pytest.fixture
def terminal() -> Iterator[FakeTerminal]:
    terminal = FakeTerminal()
    yield terminal
    terminal.stream.close()
    os.close(terminal.master)
    os.close(terminal.slave)


def test_text_above_stays_and_the_lines_go(terminal: FakeTerminal) -> None:
    drawn = ["first", "second"]
    with nothing_left_open():
        block = LiveBlock(terminal.stream, lambda width, height: drawn, period_s=60)
        assert terminal.lines == ["first", "second"]
        assert not terminal.echoes()
        drawn = ["only"]
        with block.above():
            terminal.stream.write("a line that is much longer than the terminal is wide\n")
        assert terminal.lines == ["a line that is much longer tha", "n the terminal is wide", "only"]
        block.close()
    assert terminal.lines == ["a line that is much longer tha", "n the terminal is wide"]
    assert terminal.echoes()
    assert (terminal.screen.cursor.x, terminal.screen.cursor.y, terminal.screen.cursor.hidden) == (0, 2, False)


def test_it_is_never_taller_than_the_terminal(terminal: FakeTerminal) -> None:
    block = LiveBlock(terminal.stream, lambda width, height: [f"{width}x{height}"] * 20, period_s=60)
    with block.above():
        terminal.stream.write("above\n")
    assert terminal.lines == ["above"] + ["29x7"] * 7
    termios.tcsetwinsize(terminal.slave, (5, 20))
    with block.above():
        terminal.stream.write("again\n")
    assert terminal.lines[:6] == ["above", "again"] + ["19x4"] * 4
    block.close()
    assert terminal.lines == ["above", "again"]


def test_only_a_terminal_shows_them(terminal: FakeTerminal, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TERM", "xterm")
    with (tmp_path / "file").open("w") as file:
        assert not shows_live(file)
    assert shows_live(terminal.stream)
    monkeypatch.setenv("CI", "true")
    assert not shows_live(terminal.stream)
