"""Limits and interruptions, from outside: work is kept, nothing is left running, the exit code says why."""

from __future__ import annotations

import contextlib
import json
import secrets
import signal
import sqlite3
import subprocess
import time
from pathlib import Path

import pytest
from support.console import Architect, deliver, running_with, wait_until
from support.repositories import git


@pytest.fixture
def token() -> str:
    """A word for agents' command lines by which their processes are found again."""
    return f"3600.{secrets.randbelow(10**9):09d}"


def begun(architect: Architect, token: str, count: int, *words: str) -> subprocess.Popen[bytes]:
    """A run whose agents all sleep with `token` on their command lines."""
    process = architect.begin("parallel", *words, "--backend", "shell", "--json", "--quiet")
    wait_until(lambda: len(running_with(token)) >= count, "the agents' start")
    return process


def test_a_worker_timeout_keeps_the_work(architect: Architect, checkout: Path, token: str) -> None:
    task = f"echo kept > kept.txt; sleep {token}"

    answer = architect("parallel", task, "--backend", "shell", "--workers", "2", "--timeout-per-worker", "1", "--json")

    assert answer.code == 1
    for result in answer.json["results"]:
        assert (result["status"], result["reason"], result["files_modified"]) == (
            "timeout",
            "worker_timeout",
            ["kept.txt"],
        )
        assert git(checkout, "show", f"{result['branch']}:kept.txt") == "kept"
    assert running_with(token) == []


def test_an_idle_timeout_spares_the_one_that_prints(architect: Architect, token: str) -> None:
    chatty = "for i in 1 2 3 4 5 6 7 8 9; do echo $i; sleep 0.3; done"

    answer = architect(
        "parallel", chatty, "--task", f"sleep {token}", "--backend", "shell", "--idle-timeout", "1.5", "--json"
    )

    assert [each["reason"] for each in answer.json["results"]] == ["no_changes", "idle_timeout"]
    assert running_with(token) == []


def test_a_run_timeout_ends_running_and_waiting_workers(architect: Architect, token: str) -> None:
    answer = architect(
        "parallel",
        f"sleep {token}",
        "--backend",
        "shell",
        "--workers",
        "3",
        "--max-parallel",
        "1",
        "--timeout",
        "1",
        "--json",
    )

    assert [(each["status"], each["reason"]) for each in answer.json["results"]] == [("timeout", "run_timeout")] * 3
    assert running_with(token) == []


def test_a_memory_limit_counts_the_whole_tree(architect: Architect) -> None:
    hog = "echo kept > kept; python3 -c 'import time; x = bytearray(200 * 2**20); time.sleep(60)' & wait"

    answer = architect(
        "parallel", hog, "--backend", "shell", "--workers", "1", "--memory-per-worker", "100MiB", "--json"
    )

    result = answer.json["results"][0]
    assert (result["status"], result["reason"]) == ("partial", "memory")
    assert result["peak_memory_bytes"] > 100 * 2**20


def test_a_flood_of_output_is_stopped(architect: Architect, tmp_path: Path) -> None:
    config = tmp_path / "own.yaml"
    config.write_text("parallel_runs: {output_per_worker: 2MiB}\n")

    answer = architect(
        "parallel",
        "head -c 100000000 /dev/zero; sleep 60",
        "--backend",
        "shell",
        "--workers",
        "1",
        "--json",
        "-c",
        str(config),
    )

    result = answer.json["results"][0]
    assert (result["status"], result["reason"]) == ("failed", "output_limit")


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)], ids=lambda each: str(each)
)
def test_a_signal_stops_collects_and_is_recorded(
    architect: Architect, checkout: Path, token: str, number: signal.Signals, code: int
) -> None:
    task = f"echo kept > kept; sleep {token}"
    process = begun(architect, token, 2, task, "--workers", "4", "--max-parallel", "2")

    process.send_signal(number)
    answer = architect.finish(process)

    assert answer.code == code
    assert running_with(token) == []
    envelope = answer.json
    assert (envelope["status"], envelope["exit_code"], envelope["canceled"]) == ("canceled", code, 4)
    assert [each["reason"] for each in envelope["results"]] == ["interrupted"] * 4
    assert [each["files_modified"] for each in envelope["results"]] == [["kept"], ["kept"], [], []]
    assert architect("status", "latest", "--json").json == envelope


def test_under_nohup_a_hangup_stops_nothing(architect: Architect, token: str) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        process = begun(architect, token, 1, f"sleep {token}", "--workers", "1")
    finally:
        signal.signal(signal.SIGHUP, before)

    deliver(process, signal.SIGHUP)
    deliver(process, signal.SIGTERM)

    assert architect.finish(process).code == 143


