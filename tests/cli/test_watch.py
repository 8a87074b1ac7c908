"""`architect watch`: as JSON, as lines, and full-screen in a real terminal."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyte
import pytest
from support.console import SCRIPT, Architect, wait_until, working_in

import architect_parallel

FIRST_FIELDS = ["run_id", "seq", "time", "event", "worker_id", "name", "status"]


def events(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def ended(architect: Architect) -> tuple[int, int]:
    """How many workers of the newest run have ended well, and how many not."""
    runs = architect("status", "--json").json["runs"]
    return (runs[0]["completed"], runs[0]["failed"]) if runs else (0, 0)


def waiting_for(go: Path) -> str:
    return f"echo waiting here; while [ ! -e {go} ]; do sleep 0.05; done; echo done"


def test_watchers_see_the_same_whenever_they_come(architect: Architect, tmp_path: Path, checkout: Path) -> None:
    go = tmp_path / "go"
    run = architect.begin(
        "parallel", waiting_for(go), "--task", "false", "--backend", "shell", "--retries", "1", "--json"
    )  # fmt: skip
    wait_until(lambda: bool(architect("status", "--json").json["runs"]), "the run's beginning")
    early = architect.begin("watch", "--json")
    wait_until(lambda: ended(architect) == (0, 1), "the end of worker 2")
    late = architect.begin("watch", "latest", "--json")
    go.touch()
    result = architect.finish(run).json

    seen = architect.finish(early)

    assert (seen.code, seen.err) == (0, "")
    assert architect.finish(late).out == seen.out
    assert architect("watch", result["run_id"], "--json").out == seen.out
    told = events(seen.out)
    assert [each["seq"] for each in told] == list(range(1, len(told) + 1))
    assert all(list(each)[:7] == FIRST_FIELDS for each in told)
    assert (told[0]["event"], told[-1]["event"], told[-1]["status"]) == ("run_started", "run_finished", "partial")
    finished = {each["worker_id"]: each for each in told if each["event"] == "worker_finished"}
    assert {worker_id: each["status"] for worker_id, each in finished.items()} == {1: "success", 2: "failed"}
    assert finished[1]["result"] == result["results"][0]
    assert list(architect_parallel.watch(result["run_id"], checkout)) == told


def test_a_killed_launcher_is_told_and_stays_in_every_replay(architect: Architect, tmp_path: Path) -> None:
    go = tmp_path / "go"
    run = architect.begin("parallel", waiting_for(go), "--backend", "shell", "--workers", "1", "--grace", "1")
    wait_until(lambda: "waiting here" in architect("logs", "latest").out, "the agent's start")
    watcher = architect.begin("watch", "--json")

    run.send_signal(signal.SIGKILL)

    seen = architect.finish(watcher)
    assert seen.code == 0
    told = events(seen.out)
    assert (told[-1]["event"], told[-1]["status"], told[-1]["worker_id"]) == ("run_interrupted", "interrupted", None)
    assert architect("watch", "--json").out == seen.out
    assert architect("watch").out.splitlines()[-1].endswith(f"(try: architect resume {told[0]['run_id']})")

    go.touch()
    wait_until(lambda: working_in(architect.cwd) == [], "the end of the agent and its supervisor")
    assert architect("resume", "latest").code == 0
    after = events(architect("watch", "--json").out)
    assert after[: len(told)] == told, "what was told once is told for ever"
    assert after[len(told)]["event"] == "run_resumed"
    assert after[-1]["event"] == "run_finished"
    assert all(one["seq"] + 1 == other["seq"] for one, other in pairwise(after))


def test_an_iterator_that_is_left_holds_nothing_open(architect: Architect, checkout: Path) -> None:
    architect("parallel", "true", "--backend", "shell", "--workers", "1")

    def opened() -> list[str]:
        named = [os.readlink(each.path) for each in os.scandir("/proc/self/fd") if os.path.lexists(each.path)]
        return [each for each in named if each.startswith(str(checkout))]

    unasked = architect_parallel.watch("latest", checkout)
    assert opened() == []
    left = architect_parallel.watch("latest", checkout)
    assert next(left)["event"] == "run_started"
    assert opened() != [], "the control"
    left.close()  # type: ignore[attr-defined]  # it is a generator, as those who leave early know
    assert opened() == []
    del unasked


def test_elsewhere_than_on_a_terminal_it_is_lines(architect: Architect) -> None:
    architect("parallel", "echo fine", "--task", "echo bad; exit 3", "--backend", "shell")

    answer = architect("watch")

    assert answer.code == 0
    assert answer.out.splitlines()[0].endswith(": 2 tasks, at most 2 at a time")
    assert any(line.endswith("[1] fine") for line in answer.out.splitlines())
    assert answer.out.rstrip().endswith(": partial")


def test_there_has_to_be_a_run(architect: Architect) -> None:
    for words in ((), ("--json",), ("nope",)):
        answer = architect("watch", *words)
        assert (answer.code, answer.out) == (4, "")
        assert answer.err.startswith("architect: there is no run")


class Terminal:
    """`architect watch` in a pseudo-terminal, and the screen that a person would see."""

    def __init__(self, cwd: Path, columns: int = 80, rows: int = 24) -> None:
        self.screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self.screen)
        self.written = b""
        self._master, slave = pty.openpty()
        self.resize(columns, rows)
        self.before = termios.tcgetattr(slave)
        self.slave = slave
        self.process = subprocess.Popen(
            [SCRIPT, "watch"], cwd=cwd, stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
            env={**os.environ, "TERM": "xterm-256color"},
        )  # fmt: skip

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.screen.resize(rows, columns)

    def type(self, keys: bytes) -> None:
        os.write(self._master, keys)

    @property
    def text(self) -> str:
        """The screen as it is now."""
        while select.select([self._master], [], [], 0.02)[0]:
            data = os.read(self._master, 65536)
            self.written += data
            self._stream.feed(data)
        return "\n".join(self.screen.display)

    def shows(self, *words: str) -> None:
        deadline = time.monotonic() + 30
        while not all(each in self.text for each in words):
            assert time.monotonic() < deadline, f"{words} are not on the screen:\n{self.text}"

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._master)
        os.close(self.slave)


@pytest.fixture
def live(architect: Architect, tmp_path: Path) -> Iterator[tuple[Architect, subprocess.Popen[bytes], Path]]:
    """A run of two: one waits until it is told to go on, one has ended."""
    go = tmp_path / "go"
    run = architect.begin("parallel", waiting_for(go), "--task", "exit 3", "--backend", "shell", "--json")
    wait_until(lambda: ended(architect) == (0, 1), "the end of worker 2")
    yield architect, run, go
    go.touch()


def test_a_full_screen_that_is_left_leaves_the_run_alone(live: tuple[Architect, Any, Path]) -> None:
    architect, run, go = live
    terminal = Terminal(architect.cwd)
    try:
        terminal.shows("running", "0 of 2 OK", "> ", "worker-1", "waiting here", "FAILED", "Enter log")
        terminal.type(b"?")
        terminal.shows("select a worker", "the run goes on")
        terminal.type(b"\x1b")
        terminal.shows("Enter log")
        terminal.type(b"\x1b[B")
        wait_until(lambda: any(line.startswith(">   2") for line in terminal.text.splitlines()), "the second line")
        terminal.type(b"k\r")
        terminal.shows("── worker 1 worker-1: running", " waiting here", "Esc back")
        terminal.resize(200, 50)
        terminal.type(b"\x1b[D")
        terminal.shows("BACKEND", "MODEL", "STEPS")
        terminal.type(b"q")
        assert terminal.process.wait(timeout=30) == 0
        assert terminal.text
        assert terminal.written.count(b"\x1b[?1049h") == terminal.written.count(b"\x1b[?1049l") == 1
        assert termios.tcgetattr(terminal.slave) == terminal.before
    finally:
        terminal.close()
    assert run.poll() is None
    go.touch()
    assert [each["status"] for each in architect.finish(run).json["results"]] == ["success", "failed"]


def test_a_worker_is_canceled_by_two_keys_and_not_by_one(live: tuple[Architect, Any, Path]) -> None:
    architect, run, _ = live
    terminal = Terminal(architect.cwd)
    try:
        terminal.shows("Enter log", "waiting here")
        terminal.type(b"c")
        terminal.shows("cancel worker 1 (worker-1)?")
        terminal.type(b"n")
        terminal.shows("Enter log")
        assert run.poll() is None
        terminal.type(b"c")
        terminal.shows("cancel worker 1 (worker-1)?")
        terminal.type(b"y")
        terminal.shows("CANCELED", "canceled  ", "the run has ended")
        terminal.type(b"c")
        terminal.shows("worker 1 has already ended")
        terminal.process.send_signal(signal.SIGTERM)
        assert terminal.process.wait(timeout=30) == 143
        assert termios.tcgetattr(terminal.slave) == terminal.before
    finally:
        terminal.close()
    assert [each["reason"] for each in architect.finish(run).json["results"]] == ["canceled", "agent_error"]
