"""Backends described in YAML: templates, prompts and what the tools print."""

from __future__ import annotations

from pathlib import Path

import pytest

from architect_parallel.backends.base import AgentEvent, Reader, Request, Session, Step, Tokens
from architect_parallel.backends.command import CommandBackend, command_backend
from architect_parallel.backends.command_reader import last_object
from architect_parallel.domain import BackendSettings, CostBasis, Outcome
from architect_parallel.errors import UsageError

Template = tuple[str | tuple[str, ...], ...]


def tool(
    *command: str | tuple[str, ...], prompt: str = "argument", output: str = "text", **fields: str
) -> CommandBackend:
    settings = BackendSettings(command=command, prompt=prompt, output=output, fields=fields)
    return command_backend("mytool", settings, {"PATH": ""})


def request(prompt: str = "fix it", **more: object) -> Request:
    place = Path("/run/state")
    return Request(
        prompt=prompt, prompt_file=place / "prompt", worktree=Path("/tree"), state_dir=place, **more,  # type: ignore[arg-type]  # fields by name
    )  # fmt: skip


def read_all(reader: Reader, text: str) -> list[AgentEvent]:
    facts = [fact for line in text.encode().split(b"\n") for fact in reader.line(line)]
    return [*facts, *reader.poll()]


@pytest.mark.parametrize(
    ("template", "argv"),
    [
        (("mytool",), ("mytool", "fix it")),
        (("mytool", "-p", "{prompt}"), ("mytool", "-p", "fix it")),
        (("mytool", "--prompt-file", "{prompt_file}"), ("mytool", "--prompt-file", "/run/state/prompt")),
        (("mytool", ("--model", "{model}"), "{prompt}"), ("mytool", "--model", "m1", "fix it")),
        (("mytool", ("--resume", "{session_id}"), "{prompt}"), ("mytool", "fix it")),
        (("mytool", "--cwd={worktree}", "{{model}}", "{prompt}"), ("mytool", "--cwd=/tree", "{model}", "fix it")),
        (("mytool", ("--usd", "{budget}", "--steps", "{max_steps}"), "{prompt}"),
         ("mytool", "--usd", "0.5", "--steps", "7", "fix it")),
    ],
)  # fmt: skip
def test_templates_are_filled_word_by_word(template: Template, argv: tuple[str, ...]) -> None:
    line = tool(*template).command(request(model="m1", budget_usd=0.5, max_steps=7))
    assert line.argv == argv
    assert line.stdin_file is None


def test_braces_in_a_value_are_not_filled_again() -> None:
    line = tool("mytool", "{prompt}").command(request("what is {model}?", model="secret-model"))
    assert line.argv == ("mytool", "what is {model}?")


def test_a_prompt_by_stdin_or_file_is_not_in_argv() -> None:
    by_stdin = tool("mytool", prompt="stdin").command(request())
    assert (by_stdin.argv, by_stdin.stdin_file) == (("mytool",), Path("/run/state/prompt"))
    by_file = tool("mytool", prompt="file").command(request())
    assert (by_file.argv, by_file.stdin_file) == (("mytool", "/run/state/prompt"), None)


@pytest.mark.parametrize("template", [("mytool",), ("mytool", "{prompt}"), ("mytool", "{prompt} please")])
def test_a_prompt_like_an_option_is_none(template: Template) -> None:
    word = tool(*template).command(request("--version")).argv[1]
    assert word.startswith(" --version")


def test_a_word_of_the_template_may_be_an_option() -> None:
    assert tool("mytool", "--prompt={prompt}").command(request("-x")).argv[1] == "--prompt=-x"


def test_a_prompt_too_long_for_an_argument_is_refused_with_the_way_out() -> None:
    with pytest.raises(UsageError) as caught:
        tool("mytool").command(request("x" * 10_000_000))
    assert "prompt: stdin" in (caught.value.hint or "")
    assert tool("mytool", prompt="stdin").command(request("x" * 10_000_000)).stdin_file is not None


