"""`architect watch`: as JSON, as lines, and full-screen in a real terminal."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import termios
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from support.console import Architect, wait_until, working_in, write_program
from support.terminals import Terminal

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


@pytest.fixture
def live(architect: Architect, tmp_path: Path) -> Iterator[tuple[Architect, subprocess.Popen[bytes], Path]]:
    """A run of two: one waits until it is told to go on, one has ended."""
    go = tmp_path / "go"
    run = architect.begin("parallel", waiting_for(go), "--task", "exit 3", "--backend", "shell", "--json")
    wait_until(lambda: ended(architect) == (0, 1), "the end of worker 2")
    yield architect, run, go
    go.touch()


def test_the_full_screen_cancels_a_worker_and_restores_the_terminal(live: tuple[Architect, Any, Path]) -> None:
    architect, run, go = live
    write_program(go.with_name("editor"), "import sys; open('opened.txt', 'w').write(sys.argv[1])")
    terminal = Terminal(architect.cwd, "watch", env={"VISUAL": shlex.quote(str(go.with_name("editor")))})
    try:
        terminal.shows("running", "1/2 done (1 not OK), 1 running", "worker 1 running   log", "waiting here", "q Quit")
        terminal.resize(120, 50)
        terminal.shows("BACKEND", "MODEL")
        opened = architect.cwd / ".architect-parallel-1" / "opened.txt"
        terminal.type(b"o")
        wait_until(lambda: bool(terminal.text) and opened.is_file() and bool(opened.read_text()), "the editor's file")
        assert opened.read_text() == str(opened.parent)
        terminal.shows("worker 1 running   log")
        terminal.type(b"c")
        terminal.shows("Cancel worker 1")
        terminal.type(b"y")
        terminal.shows("canceled", "CANCELED", "2/2 done (2 not OK)")
        terminal.process.send_signal(signal.SIGTERM)
        assert terminal.ends() == 143
        assert terminal.text
        assert terminal.written.count(b"\x1b[?1049h") == terminal.written.count(b"\x1b[?1049l") == 2
        assert termios.tcgetattr(terminal.slave) == terminal.before
        assert not terminal.screen.cursor.hidden
    finally:
        terminal.close()
    assert [each["reason"] for each in architect.finish(run).json["results"]] == ["canceled", "agent_error"]
