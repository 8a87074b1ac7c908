"""Claude Code: its command line, its events, what may be believed of them."""

from __future__ import annotations

import json
from pathlib import Path
from signal import Signals
from typing import Any

import pytest

from architect_parallel.backends.base import Request, Session, Step, Text, Throttled, Tokens
from architect_parallel.backends.claude import ClaudeBackend
from architect_parallel.backends.claude_reader import ClaudeReader
from architect_parallel.domain import ApprovalMode, BackendSettings, CostBasis, Outcome, SandboxMode

PLACE = Path("/run/state")


def request(prompt: str = "fix it", **more: Any) -> Request:
    return Request(prompt=prompt, prompt_file=PLACE / "prompt", worktree=Path("/tree"), state_dir=PLACE, **more)


def argv(**more: Any) -> tuple[str, ...]:
    return ClaudeBackend(environ={}).command(request(**more)).argv


def line(event: dict[str, Any]) -> bytes:
    return json.dumps(event, separators=(",", ":")).encode()


def assistant(message_id: str, output: int = 1, **more: Any) -> bytes:
    usage = {
        "input_tokens": 100,
        "cache_read_input_tokens": 20,
        "cache_creation_input_tokens": 3,
        "output_tokens": output,
    }
    message = {"id": message_id, "model": "m", "content": [{"type": "text", "text": "hi"}], "usage": usage}
    return line({"type": "assistant", "message": message, "session_id": "s", **more})


def result(**more: Any) -> bytes:
    return line({"subtype": "success", "is_error": False, "result": "done", "session_id": "s", "type": "result"} | more)


def test_options_of_the_request_stand_in_argv() -> None:
    words = argv(
        model="opus", system_prompt="Be brief.", max_steps=5, budget_usd=0.02, session_id="abc", extra_argv=("-d",)
    )
    assert words[:3] == ("claude", "-p", "fix it")
    text = " ".join(words)
    for option in ("--model opus", "--append-system-prompt Be brief.", "--max-turns 5", "--max-budget-usd 0.02",
                   "--resume abc", "--output-format stream-json --verbose --include-partial-messages"):  # fmt: skip
        assert option in text
    assert words[-1] == "-d"


@pytest.mark.parametrize(
    ("approval", "sandbox", "mode"),
    [
        (ApprovalMode.NONE, SandboxMode.DEFAULT, "--dangerously-skip-permissions"),
        (ApprovalMode.NONE, SandboxMode.FULL, "--dangerously-skip-permissions"),
        (
            ApprovalMode.NONE,
            SandboxMode.READ_ONLY,
            "--permission-mode default --tools Read,Grep,Glob --strict-mcp-config",
        ),
        (ApprovalMode.NONE, SandboxMode.WORKSPACE, "--permission-mode acceptEdits"),
        (ApprovalMode.AUTO, SandboxMode.DEFAULT, "--permission-mode acceptEdits"),
        (ApprovalMode.DEFAULT, SandboxMode.DEFAULT, "--permission-mode default"),
        (ApprovalMode.ALWAYS, SandboxMode.DEFAULT, "--permission-mode default"),
    ],
)
def test_a_sandbox_mode_beats_an_approval_mode(approval: ApprovalMode, sandbox: SandboxMode, mode: str) -> None:
    words = " ".join(argv(approval_mode=approval, sandbox_mode=sandbox))
    assert mode in words
    assert ("dangerously" in words) == ("dangerously" in mode)


def test_what_it_cannot_honour_is_a_warning() -> None:
    backend = ClaudeBackend(environ={})
    assert backend.command(request(approval_mode=ApprovalMode.ALWAYS)).warnings
    assert backend.command(request(sandbox_mode=SandboxMode.WORKSPACE)).warnings
    assert not backend.command(request()).warnings


def test_the_polite_signal_is_the_one_after_which_it_reports() -> None:
    command = ClaudeBackend(environ={}).command(request())
    assert (command.polite_signal, command.polite_wait_s) == (Signals.SIGINT, 3.0)
    assert command.env["CLAUDE_CODE_DISABLE_AUTO_MEMORY"] == "1"


