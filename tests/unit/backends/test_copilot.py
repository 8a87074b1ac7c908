"""Copilot CLI: its command line, a home per worker, tokens from what it exports about its model calls."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from architect_parallel.backends.base import AgentEvent, Request, Session, Throttled, Tokens
from architect_parallel.backends.copilot import CopilotBackend
from architect_parallel.backends.copilot_reader import CopilotReader
from architect_parallel.domain import ApprovalMode, SandboxMode


def request(tmp_path: Path, **more: Any) -> Request:
    state = tmp_path / "state"
    state.mkdir(exist_ok=True)
    return Request(prompt="fix it", prompt_file=state / "prompt", worktree=tmp_path, state_dir=state, **more)


@pytest.fixture
def user(tmp_path: Path) -> Path:
    place = tmp_path / "user" / ".copilot"
    place.mkdir(parents=True)
    return place


def backend(user: Path, **variables: str) -> CopilotBackend:
    return CopilotBackend(environ={"HOME": str(user.parent), "PATH": "", **variables})


def test_options_of_the_request_stand_in_argv(user: Path, tmp_path: Path) -> None:
    line = backend(user).command(request(tmp_path, model="gpt-4o", session_id="abc"))
    words = " ".join(line.argv)
    assert words.startswith("copilot -p fix it --output-format json")
    for option in ("--model gpt-4o", "--resume=abc", "--no-ask-user", "--no-auto-update", "--disable-client-telemetry"):
        assert option in words
    assert line.env["COPILOT_AUTO_UPDATE"] == "false"


@pytest.mark.parametrize(
    ("approval", "sandbox", "words"),
    [
        (ApprovalMode.NONE, SandboxMode.DEFAULT, ["--allow-all"]),
        (ApprovalMode.NONE, SandboxMode.READ_ONLY, ["--deny-tool=write", "--deny-tool=shell"]),
        (ApprovalMode.NONE, SandboxMode.WORKSPACE, ["--allow-tool=write", "--deny-tool=shell"]),
        (ApprovalMode.AUTO, SandboxMode.DEFAULT, ["--allow-tool=write"]),
        (ApprovalMode.DEFAULT, SandboxMode.DEFAULT, []),
        (ApprovalMode.ALWAYS, SandboxMode.DEFAULT, ["--deny-tool=write", "--deny-tool=shell"]),
    ],
)
def test_a_sandbox_mode_beats_an_approval_mode(
    user: Path, tmp_path: Path, approval: ApprovalMode, sandbox: SandboxMode, words: list[str]
) -> None:
    argv = backend(user).command(request(tmp_path, approval_mode=approval, sandbox_mode=sandbox)).argv
    assert [word for word in argv if word.startswith(("--allow", "--deny"))] == words


def test_one_that_may_only_read_is_offered_what_reads(user: Path, tmp_path: Path) -> None:
    argv = backend(user).command(request(tmp_path, sandbox_mode=SandboxMode.READ_ONLY)).argv
    assert {"--available-tools=view,glob,rg,grep", "--disable-builtin-mcps"} <= set(argv)
    assert not [word for word in backend(user).command(request(tmp_path)).argv if "available-tools" in word]


def test_a_home_of_its_own_keeps_the_login_and_the_users_words(user: Path, tmp_path: Path) -> None:
    (user / "config.json").write_text('{"loggedInUsers": []}')
    (user / "session-state").mkdir()
    (user / "copilot-instructions.md").write_text("Speak plainly.")
    home = Path(backend(user).command(request(tmp_path, system_prompt="Be brief.")).env["COPILOT_HOME"])
    assert (home / "config.json").is_symlink()
    assert not (home / "session-state").exists()
    assert (home / "copilot-instructions.md").read_text() == "Speak plainly.\n\nBe brief."


def test_a_provider_of_ones_own_wants_a_model(user: Path, tmp_path: Path) -> None:
    program = tmp_path / "bin" / "copilot"
    program.parent.mkdir()
    program.write_text("")
    program.chmod(0o755)
    environ = {"HOME": str(user.parent), "PATH": str(program.parent)}
    copilot = CopilotBackend(environ=environ)
    assert "COPILOT_PROVIDER_BASE_URL" in (copilot.availability(environ).remedy or "")
    environ["COPILOT_PROVIDER_BASE_URL"] = "http://127.0.0.1:1/v1"
    assert "wants a model" in (copilot.availability(environ).missing or "")
    assert copilot.availability(environ, model="gpt-4o").ready
    assert copilot.availability(environ | {"COPILOT_MODEL": "gpt-4o"}).ready


def call(kind: str = "chat", output: int = 50) -> str:
    attributes = {
        "gen_ai.operation.name": kind,
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.conversation.id": "session-1",
        "gen_ai.usage.input_tokens": 1200,
        "gen_ai.usage.cache_read.input_tokens": 200,
        "gen_ai.usage.output_tokens": output,
    }
    return json.dumps({"type": "span", "attributes": attributes}) + "\n"


def test_calls_are_added_up_while_it_works(tmp_path: Path) -> None:
    calls = tmp_path / "calls.jsonl"
    calls.write_text(call())  # an earlier attempt's
    reader = CopilotReader(calls_file=calls, model=None)
    with calls.open("a") as file:
        file.write(call() + call("invoke_agent", 100) + call())  # the agent's own span holds the sum once more
    facts: list[AgentEvent] = list(reader.poll())
    assert Session(session_id="session-1", model="gpt-4o") in facts
    (tokens,) = [fact for fact in facts if isinstance(fact, Tokens)]
    assert (tokens.usage.input_tokens, tokens.usage.cached_tokens, tokens.usage.output_tokens) == (2400, 400, 100)
    assert list(reader.poll()) == []


def test_a_refused_call_is_told_while_it_tries_again(tmp_path: Path) -> None:
    reader = CopilotReader(calls_file=tmp_path / "none", model=None)
    error = json.dumps({"message": "slow down, try again in 5s"})
    event = {"type": "model.call_failure", "data": {"statusCode": 429, "retryAttempt": 0, "errorMessage": error}}
    facts = list(reader.line(json.dumps(event, separators=(",", ":")).encode()))
    assert facts == [Throttled(message="HTTP 429 slow down, try again in 5s, try 1", retry_after_s=5.0)]
