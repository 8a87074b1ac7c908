"""A command of the fork server is like one that a fresh interpreter runs."""

from __future__ import annotations

import os
import re
import subprocess
from typing import Any

import pytest
from support.console import SCRIPT, Architect, fork_server, running_with, wait_until
from support.fork_server import serves

RUN_ID = re.compile(rb"\d{8}-\d{6}-[0-9a-f]{4}")
TELL = "sh -c 'pwd; echo \"$VALUE\"; umask; ls -l /proc/self/fd >fds; trap'"


@pytest.mark.parametrize(
    "words",
    [
        ("run", TELL, "--backend", "shell"),
        ("status", "no-such-run"),
        ("parallel", "--dry-run", "--json"),
        ("--version",),
    ],
)
@pytest.mark.parametrize("stdin", [None, b"", b"- {prompt: echo one, backend: shell}\n"])
def test_it_answers_like_the_script(architect: Architect, words: tuple[str, ...], stdin: bytes | None) -> None:
    env = {**os.environ, "VALUE": "a\udcff b"}
    source: dict[str, Any] = {"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}
    fresh = subprocess.run([SCRIPT, *words], cwd=architect.cwd, env=env, capture_output=True, check=False, **source)
    code, out, err = fork_server().run([str(SCRIPT), *words], architect.cwd, env, stdin, 60)
    assert (code, RUN_ID.sub(b"RUN", out), err) == (fresh.returncode, RUN_ID.sub(b"RUN", fresh.stdout), fresh.stderr)


def test_a_command_over_its_time_is_ended_and_its_supervisor_ends_the_rest(architect: Architect) -> None:
    token = f"{os.getpid()}60"
    with pytest.raises(subprocess.TimeoutExpired):
        architect("run", f"sleep {token}; true", "--backend", "shell", timeout_s=3)
    wait_until(lambda: running_with(token) == [], "the end of the agent")


def test_what_an_interpreter_reads_at_its_start_needs_a_fresh_one() -> None:
    assert serves({"CI": "true"})
    assert not serves({"PYTHONWARNINGS": "error"})
    assert not serves({"LC_ALL": "C"})