def test_a_placeholder_without_a_value_outside_a_group_is_refused() -> None:
    with pytest.raises(UsageError, match=r"backends\.mytool\.command needs a value for \{model\}"):
        tool("mytool", "--model", "{model}").command(request())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (BackendSettings(command=("mytool", "{promt}")), r"backends\.mytool\.command: unknown placeholder \{promt\}"),
        (BackendSettings(command=("mytool", ("--x", "{nope}"))), "unknown placeholder"),
        (BackendSettings(command=()), r"backends\.mytool\.command"),
        (BackendSettings(), r"backends\.mytool\.command"),
        (BackendSettings(command=("mytool",), prompt="pipe"), r"backends\.mytool\.prompt"),
        (BackendSettings(command=("mytool",), output="xml"), r"backends\.mytool\.output"),
        (BackendSettings(command=("mytool",), fields={"costs": "c"}), r"backends\.mytool\.fields"),
    ],
)
def test_a_wrong_description_is_refused_by_its_key(settings: BackendSettings, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        command_backend("mytool", settings, {})


def test_a_misspelt_placeholder_gets_the_nearest_name() -> None:
    with pytest.raises(UsageError) as caught:
        tool("mytool", "{promt}")
    assert "prompt" in (caught.value.hint or "")


def test_text_output_is_the_end_of_stdout_and_the_exit_code_decides() -> None:
    reader = tool("mytool").reader(request())
    read_all(reader, "one\ntwo")
    assert (reader.ending(0, "").outcome, reader.ending(0, "").text) == (Outcome.COMPLETED, "one\ntwo")
    assert reader.ending(2, "boom\n").error == "mytool ended with exit code 2: boom"


def test_json_output_is_the_last_object() -> None:
    reader = tool("mytool", output="json", cost="price.usd").reader(request())
    last = '{\n "result": "new",\n "num_turns": 3, "session_id": "s",\n "price": {"usd": 0.5}\n}'
    text = 'noise {\n{"result": "old"}\n' + last + "\n\nbye\n"
    facts = read_all(reader, text)
    assert Step(count=3) in facts
    assert Session(session_id="s") in facts
    (tokens,) = [fact for fact in facts if isinstance(fact, Tokens)]
    assert (tokens.usage.reported_cost, tokens.usage.cost_basis) == (0.5, CostBasis.REPORTED)
    ending = reader.ending(0, "")
    assert (ending.outcome, ending.text) == (Outcome.COMPLETED, "new")


def test_jsonl_output_takes_the_last_word_of_each_field() -> None:
    reader = tool("mytool", output="jsonl").reader(request())
    facts = read_all(reader, '{"num_turns": 1}\nnot json\n{"num_turns": 2, "result": "x"}\n{"is_error": false}\n')
    assert [fact.count for fact in facts if isinstance(fact, Step)][-1] == 2
    assert reader.ending(0, "").text == "x"


@pytest.mark.parametrize(
    ("text", "exit_code", "outcome"),
    [
        ('{"result": "x", "is_error": true}', 0, Outcome.ERROR),
        ('{"result": "x", "is_error": "no"}', 0, Outcome.ERROR),
        ('{"result": "x", "is_error": false}', 1, Outcome.ERROR),
        ('{"result": "x"}', 0, Outcome.COMPLETED),
        ("no object", 0, Outcome.UNREADABLE),
        ("", 0, Outcome.UNREADABLE),
        ("[1, 2]", 0, Outcome.UNREADABLE),
        ("no object", 3, Outcome.ERROR),
        ("", None, Outcome.NO_FINAL_EVENT),
    ],
)
def test_an_error_flag_and_the_exit_code_both_count(text: str, exit_code: int | None, outcome: Outcome) -> None:
    for output in ("json", "jsonl"):
        reader = tool("mytool", output=output).reader(request())
        read_all(reader, text)
        assert reader.ending(exit_code, "").outcome is outcome


@pytest.mark.parametrize("cost", ["NaN", "Infinity", "-1", '"free"', "1e999", "true"])
def test_a_cost_that_is_none_is_not_taken(cost: str) -> None:
    reader = tool("mytool", output="json").reader(request())
    facts = read_all(reader, f'{{"result": "x", "total_cost_usd": {cost}}}')
    assert [fact for fact in facts if isinstance(fact, Tokens)] == []


def test_many_opening_braces_are_no_trap() -> None:
    assert last_object("{\n" * 20_000) is None
    assert last_object('{"a": {"b":\n 1}}\ntail') == {"a": {"b": 1}}
