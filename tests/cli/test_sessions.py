"""`--resume` and `--continue` go on with what was said: the model is given the first conversation again."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from support.console import Architect, wait_until
from support.model_server import ModelServer

MODELS = """
counter:
  price: {input_per_mtok: 1.0, output_per_mtok: 10.0}
  steps: [{tool: list}, {text: "given {messages}", usage: {input_tokens: 1000, output_tokens: 100}}]
two: {steps: [{text: first}, {text: second}]}
limited: {steps: [{error: {status: 429, message: later}}]}
sleeper: {steps: [{text: "to bed", tool: shell, args: {command: "touch asleep; sleep 600"}}, {text: up}]}
"""
YOLO = ("--confirm-mode", "yolo")
KEY = {"OPENAI_API_KEY": "sk-very-secret-key", "ANTHROPIC_API_KEY": "sk-very-secret-key"}


@pytest.fixture(autouse=True)
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "models.yaml").write_text(MODELS)
    monkeypatch.setenv("ARCHITECT_SCRIPTED_MODELS", str(tmp_path / "models.yaml"))


@pytest.fixture
def kept(home: Path) -> Path:
    """Where sessions are kept without a word about it."""
    return home / ".local" / "state" / "architect-parallel" / "sessions"


def run(architect: Architect, *words: str, **more: Any) -> dict[str, Any]:
    answer = architect("run", *words, "--json", **more)
    assert answer.out, answer
    found = answer.json
    assert isinstance(found, dict)
    return found


def test_a_resumed_run_sees_what_was_said_and_counts_its_own(architect: Architect, kept: Path) -> None:
    first = run(architect, "a", "--model", "scripted:counter")
    second = run(architect, "b", "--resume", first["session_id"])
    anew = run(architect, "b", "--model", "scripted:counter")

    # task, call, result; then beside those four: task, call, result
    assert (first["output"], second["output"], anew["output"]) == ("given 3", "given 7", "given 3")
    assert (second["session_id"], second["model"]) == (first["session_id"], "scripted:counter")
    assert anew["session_id"] != first["session_id"]
    assert [(each["steps"], each["cost"], each["usage"]) for each in (first, second)] == [
        (anew["steps"], anew["cost"], anew["usage"])
    ] * 2
    assert {each.name for each in kept.iterdir()} == {f"{each['session_id']}.json" for each in (first, anew)}


def test_an_old_session_that_is_asked_for_is_not_lost_when_the_agent_cannot_start(
    architect: Architect, kept: Path
) -> None:
    old, other = (run(architect, "a", "--model", "scripted:two")["session_id"] for _ in range(2))
    for name in (old, other):
        os.utime(kept / f"{name}.json", (0, 0))

    refused = architect("run", "b", "--resume", old, "--model", "gpt-4o")

    assert (refused.code, "OPENAI_API_KEY" in refused.err) == (3, True)
    assert [path.stem for path in kept.iterdir()] == [old], "the control: the other one went"
    assert run(architect, "b", "--resume", old)["output"] == "second"


def test_a_script_goes_on_with_its_next_entry_and_then_from_the_start(architect: Architect) -> None:
    first = run(architect, "a", "--model", "scripted:two")
    said = [run(architect, "b", "--resume", first["session_id"])["output"] for _ in range(2)]
    assert [first["output"], *said] == ["first", "second", "first"]


@pytest.mark.parametrize(
    ("model", "address"),
    [
        ("gpt-4o", {"OPENAI_BASE_URL": "{url}/v1"}),
        ("claude-sonnet-4-6", {"ANTHROPIC_BASE_URL": "{url}"}),
        ("local", {"ARCHITECT_API_BASE": "{url}/v1"}),
    ],
)
def test_a_providers_model_is_sent_the_first_conversation(
    architect: Architect, kept: Path, model: str, address: dict[str, str]
) -> None:
    with ModelServer() as server:
        env = KEY | {name: value.format(url=server.url) for name, value in address.items()}
        first = run(architect, "MOCK:run echo hi MOCK:text the first end", *YOLO, "--model", model, env=env)
        assert first["steps"] == 2
        seen = len(server.requests)
        second = run(architect, "MOCK:text the second end", "--resume", first["session_id"], env=env)
        resumed = server.requests[seen:]
        seen = len(server.requests)
        run(architect, "MOCK:text the second end", "--model", model, env=env)
        anew = server.requests[seen:]

    assert (second["output"], second["steps"], second["model"]) == ("the second end", 1, model)
    assert len(resumed) == len(anew) == 1
    said = "\n".join(resumed[0].texts)
    assert said.index("MOCK:run echo hi") < said.index("the second end")
    # The control: without --resume nothing of the first conversation is sent.
    assert "echo hi" not in "\n".join(anew[0].texts)
    assert "sk-very-secret-key" not in (kept / f"{first['session_id']}.json").read_text()


def test_a_session_stopped_in_a_tool_goes_on_with_an_answer_to_its_call(
    architect: Architect, checkout: Path, kept: Path
) -> None:
    with ModelServer() as server:
        env = KEY | {"OPENAI_BASE_URL": f"{server.url}/v1"}
        words = ("--model", "gpt-4o", "--max-steps", "1", "--confirm-mode", "yolo")
        first = run(architect, "MOCK:run echo hi MOCK:text end", *words, env=env)
        assert first["reason"] == "max_steps"
        second = run(architect, "MOCK:text went on", "--resume", first["session_id"], env=env)
    assert (second["status"], second["output"]) == ("success", "went on")
    said = (kept / f"{first['session_id']}.json").read_text()
    assert said.count('"tool-call"') == said.count('"tool-return"') == 1, "no provider takes a call without a result"


def test_a_session_that_was_told_can_be_resumed_after_a_kill(architect: Architect, checkout: Path, kept: Path) -> None:
    live = architect.begin("run", "x", "--model", "scripted:sleeper", "--confirm-mode", "yolo", "--json")
    wait_until((checkout / "asleep").exists, "the agent's command")
    live.kill()
    architect.finish(live)
    (file,) = kept.iterdir()
    assert run(architect, "y", "--resume", file.stem)["output"] == "up"


def test_one_whose_first_question_failed_is_known_too(architect: Architect) -> None:
    first = run(architect, "x", "--model", "scripted:limited")
    assert first["status"] == "failed"
    assert run(architect, "x", "--resume", first["session_id"])["reason"] == "rate_limited"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--resume", "unknown"), "there is no session unknown in"),
        (("--resume", "../secret"), "must be a session id"),
        (("--resume=-x",), "must be a session id"),
        (("--resume", "damaged"), "session damaged is damaged"),
        (("--resume", "scripted", "--model", "gpt-4o"), "another kind of model"),
        (("--resume", "s", "--backend", "shell"), "backend shell cannot go on with a session"),
        (("--resume", "s", "--backend", "aider"), "backend aider cannot go on with a session"),
        (("--resume", "s", "--backend", "architect", "--model", "scripted:two"), "architect has no session s in"),
    ],
)
def test_what_cannot_be_resumed_is_one_line_and_exit_2(
    architect: Architect, kept: Path, words: tuple[str, ...], said: str
) -> None:
    kept.mkdir(parents=True)
    (kept / "damaged.json").write_text("{")
    content = {"form": 1, "session_id": "scripted", "model": "scripted:two", "said": {"next": 1, "messages": 2}}
    (kept / "scripted.json").write_text(json.dumps(content))
    (kept.parent / "secret.json").write_text(json.dumps(content))

    answer = architect("run", "x", *words, "--json", env=KEY)

    assert (answer.code, answer.out) == (2, "")
    assert said in answer.err
    assert answer.err.startswith("architect: ")
    assert answer.err.count("\n") <= 2


def test_a_session_directory_that_cannot_be_written_is_a_warning(architect: Architect, checkout: Path) -> None:
    report = run(
        architect, "x", "--model", "scripted:two", env={"ARCHITECT_SESSION_DIR": str(checkout / "README.md" / "d")}
    )
    assert (report["status"], len(report["warnings"])) == ("success", 1)
    assert "session was not kept" in report["warnings"][0]


def test_another_backend_is_resumed_in_the_home_it_had(architect: Architect, home: Path) -> None:
    words = ("--backend", "architect", "--model", "scripted:counter")
    first = run(architect, "a", *words)
    second = run(architect, "b", *words, "--resume", first["session_id"])
    assert (first["output"], second["output"]) == ("given 3", "given 7")
    assert second["session_id"] == first["session_id"]
    place = home / ".local" / "state" / "architect-parallel" / "agents" / "architect"
    assert sorted(each.name.split("-")[0] for each in place.iterdir()) == ["home", "session"]


def test_a_worker_goes_on_in_the_same_session_of_the_embedded_agent(architect: Architect, home: Path) -> None:
    words = ("--models", "scripted:counter", "--workers", "1", "--json")
    (first,) = architect("parallel", "a", *words).json["results"]
    plan = architect("parallel", "--continue", "latest", "1", "b", "--dry-run", "--json").json
    (second,) = architect("parallel", "--continue", "latest", "1", "b", "--json").json["results"]

    assert (plan["session_id"], plan["warnings"]) == (first["session_id"], [])
    assert (first["output"], second["output"]) == ("given 3", "given 7")
    assert (second["session_id"], second["status"]) == (first["session_id"], "success")
    assert not (home / ".local" / "state").exists(), "workers share no state"
    # The control: a new run begins anew.
    assert architect("parallel", "a", *words).json["results"][0]["output"] == "given 3"


def test_a_worker_whose_session_a_cleanup_took_begins_anew_and_says_so(architect: Architect) -> None:
    architect("parallel", "a", "--models", "scripted:counter", "--workers", "1")
    assert architect("parallel-cleanup", "--force").code == 0
    assert architect("undo").code == 0

    answer = architect("parallel", "--continue", "latest", "1", "b", "--json")

    assert answer.json["results"][0]["output"] == "given 3"
    assert "begins anew" in answer.out + answer.err
