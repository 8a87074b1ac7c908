"""`merge --pr-each` and `parallel --open-pr`, with a script in place of gh and a bare repository as the remote."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.console import Architect
from support.repositories import git


@pytest.fixture
def gh(checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with the arguments and texts that the stand-in for gh got, a file for each call."""
    remote, told, folder = checkout.parent / "remote.git", tmp_path / "told", tmp_path / "programs"
    git(checkout, "clone", "-q", "--bare", checkout, remote)
    git(checkout, "remote", "add", "origin", remote)
    told.mkdir()
    folder.mkdir()
    program = folder / "gh"
    program.write_text(f"""#!/bin/sh
count=$(ls '{told}' | wc -l)
printf '%s\\n' "$@" > '{told}/'$count
while [ "$1" != --body-file ]; do shift; done
cat "$2" >> '{told}/'$count
echo https://example.invalid/pull/$count
""")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return told


def test_each_result_gets_a_pull_request_of_its_own(architect: Architect, gh: Path, checkout: Path) -> None:
    tasks = ("--task", "echo a > a.txt", "--task", "echo b > b.txt", "--task", "true")
    assert architect("parallel", "--backend", "shell", *tasks).code == 0
    main = git(checkout, "rev-parse", "main")

    answer = architect("merge", "--all", "--pr-each", "--json")

    assert (answer.code, answer.err) == (0, "")
    merges = answer.json["merges"]
    assert [(entry["merged"], entry["pull_request"][-1]) for entry in merges] == [([1], "0"), ([2], "1")]
    told = [(gh / name).read_text() for name in ("0", "1")]
    assert ["--title\necho a > a.txt\n" in told[0], "--title\necho b > b.txt\n" in told[1]] == [True, True]
    # Options of `gh pr create` 2.23, the oldest gh of a supported Debian.
    assert told[0].splitlines()[2:10:2] == ["--base", "--head", "--title", "--body-file"]
    assert git(checkout, "rev-parse", "main") == main


def test_a_run_can_open_the_pull_request_of_the_best_result(architect: Architect, gh: Path) -> None:
    run = ("parallel", "echo $ARCHITECT_WORKER_ID > a.txt", "--backend", "shell", "--workers", "2", "--open-pr")

    answer = architect(*run, "--check", "true")

    assert answer.code == 0, answer.err
    assert "pull request: https://example.invalid/pull/0" in answer.out
    assert len(list(gh.iterdir())) == 1
    assert "| <code>true</code> | passed | passed |" in (gh / "0").read_text()


def test_without_gh_nothing_is_started(architect: Architect, checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    answer = architect("parallel", "true", "--backend", "shell", "--open-pr")
    assert (answer.code, answer.out) == (3, "")
    assert architect("status", "--json").json["runs"] == []
