"""aider: its command line, and the log of events that says what happened."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from architect_parallel.backends.aider import AiderBackend
from architect_parallel.backends.aider_reader import AiderReader
from architect_parallel.backends.base import Request, Throttled, Tokens
from architect_parallel.domain import ApprovalMode, CostBasis, Outcome, SandboxMode


def request(tmp_path: Path, prompt: str = "fix it", **more: Any) -> Request:
    state = tmp_path / "state"
    state.mkdir(exist_ok=True)
    return Request(prompt=prompt, prompt_file=state / "prompt", worktree=tmp_path, state_dir=state, **more)


def test_options_of_the_request_stand_in_argv(tmp_path: Path) -> None:
    line = AiderBackend(environ={"PATH": ""}).command(
        request(tmp_path, model="openai/gpt-4o", system_prompt="Be brief.", session_id="x")
    )
    words = " ".join(line.argv)
    for option in ("--model openai/gpt-4o", "--message fix it", "--yes-always", "--no-analytics", "--no-check-update",
                   "--no-auto-commits", "--no-gitignore"):  # fmt: skip
        assert option in words
    assert Path(line.argv[line.argv.index("--read") + 1]).read_text() == "Be brief."
    assert line.warnings == ("aider has no sessions: it begins anew",)


@pytest.mark.parametrize("prompt", ["/run rm -rf .", "!ls"])
def test_a_task_that_would_be_a_command_has_a_line_before_it(tmp_path: Path, prompt: str) -> None:
    argv = AiderBackend(environ={"PATH": ""}).command(request(tmp_path, prompt)).argv
    assert prompt not in argv
    assert Path(argv[argv.index("--message-file") + 1]).read_text() == "\n" + prompt


READING = {"--dry-run", "--chat-mode", "ask", "--no-auto-lint", "--no-auto-test"}


@pytest.mark.parametrize(
    ("approval", "sandbox", "words"),
    [
        (ApprovalMode.NONE, SandboxMode.DEFAULT, {"--yes-always"}),
        (ApprovalMode.DEFAULT, SandboxMode.FULL, set()),
        (ApprovalMode.ALWAYS, SandboxMode.DEFAULT, READING),
        (ApprovalMode.NONE, SandboxMode.READ_ONLY, {"--yes-always", *READING}),
    ],
)
def test_reading_only_is_asking_without_edits_and_commands(
    tmp_path: Path, approval: ApprovalMode, sandbox: SandboxMode, words: set[str]
) -> None:
    argv = (
        AiderBackend(environ={"PATH": ""}).command(request(tmp_path, approval_mode=approval, sandbox_mode=sandbox)).argv
    )
    assert {"--yes-always", *READING} & set(argv) == words


def write(path: Path, *events: tuple[str, dict[str, Any]]) -> None:
    with path.open("a") as file:
        for name, properties in events:
            file.write(json.dumps({"event": name, "properties": properties}) + "\n")


ANSWERED = {"prompt_tokens": 100, "completion_tokens": 20, "cost": 0.1, "total_cost": 0.1}


def test_an_answered_message_is_a_success(tmp_path: Path) -> None:
    reader = AiderReader(events_file=tmp_path / "events", model="m")
    done = ("exit", {"reason": "Completed --message"})
    write(tmp_path / "events", ("message_send_starting", {}), ("message_send", ANSWERED), done)
    (tokens,) = [fact for fact in reader.poll() if isinstance(fact, Tokens)]
    assert (tokens.usage.reported_cost, tokens.usage.cost_basis) == (0.1, CostBasis.REPORTED)
    assert reader.ending(0, "").outcome is Outcome.COMPLETED
    assert reader.ending(-2, "").outcome is not Outcome.COMPLETED


def test_an_unanswered_message_is_none(tmp_path: Path) -> None:
    reader = AiderReader(events_file=tmp_path / "events", model="m")
    done = ("exit", {"reason": "Completed --message"})
    write(
        tmp_path / "events",
        ("message_send_starting", {}),
        ("message_send", ANSWERED),
        ("message_send_starting", {}),
        done,
    )
    list(reader.poll())
    assert reader.ending(0, "").outcome is Outcome.ERROR


def test_an_earlier_attempts_events_do_not_count(tmp_path: Path) -> None:
    write(tmp_path / "events", ("message_send", ANSWERED), ("exit", {"reason": "Completed --message"}))
    reader = AiderReader(events_file=tmp_path / "events", model="m")
    assert list(reader.poll()) == []
    assert reader.ending(0, "").outcome is Outcome.NO_FINAL_EVENT


def test_waiting_for_a_limit_is_told(tmp_path: Path) -> None:
    reader = AiderReader(events_file=tmp_path / "events", model="m")
    list(reader.line(b"litellm.RateLimitError: slow down"))
    assert list(reader.line(b"Retrying in 4.0 seconds...")) == [
        Throttled(message="litellm.RateLimitError: slow down", retry_after_s=4.0)
    ]
    list(reader.line(b"litellm.APIConnectionError: no route"))
    assert not any(isinstance(fact, Throttled) for fact in reader.line(b"Retrying in 4.0 seconds..."))
