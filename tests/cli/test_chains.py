"""`architect chain` and `architect compare-backends`: short words for a flow and for a run."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.console import Architect

CHAIN = """steps:
  - {backend: shell, name: first, prompt: "echo one"}
  - {backend: shell, prompt: "echo {{previous}} two; test -e mended"}
  - {backend: shell, prompt: "echo {{ previous }} {{ first }} three"}
"""


def test_each_step_is_told_what_the_one_before_said(architect: Architect, checkout: Path) -> None:
    (checkout / "c.yaml").write_text(CHAIN)
    stopped = architect("chain", "c.yaml", "--json")
    assert (stopped.code, [each["output"] for each in stopped.json["results"]]) == (1, ["one", "one two"])

    (checkout / "mended").touch()
    whole = architect("resume", "latest", "--json")
    assert whole.code == 0
    assert [each["output"] for each in whole.json["results"]] == ["one", "one two", "one two one three"]
    assert [each["attempts"] for each in whole.json["results"]] == [1, 2, 1]

    (checkout / "mended").unlink()
    (checkout / "c.yaml").write_text(CHAIN + "stop_on_failure: false\n")
    assert len(architect("chain", "c.yaml", "--json").json["results"]) == 3


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("steps: []", "steps: must not be empty"),
        ("steps: [a]", "steps[0] is 'a': must hold a mapping"),
        (
            "steps: [{backend: shell, prompt: '{{ previous }}'}]",
            "c.yaml:1:26: steps[0].prompt: there is no step before",
        ),
        ("steps: [{backend: shel, prompt: x}]", "unknown tool 'shel'; did you mean 'shell'?"),
        ("steps: [{backend: shell}]", "steps[0].prompt is missing"),
        (
            "steps: [{backend: shell, prompt: x, name: a}, {backend: shell, prompt: x, name: a}]",
            "duplicate name 'a' (first used by steps[0])",
        ),
        ("steps: [{backend: shell, prompt: x}]\nstop_on_failure: maybe", "must be true or false"),
        ("steps: [{backend: shell, prompt: x}]\nstop: 1", "unknown key stop"),
    ],
)
def test_a_faulty_chain_starts_nothing(architect: Architect, checkout: Path, text: str, said: str) -> None:
    (checkout / "c.yaml").write_text(text)
    answer = architect("chain", "c.yaml")
    assert (answer.code, said in answer.err) == (2, True), answer.err
    assert architect("status", "--json").json["runs"] == []


def test_one_task_for_several_backends(architect: Architect, checkout: Path) -> None:
    (checkout / "c.yaml").write_text('backends: {other: {command: ["/bin/sh", "-c", "{prompt}"]}}\n')
    words = ("compare-backends", "echo x > made; echo done", "--backends", "shell, other", "-c", "c.yaml", "--json")
    run = architect(*words).json
    assert [(each["name"], each["backend"], each["files_modified"]) for each in run["results"]] == [
        ("shell", "shell", ["made"]), ("other", "other", ["made"]),
    ]  # fmt: skip
    for bad, code in (
        (("--backends", "shell,"), 2),
        (("--backends", "shell,shell"), 2),
        ((), 2),
        (("--backends", "x"), 2),
        (("--backends", "shell,shel"), 2),
    ):
        answer = architect("compare-backends", "x", *bad)
        assert (answer.code, answer.err.count("architect:")) == (code, 1)
    assert answer.err.startswith("architect: unknown backend 'shel'")
