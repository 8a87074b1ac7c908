"""Runs whose worktrees and branches are not at their default places."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.console import Architect
from support.repositories import git

SETTINGS = "worktrees: {root: '../{repo}.worktrees/{name}', branch: 'work/{slug}'}\n"


@pytest.fixture
def beside(architect: Architect, home: Path) -> Path:
    """The directory beside the repository in which worktrees are made."""
    config = home / ".config" / "architect-parallel" / "config.yaml"
    config.parent.mkdir(parents=True)
    config.write_text(SETTINGS)
    return architect.cwd.parent / "repo.worktrees"


def branches(checkout: Path) -> list[str]:
    return git(checkout, "for-each-ref", "--format=%(refname:lstrip=2)", "refs/heads").splitlines()


def test_a_run_beside_the_checkout_is_merged_cleaned_up_and_restored(
    architect: Architect, beside: Path, tmp_path: Path
) -> None:
    task = ("parallel", "--backend", "shell", "--tripwire", "fail", "--check", "test -f new")
    done = architect(*task, "echo a > new", "--workers", "2", "--artifacts", str(tmp_path / "art"), "--json")
    assert done.code == 0, done.err
    assert [item["branch"] for item in done.json["results"]] == ["work/echo-a-new", "work/echo-a-new-2"]
    assert sorted(os.listdir(beside)) == ["worker-1", "worker-2-2"], "nothing of the baseline is left"
    assert not [name for name in os.listdir(architect.cwd) if name.startswith(".architect")]
    assert architect("merge", "latest", "1").code == 0
    assert architect("parallel-cleanup").code == 0
    assert (branches(architect.cwd), os.listdir(beside)) == (["main"], [])
    assert architect("undo").code == 0
    assert branches(architect.cwd) == ["main", "work/echo-a-new", "work/echo-a-new-2"]
    assert sorted(os.listdir(beside)) == ["worker-1", "worker-2-2"]

    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", architect.cwd, clone)
    git(clone, "branch", "work/echo-a-new")
    imported = architect("import", str(tmp_path / "art"), "--json", cwd=clone).json
    assert [item["branch"] for item in imported["branches"]] == ["work/echo-a-new-2", "work/echo-a-new-3"]
    assert imported["renamed"]


def test_resume_and_a_merge_with_checks_use_the_same_places(architect: Architect, beside: Path) -> None:
    words = ("parallel", "--backend", "shell", "--no-baseline", "--check", 'pwd >> "$HOME/places"')
    done = architect(
        *words, "--task", "test -f ../again || { touch ../again; exit 1; }; echo a > a", "--task", "echo b > b"
    )
    assert done.code == 1, done.out
    resumed = architect("resume", "latest", "--json")
    assert resumed.code == 0, resumed.out
    assert [Path(item["worktree_path"]).parent for item in resumed.json["results"]] == [beside, beside]
    assert architect("merge", "latest", "--all").code == 0
    places = (Path(os.environ["HOME"]) / "places").read_text().splitlines()
    assert {Path(place).parent for place in places} == {beside}
    assert sorted(os.listdir(beside)) == ["again", "worker-1", "worker-2"], "the worktree of the merge is gone"


def test_a_root_in_the_repositorys_own_file_needs_trust(architect: Architect) -> None:
    (architect.cwd / ".architect-parallel.yaml").write_text(SETTINGS)
    done = architect("parallel", "--backend", "shell", "true", "--json")
    assert "worktrees.root (architect config trust)" in done.err
    assert not (architect.cwd.parent / "repo.worktrees").exists()


def test_a_bad_root_is_named_before_a_number_is_reserved(architect: Architect, tmp_path: Path) -> None:
    config = tmp_path / "bad.yaml"
    config.write_text("worktrees: {root: '{repo}/.git/x'}\n")
    done = architect("parallel", "-c", str(config), "--backend", "shell", "true")
    assert (done.code, done.err.count("\n")) == (2, 2)
    assert "is inside a git directory" in done.err
    assert architect("status", "--json").json["runs"] == []
