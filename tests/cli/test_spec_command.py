"""`architect spec` through the console script: exit codes, streams, a killed launcher."""

from __future__ import annotations

import contextlib
import json
import secrets
import signal
import sqlite3
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from support.console import Architect, running_with, wait_until
from support.repositories import git

SPEC = """\
name: Try
defaults: {backend: shell}
tasks:
  - {name: design, task: echo the design}
  - {name: '<b> & "x"', task: 'echo got {{ design }}', dependencies: [design]}
"""


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    file = tmp_path / "try.yaml"
    file.write_text(SPEC)
    return file


def test_run_prints_the_results_and_json_the_envelope(architect: Architect, spec: Path, checkout: Path) -> None:
    answer = architect("spec", "run", spec)
    assert answer.code == 0, answer.err
    assert "[2] got the design" in answer.out
    assert "Total: 2 tasks, 2 completed, 0 failed" in answer.out

    assert "## Ranking" not in architect("report", "latest", "--format", "markdown").out, "they did not do the same"
    architect("parallel", "true", "--backend", "shell", "--workers", "2")
    assert "## Ranking" in architect("report", "latest", "--format", "markdown").out

    envelope = architect("spec", "run", spec, "--json", "--only", "design").json
    assert (envelope["status"], envelope["total_tasks"], envelope["skipped"]) == ("success", 1, 0)
    assert git(checkout, "status", "--porcelain") == ""


def test_strict_refuses_scopes_that_overlap_but_not_those_of_tasks_that_wait_for_each_other(
    architect: Architect, checkout: Path, tmp_path: Path
) -> None:
    file = tmp_path / "scopes.yaml"
    tasks = ["{name: a, task: echo, files: [src/**]}", "{name: b, task: echo, dependencies: [a]}"]
    tasks.append("{name: c, task: echo, files: ['**/*.py'], dependencies: [%s]}")
    text = "name: Scopes\ndefaults: {backend: shell}\ntasks:\n" + "".join(f"  - {each}\n" for each in tasks)
    file.write_text(text % "")
    said = "the scopes of 'a' and 'c' overlap: src/** and **/*.py"

    planned = architect("spec", "run", file, "--dry-run", "--json")
    assert (planned.code, planned.json["warnings"]) == (0, [said])
    for more in ((), ("--dry-run",)):
        refused = architect("spec", "run", file, "--strict", *more)
        assert (refused.code, refused.out, said in refused.err) == (2, "", True)
    assert architect("status", "--json").json["runs"] == []
    file.write_text(text % "b")  # after a, by way of b
    apart = architect("spec", "run", file, "--strict", "--dry-run", "--json")
    assert (apart.code, apart.json["warnings"]) == (0, [])
    assert "leave out --strict" in architect("spec", "run", file, "--strict", "--resume", "latest").err


def test_a_faulty_spec_is_exit_2_with_every_fault_and_starts_nothing(
    architect: Architect, tmp_path: Path, checkout: Path
) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text("tasks:\n  - {name: a, deps: [c]}\n  - {name: b, deps: [a]}\n  - {name: c, deps: [b, x]}\n")
    for words in (("validate",), ("run",), ("graph",), ("run", "--dry-run")):
        answer = architect("spec", *words, file)
        assert answer.code == 2
        assert "a → c → b → a" in answer.err
        assert "unknown task 'x'" in answer.err
    found = architect("spec", "validate", file, "--json")
    assert (found.code, found.json["valid"]) == (2, False)
    assert [each.removeprefix(f"{file}:").partition(" ")[0] for each in found.json["faults"]] == ["2:15:", "4:25:"]
    assert git(checkout, "branch", "--list", "architect/*") == ""


def test_faults_that_need_the_repository_stand_beside_the_others(
    architect: Architect, tmp_path: Path, checkout: Path
) -> None:
    git(checkout, "branch", "side")
    file = tmp_path / "bad.yaml"
    file.write_text(
        "tasks:\n  - {name: a, deps: [x]}\n  - {name: b, task: '{{ file(no/where.md) }}'}\n"
        "  - {name: c, task: '{{ file(made.md) }}', deps: [b]}\nmerge: {into: side/x}\nstate_file: spec.yaml\n"
    )
    (checkout / "spec.yaml").write_text("mine\n")
    for words in (("validate",), ("run", "--backend", "shell"), ("run", "--backend", "shell", "--dry-run")):
        answer = architect("spec", *words, file)
        assert answer.code == 2
        lines = answer.err.splitlines()
        assert "4 faults" in lines[0]
        for line, place in zip(lines[1:5], ("2:22", "3:15", "5:9", "6:1"), strict=True):
            assert f":{place}: " in line, answer.err
    assert (checkout / "spec.yaml").read_text() == "mine\n"
    assert architect("spec", "validate", file, cwd=tmp_path).err.count("bad.yaml") == 1  # no repository there


