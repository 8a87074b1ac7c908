"""`--backend acp:COMMAND` through the console script, with a scripted agent."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

import pytest
import support.acp_agent
from support.console import Architect

BACKEND = f"acp:{shlex.join([sys.executable, support.acp_agent.__file__])}"


def test_an_acp_agent_is_a_backend(checkout: Path) -> None:
    architect = Architect(checkout)
    task = "say I begin\nask edit a.txt\ncost 0.25\nsay Done."
    answer = architect("parallel", "--task", task, "--backend", BACKEND, "--model", "large", "--workers", "1", "--json")
    assert answer.code == 0, answer.err
    (result,) = answer.json["results"]
    assert (result["status"], result["backend"], result["model"]) == ("success", BACKEND, "large")
    assert (result["steps"], result["cost"], result["output"]) == (2, 0.25, "Done.")
    assert (result["session_id"], result["files_modified"]) == ("s-1", ["a.txt"])
    log = architect("logs", "1").out
    assert "I begin" in log
    assert "edit a.txt" in log
    again = architect("send", "1", "say Once more.\nask edit b.txt", "--json")
    assert again.code == 0, again.err
    assert again.json["results"][0]["output"] == "Once more."
    assert again.json["results"][0]["files_modified"] == ["a.txt", "b.txt"]


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        ("acp", 3, 'acp needs a command\n  try: --backend "acp:gemini --acp"'),
        ("acp:", 2, "backend 'acp:' has no command"),
        ("acp:'x", 2, "no closing quotation"),
        ("acp:no-such-agent --acp", 3, "the program no-such-agent is not on PATH"),
    ],
)
def test_a_command_that_cannot_be_is_one_line(checkout: Path, name: str, code: int, words: str) -> None:
    answer = Architect(checkout)("parallel", "--task", "say hi", "--backend", name)
    assert answer.code == code
    assert words in answer.err
    assert "Traceback" not in answer.err


def test_a_task_file_and_a_list_of_agents_name_it(checkout: Path) -> None:
    tasks = json.dumps({"tasks": [{"prompt": "say hi", "backend": BACKEND}]})
    plan = Architect(checkout)("parallel", "--file", "-", "--dry-run", "--json", stdin=tasks.encode())
    assert plan.code == 0, plan.err
    listed = Architect(checkout)("parallel", "--task", "say hi", "--agents", f"shell,{BACKEND}", "--dry-run")
    assert listed.code == 0, listed.err
    assert f"backend   {BACKEND}, model default" in listed.out
