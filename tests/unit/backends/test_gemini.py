"""Gemini CLI: its command line, a home per worker, live tokens from its session file."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from architect_parallel.backends.base import AgentEvent, Request, Step, Tokens
from architect_parallel.backends.gemini import GeminiBackend
from architect_parallel.backends.gemini_reader import GeminiReader
from architect_parallel.domain import ApprovalMode, SandboxMode


@pytest.fixture
def user(tmp_path: Path) -> Path:
    place = tmp_path / "user"
    (place / ".gemini").mkdir(parents=True)
    return place


def request(tmp_path: Path, **more: Any) -> Request:
    state = tmp_path / "state"
    state.mkdir(exist_ok=True)
    return Request(prompt="fix it", prompt_file=state / "prompt", worktree=tmp_path, state_dir=state, **more)


def backend(user: Path, **variables: str) -> GeminiBackend:
    return GeminiBackend(environ={"HOME": str(user), "PATH": "", **variables})


def settings_of(tmp_path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((tmp_path / "state" / "gemini" / ".gemini" / "settings.json").read_text())
    return found


def test_options_of_the_request_stand_in_argv(user: Path, tmp_path: Path) -> None:
    asked = request(tmp_path, model="gemini-2.5-pro", session_id="abc", extra_argv=("--debug",))
    argv = backend(user).command(asked).argv
    assert argv[:3] == ("gemini", "-p", "fix it")
    assert argv[-1] == "--debug"
    for option in ("-o stream-json", "-m gemini-2.5-pro", "--resume abc"):
        assert option in " ".join(argv)


@pytest.mark.parametrize(
    ("approval", "sandbox", "mode"),
    [
        (ApprovalMode.NONE, SandboxMode.DEFAULT, "yolo"),
        (ApprovalMode.NONE, SandboxMode.FULL, "yolo"),
        (ApprovalMode.NONE, SandboxMode.READ_ONLY, "default"),
        (ApprovalMode.NONE, SandboxMode.WORKSPACE, "auto_edit"),
        (ApprovalMode.AUTO, SandboxMode.DEFAULT, "auto_edit"),
        (ApprovalMode.DEFAULT, SandboxMode.DEFAULT, "default"),
        (ApprovalMode.ALWAYS, SandboxMode.DEFAULT, "default"),
    ],
)
def test_a_sandbox_mode_beats_an_approval_mode(
    user: Path, tmp_path: Path, approval: ApprovalMode, sandbox: SandboxMode, mode: str
) -> None:
    line = backend(user).command(request(tmp_path, approval_mode=approval, sandbox_mode=sandbox))
    assert line.argv[line.argv.index("--approval-mode") + 1] == mode
    assert bool(line.warnings) == (approval is ApprovalMode.ALWAYS or sandbox is SandboxMode.WORKSPACE)


def test_one_that_may_only_read_is_under_a_policy_that_names_what_reads(user: Path, tmp_path: Path) -> None:
    argv = backend(user).command(request(tmp_path, sandbox_mode=SandboxMode.READ_ONLY)).argv
    words = " ".join(argv)
    policy = Path(argv[argv.index("--admin-policy") + 1])
    assert f"--policy {policy}" in words
    assert "--allowed-mcp-server-names no-server-for-one-that-reads --extensions none" in words
    rules = tomllib.loads(policy.read_text())["rule"]
    assert [(each["decision"], each["priority"]) for each in rules] == [("deny", 998), ("allow", 999)]
    assert rules[0]["toolName"] == "*"
    assert not {"write_file", "replace", "run_shell_command", "invoke_agent"} & set(rules[1]["toolName"])
    assert "policy" not in " ".join(backend(user).command(request(tmp_path)).argv)


def test_a_home_of_its_own_keeps_the_login_and_is_quiet(user: Path, tmp_path: Path) -> None:
    (user / ".gemini" / "oauth_creds.json").write_text("login")
    (user / ".gemini" / "tmp").mkdir()
    (user / ".gemini" / "settings.json").write_text('{"general": {"maxAttempts": 7}, "telemetry": {"enabled": true}}')
    line = backend(user).command(request(tmp_path, max_steps=4))
    home = Path(line.env["GEMINI_CLI_HOME"]) / ".gemini"
    assert (home / "oauth_creds.json").readlink() == user / ".gemini" / "oauth_creds.json"
    assert not (home / "tmp").exists()
    settings = settings_of(tmp_path)
    assert settings["general"] == {"maxAttempts": 7, "enableAutoUpdate": False, "enableAutoUpdateNotification": False}
    assert settings["telemetry"] == {"enabled": False}
    assert settings["model"] == {"maxSessionTurns": 4}
    assert line.env["GEMINI_CLI_NO_RELAUNCH"] == "true"


def test_a_key_chooses_the_login_unless_the_user_did(user: Path, tmp_path: Path) -> None:
    with_key = backend(user, GEMINI_API_KEY="key-123456")
    with_key.command(request(tmp_path))
    assert settings_of(tmp_path)["security"]["auth"]["selectedType"] == "gemini-api-key"
    (user / ".gemini" / "settings.json").write_text('{"security": {"auth": {"selectedType": "oauth-personal"}}}')
    with_key.command(request(tmp_path))
    assert settings_of(tmp_path)["security"]["auth"]["selectedType"] == "oauth-personal"


def test_a_system_prompt_comes_after_the_users_own_words(user: Path, tmp_path: Path) -> None:
    (user / ".gemini" / "GEMINI.md").write_text("Speak plainly.")
    backend(user).command(request(tmp_path, system_prompt="Be brief."))
    assert (tmp_path / "state" / "gemini" / ".gemini" / "GEMINI.md").read_text() == "Speak plainly.\n\nBe brief."
    assert (user / ".gemini" / "GEMINI.md").read_text() == "Speak plainly."


def test_a_login_or_a_key_makes_it_ready(user: Path, tmp_path: Path) -> None:
    program = tmp_path / "bin" / "gemini"
    program.parent.mkdir()
    program.write_text("")
    program.chmod(0o755)
    environ = {"HOME": str(user), "PATH": str(program.parent)}
    found = GeminiBackend(environ=environ).availability(environ)
    assert not found.ready
    assert "GEMINI_API_KEY" in (found.remedy or "")
    assert GeminiBackend(environ=environ).availability(environ | {"GEMINI_API_KEY": "k"}).ready
    (user / ".gemini" / "oauth_creds.json").write_text("{}")
    assert GeminiBackend(environ=environ).availability(environ).ready


def reply(name: str, output: int, thoughts: int = 0) -> str:
    tokens = {"input": 100, "output": output, "cached": 20, "thoughts": thoughts, "tool": 0}
    return json.dumps({"id": name, "type": "gemini", "tokens": tokens, "model": "gemini-2.5-pro"}) + "\n"


def totals(facts: list[AgentEvent]) -> list[tuple[int | None, int | None]]:
    return [(fact.usage.input_tokens, fact.usage.output_tokens) for fact in facts if isinstance(fact, Tokens)]


def test_tokens_are_known_while_it_works_and_each_reply_counts_once(tmp_path: Path) -> None:
    chat = tmp_path / "tmp" / "repo" / "chats" / "session-1.jsonl"
    chat.parent.mkdir(parents=True)
    reader = GeminiReader(home=tmp_path, model=None)
    chat.write_text(reply("a", 10, thoughts=5))
    facts = list(reader.poll())
    assert totals(facts) == [(100, 15)]  # thoughts are paid for as output
    assert Step(count=1) in facts
    with chat.open("a") as file:
        file.write(reply("a", 10, thoughts=5) + reply("b", 20))
    assert totals(list(reader.poll())) == [(200, 35)]
    assert list(reader.poll()) == []


def test_an_earlier_attempts_replies_are_not_paid_for_again(tmp_path: Path) -> None:
    chat = tmp_path / "tmp" / "repo" / "chats" / "session-1.jsonl"
    chat.parent.mkdir(parents=True)
    chat.write_text(reply("a", 10))
    reader = GeminiReader(home=tmp_path, model=None)
    with chat.open("a") as file:
        file.write(json.dumps({"$set": {"messages": [json.loads(reply("a", 10))]}}) + "\n" + reply("b", 20))
    assert totals(list(reader.poll())) == [(100, 20)]
    control = GeminiReader(home=tmp_path / "elsewhere", model=None)
    (tmp_path / "elsewhere").symlink_to(tmp_path)
    assert totals(list(control.poll())) == [(200, 30)]


def test_what_it_spent_beside_its_replies_is_its_other_models(tmp_path: Path) -> None:
    """Without a model it has a cheap one choose: those requests stand in the final event alone."""
    chat = tmp_path / "tmp" / "repo" / "chats" / "session-1.jsonl"
    chat.parent.mkdir(parents=True)
    reader = GeminiReader(home=tmp_path, model=None)
    chat.write_text(reply("a", 10))
    choosing = {"input_tokens": 500, "output_tokens": 7, "total_tokens": 507, "cached": 0}
    working = {"input_tokens": 100, "output_tokens": 10, "total_tokens": 110, "cached": 20}
    models = {"gemini-3.5-flash-lite": choosing, "gemini-2.5-pro": working}
    stats = {"input_tokens": 600, "output_tokens": 17, "total_tokens": 617, "cached": 20, "models": models}
    event = {"type": "result", "status": "success", "stats": stats}
    facts = [fact for fact in reader.line(json.dumps(event).encode()) if isinstance(fact, Tokens)]
    assert [(fact.model, fact.usage.input_tokens) for fact in facts] == [
        ("gemini-2.5-pro", 100),
        ("gemini-3.5-flash-lite", 600),
    ]
    assert list(reader.poll()) == []
