"""Further attempts, refusals of a provider, shared money and room on the machine, through the console script."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from support.console import Answer, Architect, wait_until
from support.repositories import git

from architect_parallel.events import AttemptEnded, WorkerStarting
from architect_parallel.journal import Journal

AGENT = """
import fcntl, json, os, pathlib, sys, time

def answer(status, **more):
    print(json.dumps({"status": status, "steps": 1, "cost": 0.01, **more}))
    sys.exit(0 if status == "success" else 1)

place = pathlib.Path(os.environ["SERVER_PLACE"])
for slot in range(int(os.environ["SERVER_SLOTS"])):
    held = open(place / f"slot-{slot}", "w")
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        continue
    # Whoever is served first stays until somebody was refused, so that there is something to see.
    deadline = time.monotonic() + 30
    while not (place / "refused").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    pathlib.Path("made.txt").write_text("made")
    answer("success", output="served")
(place / "refused").touch()
answer("failed", reason="rate_limited", error="HTTP 429: slow down", retry_after=0.1)
"""


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration whose agents share a server that serves two at a time and refuses the others."""
    place = tmp_path / "server"
    place.mkdir()
    script = tmp_path / "agent.py"
    script.write_text(AGENT)
    monkeypatch.setenv("SERVER_PLACE", str(place))
    monkeypatch.setenv("SERVER_SLOTS", "2")
    path = tmp_path / "config.yaml"
    backend = {"command": [sys.executable, "-S", "-E", str(script)], "env": ["SERVER_*"]}
    path.write_text(json.dumps({"backends": {"architect": backend}}))
    return path


def only(answer: Answer) -> Any:
    (result,) = answer.json["results"]
    return result


def test_all_workers_get_through_a_server_that_refuses_most_of_them(architect: Architect, server: Path) -> None:
    answer = architect("parallel", "do", "--workers", "8", "--json", "-c", server)

    assert answer.code == 0, answer.out
    results = answer.json["results"]
    assert [result["status"] for result in results] == ["success"] * 8
    histories = [result["attempt_history"] for result in results]
    assert any(len(history) > 1 for history in histories)
    for result, history in zip(results, histories, strict=True):
        assert [each["reason"] for each in history[:-1]] == ["rate_limited"] * (len(history) - 1)
        assert (result["attempts"], result["steps"]) == (len(history), len(history))
        assert result["cost"] == pytest.approx(0.01 * len(history))
        assert result["files_modified"] == ["made.txt"]
        assert result["duration"] >= result["working_seconds"] > 0


def test_without_patience_the_refused_fail(architect: Architect, server: Path) -> None:
    """The control: the same server, and nobody waits."""
    settings = json.loads(server.read_text())
    server.write_text(json.dumps({**settings, "parallel_runs": {"rate_limit_wait": "0.01s"}}))

    answer = architect("parallel", "do", "--workers", "8", "--json", "-c", server)

    assert answer.code == 1
    failed = [result for result in answer.json["results"] if result["status"] == "failed"]
    assert failed
    assert {result["reason"] for result in failed} == {"rate_limited"}
    assert all("rate_limit_wait" in warning for result in failed for warning in result["warnings"])


def test_a_retry_starts_from_the_base_and_keeps_what_the_attempt_before_left(
    architect: Architect, checkout: Path, tmp_path: Path
) -> None:
    flag = tmp_path / "flag"
    task = f"[ -e '{flag}' ] && exec sh -c 'ls > seen.txt'; touch '{flag}'; echo first > left.txt; echo no >&2; exit 7"

    answer = architect("parallel", task, "--workers", "1", "--backend", "shell", "--retries", "1", "--json")

    result = only(answer)
    assert (answer.code, result["status"], result["attempts"]) == (0, "success", 2)
    assert result["files_modified"] == ["seen.txt"]
    assert "left.txt" not in git(checkout, "show", f"{result['branch']}:seen.txt")
    first, second = result["attempt_history"]
    assert (first["reason"], first["exit_code"], first["error"]) == (
        "agent_error", 7, "the command ended with exit code 7: no",
    )  # fmt: skip
    assert (second["status"], second["number"]) == ("success", 2)
    (kept,) = git(checkout, "for-each-ref", "--format=%(refname)", "refs/architect/keep").splitlines()
    assert git(checkout, "show", f"{kept}:left.txt") == "first"
    assert any(kept in warning for warning in result["warnings"])


