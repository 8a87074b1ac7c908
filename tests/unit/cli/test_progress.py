"""A line of progress: on a terminal it is replaced and goes, elsewhere there is none."""

from __future__ import annotations

import contextlib
import os
import pty
import sys

import pytest

from architect_parallel.cli.console import progress


def test_a_terminal_sees_the_newest_line_and_nothing_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    master, slave = pty.openpty()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "20")
    with os.fdopen(slave, "w") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        with progress() as show:
            show("removing 1 of 2: worker 1 of a run")
            show("removing 2 of 2")
    written = b""
    with contextlib.suppress(OSError):  # the end of a terminal
        while data := os.read(master, 4096):
            written += data
    os.close(master)
    assert written == b"\rremoving 1 of 2:\xe2\x80\xa6\x1b[K\rremoving 2 of 2\x1b[K\r\x1b[K"


def test_elsewhere_there_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    with progress() as show:
        show("removing 1 of 2")
    assert capsys.readouterr() == ("", "")