def test_a_configured_program_takes_the_place_of_claude() -> None:
    settings = BackendSettings(command=("/opt/claude", "--debug"))
    assert ClaudeBackend(environ={}, settings=settings).command(request()).argv[:3] == ("/opt/claude", "--debug", "-p")


def test_usage_is_counted_once_per_message() -> None:
    reader = ClaudeReader()
    facts = [fact for each in (assistant("a"), assistant("a"), assistant("b")) for fact in reader.line(each)]
    assert [fact.count for fact in facts if isinstance(fact, Step)] == [1, 2]
    tokens = [fact.usage for fact in facts if isinstance(fact, Tokens)]
    assert [(each.input_tokens, each.cached_tokens, each.cache_write_tokens) for each in tokens] == [
        (123, 20, 3),
        (246, 40, 6),
    ]


def test_live_output_tokens_come_from_the_stream() -> None:
    reader = ClaudeReader()
    start = {
        "type": "message_start",
        "message": {"id": "a", "model": "m", "usage": {"input_tokens": 9, "output_tokens": 1}},
    }
    delta = {"type": "message_delta", "usage": {"input_tokens": 9, "output_tokens": 70}}
    list(reader.line(line({"type": "stream_event", "event": start})))
    list(reader.line(assistant("a")))
    facts = list(reader.line(line({"type": "stream_event", "event": delta})))
    assert [fact.usage.output_tokens for fact in facts if isinstance(fact, Tokens)] == [70]


def test_a_flood_of_message_ids_does_not_pile_up() -> None:
    reader = ClaudeReader()
    for number in range(2_000):
        list(reader.line(assistant(f"m{number}")))
    assert len(reader._messages) <= 64


def test_text_about_our_own_format_is_not_taken_for_a_delta() -> None:
    said = 'a line with "type":"content_block_delta" and "type":"stream_event"'
    reader = ClaudeReader()
    list(reader.line(result(result=said)))
    assert reader.ending(0, "").text == said


@pytest.mark.parametrize(
    ("event", "outcome"),
    [
        ({}, Outcome.COMPLETED),
        ({"is_error": True}, Outcome.ERROR),
        ({"is_error": None}, Outcome.ERROR),
        ({"is_error": "false"}, Outcome.ERROR),
        ({"is_error": True, "api_error_status": 429}, Outcome.RATE_LIMITED),
        ({"is_error": True, "api_error_status": []}, Outcome.ERROR),
        ({"is_error": True, "subtype": "error_max_turns"}, Outcome.MAX_STEPS),
        ({"is_error": True, "subtype": "error_max_budget_usd"}, Outcome.BUDGET),
        ({"is_error": False, "subtype": "error_during_execution"}, Outcome.ERROR),
    ],
)
def test_success_is_the_final_event_and_its_error_flag(event: dict[str, Any], outcome: Outcome) -> None:
    reader = ClaudeReader()
    list(reader.line(result(**event)))
    ending = reader.ending(0, "")
    assert ending.outcome is outcome
    assert (ending.error is None) == (outcome is Outcome.COMPLETED)


def test_exit_0_without_a_result_is_no_success() -> None:
    reader = ClaudeReader()
    list(reader.line(assistant("a")))
    assert reader.ending(0, "").outcome is Outcome.NO_FINAL_EVENT


def test_a_sub_agents_words_are_its_models() -> None:
    message = {"id": "m1", "model": "claude-haiku-4-5", "usage": {"input_tokens": 9}}
    begun = {"type": "message_start", "message": message}
    more = {"type": "message_delta", "usage": {"input_tokens": 9, "output_tokens": 5}}
    reader = ClaudeReader()
    list(reader.line(line({"type": "system", "session_id": "s", "model": "claude-opus-4-5"})))
    facts = [fact for each in (begun, more) for fact in reader.line(line({"type": "stream_event", "event": each}))]
    assert [fact.model for fact in facts if isinstance(fact, Tokens)] == ["claude-haiku-4-5"] * 2