def test_an_agent_that_ignores_signals_ends_within_the_grace(architect: Architect, token: str) -> None:
    stubborn = f"trap '' INT TERM HUP; echo kept > kept; sleep {token}; sleep {token}"
    process = begun(architect, token, 1, stubborn, "--workers", "1", "--grace", "2")
    asked = time.monotonic()
    architect("status")
    one_command_s = time.monotonic() - asked

    asked = time.monotonic()
    process.send_signal(signal.SIGINT)
    answer = architect.finish(process)

    assert time.monotonic() - asked < 2 + 2 + 10 * one_command_s, (
        "the stop takes at most the grace and 2 s; the rest is for a loaded machine, in its own measure"
    )
    assert answer.code == 130
    assert running_with(token) == []
    assert answer.json["results"][0]["files_modified"] == ["kept"]


def test_a_second_ctrl_c_kills_at_once_and_still_records(architect: Architect, token: str) -> None:
    stubborn = f"trap '' INT TERM HUP; echo kept > kept; sleep {token}; sleep {token}"
    process = begun(architect, token, 1, stubborn, "--workers", "1", "--grace", "60")

    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    assert process.poll() is None, "the first Ctrl-C gives the agent its grace"
    process.send_signal(signal.SIGINT)
    answer = architect.finish(process, timeout_s=30)

    assert answer.code == 130
    assert running_with(token) == []
    assert answer.json["results"][0]["reason"] == "interrupted"
    assert answer.json["results"][0]["files_modified"] == ["kept"]


def test_ctrl_c_during_setup_ends_the_setup(architect: Architect, tmp_path: Path, token: str) -> None:
    config = tmp_path / "own.yaml"
    config.write_text(f"worktrees: {{setup: ['sleep {token}']}}\n")
    process = begun(architect, token, 1, "echo never", "--workers", "1", "-c", str(config))

    process.send_signal(signal.SIGINT)
    answer = architect.finish(process, timeout_s=30)

    assert answer.code == 130
    assert running_with(token) == []
    assert (answer.json["results"][0]["reason"], answer.json["results"][0]["output"]) == ("interrupted", "")


def test_cancel_from_another_process_ends_the_run(architect: Architect, token: str) -> None:
    process = begun(architect, token, 2, f"sleep {token}", "--workers", "2")

    canceled = architect("cancel", "latest", "--json")

    assert (canceled.code, canceled.json["ended"]) == (0, True)
    answer = architect.finish(process)
    assert answer.code == 1
    assert [each["reason"] for each in answer.json["results"]] == ["canceled", "canceled"]
    assert running_with(token) == []


def test_cancel_of_one_worker_leaves_the_others(architect: Architect, token: str, tmp_path: Path) -> None:
    go = tmp_path / "go"
    other = f"while [ ! -e {go} ]; do sleep 0.05; done; echo fine"
    process = begun(architect, token, 1, f"sleep {token}", "--task", other)

    assert architect("cancel", "latest", "1").code == 0
    wait_until(lambda: running_with(token) == [], "the end of worker 1")
    go.touch()
    answer = architect.finish(process)

    assert [each["reason"] for each in answer.json["results"]] == ["canceled", "no_changes"]


def test_what_an_agent_leaves_behind_is_counted_and_ended(architect: Architect, token: str) -> None:
    daemon = f"setsid sleep {token} & (sleep {token} &) ; echo done"

    answer = architect("parallel", daemon, "--backend", "shell", "--workers", "1", "--json")

    result = answer.json["results"][0]
    assert (result["status"], result["output"], result["leaked"]) == ("success", "done", 2)
    assert running_with(token) == []


def test_an_agent_stopped_before_it_began_cost_nothing(
    architect: Architect, checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reply = {"text": "done", "sleep": 3600, "usage": {"input_tokens": 10, "output_tokens": 10}}
    models = tmp_path / "models.json"
    models.write_text(json.dumps({"slow": {"price": {"input_per_mtok": 1, "output_per_mtok": 1}, "steps": [reply]}}))
    monkeypatch.setenv("ARCHITECT_SCRIPTED_MODELS", str(models))
    process = architect.begin("parallel", "x", "--models", "scripted:slow", "--workers", "1", "--json", "--quiet")

    def started() -> bool:
        journal = f"file:{checkout / '.git' / 'architect' / 'runs.db'}?mode=ro"
        with (
            contextlib.suppress(sqlite3.OperationalError),  # it is not there yet
            contextlib.closing(sqlite3.connect(journal, uri=True)) as database,
        ):
            return bool(database.execute("SELECT 1 FROM events WHERE type = 'AgentStarted'").fetchall())
        return False

    wait_until(started, "the agent's start")
    process.send_signal(signal.SIGINT)  # Python has not even begun to read its program
    answer = architect.finish(process)
    result = answer.json["results"][0]
    assert (answer.code, result["reason"], result["steps"]) == (130, "interrupted", 0)
    assert (result["cost"], answer.json["total_cost"]) == (0, 0)
