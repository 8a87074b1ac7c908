"""A launcher killed at any moment: no agent lives on, and status, resume and cleanup go on from what is there."""

from __future__ import annotations

import secrets
import shutil
import signal
import time
from pathlib import Path

import pytest
from support.console import Architect, running_with, wait_until, working_in
from support.repositories import git


def kill_launcher(architect: Architect, token: str, *words: str) -> None:
    process = architect.begin("parallel", *words, "--backend", "shell", "--quiet")
    wait_until(lambda: running_with(token) != [], "the agent's start")
    process.send_signal(signal.SIGKILL)
    process.wait()
    wait_until(lambda: running_with(token) == [], "the end of the agents of a dead launcher")


@pytest.fixture
def token() -> str:
    return f"3600.{secrets.randbelow(10**9):09d}"


def test_a_killed_launchers_run_is_interrupted_and_resumes_only_what_is_left(
    architect: Architect, checkout: Path, tmp_path: Path, token: str
) -> None:
    go, count = tmp_path / "go", tmp_path / "count"
    first = f"echo one >> {count}; echo early > early; test -e {go} && echo late > late || sleep {token}"
    second = f"echo two >> {count}; echo second > second"
    process = architect.begin("parallel", second, "--task", first, "--backend", "shell", "--quiet")
    wait_until(lambda: running_with(token) != [], "the agent's start")
    wait_until(lambda: architect("status", "latest", "--json").json["completed"] == 1, "the end of worker 1")
    process.send_signal(signal.SIGKILL)
    process.wait()
    wait_until(lambda: running_with(token) == [], "the end of the agents of a dead launcher")

    runs = architect("status", "--json").json["runs"]
    assert [run["status"] for run in runs] == ["interrupted"]
    assert [each["reason"] for each in architect("status", "latest", "--json").json["results"]] == [
        "completed",
        "interrupted",
    ]

    go.touch()
    answer = architect("resume", "latest", "--json")

    assert answer.code == 0, answer.err
    assert [(each["reason"], each["attempts"]) for each in answer.json["results"]] == [
        ("completed", 1),
        ("completed", 2),
    ]
    assert answer.json["results"][1]["files_modified"] == ["early", "late"]
    assert sorted(count.read_text().split()) == ["one", "one", "two"]
    kept = git(checkout, "for-each-ref", "--format=%(refname)", "refs/architect/keep/").splitlines()
    assert len(kept) == 1
    assert git(checkout, "show", f"{kept[0]}:early") == "early"
    assert "late" not in git(checkout, "ls-tree", "--name-only", kept[0]).split()


def test_a_resumed_worker_starts_from_its_base_again(architect: Architect, checkout: Path) -> None:
    task = "test -e tried && echo dirty > again || true; echo x > tried; git add tried; git commit -qm mine; exit 1"
    architect("parallel", task, "--backend", "shell", "--workers", "1")
    first = git(checkout, "rev-parse", "architect/parallel-1")

    answer = architect("resume", "latest", "--json")

    assert answer.code == 1
    result = answer.json["results"][0]
    assert (result["attempts"], result["files_modified"]) == (2, ["tried"])
    kept = git(checkout, "for-each-ref", "--format=%(objectname)", "refs/architect/keep/").split()
    assert kept == [first]


def test_resume_keeps_edits_also_where_the_run_directory_was_thinned_out(architect: Architect, checkout: Path) -> None:
    architect("parallel", "exit 1", "--backend", "shell", "--workers", "1")
    (checkout / ".architect-parallel-1" / "by-hand").write_text("precious\n")
    private = list((checkout / ".git" / "architect" / "runs").glob("*/git"))
    assert len(private) == 1
    shutil.rmtree(private[0])

    architect("resume", "latest")

    assert not (checkout / ".architect-parallel-1" / "by-hand").exists()
    kept = git(checkout, "for-each-ref", "--format=%(refname)", "refs/architect/keep/").splitlines()
    assert [git(checkout, "show", f"{ref}:by-hand") for ref in kept] == ["precious"]


@pytest.mark.parametrize("after_s", [0.0, 0.15, 0.3, 0.45, 0.6, 0.9])
def test_killed_at_any_moment_everything_can_be_cleaned_up(
    architect: Architect, checkout: Path, after_s: float, token: str
) -> None:
    process = architect.begin(
        "parallel", f"echo x > y; sleep {token}", "--backend", "shell", "--workers", "4", "--quiet"
    )
    time.sleep(after_s)
    process.send_signal(signal.SIGKILL)
    process.wait()
    wait_until(lambda: running_with(token) == [], "the end of the agents of a dead launcher")

    # Its git has a process group of its own and may still be at a checkout.
    wait_until(lambda: working_in(checkout) == [], "the end of the dead launcher's git")

    assert architect("status").code == 0
    answer = architect("parallel-cleanup", "--force", "--json")
    assert answer.code == 0, answer.err

    assert git(checkout, "worktree", "list", "--porcelain").count("worktree ") == 1
    assert git(checkout, "branch", "--list", "architect/*") == ""
    assert list(checkout.glob(".architect-parallel-*")) == []
    assert git(checkout, "status", "--porcelain") == ""
    again = architect("parallel", "echo fine", "--backend", "shell", "--workers", "1", "--json")
    assert again.json["results"][0]["branch"] == "architect/parallel-1"


def test_a_dead_launchers_dirty_worktree_stays_without_force(architect: Architect, checkout: Path, token: str) -> None:
    kill_launcher(architect, token, f"echo precious > precious; sleep {token}", "--workers", "1")

    architect("parallel-cleanup")
    assert (checkout / ".architect-parallel-1" / "precious").read_text() == "precious\n"

    forced = architect("parallel-cleanup", "--force", "--json")
    assert forced.code == 0
    kept = git(checkout, "for-each-ref", "--format=%(refname)", "refs/architect/keep/").splitlines()
    assert [git(checkout, "show", f"{ref}:precious") for ref in kept] == ["precious"]
    assert not (checkout / ".architect-parallel-1").exists()

    assert architect("undo").code == 0
    assert (checkout / ".architect-parallel-1" / "precious").read_text() == "precious\n"


def test_commits_of_a_killed_launchers_agent_are_on_its_branch_after_the_next_cleanup(
    architect: Architect, checkout: Path, token: str
) -> None:
    kill_launcher(
        architect, token, f"echo x > x; git add x; git commit -qm mine; echo y > y; sleep {token}", "--workers", "1"
    )
    git_file = (checkout / ".architect-parallel-1" / ".git").read_text()
    assert "/repo/worker-1" in git_file
    looked = architect("parallel-cleanup", "--force", "--dry-run")
    assert "commits are not taken over yet" in looked.out
    assert (checkout / ".architect-parallel-1" / ".git").read_text() == git_file

    answer = architect("parallel-cleanup")

    assert answer.code == 0
    assert git(checkout, "log", "-1", "--format=%s", "architect/parallel-1") == "mine"
    assert git(checkout / ".architect-parallel-1", "status", "--porcelain") == "?? y"
    assert "uncommitted changes: y" in answer.out
