"""Scripted models replay their file, and a file that cannot be meant is refused in one line."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from architect_parallel.agent.conversation import ModelFailure, Reply
from architect_parallel.agent.scripted import MODELS_VARIABLE, ScriptedConversation, scripted_conversation
from architect_parallel.errors import UsageError


def written(tmp_path: Path, text: str, name: str = "m") -> ScriptedConversation:
    path = tmp_path / "models.yaml"
    path.write_text(text)
    return scripted_conversation(name, {MODELS_VARIABLE: str(path)})


def replies(conversation: ScriptedConversation, count: int, task: str = "task") -> list[Reply]:
    async def talk() -> list[Reply]:
        return [await conversation.start(task), *[await conversation.proceed(()) for _ in range(count - 1)]]

    return asyncio.run(talk())


def test_steps_come_in_their_order_and_then_the_end(tmp_path: Path) -> None:
    text = """
    m:
      price: {input_per_mtok: 1.0, output_per_mtok: 10.0}
      steps:
        - {text: a, tool: shell, args: {command: "echo {prompt}"}, usage: {input_tokens: 100000, output_tokens: 1000}}
        - {tools: [{tool: list}, {tool: read, args: {path: f}}]}
    """
    first, second, third = replies(written(tmp_path, text), 3, "hello")
    assert (first.calls[0].tool, first.calls[0].arguments) == ("shell", {"command": "echo hello"})
    assert first.cost == pytest.approx(0.11)
    assert [each.tool for each in second.calls] == ["list", "read"]
    assert len({each.id for each in first.calls + second.calls}) == 3
    assert (third.text, third.calls) == ("", ())


def test_repeat_goes_on_for_ever(tmp_path: Path) -> None:
    said = [each.text for each in replies(written(tmp_path, "m: {repeat: true, steps: [{text: a}, {text: b}]}"), 5)]
    assert said == ["a", "b", "a", "b", "a"]


def test_without_a_price_the_cost_is_unknown(tmp_path: Path) -> None:
    assert replies(written(tmp_path, "m: {steps: [{text: a}]}"), 1)[0].cost is None


def test_an_error_step_fails_as_a_provider_would(tmp_path: Path) -> None:
    model = written(tmp_path, "m: {steps: [{error: {status: 429, message: later, retry_after: 3}}]}")
    with pytest.raises(ModelFailure, match="HTTP 429: later") as caught:
        replies(model, 1)
    assert (caught.value.rate_limited, caught.value.retry_after_s) == (True, 3)


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "m: 3", "m: {", "m: {steps: []}", "m: {steps: [3]}", "m: {steps: [{txt: a}]}"),
        *("m: {steps: [{text: a, usage: 3}]}", "m: {steps: [{tools: [{args: {}}]}]}", "m: {steps: [{sleep: soon}]}"),
        *("m: {price: {per_token: 1}, steps: [{text: a}]}", "other: {steps: [{text: a}]}"),
    ],
)
def test_a_file_that_cannot_be_meant_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError, match=r"models\.yaml"):
        written(tmp_path, text)


def test_a_missing_file_is_named() -> None:
    with pytest.raises(UsageError, match="/nowhere/models"):
        scripted_conversation("m", {MODELS_VARIABLE: "/nowhere/models"})