def test_a_graph_in_every_format_shows_names_and_obeys_nothing_in_them(architect: Architect, spec: Path) -> None:
    drawn = {each: architect("spec", "graph", spec, "--format", each) for each in ("text", "mermaid", "dot", "svg")}
    assert {each.code for each in drawn.values()} == {0}
    assert '<b> & "x"  ← design' in drawn["text"].out
    assert "t1 --> t2" in drawn["mermaid"].out
    assert "<b>" not in drawn["mermaid"].out
    assert '"design" -> "<b> & \\"x\\"";' in drawn["dot"].out
    root = ET.fromstring(drawn["svg"].out)
    assert '<b> & "x"' in [each.text for each in root.iter("{http://www.w3.org/2000/svg}text")]
    assert architect("spec", "graph", spec, "--json").json["order"] == ["design", '<b> & "x"']
    assert architect("spec", "graph", spec, "--format", "png").code == 2


def test_a_dry_run_says_who_waits_for_whom(architect: Architect, spec: Path, checkout: Path) -> None:
    more = "merge: {into: architect/merged, check: make test}\nstate_file: .architect/try.md\nretry: {}\nrecovery: {}\n"
    spec.write_text(SPEC + more)
    answer = architect("spec", "run", spec, "--dry-run")
    assert answer.code == 0
    assert "after     [1] design" in answer.out
    assert "Lands on architect/merged, if this passes after each step: make test" in answer.out
    assert f"State file: {checkout}/.architect/try.md" in answer.out
    assert "3 attempts" in answer.out
    assert "recovery with 1 further attempt" in answer.out
    plan = architect("spec", "run", spec, "--dry-run", "--json").json
    assert [each["dependencies"] for each in plan["workers"]] == [[], [1]]
    assert git(checkout, "branch", "--list", "architect/*") == ""


def test_a_killed_launchers_spec_goes_on_where_it_was(architect: Architect, tmp_path: Path) -> None:
    token = f"3600.{secrets.randbelow(10**9):09d}"
    go, count = tmp_path / "go", tmp_path / "count"
    tasks = [
        {"name": "a", "task": f"echo a >> {count}; echo a > a.txt"},
        {"name": "b", "task": f"echo b >> {count}; test -e {go} || sleep {token}; cat a.txt", "dependencies": ["a"]},
        {"name": "c", "task": f"echo c >> {count}; cat a.txt", "dependencies": ["a", "b"]},
        {"name": "bad", "task": f"echo bad >> {count}; test -e {go}"},
        {"name": "after", "task": "true", "dependencies": ["bad"]},
    ]
    file = tmp_path / "killed.json"
    file.write_text(json.dumps({"name": "killed", "defaults": {"backend": "shell"}, "tasks": tasks}))
    process = architect.begin("spec", "run", str(file), "--quiet")
    wait_until(lambda: running_with(token) != [], "the start of b")
    wait_until(lambda: architect("status", "latest", "--json").json["skipped"] == 1, "the end of bad")
    process.send_signal(signal.SIGKILL)
    process.wait()
    wait_until(lambda: running_with(token) == [], "the end of the agents of a dead launcher")
    go.touch()

    other = tmp_path / "other.yaml"
    other.write_text(SPEC)
    assert architect("spec", "run", other, "--resume", "latest").code == 2
    assert "leave out --base" in architect("spec", "run", file, "--resume", "latest", "--base", "main").err
    answer = architect("spec", "run", file, "--resume", "latest", "--json")

    assert answer.code == 1, answer.err
    assert [(each["status"], each["output"]) for each in answer.json["results"]] == [
        ("success", ""),
        ("success", "a"),
        ("success", "a"),
        ("failed", ""),
        ("skipped", ""),
    ]
    assert sorted(count.read_text().split()) == ["a", "b", "b", "bad", "c"], "what had ended did not run again"

    assert architect("spec", "run", file, "--resume", "latest").code == 0  # the run ended with a failure: once more
    assert sorted(count.read_text().split()) == ["a", "b", "b", "bad", "bad", "c"]
    assert architect("spec", "run", file, "--resume", "latest").code == 4