def test_a_guessed_price_is_no_cost() -> None:
    models = {"deepseek-chat": {"inputTokens": 10, "outputTokens": 5, "costUSD": 0.5, "costBasis": "unknown"}}
    (tokens,) = [f for f in ClaudeReader().line(result(total_cost_usd=0.5, modelUsage=models)) if isinstance(f, Tokens)]
    assert (tokens.usage.reported_cost, tokens.usage.cost_basis) == (0.5, CostBasis.UNKNOWN)


def test_a_resumed_sessions_totals_are_not_counted_again() -> None:
    models = {"m": {"inputTokens": 5000, "outputTokens": 500, "costUSD": 0.5, "costBasis": "list"}}
    final = result(total_cost_usd=0.5, modelUsage=models)
    assert [fact for fact in ClaudeReader().line(final) if isinstance(fact, Tokens)]
    assert not [fact for fact in ClaudeReader(resumed=True).line(final) if isinstance(fact, Tokens)]


def test_a_refusal_to_be_retried_is_told() -> None:
    retry = {"type": "system", "subtype": "api_retry", "attempt": 2, "max_retries": 10, "retry_delay_ms": 1500}
    (told,) = ClaudeReader().line(line(retry | {"error_status": 429, "error": "rate_limit"}))
    assert told == Throttled(message="HTTP 429 rate_limit, retry 2 of 10", retry_after_s=1.5)
    (shown,) = ClaudeReader().line(line(retry | {"error_status": 500, "error": "api_error"}))
    assert isinstance(shown, Text)


def test_the_session_is_told_once() -> None:
    reader = ClaudeReader()
    init = line({"type": "system", "subtype": "init", "session_id": "s", "model": "m"})
    told = [fact for each in (init, init, assistant("a"), result()) for fact in reader.line(each)]
    assert [fact for fact in told if isinstance(fact, Session)] == [Session(session_id="s", model="m")]


@pytest.mark.parametrize(
    "files",
    [{".claude/.credentials.json": "{}"}, {".claude.json": '{"oauthAccount":{}}'},
     {".claude/settings.json": '{"apiKeyHelper":"x"}'}],
)  # fmt: skip
def test_a_login_is_seen_without_a_call(tmp_path: Path, files: dict[str, str]) -> None:
    program = tmp_path / "claude"
    program.write_text("")
    program.chmod(0o755)
    environ = {"PATH": str(tmp_path), "HOME": str(tmp_path)}
    backend = ClaudeBackend(environ=environ)
    assert not backend.availability(environ).ready
    assert backend.availability(environ | {"ANTHROPIC_API_KEY": "k"}).ready
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    assert backend.availability(environ).ready


def test_a_reported_cost_is_kept_without_the_list_of_models() -> None:
    reader = ClaudeReader()
    list(reader.line(assistant("m-1", output=7)))
    (told,) = [each for each in reader.line(result(total_cost_usd=0.25)) if isinstance(each, Tokens)]
    assert (told.usage.reported_cost, told.usage.cost_basis) == (0.25, CostBasis.UNKNOWN)
    assert (told.usage.input_tokens, told.usage.output_tokens) == (123, 7)
    usage = {"input_tokens": 5, "output_tokens": 2}
    for more, tokens in (({"usage": usage}, 5), ({}, None)):
        (told,) = [each for each in ClaudeReader().line(result(total_cost_usd=0.5, **more)) if isinstance(each, Tokens)]
        assert (told.usage.reported_cost, told.usage.input_tokens) == (0.5, tokens)
    # Controls: nothing was asked, and a resumed session, whose total holds what earlier attempts paid for.
    refused = result(total_cost_usd=0, modelUsage={}, is_error=True)
    assert not [each for each in ClaudeReader().line(refused) if isinstance(each, Tokens)]
    assert not [
        each for each in ClaudeReader(resumed=True).line(result(total_cost_usd=9.0)) if isinstance(each, Tokens)
    ]
