"""The tests' model server is understood by the official clients and by the embedded agent."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.console import Architect
from support.model_server import ModelServer, directives
from support.repositories import git

SHELL = {"type": "object", "properties": {"command": {"type": "string"}}, "required": ["command"]}


@pytest.fixture
def model() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


def test_directives_end_at_the_next_one() -> None:
    said = "Please: 'MOCK:run echo a && b MOCK:text all done'\nMOCK:loop"
    assert directives(said) == [("run", "echo a && b"), ("text", "all done"), ("loop", "")]


def test_any_tool_can_be_called_and_what_came_of_it_is_kept(model: ModelServer) -> None:
    from openai import OpenAI

    said = 'MOCK:call notes/put {"path": "a b"} MOCK:text done'
    tools: Any = [{"type": "function", "name": "look", "parameters": {}}]
    with OpenAI(base_url=f"{model.url}/v1", api_key="none", max_retries=0) as client:
        call = client.responses.create(model="gpt-5.5", input=said, tools=tools).output[1].model_dump()
        assert (call["namespace"], call["name"], call["arguments"]) == ("notes", "put", '{"path": "a b"}')
        result = {"type": "function_call_output", "call_id": call["call_id"], "output": "no such tool"}
        given: Any = [{"role": "user", "content": said}, call, result]
        assert client.responses.create(model="gpt-5.5", input=given, tools=tools).output_text == "done"
    assert "no such tool" in model.requests[-1].texts[-1]


def test_a_script_takes_the_place_of_what_the_prompt_says(model: ModelServer) -> None:
    from openai import OpenAI

    model.script = lambda asked: "MOCK:text one\\ntwo" if asked.model == "gpt-5.5" else None
    with OpenAI(base_url=f"{model.url}/v1", api_key="none", max_retries=0) as client:
        said = [client.responses.create(model=name, input="MOCK:text hello") for name in ("gpt-5.5", "gpt-5")]
    assert [each.output_text for each in said] == ["one\ntwo", "hello"]
    assert [each.prompt for each in model.requests] == ["MOCK:text hello"] * 2


def test_gemini_gets_an_answer_in_the_form_it_asked_for(model: ModelServer) -> None:
    choice = {"type": "STRING", "enum": ["flash", "pro"]}
    form = {"type": "OBJECT", "properties": {"why": {"type": "STRING"}, "which": choice}, "required": ["why"]}
    said = {"contents": [{"role": "user", "parts": [{"text": "MOCK:text free"}]}]}
    answers = []
    for settings in ({}, {"responseJsonSchema": form}, {"responseSchema": form}):
        data = json.dumps(said | {"generationConfig": settings}).encode()
        with urllib.request.urlopen(f"{model.url}/v1beta/models/gemini-x:generateContent", data) as reply:
            answers.append(json.load(reply)["candidates"][0]["content"]["parts"][0]["text"])
    assert answers[0] == "free"
    assert [json.loads(each) for each in answers[1:]] == [{"why": "mock", "which": "flash"}] * 2


def test_openais_client_reads_chat_completions(model: ModelServer) -> None:
    from openai import OpenAI

    asked: dict[str, Any] = {
        "model": "gpt-4o",
        "messages": [{"role": "user", "content": "MOCK:run echo hi"}],
        "tools": [{"type": "function", "function": {"name": "shell", "parameters": SHELL}}],
    }
    with OpenAI(base_url=f"{model.url}/v1", api_key="none", max_retries=0) as client:
        plain = client.chat.completions.create(**asked).model_dump()
        with client.chat.completions.stream(**asked) as events:
            streamed = events.get_final_completion().model_dump()
    for completion in (plain, streamed):
        (call,) = completion["choices"][0]["message"]["tool_calls"]
        assert (call["function"]["name"], call["function"]["arguments"]) == ("shell", '{"command": "echo hi"}')
        assert (completion["usage"]["prompt_tokens"], completion["usage"]["completion_tokens"]) == (1200, 50)


def test_openais_client_reads_responses(model: ModelServer) -> None:
    from openai import OpenAI

    with OpenAI(base_url=f"{model.url}/v1", api_key="none", max_retries=0) as client:
        answer = client.responses.create(model="gpt-5.5", input="MOCK:text hello there")
        assert answer.output_text == "hello there"
        with client.responses.stream(model="gpt-5.5", input="MOCK:text hello there") as events:
            assert events.get_final_response().output_text == "hello there"


def test_anthropics_client_reads_messages(model: ModelServer) -> None:
    from anthropic import Anthropic

    asked: dict[str, Any] = {
        "model": "claude-x",
        "max_tokens": 100,
        "messages": [{"role": "user", "content": "MOCK:run ls"}],
        "tools": [{"name": "shell", "input_schema": SHELL}],
    }
    with Anthropic(base_url=model.url, api_key="none", max_retries=0) as client:
        plain = client.messages.create(**asked).model_dump()
        with client.messages.stream(**asked) as events:
            streamed = events.get_final_message().model_dump()
    for message in (plain, streamed):
        assert message["content"][1]["input"] == {"command": "ls"}
        usage = message["usage"]
        assert (usage["input_tokens"], usage["cache_read_input_tokens"], usage["output_tokens"]) == (1000, 200, 50)
        assert message["stop_reason"] == "tool_use"


def test_a_refusal_has_the_asked_status(model: ModelServer) -> None:
    from openai import OpenAI, RateLimitError

    with (
        OpenAI(base_url=f"{model.url}/v1", api_key="none", max_retries=0) as client,
        pytest.raises(RateLimitError),
    ):
        client.responses.create(model="gpt-5.5", input="MOCK:error 429")


def test_the_embedded_agent_works_with_it_through_the_pipeline(
    model: ModelServer, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-none-00000000")
    monkeypatch.setenv("OPENAI_BASE_URL", f"{model.url}/v1")
    architect = Architect(checkout)
    task = "MOCK:write made.txt MOCK:run git status --short"
    answer = architect("parallel", task, "--models", "gpt-4o", "--workers", "1", "--json")
    assert answer.code == 0, answer.err + answer.out
    (result,) = answer.json["results"]
    assert (result["status"], result["steps"], result["files_modified"]) == ("success", 3, ["made.txt"])
    assert result["usage"]["input_tokens"] == 3600
    assert result["cost"] == pytest.approx(3 * 0.00325)
    assert git(checkout, "show", f"{result['branch']}:made.txt") == "hello from gpt-4o"