def test_without_retries_one_failure_is_the_end(architect: Architect) -> None:
    result = only(architect("parallel", "exit 7", "--workers", "1", "--backend", "shell", "--json"))
    assert (result["status"], result["attempts"], len(result["attempt_history"])) == ("failed", 1, 1)


def test_refine_tells_the_next_attempt_and_stops_at_the_same_error(architect: Architect, tmp_path: Path) -> None:
    script = tmp_path / "agent.py"
    script.write_text(
        "import json, sys\n"
        "told = 'earlier attempt' in sys.argv[2]\n"
        "fine = told and 'missing semicolon' in sys.argv[2] and 'mend' in sys.argv[2]\n"
        "print(json.dumps({'status': 'success' if fine else 'failed', 'error': 'missing semicolon', 'steps': 1}))\n"
    )
    config = tmp_path / "config.yaml"
    config.write_text(json.dumps({"backends": {"architect": {"command": [sys.executable, str(script)]}}}))
    words = ("--workers", "1", "--retries", "5", "--refine", "--json", "-c", config)

    mended = only(architect("parallel", "mend it", *words))
    assert (mended["status"], mended["attempts"], mended["task"]) == ("success", 2, "mend it")
    # A resume is told too: the failure was of an earlier launch.
    once = ("--workers", "1", "--refine", "--json", "-c", config)
    assert only(architect("parallel", "mend it", *once))["status"] == "failed"
    assert only(architect("resume", "latest", "--json", "-c", config))["status"] == "success"
    hopeless = only(architect("parallel", "break it", *words))
    assert (hopeless["status"], hopeless["attempts"]) == ("failed", 2)
    assert any("same error twice" in warning for warning in hopeless["warnings"])


def test_limits_and_bad_input_get_no_further_attempt(architect: Architect, tmp_path: Path) -> None:
    words = ("--workers", "1", "--backend", "shell", "--retries", "5", "--json")
    late = only(architect("parallel", "sleep 60", "--timeout-per-worker", "0.2s", "--grace", "0.1s", *words))
    assert (late["reason"], late["attempts"]) == ("worker_timeout", 1)
    for wrong in ("-1", "x", "101"):
        answer = architect("parallel", "true", "--backend", "shell", "--retries", wrong)
        assert answer.code == 2
        assert "--retries" in answer.err


@pytest.mark.parametrize("moment", [AttemptEnded, WorkerStarting], ids=["while waiting", "while starting again"])
def test_a_launcher_killed_between_attempts_leaves_everything_for_a_resume(
    architect: Architect, checkout: Path, tmp_path: Path, moment: type
) -> None:
    flag = tmp_path / "flag"
    task = f"[ -e '{flag}' ] && exec touch done.txt; echo first > left.txt; git add left.txt; exit 7"
    launcher = architect.begin("parallel", task, "--workers", "1", "--backend", "shell", "--retries", "5")
    state = checkout / ".git" / "architect"

    def seen() -> bool:
        if not (state / "runs.db").exists():
            return False
        with Journal.open(state) as journal:
            events = [each.event for run_id in journal.run_ids() for each in journal.recorded(run_id)]
        begun = [event for event in events if isinstance(event, moment)]
        return len(begun) >= (2 if moment is WorkerStarting else 1)

    wait_until(seen, "the end of the first attempt")
    os.killpg(launcher.pid, signal.SIGKILL)
    architect.finish(launcher)

    def over() -> bool:
        return bool(architect("status", "latest", "--json").json["status"] == "interrupted")

    wait_until(over, "the end of the launcher")
    interrupted = only(architect("status", "latest", "--json"))
    assert (interrupted["status"], interrupted["reason"]) == ("canceled", "interrupted")
    assert interrupted["attempt_history"][0]["exit_code"] == 7

    flag.touch()
    result = only(architect("resume", "latest", "--json"))
    assert (result["status"], result["files_modified"]) == ("success", ["done.txt"])
    assert [each["number"] for each in result["attempt_history"]] == list(range(1, result["attempts"] + 1))
    kept = git(checkout, "for-each-ref", "--format=%(refname)", "refs/architect/keep").splitlines()
    assert "first" in [git(checkout, "show", f"{ref}:left.txt") for ref in kept]


