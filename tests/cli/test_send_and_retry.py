"""`send` and `retry`: an ended worker goes on, or begins anew as another attempt of the same worker."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.console import Architect
from support.repositories import git

TWO = ("parallel", "--task", "echo 1 >> f", "--task", "echo 2 >> g; test -e ../../go", "--backend", "shell", "--json")


@pytest.fixture
def run_id(architect: Architect) -> str:
    answer = architect(*TWO)
    assert answer.code == 1
    return str(answer.json["run_id"])


def test_send_goes_on_where_the_worker_stopped(architect: Architect, run_id: str) -> None:
    answer = architect("send", "1", "echo more >> f; wc -l < f", "--json")
    assert answer.code == 0
    assert (answer.json["run_id"], answer.json["results"][0]["output"].strip()) == (run_id, "2")
    again = architect("send", run_id, "architect/parallel-1", "-", "--json", stdin=b"wc -l < f")
    assert (again.code, again.json["results"][0]["attempts"]) == (0, 3)
    assert architect("send", "2", "echo x", "--dry-run").out.startswith("would continue worker 2 in ")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["1"], "no text given"),
        (["1", "2", "fix", "it"], "TEXT must be one word: put it in quotes"),
        (["please go on"], "no worker given"),
        (["9", "go on"], "has no worker 9"),
    ],
)
def test_what_cannot_be_sent(architect: Architect, run_id: str, words: list[str], message: str) -> None:
    refused = architect("send", *words)
    assert (refused.code, refused.out) == (2, "")
    assert message in refused.err


def test_retry_is_another_attempt_from_the_base(architect: Architect, run_id: str, checkout: Path) -> None:
    architect("send", "1", "echo more >> f")

    answer = architect("retry", "1", "--json")

    assert answer.json["run_id"] == run_id
    first, second = answer.json["results"]
    assert (first["status"], first["attempts"], first["branch"]) == ("success", 3, "architect/parallel-1")
    assert git(checkout, "show", "architect/parallel-1:f") == "1"  # its own task again, not what was sent
    kept = git(checkout, "for-each-ref", "--format=%(refname)", "refs/architect/keep/").splitlines()
    assert "1\nmore" in [git(checkout, "show", f"{ref}:f", check=False) for ref in kept]
    assert (second["status"], second["attempts"]) == ("failed", 1)


def test_retry_with_another_backend_is_recorded(architect: Architect, run_id: str, tmp_path: Path) -> None:
    tool = tmp_path / "tool.py"
    tool.write_text("import sys\nopen('by', 'w').write(' '.join(sys.argv[1:]))\n")
    command = f"[python3, '{tool}', '{{prompt}}', ['--model', '{{model}}']]"
    config = tmp_path / "c.yaml"
    config.write_text(f"backends: {{mine: {{command: {command}}}}}\n")

    shown = architect("retry", "2", "--backend", "mine", "-m", "m-1", "-c", str(config), "--dry-run")
    assert shown.out == "would run worker 2 again on architect/parallel-2 with mine m-1 (attempt 2)\n"
    answer = architect("retry", "2", "--backend", "mine", "-m", "m-1", "-c", str(config), "--json")

    assert answer.code == 0, answer.err
    second = answer.json["results"][1]
    assert (second["backend"], second["model"], second["attempts"]) == ("mine", "m-1", 2)
    assert architect("diff", "2").out.count("+echo 2 >> g; test -e ../../go --model m-1") == 1
    assert architect("retry", "2", "-c", str(config), "--dry-run").out.endswith("with mine m-1 (attempt 3)\n")


def test_a_result_that_others_built_on_is_not_retried_alone(architect: Architect, checkout: Path) -> None:
    tasks = [
        {"backend": "shell", "prompt": "echo 1 > a", "name": "a"},
        {"backend": "shell", "prompt": "cp a b", "name": "b", "dependencies": ["a"]},
    ]
    (checkout / ".git" / "t.json").write_text(json.dumps({"tasks": tasks}))
    run_id = architect("parallel", "--file", ".git/t.json", "--json").json["run_id"]
    alone = architect("retry", "a")
    assert (alone.code, alone.err.splitlines()) == (
        2,
        [
            "architect: worker 2 built on the result of worker 1",
            f"  try: architect retry {run_id} 1 2",
        ],
    )
    assert architect("retry", "a", "b").code == 0


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ([], 2, "no worker given"),
        (["1", "--backend", "nobody"], 2, "unknown backend 'nobody'"),
        (["1", "--model", "-x"], 2, "--model '-x' must be a model name"),
        (["1", "--backend", "codex"], 3, "backend codex cannot run"),
    ],
)
def test_what_cannot_be_retried(architect: Architect, run_id: str, words: list[str], code: int, message: str) -> None:
    refused = architect("retry", *words, env={"PATH": "/usr/bin:/bin"})
    assert (refused.code, refused.out, message in refused.err) == (code, "", True)
    assert architect("status", "1", "--json").json["results"][0]["attempts"] == 1
