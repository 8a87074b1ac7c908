"""Ends that are not what they seem, one per trap; each with the naive reading that would fall into it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from contract.recordings import load_recording, recorded_cases

from architect_parallel.backends.base import AgentEvent, AgentReport, Request, Text, Throttled
from architect_parallel.backends.registry import AGENT_CLIS, load_backends
from architect_parallel.domain import Outcome, Reason, Settings, Status
from architect_parallel.scheduling.verdict import decide

Read = Callable[..., tuple[list[AgentEvent], AgentReport]]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """`read(agent, events, exit_code, stderr)`: facts and ending."""

    def run(
        agent: str, events: list[Any], exit_code: int | None = 0, stderr: str = ""
    ) -> tuple[list[AgentEvent], AgentReport]:
        backend = load_backends(Settings(), {"PATH": "", "HOME": str(tmp_path)})[agent]
        request = Request(prompt="p", prompt_file=tmp_path / "p", worktree=tmp_path, state_dir=tmp_path)
        reader = backend.reader(request)
        lines = [
            each if isinstance(each, bytes) else json.dumps(each, separators=(",", ":")).encode() for each in events
        ]
        facts = [fact for line in lines for fact in reader.line(line)]
        return [*facts, *reader.poll()], reader.ending(exit_code, stderr)

    return run


def replayed(read: Read, agent: str, case: str) -> tuple[list[AgentEvent], AgentReport, int]:
    recording = load_recording(agent, case)
    facts, ending = read(agent, recording.stdout.splitlines(), recording.exit_code, recording.stderr)
    return facts, ending, recording.exit_code


@pytest.mark.parametrize("case", ["2.1.329/err401", "2.1.197/err500"])
def test_claude_says_success_and_is_in_error(read: Read, case: str) -> None:
    _, ending, _ = replayed(read, "claude", case)
    last = json.loads(load_recording("claude", case).stdout.splitlines()[-1])
    assert (last["subtype"], last["is_error"]) == ("success", True)  # the subtype alone would be believed
    assert ending.outcome is Outcome.ERROR


def test_qwen_says_success_without_error_when_it_was_refused(read: Read) -> None:
    _, ending, exit_code = replayed(read, "qwen", "0.15.10/err401")
    last = json.loads(load_recording("qwen", "0.15.10/err401").stdout.splitlines()[-1])
    assert (last["subtype"], last["is_error"], exit_code) == ("success", False, 0)
    assert ending.outcome is Outcome.ERROR
    assert ending.error == "[API Error: 401 mock error 401]"


def test_a_model_may_quote_an_api_error(read: Read) -> None:
    quoted = "[API Error: 401] is what the log says."
    usage = {"input_tokens": 10, "output_tokens": 5}
    message = {"content": [{"type": "text", "text": quoted}], "usage": usage, "model": "m"}
    result = {"type": "result", "subtype": "success", "is_error": False, "result": quoted, "usage": usage}
    _, ending = read("qwen", [{"type": "assistant", "message": message}, result])
    assert ending.outcome is Outcome.COMPLETED


@pytest.mark.parametrize(
    ("agent", "case"),
    [("gemini", "0.61.0/sigterm"), ("gemini", "0.61.0/sigint"), ("copilot", "1.0.102/abort-exit-0")],
)
def test_exit_code_0_after_a_signal_is_no_success(read: Read, agent: str, case: str) -> None:
    _, ending, exit_code = replayed(read, agent, case)
    assert exit_code == 0  # it alone would be believed
    assert ending.outcome is Outcome.NO_FINAL_EVENT
    verdict = decide(outcome=ending.outcome, exit_code=exit_code, files_changed=1)
    assert verdict == (Status.FAILED, Reason.CRASHED)


@pytest.mark.parametrize("agent", AGENT_CLIS)
@pytest.mark.parametrize("exit_code", [0, 1, -9, -15, None])
def test_no_output_at_all_is_never_a_success(read: Read, agent: str, exit_code: int | None) -> None:
    _, ending = read(agent, [], exit_code)
    assert ending.outcome is Outcome.NO_FINAL_EVENT


@pytest.mark.parametrize(
    ("agent", "case"),
    [("claude", "2.1.329/stream"), ("codex", "0.169.0/json"), ("gemini", "0.61.0/stream"), ("qwen", "0.15.10/stream"),
     ("opencode", "1.18.33/json"), ("copilot", "1.0.102/json")],
)  # fmt: skip
def test_without_its_final_event_a_run_is_cut_short(read: Read, agent: str, case: str) -> None:
    lines = load_recording(agent, case).stdout.splitlines()
    assert read(agent, lines, 0)[1].outcome is Outcome.COMPLETED
    for kept in range(len(lines)):
        assert read(agent, lines[:kept], 0)[1].outcome is Outcome.NO_FINAL_EVENT


def test_geminis_exit_code_is_the_http_status_modulo_256(read: Read) -> None:
    def refused(exit_code: int) -> Outcome:
        error = {"type": "unknown", "message": "[API Error: refused]"}
        return read("gemini", [{"type": "result", "status": "error", "error": error}], exit_code)[1].outcome

    assert refused(429 % 256) is refused(503 % 256) is Outcome.RATE_LIMITED
    assert refused(401 % 256) is refused(500 % 256) is Outcome.ERROR
    # Not an API error: the code is one of its own and means something else.
    told = {"type": "result", "status": "error", "error": {"type": "Other", "message": "odd"}}
    assert read("gemini", [told], 173)[1].outcome is Outcome.ERROR


@pytest.mark.parametrize("agent", AGENT_CLIS)
def test_a_refused_key_is_not_asked_again_and_a_broken_server_is(read: Read, agent: str) -> None:
    cases = {case.rpartition("/")[2]: case for case in recorded_cases(agent)}
    assert replayed(read, agent, cases["err401"])[1].retryable is False
    if "err500" in cases:
        assert replayed(read, agent, cases["err500"])[1].retryable is True


def test_a_reconnecting_codex_has_not_failed(read: Read) -> None:
    facts, ending, _ = replayed(read, "codex", "0.169.0/reconnecting")
    assert any(isinstance(fact, Text) and fact.text.startswith("Reconnecting") for fact in facts)
    assert ending.outcome is Outcome.COMPLETED
    waiting = {"type": "error", "message": "Reconnecting... 1/5 (429 Too Many Requests, try again in 3s)"}
    assert Throttled(message=waiting["message"], retry_after_s=3.0) in read("codex", [waiting], None)[0]


@pytest.mark.parametrize(
    ("agent", "case", "tool"),
    [
        ("claude", "2.1.329/denied", "Write"),
        ("gemini", "0.61.0/plan-denied", "write_file"),
        ("copilot", "1.0.102/default-denied", "bash"),
    ],
)
def test_a_denied_permission_without_changes_is_no_success_and_a_warning(
    read: Read, agent: str, case: str, tool: str
) -> None:
    _, ending, exit_code = replayed(read, agent, case)
    assert ending.outcome is Outcome.COMPLETED
    assert any(tool in warning and "denied" in warning for warning in ending.warnings), ending.warnings
    assert tool in ending.denied
    verdict = decide(outcome=ending.outcome, exit_code=exit_code, files_changed=0, denied=bool(ending.denied))
    assert verdict == (Status.PARTIAL, Reason.BLOCKED)


def test_opencode_that_may_not_ask_stops_in_the_middle_and_is_blocked(read: Read) -> None:
    _, ending, exit_code = replayed(read, "opencode", "1.18.33/outside-rejected")
    assert exit_code == 0
    assert ending.outcome is Outcome.BLOCKED
    assert "write" in (ending.error or "")


def test_opencode_that_was_killed_after_its_last_step_was_not_complete(read: Read) -> None:
    lines = load_recording("opencode", "1.18.33/json").stdout.splitlines()
    assert read("opencode", lines, -15)[1].outcome is Outcome.NO_FINAL_EVENT


def test_opencodes_price_of_an_unknown_model_is_not_0(read: Read) -> None:
    assert load_recording("opencode", "1.18.33/nocost").expected["cost"] is None


def test_opencode_hands_on_when_to_come_back(read: Read) -> None:
    data = {"message": "slow down", "statusCode": 429, "responseHeaders": {"retry-after": "17"}}
    _, ending = read("opencode", [{"type": "error", "error": {"name": "APIError", "data": data}}], 1)
    assert (ending.outcome, ending.retry_after_s) == (Outcome.RATE_LIMITED, 17.0)


def test_aider_ends_with_0_whatever_happened(read: Read) -> None:
    _, ending, exit_code = replayed(read, "aider", "0.86.2/err401")
    assert exit_code == 0
    assert ending.outcome is Outcome.ERROR
