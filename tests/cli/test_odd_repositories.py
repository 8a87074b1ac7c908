"""Repositories that break naive tools: the whole way works in them, or one clear line comes before anything is made."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from support.console import Architect
from support.landing_runs import everything
from support.repositories import commit_all, fake_git, git, make_repository

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


TASKS = (
    *("--task", "echo new > new", "--task", "echo two > two; git add two; git commit -qm two"),
    *("--task", "git checkout -q --detach; echo three > three; git add three; git commit -qm three; exit 1"),
)


@pytest.fixture(params=["sha256", "reftable"])
def place(request: pytest.FixtureRequest, checkout: Path, tmp_path: Path) -> Path:
    if request.param == "sha256":
        return sha256(checkout, tmp_path)
    return Path(request.getfixturevalue("reftable"))


def test_the_whole_way_in_other_formats(architect: Architect, place: Path) -> None:
    architect.cwd = place
    before = everything(place)
    answer = architect("parallel", "--backend", "shell", *TASKS, "--json")
    results = answer.json["results"]
    assert [result["status"] for result in results] == ["success", "success", "failed"]
    assert [result["files_modified"] for result in results] == [["new"], ["two"], ["three"]]
    assert results[0]["warnings"] == results[1]["warnings"] == [], "HEAD is where it belongs"
    assert git(place / ".architect-parallel-1", "symbolic-ref", "HEAD") == "refs/heads/architect/parallel-1"
    assert git(place / ".architect-parallel-1", "status", "--porcelain") == ""
    ran = everything(place)

    merged = architect("merge", "latest", "1", "2", "--json")
    assert merged.code == 0, merged.err
    assert [(place / name).read_text() for name in ("new", "two")] == ["new\n", "two\n"]
    assert git(place, "status", "--porcelain") == ""
    assert git(place, "rev-parse", "main") == merged.json["commit"]
    assert architect("undo").code == 0
    assert everything(place) == ran

    assert architect("resume", "latest", "--json").code == 1
    resumed = everything(place)
    cleaned = architect("parallel-cleanup", "--force", "--json").json
    assert (len(cleaned["removed"]), cleaned["stays"]) == (3, [])
    assert everything(place) == before
    assert architect("undo").code == 0
    assert everything(place) == resumed


def test_results_travel_between_clones_in_other_formats(architect: Architect, place: Path, tmp_path: Path) -> None:
    artifacts, clone = tmp_path / "artifacts", tmp_path / "clone"
    options = ("--ref-format=reftable",) if (place / ".git" / "reftable").exists() else ()
    git(tmp_path, "clone", "-q", *options, place, clone)
    assert architect(*RUN, "--artifacts", artifacts, cwd=place).code == 0
    imported = architect("import", artifacts, cwd=clone)
    assert imported.code == 0, imported.err
    assert architect("merge", "latest", "1", cwd=clone).code == 0
    assert git(clone, "status", "--porcelain") == ""
    assert (clone / "new").read_text() == "new\n"


def test_in_a_reftable_the_user_keeps_the_branch_they_are_on(architect: Architect, reftable: Path) -> None:
    assert architect(*RUN, cwd=reftable).code == 0
    git(reftable, "worktree", "remove", "--force", ".architect-parallel-1")
    git(reftable, "switch", "-q", "architect/parallel-1")
    answer = architect("parallel-cleanup", "--force", cwd=reftable)
    assert "is checked out in" in answer.out + answer.err
    assert git(reftable, "log", "--format=%s", "-1") == "architect: echo new > new"


def test_what_a_check_does_to_head_is_put_back_in_a_reftable(architect: Architect, reftable: Path) -> None:
    answer = architect(*RUN, "--check", "git checkout -q --detach", cwd=reftable)
    assert answer.code == 0, answer.err
    head = git(reftable / ".architect-parallel-1", "symbolic-ref", "HEAD")
    assert head == "refs/heads/architect/parallel-1"


def test_a_checkout_that_core_bare_hides_is_not_merged_into(architect: Architect, checkout: Path) -> None:
    assert architect(*RUN).code == 0
    git(checkout, "config", "core.bare", "true")
    for command in (("merge", "latest", "1"), ("merge", "latest", "1", "--into", "main"), RUN, ("parallel-cleanup",)):
        answer = architect(*command)
        assert answer.code == 3
        assert "core.bare" in answer.err
        assert "Traceback" not in answer.err
    git(checkout, "config", "core.bare", "false")
    assert git(checkout, "status", "--porcelain") == ""
    assert not (checkout / ".git" / ".architect-parallel-2").exists()


def test_a_lock_is_one_line_and_no_step(architect: Architect, checkout: Path) -> None:
    assert architect(*RUN).code == 0
    lock = checkout / ".git" / "index.lock"
    lock.touch()
    answer = architect("merge", "latest", "1")
    assert (answer.code, answer.out) == (3, "")
    first, second = answer.err.splitlines()
    assert first.startswith(f"architect: {lock} is in the way, ")
    assert second.startswith(f"  try: rm {lock},")
    assert architect("undo", "--list", "--json").json == {"operations": []}


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
