"""Our ACP client with a scripted agent (`support.acp_agent`): permissions, files, sessions, the end of a turn."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import support.acp_agent

from architect_parallel.backends.acp_turn import Approval

AGENT = (sys.executable, support.acp_agent.__file__)
CLIENT = (sys.executable, "-P", "-m", "architect_parallel.supervision.acp_client")
Json = dict[str, Any]


def converse(place: Path, prompt: str, *options: str, command: tuple[str, ...] = AGENT) -> tuple[list[Json], str]:
    """The facts of one turn, and what the agent wrote to stderr."""
    done = subprocess.run(
        [*CLIENT, *options, "--", *command], input=prompt, cwd=place, capture_output=True, text=True, check=False
    )
    return [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def of(facts: list[Json], kind: str) -> list[Json]:
    return [fact for fact in facts if fact["type"] == kind]


@pytest.mark.parametrize(
    ("mode", "reading", "allowed"),
    [
        ("none", False, {"read", "edit", "execute", "other"}),
        ("auto", False, {"read", "edit"}),
        ("default", False, {"read"}),
        ("always", False, {"read"}),
        ("none", True, {"read"}),
    ],
)
def test_the_approval_mode_answers_requests_for_permission(mode: str, reading: bool, allowed: set[str]) -> None:
    approval = Approval(mode=mode, reading=reading)
    options = [{"optionId": kind, "kind": kind} for kind in ("allow_always", "reject_once", "allow_once")]
    for kind in ("read", "edit", "execute", "other"):
        word = "allow_once" if kind in allowed else "reject_once"
        assert approval.answer(kind, options) == (kind in allowed, {"outcome": "selected", "optionId": word})
    assert approval.answer("execute", []) == (False, {"outcome": "cancelled"})


def test_an_agent_does_what_it_may_and_the_rest_is_reported(tmp_path: Path) -> None:
    facts, _ = converse(tmp_path, "ask edit a.txt\nask execute b.txt", "--approval", "auto")
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert of(facts, "denied") == [{"type": "denied", "tool": "execute"}]
    assert [fact["status"] for fact in of(facts, "tool_result")] == ["success", "error"]


def test_files_are_read_and_written_inside_the_worktree_only(tmp_path: Path) -> None:
    place, outside = tmp_path / "work tree", tmp_path / "outside.txt"
    place.mkdir()
    outside.write_text("secret\n")
    (place / "in.txt").write_bytes(b"one\r\ntwo\r\n")
    (place / "link").symlink_to(outside)
    (place / "up").symlink_to(tmp_path)
    script = ["read in.txt", "read link", "read ../outside.txt", "write new/file.txt words", "write link x"]
    script += ["write up/made.txt x", "write .git/config x", "read missing.txt"]
    _, stderr = converse(place, "\n".join(script))
    answers = stderr.splitlines()
    assert "{'content': 'one\\r\\ntwo\\r\\n'}" in answers[0]
    assert [("outside the worktree" in answer) for answer in answers[1:6]] == [True, True, False, True, True]
    assert "git's own directory" in answers[6]
    assert "Resource not found" in answers[7]
    assert (place / "new" / "file.txt").read_text() == "words"
    assert outside.read_text() == "secret\n"
    assert not (tmp_path / "made.txt").exists()
    assert not (place / ".git").exists()


def test_an_agent_that_may_only_read_writes_nothing_through_the_client(tmp_path: Path) -> None:
    _, stderr = converse(tmp_path, "write a.txt words", "--reading")
    assert "this session may only read" in stderr
    assert list(tmp_path.iterdir()) == []


def test_a_loaded_session_goes_on_without_its_history(tmp_path: Path) -> None:
    facts, _ = converse(tmp_path, "say a new answer", "--session", "s-7")
    assert [fact["session_id"] for fact in of(facts, "init")] == ["s-7"]
    assert [fact["content"] for fact in of(facts, "message")] == ["a new answer"]


def test_a_model_is_chosen_or_the_known_ones_are_named(tmp_path: Path) -> None:
    facts, _ = converse(tmp_path, "say hello", "--model", "large")
    assert of(facts, "init")[0]["model"] == "large"
    facts, _ = converse(tmp_path, "say hello", "--model", "huge")
    assert facts == [
        {
            "type": "result",
            "status": "error",
            "error": {"message": "the agent does not take model huge: no such model; it offers small, large"},
            "retryable": False,
        }
    ]


def test_the_polite_signal_cancels_the_turn_and_the_agent_ends(tmp_path: Path) -> None:
    command = [*CLIENT, "--", *AGENT]
    with subprocess.Popen(command, cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as client:
        assert client.stdin is not None
        assert client.stdout is not None
        client.stdin.write("say working\nask read a.txt\nwait")
        client.stdin.close()
        while '"tool_result"' not in client.stdout.readline():
            pass
        client.send_signal(signal.SIGTERM)
        assert json.loads(client.stdout.readline())["stop_reason"] == "cancelled"
        assert client.wait() == 0


def test_an_agent_that_dies_or_is_missing_is_an_end_with_a_reason(tmp_path: Path) -> None:
    facts, _ = converse(tmp_path, "say one\ndie 7")
    assert facts[-1] == {"type": "ended", "exit_code": 7}
    facts, _ = converse(tmp_path, "say one", command=("/nonexistent/agent",))
    assert facts[-1]["error"] == {"message": "/nonexistent/agent: No such file or directory"}


def test_a_login_that_is_wanted_is_said_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACP_LOCKED", "1")
    facts, _ = converse(tmp_path, "say one")
    assert [fact["error"]["message"] for fact in facts] == [
        "the agent wants a login: log in with its own program, or set its key"
    ]
