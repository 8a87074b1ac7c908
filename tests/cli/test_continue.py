"""`architect parallel --continue RUN N`: a worker goes on where it left off; nothing of its first attempt is lost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.console import Architect
from support.repositories import git

SHELL = ("--backend", "shell", "--workers", "1", "--json")
TOOL = """
import json, os, sys
session = sys.argv[3] if len(sys.argv) > 3 else "s-1"
with open("said.txt", "a") as file:
    file.write(f"{sys.argv[1]} in {session}\\n")
print(json.dumps({"result": "done", "session_id": session, "is_error": False}))
"""


def test_the_second_attempt_works_on_top_of_the_first(architect: Architect, checkout: Path) -> None:
    first = architect(
        "parallel", "echo 1 >> f; echo x > committed; git add -A; git commit -qm mine; echo 2 >> f", *SHELL
    )
    (before,) = first.json["results"]
    worktree = Path(before["worktree_path"])
    (worktree / "by-hand.txt").write_text("the user's\n")

    answer = architect("parallel", "--continue", "latest", "1", "cat f; echo 3 >> f; rm by-hand.txt", "--json")

    assert answer.code == 0
    (after,) = answer.json["results"]
    assert answer.json["run_id"] == first.json["run_id"]
    assert (after["branch"], after["worktree_path"], after["attempts"]) == (before["branch"], str(worktree), 2)
    assert after["output"].split() == ["1", "2"]
    assert after["files_modified"] == ["committed", "f"]
    assert git(checkout, "show", f"{after['branch']}:f").split() == ["1", "2", "3"]
    assert git(checkout, "merge-base", "--is-ancestor", before["diff"]["head"], after["diff"]["head"]) == ""
    # What stood there before the agent went on is kept, what a person did included.
    kept = git(checkout, "for-each-ref", "--format=%(refname)", "refs/architect/keep/").splitlines()
    assert any("by-hand.txt" in git(checkout, "ls-tree", "-r", "--name-only", ref) for ref in kept)


def test_artifacts_are_those_of_the_run_as_it_is_then(architect: Architect, checkout: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert architect("parallel", "echo 1 > f", *SHELL, "--artifacts", out).code == 0
    more = ("parallel", "--continue", "latest", "1", "echo 2 > f", "--json", "--artifacts")

    (checkout / "taken").mkdir()
    (checkout / "taken" / "mine.txt").write_text("the user's\n")
    refused = architect(*more, "taken")
    assert (refused.code, "it is not empty" in refused.err) == (2, True)
    assert architect("status", "latest", "--json").json["results"][0]["attempts"] == 1, "nothing was started"
    answer = architect(*more, out)

    assert answer.code == 0, answer.err
    assert json.loads((out / "result.json").read_text()) == architect("report", "latest", "-f", "json").json
    assert "+2" in (out / "worker-1.patch").read_text()


def test_costs_steps_and_history_add_up_and_the_exit_code_is_its_own(
    architect: Architect, checkout: Path, tmp_path: Path
) -> None:
    (tmp_path / "tool.py").write_text(
        "import json, sys, time\ntime.sleep(0.02)\n"
        "print(json.dumps({'result': 'done', 'cost': 0.25, 'steps': 3, 'input_tokens': 100, 'output_tokens': 10, "
        "'is_error': sys.argv[1] == 'fail'}))\n"
    )
    config = tmp_path / "config.yaml"
    config.write_text(
        f"backends: {{mytool: {{command: [python3, '{tmp_path / 'tool.py'}', '{{prompt}}'], output: json, "
        "fields: {cost: cost, steps: steps, input_tokens: input_tokens, output_tokens: output_tokens}}}\n"
    )
    more = ("--backend", "mytool", "-c", str(config), "--json")
    first = architect("parallel", "--task", "well", "--task", "fail", "--allow-partial", *more)
    assert (first.code, first.json["total_cost"]) == (0, 0.5)
    before = first.json["results"][0]

    answer = architect("parallel", "--continue", "latest", "1", "more", "-c", str(config), "--json")

    # Worker 2 has failed and stays so: that is not what was asked for here.
    assert (answer.code, answer.json["exit_code"], answer.json["status"]) == (0, 0, "partial")
    after = answer.json["results"][0]
    assert (after["cost"], after["steps"], after["attempts"]) == (0.5, 6, 2)
    assert (after["usage"]["input_tokens"], after["usage"]["output_tokens"]) == (200, 20)
    assert after["duration"] > before["duration"]
    assert [each["cost"] for each in after["attempt_history"]] == [0.25, 0.25]
    assert answer.json["total_cost"] == 0.75
    assert architect("status", "latest", "--json").json["results"][0]["cost"] == 0.5
    logs = architect("logs", "latest", "1", "--json").json["logs"]["1"]
    assert len(logs) == 2
    # The control: its own failure is its exit code, where another one succeeded and --allow-partial was given.
    failed = architect("parallel", "--continue", "latest", "2", "fail", "-c", str(config), "--json")
    assert (failed.code, failed.json["results"][1]["attempts"]) == (1, 2)


def test_it_goes_on_in_the_same_session_where_the_backend_can(
    architect: Architect, checkout: Path, tmp_path: Path
) -> None:
    (tmp_path / "tool.py").write_text(TOOL)
    config = tmp_path / "config.yaml"
    config.write_text(
        f"backends: {{mytool: {{command: [python3, '{tmp_path / 'tool.py'}', '{{prompt}}', "
        "['--session', '{session_id}']], output: json}}\n"
    )
    architect("parallel", "begin", "--backend", "mytool", "--workers", "1", "-c", str(config))

    plan = architect("parallel", "--continue", "latest", "1", "more", "-c", str(config), "--dry-run", "--json").json
    answer = architect("parallel", "--continue", "latest", "1", "more", "-c", str(config), "--json")

    assert (plan["session_id"], plan["attempt"], plan["warnings"]) == ("s-1", 2, [])
    assert answer.json["results"][0]["session_id"] == "s-1"
    said = git(checkout, "show", "architect/parallel-1:said.txt").splitlines()
    assert said == ["begin in s-1", "more in s-1"]
    # The control: a backend without sessions says so.
    architect("parallel", "true", *SHELL)
    assert "no session" in architect("parallel", "--continue", "latest", "1", "true").err


def test_landing_cleanup_and_undo_stay_right(architect: Architect, checkout: Path) -> None:
    architect("parallel", "echo 1 > f", *SHELL)
    architect("parallel", "--continue", "latest", "1", "echo 2 > g")

    assert architect("parallel-cleanup", "--force").code == 0
    gone = architect("parallel", "--continue", "latest", "1", "true")
    assert (gone.code, "undo" in gone.err) == (3, True)
    assert architect("undo").code == 0
    assert architect("parallel", "--continue", "latest", "1", "cat f g > h", "--json").json["results"][0][
        "files_modified"
    ] == ["f", "g", "h"]
    assert architect("merge", "latest", "1").code == 0
    assert (checkout / "h").read_text() == "1\n2\n"


def test_a_failed_one_is_resumed_with_its_own_instructions(architect: Architect) -> None:
    architect("parallel", "echo 1 >> f", *SHELL)
    assert architect("parallel", "--continue", "latest", "1", "echo 2 >> f; test -e again || exit 1").code == 1
    worktree = Path(architect("status", "latest", "--json").json["results"][0]["worktree_path"])
    (worktree / "again").touch()

    (result,) = architect("resume", "latest", "--json").json["results"]

    assert (result["status"], result["attempts"], result["task"]) == (
        "success", 3, "echo 2 >> f; test -e again || exit 1",
    )  # fmt: skip
    assert (worktree / "f").read_text().split() == ["1", "2", "2"]


def test_an_agent_cannot_hide_files_from_its_next_attempt(architect: Architect, checkout: Path) -> None:
    hide = 'echo hidden.txt >> "$(git rev-parse --git-path info/exclude)"'
    # The control: git itself, asked by the agent, would not see the file.
    architect("parallel", f"{hide}; git check-ignore hidden.txt && touch ignored", *SHELL)
    assert git(checkout / ".architect-parallel-1", "check-ignore", "hidden.txt", check=False) == ""

    answer = architect("parallel", "--continue", "latest", "1", "touch hidden.txt", "--json")

    assert answer.json["results"][0]["files_modified"] == ["hidden.txt", "ignored"]


@pytest.mark.parametrize(
    ("words", "code", "named"),
    [
        (("latest", "2", "x"), 2, "no worker 2"),
        (("latest", "one", "x"), 2, "no worker 'one'"),
        (("latest", "1"), 2, "instructions"),
        (("latest", "1", " "), 2, "empty"),
        (("latest", "1", "x", "--models", "m"), 2, "--models"),
        (("20200101-000000-abcd", "1", "x"), 4, "20200101-000000-abcd"),
    ],
)
def test_what_cannot_be_continued(architect: Architect, words: tuple[str, ...], code: int, named: str) -> None:
    architect("parallel", "true", *SHELL)

    answer = architect("parallel", "--continue", *words)

    assert (answer.code, answer.out) == (code, "")
    assert named in answer.err
