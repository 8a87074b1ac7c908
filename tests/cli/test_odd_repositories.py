"""Repositories that break naive tools: the whole way works in them, or one clear line comes before anything is made."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from console import Architect
from repositories import commit_all, fake_git, git, make_repository

RUN = ("parallel", "--backend", "shell", "--workers", "1", "--json", "echo new > new")


def bare(checkout: Path, tmp_path: Path) -> Path:
    git(tmp_path, "clone", "-q", "--bare", checkout, "bare.git")
    return tmp_path / "bare.git"


def linked(checkout: Path, tmp_path: Path) -> Path:
    git(checkout, "worktree", "add", "-q", "-b", "other", tmp_path / "linked", "HEAD~1")
    return tmp_path / "linked"


def inside_submodule(checkout: Path, tmp_path: Path) -> Path:
    outer = make_repository(tmp_path / "outer")
    git(outer, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", checkout, "module")
    return outer / "module" / "slugger"


def with_submodule(checkout: Path, tmp_path: Path) -> Path:
    module = make_repository(tmp_path / "module")
    git(checkout, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", module, "vendored")
    commit_all(checkout, "a submodule")
    return checkout


def shallow(checkout: Path, tmp_path: Path) -> Path:
    git(tmp_path, "clone", "-q", "--depth=1", f"file://{checkout}", "shallow")
    return tmp_path / "shallow"


def sparse(checkout: Path, tmp_path: Path) -> Path:
    git(checkout, "sparse-checkout", "set", "slugger")
    return checkout


def sha256(checkout: Path, tmp_path: Path) -> Path:
    return make_repository(tmp_path / "sha256", options=("--object-format=sha256",))


@pytest.mark.parametrize(
    "kind", [bare, linked, inside_submodule, with_submodule, shallow, sparse, sha256], ids=lambda kind: kind.__name__
)
def test_run_and_cleanup_work(
    architect: Architect, checkout: Path, tmp_path: Path, kind: Callable[[Path, Path], Path]
) -> None:
    place = kind(checkout, tmp_path)
    before = git(place, "worktree", "list"), git(place, "for-each-ref", "refs/heads")
    answer = architect(*RUN, cwd=place)
    assert answer.code == 0, answer.err
    [result] = answer.json["results"]
    assert (result["status"], result["files_modified"]) == ("success", ["new"])
    assert git(place, "show", "architect/parallel-1:new") == "new"
    if kind is not bare:
        assert git(place, "status", "--porcelain") == ""
    assert architect("parallel-cleanup", "--force", cwd=place).code == 0
    assert (git(place, "worktree", "list"), git(place, "for-each-ref", "refs/heads")) == before


def test_a_repository_without_a_commit_is_refused(architect: Architect, tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "empty")
    answer = architect(*RUN, cwd=tmp_path / "empty")
    assert (answer.code, answer.out) == (3, "")
    assert "no commit yet" in answer.err
    assert "git commit --allow-empty" in answer.err
    assert not (tmp_path / "empty" / ".git" / "architect").exists()


def test_a_git_too_old_is_refused(architect: Architect, tmp_path: Path) -> None:
    answer = architect(*RUN, env={"PATH": fake_git(tmp_path / "bin", "2.20.1")})
    assert (answer.code, answer.out) == (3, "")
    assert "git 2.20 is too old" in answer.err


def test_a_git_before_2_38_runs_and_cleans_up(architect: Architect, tmp_path: Path) -> None:
    old = {"PATH": fake_git(tmp_path / "bin", "2.34.1")}
    assert architect(*RUN, env=old).json["status"] == "success"
    assert architect("parallel-cleanup", "--force", env=old).code == 0
