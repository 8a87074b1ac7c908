"""Qwen Code: its command line, a home per worker, tokens of its replies."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from architect_parallel.backends.base import Request, Step, Tokens
from architect_parallel.backends.qwen import QwenBackend
from architect_parallel.backends.qwen_reader import QwenReader
from architect_parallel.domain import ApprovalMode, Outcome, SandboxMode


def request(tmp_path: Path, **more: Any) -> Request:
    state = tmp_path / "state"
    state.mkdir(exist_ok=True)
    return Request(prompt="fix it", prompt_file=state / "prompt", worktree=tmp_path, state_dir=state, **more)


@pytest.fixture
def user(tmp_path: Path) -> Path:
    place = tmp_path / "user" / ".qwen"
    place.mkdir(parents=True)
    return place


def backend(user: Path, **variables: str) -> QwenBackend:
    return QwenBackend(environ={"HOME": str(user.parent), "PATH": "", **variables})


def test_options_of_the_request_stand_in_argv(user: Path, tmp_path: Path) -> None:
    asked = request(tmp_path, model="gpt-4o", system_prompt="Be brief.", max_steps=5, session_id="abc")
    words = " ".join(backend(user, OPENAI_API_KEY="key").command(asked).argv)
    assert words.startswith("qwen -p fix it")
    for option in ("-m gpt-4o", "--append-system-prompt Be brief.", "--max-session-turns 5", "--resume abc",
                   "--auth-type openai", "-o stream-json"):  # fmt: skip
        assert option in words


def test_a_login_the_user_chose_is_left_alone(user: Path, tmp_path: Path) -> None:
    (user / "settings.json").write_text('{"security": {"auth": {"selectedType": "qwen-oauth"}}}')
    assert "--auth-type" not in backend(user, OPENAI_API_KEY="key").command(request(tmp_path)).argv


@pytest.mark.parametrize(
    ("approval", "sandbox", "mode"),
    [
        (ApprovalMode.NONE, SandboxMode.DEFAULT, "yolo"),
        (ApprovalMode.NONE, SandboxMode.READ_ONLY, "default"),
        (ApprovalMode.NONE, SandboxMode.WORKSPACE, "auto-edit"),
        (ApprovalMode.AUTO, SandboxMode.DEFAULT, "auto-edit"),
        (ApprovalMode.DEFAULT, SandboxMode.DEFAULT, "default"),
        (ApprovalMode.ALWAYS, SandboxMode.FULL, "default"),
    ],
)
def test_a_sandbox_mode_beats_an_approval_mode(
    user: Path, tmp_path: Path, approval: ApprovalMode, sandbox: SandboxMode, mode: str
) -> None:
    argv = backend(user).command(request(tmp_path, approval_mode=approval, sandbox_mode=sandbox)).argv
    assert argv[argv.index("--approval-mode") + 1] == mode


def test_one_that_may_only_read_has_what_reads_and_no_server(user: Path, tmp_path: Path) -> None:
    (user / "settings.json").write_text('{"tools": {"discoveryCommand": "find-tools", "approvalMode": "yolo"}}')
    line = backend(user).command(request(tmp_path, sandbox_mode=SandboxMode.READ_ONLY))
    options = list(pairwise(line.argv))
    allowed = {value for word, value in options if word == "--core-tools"}
    denied = {value for word, value in options if word == "--exclude-tools"}
    assert allowed == {"read_file", "list_directory", "glob", "grep_search"}
    assert denied >= {"write_file", "edit", "run_shell_command", "agent", "skill", "save_memory"}
    assert {("--allowed-mcp-server-names", "no-server-for-one-that-reads"), ("--extensions", "none")} <= set(options)
    settings = json.loads((Path(line.env["QWEN_HOME"]) / "settings.json").read_text())
    assert settings["tools"] == {"discoveryCommand": "", "callCommand": "", "approvalMode": "yolo"}
    assert "--core-tools" not in backend(user).command(request(tmp_path)).argv


def test_settings_of_the_repository_that_qwen_will_rewrite_are_told(user: Path, tmp_path: Path) -> None:
    asked = request(tmp_path, sandbox_mode=SandboxMode.READ_ONLY)
    assert backend(user).command(asked).warnings == ()
    settings = tmp_path / ".qwen" / "settings.json"
    settings.parent.mkdir()
    settings.write_text("{}")
    (warning,) = backend(user).command(asked).warnings
    assert ".qwen/settings.json" in warning
    settings.write_text('{"$version": 4}')
    assert backend(user).command(asked).warnings == ()


def test_a_home_of_its_own_shares_no_memory(user: Path, tmp_path: Path) -> None:
    (user / "oauth_creds.json").write_text("login")
    (user / "projects").mkdir()
    (user / "settings.json").write_text('{"memory": {"enableManagedAutoMemory": true}, "ui": {"theme": "x"}}')
    home = Path(backend(user).command(request(tmp_path)).env["QWEN_HOME"])
    assert (home / "oauth_creds.json").is_symlink()
    assert not (home / "projects").exists()
    settings = json.loads((home / "settings.json").read_text())
    assert settings["memory"]["enableManagedAutoMemory"] is False
    assert settings["general"]["enableAutoUpdate"] is False
    assert settings["ui"] == {"theme": "x"}


def line(**event: Any) -> bytes:
    return json.dumps(event, separators=(",", ":")).encode()


def assistant(output: int) -> bytes:
    usage = {"input_tokens": output * 10, "output_tokens": output, "cache_read_input_tokens": output}
    return line(type="assistant", message={"model": "m", "content": [], "usage": usage})


def result(output: int, **more: Any) -> bytes:
    usage = {"input_tokens": output * 10, "output_tokens": output, "cache_read_input_tokens": output}
    return line(**({"type": "result", "subtype": "success", "is_error": False, "result": "ok", "usage": usage} | more))


def last_output(reader: QwenReader, *lines: bytes) -> int | None:
    facts = [fact for each in lines for fact in reader.line(each)]
    return [fact.usage.output_tokens for fact in facts if isinstance(fact, Tokens)][-1]


def test_hidden_requests_are_counted_at_the_end() -> None:
    assert last_output(QwenReader(), assistant(50), result(150)) == 150


def test_of_a_resumed_session_only_the_new_replies_count() -> None:
    assert last_output(QwenReader(resumed=True), assistant(50), result(150)) == 50


def test_an_event_without_usage_is_no_reply() -> None:
    facts = list(QwenReader().line(assistant(0)))
    assert not any(isinstance(fact, Step | Tokens) for fact in facts)


def test_a_used_up_quota_is_a_rate_limit() -> None:
    reader = QwenReader()
    list(reader.line(assistant(0)))
    list(reader.line(result(0, result="[API Error: 429 quota exceeded, try again in 2 minutes]")))
    ending = reader.ending(0, "")
    assert (ending.outcome, ending.retry_after_s) == (Outcome.RATE_LIMITED, 120.0)
