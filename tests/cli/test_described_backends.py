"""Backends described in YAML, and the shell, through the console script."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from support.console import Architect
from support.repositories import git

TOOL = """
import json, os, pathlib, sys
prompt = pathlib.Path(sys.argv[sys.argv.index("--prompt-file") + 1]).read_text() if "--prompt-file" in sys.argv \\
    else sys.stdin.read()
pathlib.Path("made.txt").write_text(prompt)
print("chatter", os.environ.get("TOOL_TOKEN"), os.environ.get("OTHER_TOKEN"))
said = {"result": "made it", "usd": {"total": 0.25}, "num_turns": 2, "session_id": "s-1", "argv": sys.argv[1:]}
print(json.dumps(said))
"""


@pytest.fixture
def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A config file that describes two tools."""
    script = tmp_path / "tool.py"
    script.write_text(TOOL)
    monkeypatch.setenv("TOOL_TOKEN", "tool-token-value")
    monkeypatch.setenv("OTHER_TOKEN", "other-token-value")
    start = [sys.executable, str(script)]
    described = {"output": "json", "fields": {"cost": "usd.total"}, "env": ["TOOL_TOKEN"]}
    backends = {
        "by-file": {"command": [*start, "--prompt-file", "{prompt_file}", ["--model", "{model}"]], **described},
        "by-stdin": {"command": start, "prompt": "stdin", **described},
        "misspelt": {"command": [*start, "{promt}"]},
    }
    path = tmp_path / "config.yaml"
    path.write_text(json.dumps({"backends": {name: backends[name] for name in ("by-file", "by-stdin")}}))
    (tmp_path / "wrong.yaml").write_text(json.dumps({"backends": {"misspelt": backends["misspelt"]}}))
    return path


@pytest.mark.parametrize("backend", ["by-file", "by-stdin"])
def test_a_described_tool_is_run_and_read(architect: Architect, configured: Path, checkout: Path, backend: str) -> None:
    task = "--make 'it'\nwith two lines"
    words = ("parallel", "--task", task, "--backend", backend, "--models", "m-1", "--workers", "1", "--json")
    answer = architect(*words, "-c", configured)
    assert answer.code == 0, answer.err
    (result,) = answer.json["results"]
    assert (result["status"], result["output"]) == ("success", "made it")
    assert (result["steps"], result["session_id"], result["cost"]) == (2, "s-1", 0.25)
    assert result["files_modified"] == ["made.txt"]
    assert git(checkout, "show", f"{result['branch']}:made.txt") == task
    log = Path(result["log_path"]).read_text()
    assert "chatter [redacted] None" in log
    assert ('["--prompt-file"' in log) == (backend == "by-file")
    assert ('"--model", "m-1"' in log) == (backend == "by-file")


def test_a_misspelt_placeholder_is_refused_before_anything_is_made(
    architect: Architect, configured: Path, checkout: Path
) -> None:
    answer = architect("parallel", "task", "--backend", "misspelt", "-c", configured.with_name("wrong.yaml"))
    assert answer.code == 2
    assert "backends.misspelt.command: unknown placeholder {promt}" in answer.err
    assert "prompt, prompt_file" in answer.err
    assert list(checkout.glob(".architect-parallel-*")) == []


def test_an_unknown_backend_gets_the_nearest_name(architect: Architect) -> None:
    answer = architect("parallel", "task", "--backend", "shel")
    assert answer.code == 2
    assert "'shell'" in answer.err


def test_a_shell_task_of_10_mb_works(architect: Architect) -> None:
    task = b": '" + b"x" * 10_000_000 + b"'\necho big > big.txt\n"
    answer = architect("parallel", "-", "--backend", "shell", "--workers", "1", "--json", stdin=task)
    assert answer.code == 0, answer.err
    assert answer.json["results"][0]["files_modified"] == ["big.txt"]
