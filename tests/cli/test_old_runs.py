"""Runs of an older version: today's program shows, resumes, undoes and cleans up what that version recorded.

`tests/recordings/runs/record.py` made the recording with the last version before the source tree was reorganized.
"""

from __future__ import annotations

import json
import tarfile
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from support.console import Architect
from support.repositories import git

RECORDED = Path(__file__).resolve().parents[1] / "recordings" / "runs"
PLACE = "/tmp/recorded-runs/repository"
"""Where the repository was when it was recorded."""
RUNS = ("finished", "retried", "interrupted", "spec", "flow", "competition", "merged")


@pytest.fixture
def checkout(tmp_path: Path, home: Path) -> Path:
    """The recorded repository, as if it had been recorded at a new place."""
    with tarfile.open(RECORDED / "repository.tar.gz") as archive:
        archive.extractall(tmp_path, filter="fully_trusted")
    repository = tmp_path / "repository"
    for file in repository.rglob("*"):
        if file.is_file() and file.name not in ("runs.db", "index") and PLACE.encode() in file.read_bytes():
            file.write_bytes(file.read_bytes().replace(PLACE.encode(), str(repository).encode()))
    return repository


@pytest.fixture
def answers(checkout: Path) -> Any:
    """What the older version printed about its runs, with today's place of the repository."""
    return json.loads((RECORDED / "answers.json").read_text().replace(PLACE, str(checkout)))


@pytest.fixture
def run_ids(answers: Any) -> dict[str, str]:
    return {name: answers[name]["run_id"] for name in RUNS}


def differences(old: Any, new: Any, place: str = "") -> list[str]:
    """The places at which `new` lacks a value of `old`. A key that only `new` has is no difference."""
    if isinstance(old, dict) and isinstance(new, dict):
        return [line for key in old for line in differences(old[key], new.get(key, "(no such key)"), f"{place}.{key}")]
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        pairs = enumerate(zip(old, new, strict=True))
        return [line for number, (a, b) in pairs for line in differences(a, b, f"{place}[{number}]")]
    return [] if old == new else [f"{place}: {old!r} became {new!r}"]


def test_the_runs_read_as_they_did(architect: Architect, checkout: Path, answers: Any, run_ids: dict[str, str]) -> None:
    listed = architect("status", "--json").json["runs"]
    assert {run["run_id"]: run["status"] for run in listed} == {
        answers[name]["run_id"]: answers[name]["report"]["status"] for name in RUNS
    }
    for name, run_id in run_ids.items():
        report = architect("report", run_id, "--format", "json").out
        # A recorded warning names the old place in its text.
        report = json.loads(report.replace(PLACE, str(checkout)))
        assert differences(answers[name]["report"], report, name) == []
    compared = architect("compare", run_ids["finished"], "--json").json
    assert differences(answers["compared"], compared) == []
    assert architect("undo", "--list", "--json").json == answers["operations"]


def test_reports_in_all_formats(architect: Architect, answers: Any, run_ids: dict[str, str]) -> None:
    for name in ("interrupted", "competition"):
        run_id = run_ids[name]
        tasks = [result["task"] for result in answers[name]["report"]["results"]]
        text, markdown, page, junit = (
            architect("report", run_id, "--format", kind) for kind in ("text", "markdown", "html", "junit")
        )
        assert [answer.code for answer in (text, markdown, page, junit)] == [0] * 4
        assert text.out.count("\n") > len(tasks)
        assert all(f"architect/parallel-{number}" in markdown.out for number in numbers(answers[name]["report"]))
        assert run_id in page.out
        assert len(list(ET.fromstring(junit.out).iter("testcase"))) >= len(tasks)


def numbers(report: Any) -> list[str]:
    """The numbers of the branches of a run's workers."""
    return [result["branch"].rpartition("-")[2] for result in report["results"] if result["branch"]]


def test_logs_and_patches_are_found(architect: Architect, run_ids: dict[str, str]) -> None:
    assert "greeting.txt says hello world." in architect("logs", run_ids["finished"], "1").out
    assert "+hello moon" in architect("diff", run_ids["finished"], "2").out
    assert "+echo" not in architect("diff", run_ids["interrupted"], "2").out
    assert "+one" in architect("diff", run_ids["interrupted"], "2").out


def test_an_interrupted_run_resumes(architect: Architect, home: Path, run_ids: dict[str, str]) -> None:
    (home / "go").touch()
    answer = architect("resume", run_ids["interrupted"], "--json")
    assert answer.code == 0, answer.err
    ends = [(result["reason"], result["attempts"], result["files_modified"]) for result in answer.json["results"]]
    assert ends == [("completed", 2, ["two.txt"]), ("completed", 1, ["one.txt"])]


def test_an_interrupted_spec_resumes_after_its_finished_task(
    architect: Architect, checkout: Path, home: Path, run_ids: dict[str, str]
) -> None:
    (home / "go").touch()
    answer = architect("resume", run_ids["spec"], "--json")
    assert answer.code == 0, answer.err
    assert [(result["reason"], result["attempts"]) for result in answer.json["results"]] == [
        ("completed", 1),
        ("completed", 2),
        ("completed", 1),
    ]
    branch = answer.json["results"][1]["branch"]
    assert git(checkout, "show", f"{branch}:beta.txt") == "beta after alpha"


def test_a_paused_flow_takes_its_answer(architect: Architect, run_ids: dict[str, str]) -> None:
    answer = architect("flow", "run", "--resume", run_ids["flow"], "--answer", "yes", "--json")
    assert answer.code == 0, answer.err
    assert (answer.json["status"], answer.json["pause"]) == ("success", None)
    assert answer.json["results"][-1]["output"] == "began yes"


def test_a_failed_run_resumes(architect: Architect, run_ids: dict[str, str]) -> None:
    answer = architect("resume", run_ids["retried"], "--json")
    ended, failed = answer.json["results"]
    assert (answer.code, ended["attempts"], failed["reason"]) == (1, 2, "agent_error")
    assert failed["attempts"] > 4


def test_a_merge_is_undone(architect: Architect, checkout: Path, answers: Any) -> None:
    assert (checkout / "merged.txt").exists()
    (operation,) = answers["operations"]["operations"]
    answer = architect("undo", "--json")
    assert (answer.code, answer.json["commit"]) == (0, operation["payload"]["old"])
    assert git(checkout, "rev-parse", "main") == operation["payload"]["old"]
    assert not (checkout / "merged.txt").exists()


def test_everything_is_cleaned_up_and_comes_back(architect: Architect, checkout: Path) -> None:
    before = git(checkout, "for-each-ref", "refs/heads")
    answer = architect("parallel-cleanup", "--force", "--json")
    assert answer.code == 0, answer.err
    assert git(checkout, "branch", "--list", "architect/*") == ""
    assert list(checkout.glob(".architect-parallel-*")) == []
    assert architect("undo").code == 0
    assert git(checkout, "for-each-ref", "refs/heads") == before


def test_a_result_lands_and_the_other_conflicts_with_it(
    architect: Architect, checkout: Path, run_ids: dict[str, str]
) -> None:
    landed = architect("merge", run_ids["finished"], "1", "--json")
    assert landed.code == 0, landed.err
    assert (checkout / "greeting.txt").read_text() == "hello world\n"
    answer = architect("merge", run_ids["finished"], "2")
    assert (answer.code, "greeting.txt" in answer.err) == (5, True), answer.err