def test_a_waiting_worker_can_be_canceled(architect: Architect, checkout: Path) -> None:
    running = architect.begin(
        *("parallel", "--task", "sleep 60", "--task", "true", "--backend", "shell", "--max-parallel", "1", "--json")
    )
    database = checkout / ".git" / "architect" / "runs.db"
    wait_until(database.exists, "the journal")
    wait_until(lambda: bool(architect("status", "--json").json["runs"]), "the run")
    assert architect("cancel", "latest", "2").code == 0

    def ended() -> list[int]:
        return [each["worker_id"] for each in architect("status", "latest", "--json").json["results"]]

    wait_until(lambda: ended() == [2], "the end of the one that waits")
    assert architect("cancel", "latest").code == 0
    answer = architect.finish(running)
    assert [each["reason"] for each in answer.json["results"]] == ["canceled", "canceled"]
    assert answer.json["results"][1]["started_at"] is None


def test_a_worker_between_two_attempts_can_be_canceled(architect: Architect, server: Path, tmp_path: Path) -> None:
    # Nobody is ever served, and the first wait is long enough to cancel in.
    script = tmp_path / "agent.py"
    script.write_text(AGENT.replace("retry_after=0.1", "retry_after=600").replace('os.environ["SERVER_SLOTS"]', "0"))
    running = architect.begin("parallel", "do", "--workers", "1", "--json", "-c", str(server))

    def waiting() -> bool:
        found = architect("logs", "latest", "1")
        return "429" in found.out

    wait_until(waiting, "the first refusal")
    assert architect("cancel", "latest").code == 0
    result = only(architect.finish(running))
    assert (result["status"], result["reason"], result["attempts"]) == ("canceled", "canceled", 1)
    assert [each["reason"] for each in result["attempt_history"]] in (["rate_limited"], ["canceled"])


def test_with_too_little_disk_nothing_is_started_and_with_too_little_memory_one_at_a_time(
    architect: Architect, tmp_path: Path
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("parallel_runs: {min_free_disk: 1000TiB}")
    answer = architect("parallel", "touch x", "--workers", "2", "--backend", "shell", "--json", "-c", config)
    assert answer.code == 1
    assert [each["reason"] for each in answer.json["results"]] == ["spawn_failed"] * 2
    assert all("min_free_disk" in each["error"] for each in answer.json["results"])

    config.write_text("parallel_runs: {min_free_memory: 1000TiB}")
    answer = architect("parallel", "touch x", "--workers", "2", "--backend", "shell", "--json", "-c", config)
    assert answer.code == 0
    assert any("min_free_memory" in warning for warning in answer.json["warnings"])
    one, two = sorted(answer.json["results"], key=lambda each: str(each["started_at"]))
    assert two["started_at"] >= one["started_at"]
    assert "min_free_memory" in architect("doctor", "-c", config).out


def test_spending_without_a_known_price_is_never_silent(architect: Architect, tmp_path: Path) -> None:
    script = tmp_path / "agent.py"
    script.write_text('print(\'{"result": "ok", "usage": {"input_tokens": 500, "output_tokens": 5}}\')\n')
    config = tmp_path / "config.yaml"
    config.write_text(
        json.dumps({"backends": {"mine": {"command": [sys.executable, str(script), "{prompt}"], "output": "json"}}})
    )
    words = ("parallel", "do", "--workers", "1", "--backend", "mine", "--json", "-c", config)

    assert any("no price is known" in each for each in only(architect(*words))["warnings"])
    held = only(architect(*words, "--budget", "1"))
    assert (held["cost"], held["usage"]["cost_basis"]) == (None, "unknown")
    assert any("held by time only" in each for each in held["warnings"])
