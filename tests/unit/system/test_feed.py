"""A user's command that gets data on stdin: bounded, and its failure is a line."""

from __future__ import annotations

from pathlib import Path

import pytest

from architect_parallel.system.shell import feed
from architect_parallel.system.terminal import notification


def test_it_gets_the_data(tmp_path: Path) -> None:
    assert feed(f"cat > '{tmp_path}/got'", b"x" * 200_000, timeout_s=60) is None
    assert (tmp_path / "got").read_bytes() == b"x" * 200_000


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        ("echo first >&2; echo no such host >&2; exit 3", "ended with exit code 3: no such host"),
        ("exit 1", "ended with exit code 1"),
        ("echo said on stdout; exit 1", "ended with exit code 1"),
    ],
)
def test_a_failure_is_one_line_even_if_it_reads_nothing(command: str, problem: str) -> None:
    assert feed(command, b"x" * 200_000, timeout_s=60) == problem


def test_it_ends_at_its_time_limit_with_what_it_started() -> None:
    assert feed("sleep 1000 | cat", b"", timeout_s=0.2) == "stopped after 0.2 s"


def test_a_notification_is_one_that_the_terminal_knows_and_holds_nothing_of_its_own() -> None:
    plain = notification("architect success", "3 OK\x1b]0;evil\x07; more", {"TERM": "xterm-kitty"})
    assert plain == "\a\x1b]9;architect success: 3 OK, more\x1b\\\x1b]2;architect success: 3 OK, more\x1b\\"
    assert "\x1b]777;notify;a;b\x1b\\" in notification("a", "b", {"TERM": "xterm-256color", "VTE_VERSION": "7600"})
    wrapped = "\x1bPtmux;\x1b\x1b]9;a: b\x1b\x1b\\\x1b\\"
    assert wrapped in notification("a", "b", {"TERM": "tmux-256color", "TMUX": "/tmp/tmux"})
