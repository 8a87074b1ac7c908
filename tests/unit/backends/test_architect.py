"""The backend writes the command line of the contract and believes only what can be."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from signal import SIGINT, SIGKILL

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from architect_parallel.backends.architect import ArchitectBackend
from architect_parallel.backends.architect_reader import ArchitectReader
from architect_parallel.backends.base import AgentEvent, AgentReport, Request, Session, Step, Text, Tokens
from architect_parallel.domain import ApprovalMode, BackendSettings, CostBasis, Outcome, SandboxMode

ALL = {"OPENAI_API_KEY": "sk-secret-openai", "PATH": "/usr/bin:/bin"}


@pytest.fixture
def request_of(tmp_path: Path) -> Request:
    return Request(prompt="do it", prompt_file=tmp_path / "prompt", worktree=tmp_path, state_dir=tmp_path)


def changed(request: Request, **values: object) -> Request:
    import dataclasses

    return dataclasses.replace(request, **values)  # type: ignore[arg-type]  # values are the caller's


def argv(request: Request, backend: ArchitectBackend | None = None) -> list[str]:
    return list((backend or ArchitectBackend(environ=ALL)).command(request).argv)


def test_the_command_line_has_the_form_of_the_contract(request_of: Request) -> None:
    request = changed(request_of, max_steps=50, model="gpt-4o", budget_usd=0.5, timeout_s=300.0, agent="plan")
    assert argv(request) == [
        *(sys.executable, "-P", "-m", "architect_parallel", "run", "do it", "--json"),
        *("--confirm-mode", "yolo", "--agent", "plan", "--max-steps", "50"),
        *("--model", "gpt-4o", "--budget", "0.5", "--timeout", "300"),
    ]


def test_what_was_not_asked_for_is_left_out(request_of: Request) -> None:
    assert argv(request_of)[4:] == ["run", "do it", "--json", "--confirm-mode", "yolo", "--agent", "build"]


@pytest.mark.parametrize("prompt", ["-rf", "--max-steps", "-x", "x" * 70_000])
def test_a_prompt_that_argv_cannot_hold_goes_by_stdin(request_of: Request, prompt: str) -> None:
    command = ArchitectBackend(environ=ALL).command(changed(request_of, prompt=prompt))
    assert command.argv[5] == "-"
    assert prompt not in command.argv[6:]
    assert command.stdin_file == request_of.prompt_file


def test_it_is_stopped_by_the_signal_it_reports_after(request_of: Request) -> None:
    assert ArchitectBackend(environ=ALL).command(request_of).polite_signal is SIGINT


@pytest.mark.parametrize(
    ("sandbox", "approval", "mode"),
    [
        (SandboxMode.DEFAULT, ApprovalMode.NONE, "yolo"),
        (SandboxMode.FULL, ApprovalMode.NONE, "yolo"),
        (SandboxMode.DEFAULT, ApprovalMode.AUTO, "confirm-sensitive"),
        (SandboxMode.DEFAULT, ApprovalMode.ALWAYS, "confirm-all"),
        (SandboxMode.WORKSPACE, ApprovalMode.NONE, "confirm-sensitive"),
        (SandboxMode.READ_ONLY, ApprovalMode.NONE, "confirm-all"),
    ],
)
def test_a_sandbox_beats_an_approval(
    request_of: Request, sandbox: SandboxMode, approval: ApprovalMode, mode: str
) -> None:
    words = argv(changed(request_of, sandbox_mode=sandbox, approval_mode=approval))
    assert words[words.index("--confirm-mode") + 1] == mode


def test_a_profile_of_the_users_builds_with_its_own_prompt(request_of: Request) -> None:
    command = ArchitectBackend(environ=ALL).command(changed(request_of, agent="mine", system_prompt="Be brief."))
    assert "build" in command.argv
    assert command.env["ARCHITECT_SYSTEM_PROMPT"] == "Be brief."
    assert "Be brief." not in command.argv


def test_another_program_gets_the_same_words(request_of: Request) -> None:
    backend = ArchitectBackend(settings=BackendSettings(command=("/opt/other", "--fast")), environ=ALL)
    words = argv(changed(request_of, agent="mine", max_steps=3), backend)
    assert words[:4] == ["/opt/other", "--fast", "run", "do it"]
    assert words[-4:] == ["--agent", "mine", "--max-steps", "3"]
    assert not backend.availability(ALL).ready
    assert "/opt/other" in (backend.availability(ALL).missing or "")


def test_no_key_stands_in_argv_or_the_set_environment(request_of: Request) -> None:
    command = ArchitectBackend(environ=ALL).command(changed(request_of, model="gpt-4o"))
    assert "sk-secret" not in repr(command)


@pytest.mark.parametrize(
    ("environ", "model", "missing"),
    [
        ({}, None, "no model is named and no provider's key is set"),
        ({}, "gpt-4o", "model gpt-4o needs OPENAI_API_KEY"),
        ({"OPENAI_API_KEY": ""}, "gpt-4o", "model gpt-4o needs OPENAI_API_KEY"),
        ({"OPENAI_API_KEY": "x"}, "claude-sonnet-4-6", "model claude-sonnet-4-6 needs ANTHROPIC_API_KEY"),
        ({"OPENAI_API_KEY": "x"}, "llama", "no provider is known for model 'llama'"),
        ({"OPENAI_API_KEY": "x"}, None, None),
        ({"GEMINI_API_KEY": "x"}, "gemini-2.5-pro", None),
        ({"OPENAI_BASE_URL": "http://127.0.0.1:1/v1"}, "gpt-4o", None),
        ({"ARCHITECT_API_BASE": "http://127.0.0.1:1/v1"}, "llama", None),
        ({}, "scripted:anything", None),
    ],
)
def test_what_is_missing_is_known_beforehand(environ: dict[str, str], model: str | None, missing: str | None) -> None:
    found = ArchitectBackend(environ=environ).availability(environ, model=model)
    assert found.missing == missing
    assert found.ready == (found.remedy is None)


def read(
    tmp_path: Path, stdout: bytes, exit_code: int | None = 0, stderr: str = ""
) -> tuple[list[AgentEvent], AgentReport]:
    reader = ArchitectReader(tmp_path / "progress.jsonl")
    facts: list[AgentEvent] = []
    for line in stdout.split(b"\n"):
        facts += reader.line(line)
    facts += reader.poll()
    return facts, reader.ending(exit_code, stderr)


def test_who_was_stopped_before_it_began_has_asked_nothing(tmp_path: Path) -> None:
    file = tmp_path / "progress.jsonl"
    assert ArchitectReader(file).ending(-SIGINT, "").no_model_call
    assert not ArchitectReader(file).ending(-SIGKILL, "").no_model_call
    assert ArchitectReader(file).ending(1, "Fatal Python error: init_import_site\nKeyboardInterrupt\n").no_model_call
    assert not ArchitectReader(file).ending(1, "KeyError: 'x'\n").no_model_call
    assert not ArchitectReader(file, is_own=False).ending(-SIGINT, "").no_model_call
    file.touch()
    assert not ArchitectReader(file).ending(-SIGINT, "").no_model_call


OUTCOMES = [
    ({"status": "success"}, Outcome.COMPLETED),
    ({"status": "Completed"}, Outcome.COMPLETED),
    ({"status": "partial"}, Outcome.PARTIAL),
    ({"status": "partial", "reason": "budget"}, Outcome.BUDGET),
    ({"status": "partial", "reason": "max_steps"}, Outcome.MAX_STEPS),
    ({"status": "partial", "reason": "worker_timeout"}, Outcome.TIMEOUT),
    ({"status": "failed", "reason": "rate_limited"}, Outcome.RATE_LIMITED),
    ({"status": "rate_limited"}, Outcome.RATE_LIMITED),
    ({"status": "failed"}, Outcome.ERROR),
    ({"status": "error", "reason": "whatever"}, Outcome.ERROR),
    ({"status": "fine, I think"}, Outcome.UNREADABLE),
    ({"status": 3}, Outcome.UNREADABLE),
    ({"status": None}, Outcome.UNREADABLE),
]


@pytest.mark.parametrize(("told", "outcome"), OUTCOMES)
def test_status_words(tmp_path: Path, told: dict[str, object], outcome: Outcome) -> None:
    ending = read(tmp_path, json.dumps(told).encode())[1]
    assert ending.outcome is outcome
    assert (ending.error is None) == (outcome is Outcome.COMPLETED)


@pytest.mark.parametrize(
    ("stdout", "exit_code", "outcome"),
    [
        (b"", 0, Outcome.NO_FINAL_EVENT),
        (b"", -9, Outcome.NO_FINAL_EVENT),
        (b"all done!", 0, Outcome.UNREADABLE),
        (b"all done!", 1, Outcome.NO_FINAL_EVENT),
        (b"[1, 2]", 0, Outcome.UNREADABLE),
        (b'"success"', 0, Outcome.UNREADABLE),
        (b'{"state": "success"}', 0, Outcome.UNREADABLE),
        (b'{"status": "success"', 0, Outcome.UNREADABLE),
        (b"\xff\xfe{}", 0, Outcome.UNREADABLE),
    ],
)
def test_what_is_no_object_is_never_a_success(tmp_path: Path, stdout: bytes, exit_code: int, outcome: Outcome) -> None:
    assert read(tmp_path, stdout, exit_code)[1].outcome is outcome


def test_our_own_error_line_is_the_error(tmp_path: Path) -> None:
    stderr = "working\narchitect: model gpt-4o needs OPENAI_API_KEY\n  try: export OPENAI_API_KEY=…\n"
    ending = read(tmp_path, b"", 3, stderr)[1]
    assert (ending.outcome, ending.error) == (Outcome.ERROR, "model gpt-4o needs OPENAI_API_KEY")


@pytest.mark.parametrize(
    ("error", "retryable"),
    [("HTTP 401: no such key", False), ("HTTP 404: no such model", False), ("HTTP 500: x", True), ("it broke", True)],
)
def test_a_refusal_that_stays_is_not_tried_again(tmp_path: Path, error: str, retryable: bool) -> None:
    told = json.dumps({"status": "failed", "error": error}).encode()
    assert read(tmp_path, told, 1)[1].retryable is retryable


def test_an_object_over_several_lines_after_chatter_is_found(tmp_path: Path) -> None:
    told = {"status": "success", "steps": 4, "costs": {"total_cost_usd": 0.25}, "nested": {"a": [{"b": 1}]}}
    facts, ending = read(tmp_path, b"Loading {config}\n" + json.dumps(told, indent=2).encode())
    assert ending.outcome is Outcome.COMPLETED
    assert Step(count=4) in facts
    tokens = next(each for each in facts if isinstance(each, Tokens))
    assert (tokens.usage.reported_cost, tokens.usage.cost_basis) == (0.25, CostBasis.REPORTED)


@pytest.mark.parametrize("cost", ["NaN", "Infinity", "-Infinity", "-0.5", "1e999", '"0.3"', "true", "[]"])
def test_a_cost_that_is_no_amount_is_unknown_and_said(tmp_path: Path, cost: str) -> None:
    # The control: json itself takes these without a word.
    assert json.loads(f'{{"status": "success", "cost": {cost}}}')["status"] == "success"
    facts, ending = read(tmp_path, f'{{"status": "success", "steps": 2, "cost": {cost}}}'.encode())
    assert not [each for each in facts if isinstance(each, Tokens)]
    assert ending.outcome is Outcome.COMPLETED
    assert len(ending.warnings) == 1


def test_progress_is_read_in_whole_lines_as_it_grows(tmp_path: Path) -> None:
    file = tmp_path / "progress.jsonl"
    reader = ArchitectReader(file)
    assert list(reader.poll()) == []
    file.write_bytes(b'{"session":"s1","model":"gpt-4o"}\n{"steps":1,"cost":0.5,"input_tokens":9,"output')
    assert list(reader.poll()) == [Session(session_id="s1", model="gpt-4o")]
    with file.open("ab") as more:
        more.write(b'_tokens":3,"text":"hi\\u001b[2J"}\nnot json\n{"steps":-1,"cost":NaN}\n')
    step, tokens, text = reader.poll()
    assert (step, text) == (Step(count=1), Text(text="hi"))
    assert isinstance(tokens, Tokens)
    assert (tokens.usage.input_tokens, tokens.usage.output_tokens, tokens.usage.reported_cost) == (9, 3, 0.5)
    assert list(reader.poll()) == []


def test_a_call_is_told_with_what_it_is_about(tmp_path: Path) -> None:
    file = tmp_path / "progress.jsonl"
    reader = ArchitectReader(file)
    file.write_text('{"tool": "edit", "on": "src/parser.py"}\n{"tool": "finish", "on": ""}\n')

    assert [event.text for event in reader.poll() if isinstance(event, Text)] == ["edit src/parser.py", "finish"]


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(stdout=st.binary(max_size=300), progress=st.binary(max_size=300), exit_code=st.none() | st.integers(-20, 300))
def test_no_bytes_make_the_reader_raise_or_succeed(
    tmp_path: Path, stdout: bytes, progress: bytes, exit_code: int | None
) -> None:
    (tmp_path / "progress.jsonl").write_bytes(progress)
    ending = read(tmp_path, stdout, exit_code, stdout.decode(errors="replace"))[1]
    assert ending.outcome is not Outcome.COMPLETED
