"""Every command that takes a run or a worker takes the same words for it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.console import Architect


@pytest.fixture
def ran(architect: Architect, checkout: Path) -> str:
    """A run of one worker, then one of two named ones, of which the second failed. The id of the second run."""
    assert architect("parallel", "echo 0 > zero", "--backend", "shell", "--workers", "1").code == 0
    tasks = [
        {"backend": "shell", "prompt": "echo one; echo 1 > one", "name": "first"},
        {"backend": "shell", "prompt": "echo two; echo 2 > two; test -e ../go", "name": "second"},
    ]
    (checkout / ".git" / "tasks.json").write_text(json.dumps({"tasks": tasks}))
    answer = architect("parallel", "--file", ".git/tasks.json", "--json")
    assert answer.code == 1
    return str(answer.json["run_id"])


def test_run_is_optional_and_a_worker_has_three_names(architect: Architect, ran: str) -> None:
    first = architect("diff", ran, "1").out
    assert "+1" in first
    for words in (["1"], ["first"], ["architect/parallel-2"], ["latest", "first"], [ran[-4:], "1"], [ran[:-1], "1"]):
        assert architect("diff", *words).out == first, words
    assert "+0" in architect("diff", "architect/parallel-1").out
    assert architect("logs", "second").out == "two\n"
    assert architect("logs").out == "==> worker-1 (first) <==\none\n==> worker-2 (second) <==\ntwo\n"
    assert architect("report").out == architect("report", ran).out
    assert architect("compare").out == architect("compare", ran).out


def test_commands_about_a_run_can_be_about_some_workers(architect: Architect, ran: str) -> None:
    for command in (["status", "second"], ["compare", "second"], ["report", "second", "--format", "json"]):
        shown = architect(*command, *([] if "json" in command else ["--json"])).json
        assert ([result["name"] for result in shown["results"]], shown["total_tasks"]) == (["second"], 1), command
    told = [json.loads(line) for line in architect("watch", "second", "--json").out.splitlines()]
    assert {event["worker_id"] for event in told} == {None, 2}
    assert [event["seq"] for event in told] == list(range(1, len(told) + 1))


def test_changing_commands_take_them_too(architect: Architect, ran: str, checkout: Path) -> None:
    over = architect("resume", "first")
    assert (over.code, f"worker 1 of run {ran} has nothing left to do" in over.err) == (4, True)
    (checkout / "go").touch()
    assert architect("resume", "second", "--dry-run", "--json").json["worker_ids"] == [2]
    assert architect("resume", "second").code == 0
    assert architect("cancel").code == architect("cancel", "second").code == 4
    more = architect("parallel", "--continue", "latest", "second", "echo 3 > three", "--json")
    assert (more.code, more.json["results"][1]["attempts"]) == (0, 3)
    assert architect("merge", "--best", "--dry-run", "--json").json["run_id"] == ran
    assert architect("merge", "first").code == 0
    assert (checkout / "one").exists()
    assert architect("undo", "aaaa").code == 4
    assert architect("undo", "architect/parallel-1").code == 4
    assert architect("undo", ran).code == 0
    assert not (checkout / "one").exists()


def test_no_worker_given_lists_them(architect: Architect, ran: str) -> None:
    refused = architect("merge")
    assert refused.code == 2
    assert refused.err.startswith(f"architect: no worker given; run {ran} has 1 (first), 2 (second)\n")
