"""Which model a worker runs with, and what its agent may do: as typed, as planned, as reported afterwards."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.console import Answer, Architect

from architect_parallel import ParallelConfig, ParallelRunner
from architect_parallel.errors import UsageError

Claude = Callable[..., Answer]


@pytest.fixture
def claude(architect: Architect, tmp_path: Path) -> Claude:
    """`claude(*words, script=…, result={…})`: `architect` with a claude that is a shell script."""

    def run(*words: str, script: str = "", result: dict[str, Any] | None = None) -> Answer:
        told = {"type": "result", "subtype": "success", "is_error": False, "result": "done"} | (result or {})
        begin = {"type": "system", "subtype": "init", "session_id": "s-1", "model": "claude-reported"}
        program = tmp_path / "claude"
        program.write_text(
            f"#!/bin/sh\nprintf '%s\\n' \"$@\" > '{tmp_path}/argv'\n{script}\n"
            f"echo '{json.dumps(begin)}'\necho '{json.dumps(told)}'\n"
        )
        program.chmod(0o755)
        config = tmp_path / "config.yaml"
        config.write_text(json.dumps({"backends": {"claude": {"command": [str(program)]}}}))
        return architect(*words, "-c", config, env={"ANTHROPIC_API_KEY": "x"})

    return run


def denied(*tools: str) -> dict[str, Any]:
    return {"permission_denials": [{"tool_name": tool} for tool in tools]}


def task_file(tmp_path: Path, **task: str) -> str:
    file = tmp_path / "tasks.json"
    file.write_text(json.dumps({"tasks": [{"backend": "claude", "prompt": "write it", **task}]}))
    return str(file)


def test_a_task_of_a_file_runs_as_one_given_in_words(claude: Claude, tmp_path: Path) -> None:
    answer = claude("parallel", "--file", task_file(tmp_path), script="echo x > new.txt")
    assert answer.code == 0, answer.err
    assert "--dangerously-skip-permissions" in (tmp_path / "argv").read_text()
    assert answer.out.splitlines()[:2] == [
        "Running 1 task (max 1 parallel)...",
        "agents run without asking (approval_mode none); each works in its own worktree",
    ]


def test_who_was_denied_and_changed_nothing_is_no_silent_ok(claude: Claude, tmp_path: Path) -> None:
    answer = claude(
        "parallel", "--file", task_file(tmp_path, approval_mode="default"), "--json", result=denied("Write", "Bash")
    )
    (result,) = answer.json["results"]
    assert (answer.code, result["status"], result["reason"]) == (1, "partial", "blocked")
    assert "Bash, Write" in result["error"]
    assert "without asking" not in answer.err
    # Controls: with work done it is a success that says so, and who may only read was not meant to change anything.
    file = task_file(tmp_path, approval_mode="default")
    done = claude("parallel", "--file", file, "--json", script="echo x > new.txt", result=denied("Bash"))
    (result,) = done.json["results"]
    assert (done.code, result["reason"]) == (0, "completed")
    assert "denied for want of permission: Bash" in result["warnings"]
    file = task_file(tmp_path, sandbox_mode="read-only")
    read = claude("parallel", "--file", file, "--json", result=denied("Bash"))
    assert (read.code, read.json["results"][0]["reason"]) == (0, "no_changes")


def test_in_place_nothing_is_allowed_unasked_and_a_denial_is_no_success(claude: Claude, tmp_path: Path) -> None:
    answer = claude("parallel", "--file", task_file(tmp_path, isolation="none"), "--json", result=denied("Write"))
    (result,) = answer.json["results"]
    assert (answer.code, result["status"], result["reason"]) == (1, "partial", "blocked")
    assert "Write" in result["error"]
    assert "--dangerously-skip-permissions" not in (tmp_path / "argv").read_text()


def test_a_refusal_that_leaves_no_trace_is_warned_of(claude: Claude, tmp_path: Path) -> None:
    """codex, gemini and qwen print nothing of the tools that they do not offer."""
    (result,) = claude("parallel", "--file", task_file(tmp_path, approval_mode="default"), "--json").json["results"]
    assert result["reason"] == "no_changes"
    assert any("approval_mode default" in warning for warning in result["warnings"])
    (free,) = claude("parallel", "--file", task_file(tmp_path), "--json").json["results"]
    assert free["warnings"] == []


def test_the_model_is_the_reported_one_and_the_requested_one_stands_beside_it(
    claude: Claude, architect: Architect, tmp_path: Path
) -> None:
    words = ("parallel", "write it", "--backend", "claude", "--workers", "1")
    (result,) = claude(*words, "--json").json["results"]
    assert (result["model"], result["model_requested"]) == ("claude-reported", None)
    assert "claude-reported" in architect("status", "latest").out
    again = architect("report", "latest", "-f", "json").json["results"][0]
    assert (again["model"], again["model_requested"]) == ("claude-reported", None)
    (result,) = claude(*words, "-m", "opus", "--json").json["results"]
    assert (result["model"], result["model_requested"]) == ("claude-reported", "opus")
    out = tmp_path / "out"
    assert claude(*words, "--artifacts", str(out)).code == 0
    other = architect("import", out, "--json")
    assert other.code in (0, 4), other.err


def test_model_is_that_of_every_worker(architect: Architect, checkout: Path) -> None:
    plain = ("parallel", "true", "--backend", "shell", "--dry-run", "--json")
    models = [each["model"] for each in architect(*plain, "--model", "m").json["workers"]]
    assert models == ["m"] * 3
    one = architect(*plain, "--models", "m").json
    assert [each["model"] for each in one["workers"]] == ["m"]
    assert [each["model"] for each in architect(*plain, "--models", "m,n").json["workers"]] == ["m", "n"]
    fewer = architect(*plain, "--models", "m", "--workers", "3")
    assert "1 model for 3 workers: workers 2, 3 with the default model of the backend" in fewer.json["warnings"]
    assert not [each for each in one["warnings"] if "default model" in each]
    both = architect(*plain, "--models", "m", "--model", "n")
    assert (both.code, both.out) == (2, "")
    assert "--model and --models exclude each other" in both.err
    assert architect(*plain, "--model", "a b").code == 2
    # A flag beats the task file; the configuration does not.
    (checkout.parent / "t.json").write_text(
        json.dumps({"tasks": [{"backend": "shell", "prompt": "p", "model": "own"}]})
    )
    in_file = ("parallel", "--file", str(checkout.parent / "t.json"), "--dry-run", "--json")
    assert architect(*in_file, "--model", "flag").json["workers"][0]["model"] == "flag"
    assert architect(*in_file, env={"ARCHITECT_MODEL": "set"}).json["workers"][0]["model"] == "own"
    assert architect(*plain, env={"ARCHITECT_MODEL": "set"}).json["workers"][0]["model"] == "set"


def test_the_python_api_has_the_same(checkout: Path) -> None:
    plan = ParallelRunner(ParallelConfig(tasks=["true"], backend="shell", model="m"), checkout).plan()
    assert [spec.model for spec in plan.workers] == ["m"] * 3
    with pytest.raises(UsageError, match="exclude each other"):
        ParallelRunner(ParallelConfig(tasks=["true"], backend="shell", model="m", models=["n"]), checkout).plan()