@pytest.mark.parametrize("words", [["resume", "latest"], ["spec", "run", "late.yaml", "--resume", "latest"]])
def test_a_spec_killed_before_its_end_or_its_landing_is_ended_and_lands(
    architect: Architect, checkout: Path, words: list[str]
) -> None:
    (checkout / "late.yaml").write_text(
        "merge: {into: side/late}\ntasks: [{name: a, backend: shell, task: 'echo a > a.txt'}]\n"
    )
    assert architect("spec", "run", "late.yaml").code == 0
    for lost in ("SELECT 1", "DELETE FROM events WHERE type = 'RunFinished'"):
        git(checkout, "branch", "-D", "side/late")
        with contextlib.closing(sqlite3.connect(checkout / ".git" / "architect" / "runs.db")) as journal, journal:
            journal.execute(lost)
            assert journal.execute("DELETE FROM operations").rowcount == 1
        answer = architect(*words)
        assert answer.code == 0, answer.err
        assert git(checkout, "show", "side/late:a.txt") == "a"
        assert architect("status", "latest", "--json").json["status"] == "success"
    assert architect(*words).code == 4
    assert architect("undo").code == 0
    assert architect(*words).code == 4, "who took the landing back does not want it"


def test_dependencies_of_a_task_file_act(architect: Architect, tmp_path: Path) -> None:
    file = tmp_path / "tasks.yaml"
    file.write_text(
        "defaults: {backend: shell}\ntasks:\n  - {name: b, prompt: 'cat a.txt', dependencies: [one]}\n"
        "  - {id: one, prompt: 'echo {{ b }} > a.txt'}\n  - {name: c, prompt: 'exit 1'}\n"
        "  - {name: d, prompt: 'true', dependencies: [c]}\n"
    )
    envelope = architect("parallel", "--file", file, "--json").json
    assert [each["status"] for each in envelope["results"]] == ["success", "success", "failed", "skipped"]
    assert envelope["results"][0]["output"] == "{{ b }}"  # braces mean something in specs alone
    twice = architect("parallel", "--file", file, "--workers", "6")
    assert twice.code == 2
    assert "is done by several workers" in twice.err


def test_a_run_gone_on_with_lands_and_what_does_not_is_said(architect: Architect, checkout: Path) -> None:
    go = checkout.parent / "go"
    (checkout / "spec.yaml").write_text(
        f"tasks: [{{name: a, backend: shell, task: 'echo a > a.txt; test -e {go}'}}]\n"
        "merge: {into: side/merged, check: 'test ! -e bad'}\n"
    )
    assert architect("spec", "run", "spec.yaml").code == 1
    go.touch()
    answer = architect("resume", "latest", "--json")
    assert (answer.code, answer.json["merge"]["merged"]) == (0, [1])
    (checkout / "spec.yaml").write_text(
        "tasks: [{name: a, backend: shell, task: 'echo a > bad'}]\nmerge: {into: side/two, check: 'test ! -e bad'}\n"
    )
    answer = architect("spec", "run", "spec.yaml")
    assert (answer.code, "worker 1 is left out" in answer.err) == (5, True), answer.err
    assert "merge: check: test ! -e bad" in answer.out


def test_a_state_file_that_cannot_be_written_is_one_line_and_no_traceback(
    architect: Architect, tmp_path: Path, checkout: Path
) -> None:
    file = tmp_path / "spec.yaml"
    place = tmp_path / "place"
    task = f"rm -r '{place}'; echo in the way > '{place}'"
    file.write_text(f"tasks: [{{name: a, backend: shell, task: {json.dumps(task)}}}]\nstate_file: {place}/state.md\n")
    answer = architect("spec", "run", file, "--quiet")
    assert answer.code == 0
    assert f"the state file {place}/state.md cannot be written: File exists" in answer.err
    assert "Traceback" not in answer.err
    (line,) = answer.err.splitlines()[-1:]
    details = Path(line.rpartition("; details: ")[2])
    assert "Traceback" in details.read_text()
    details.unlink()
