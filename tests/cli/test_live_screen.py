"""The screen of a run on a terminal, as a person sees it."""

from __future__ import annotations

import signal
import termios
from pathlib import Path

from support.console import Architect
from support.terminals import Terminal


def test_enter_a_resize_and_ctrl_c_leave_nothing_of_it_behind(architect: Architect, checkout: Path) -> None:
    task = "echo at work; while :; do sleep 0.05; done"
    terminal = Terminal(architect.cwd, "parallel", task, "--workers", "2", "--backend", "shell", "--grace", "1")
    try:
        terminal.shows("0/2 done, 2 running", "at work", "Ctrl-C stops the agents")
        terminal.type(b"\r\rnonsense\r")
        terminal.resize(120, 30)
        terminal.shows("0/2 done, 2 running", "BACKEND", "Ctrl-C stops the agents")
        assert "nonsense" not in terminal.text
        assert terminal.text.count("0/2 done") == 1
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.ends() == 130
        lines = terminal.text.splitlines()
        assert "2 canceled" in terminal.text
        assert [line for line in lines if "Ctrl-C" in line or "/2 done" in line or line.startswith("#  TASK  ")] == []
        assert termios.tcgetattr(terminal.slave) == terminal.before
        assert not terminal.screen.cursor.hidden
    finally:
        terminal.close()
