"""The number, branch and directory of each worker."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from support.dispatching import spec
from support.repositories import git, make_repository

from architect_parallel.domain import Isolation, WorkerSpec, WorktreeSettings
from architect_parallel.errors import EnvironmentProblem, UsageError
from architect_parallel.system.git import Repository, open_repository
from architect_parallel.tripwire.checkout import MainCheckout
from architect_parallel.worktrees.create import add_worktree, restore_branch
from architect_parallel.worktrees.places import Places, exclude_from_status, highest_number, require_root

BESIDE = WorktreeSettings(root="../{repo}.worktrees/{name}", branch="work/{slug}")


def worker(worker_id: int = 1, *, name: str = "review", prompt: str = "Fix the parser") -> WorkerSpec:
    return spec(worker_id, name=name, prompt=prompt, isolation=Isolation.WORKTREE)


def given(repository: Repository, settings: WorktreeSettings, *workers: WorkerSpec) -> list[tuple[str, str]]:
    """Branch and directory, relative to the repository, that the workers get."""
    places = Places(repository, settings)
    specs = [places.give(draft) for draft in workers or (worker(),)]
    return [(item.branch, os.path.relpath(item.worktree_path, repository.root)) for item in specs]


def test_names_come_from_the_templates(repository: Repository, home: Path) -> None:
    assert given(repository, WorktreeSettings()) == [("architect/parallel-1", ".architect-parallel-1")]
    assert given(repository, BESIDE) == [("work/fix-the-parser", "../repo.worktrees/review")]
    at_home = WorktreeSettings(root="~/trees/{repo}", branch="{run}/{n}-{name}")
    directory = os.path.relpath(home / "trees/repo/.architect-parallel-1", repository.root)
    assert given(repository, at_home) == [("r/1-review", directory)]
    assert given(repository, WorktreeSettings(root="{repo}.wt/{n}/work")) == [
        ("architect/parallel-1", "../repo.wt/1/work")
    ]


def test_a_taken_name_gets_a_number_and_a_taken_number_the_next(repository: Repository) -> None:
    names = given(repository, BESIDE, worker(1), worker(2), worker(3, name="REVIEW", prompt="other"))
    assert names == [
        ("work/fix-the-parser", "../repo.worktrees/review"),
        ("work/fix-the-parser-2", "../repo.worktrees/review-2"),
        ("work/other-3", "../repo.worktrees/REVIEW-3"),  # the same directory where upper case does not count
    ]
    git(repository.root, "branch", "architect/review/below")
    (repository.root / ".architect-parallel-1").mkdir()
    by_name = WorktreeSettings(branch="architect/{name}")
    assert given(repository, by_name) == [("architect/review-2", ".architect-parallel-2")]
    git(repository.root, "branch", "tree-4")
    by_number = WorktreeSettings(root="../trees/{n}", branch="tree-{n}")
    (repository.root.parent / "trees" / "8").mkdir(parents=True)
    assert given(repository, by_number) == [("tree-9", "../trees/9")]
    assert highest_number(repository, by_number) == 8


def test_what_a_live_run_has_planned_is_taken(repository: Repository) -> None:
    first = Places(repository, BESIDE).give(worker())
    second = Places(repository, BESIDE, [first]).give(worker())
    assert (second.number, second.branch) == (2, "work/fix-the-parser-2")
    assert second.worktree_path.endswith("/review-2")


def test_a_branch_in_the_way_of_all_names_is_an_error(repository: Repository) -> None:
    git(repository.root, "branch", "work")
    with pytest.raises(EnvironmentProblem, match="a branch named 'work'") as caught:
        Places(repository, BESIDE)
    assert caught.value.hint == "git branch -m work work-old"


@pytest.mark.parametrize(
    ("root", "message"),
    [
        ("{repo}/.git/trees", "is inside a git directory"),
        ("link/trees", "is inside a git directory"),
        ("out/../trees", "is a link, so .. after it is ambiguous"),
        ("{repo}/{name}", "would hide every new directory"),
        ("{repo}/{name}-{n}/x", None),
        ("{repo}/tex{n}", "would hide files of the repository from git: text/a.txt"),
        ("README/trees", "README is not a directory"),
        ("text", None),  # worktrees in it have names of their own
    ],
)
def test_a_root_is_examined_before_anything_is_made(tmp_path: Path, root: str, message: str | None) -> None:
    top = make_repository(tmp_path / "repo", {"README": "", "text/a.txt": "a"})
    (top / "link").symlink_to(".git")
    (top / "out").symlink_to(tmp_path)
    settings = WorktreeSettings(root=root)
    if message is None:
        require_root(open_repository(top), settings)
        return
    with pytest.raises((UsageError, EnvironmentProblem), match=message):
        require_root(open_repository(top), settings)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_root_that_cannot_be_written_is_named(repository: Repository, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    with pytest.raises(EnvironmentProblem, match="closed cannot be written"):
        require_root(repository, WorktreeSettings(root=f"{closed}/trees"))


@pytest.mark.parametrize("root", ["{repo}/.worktrees/{name}", "{repo}/wt-{name}", "trees [x]", "{repo}/in/{name}/work"])
def test_worktrees_inside_the_checkout_are_hidden_from_git(tmp_path: Path, root: str) -> None:
    repository = open_repository(make_repository(tmp_path / "repo"))
    settings = WorktreeSettings(root=root)
    require_root(repository, settings)
    exclude_from_status(repository, settings)
    before = git(repository.root, "status", "--porcelain")
    made = Places(repository, settings).give(replace(worker(), name="a"))
    head = git(repository.root, "rev-parse", "HEAD")
    add_worktree(
        repository, path=Path(made.worktree_path), branch=made.branch, base_commit=head, run_id="20260101-000000-aaaa"
    )
    assert (before, git(repository.root, "status", "--porcelain")) == ("", "")
    (repository.root / "mine").mkdir()
    (repository.root / "mine" / "file").touch()
    assert git(repository.root, "status", "--porcelain") == "?? mine/", "only the program's directories are hidden"


def test_the_tripwire_knows_a_workers_branch_by_its_owner_and_no_other(repository: Repository, tmp_path: Path) -> None:
    watched = MainCheckout(repository, tmp_path / "private")
    head = git(repository.root, "rev-parse", "HEAD")
    add_worktree(repository, path=tmp_path / "tree", branch="work/x", base_commit=head, run_id="20260101-000000-aaaa")
    assert watched.changes() == []
    restore_branch(repository, branch="release", commit=head, run_id="20260101-000000-aaaa", is_users=True)
    assert [change.path for change in watched.changes()] == ["refs/heads/release"]
    # A forged owner does not hide a branch that was there.
    git(repository.root, "update-ref", "refs/architect/owned/20260101-000000-aaaa/main", "HEAD")
    git(repository.root, "update-ref", "refs/heads/main", "HEAD~1")
    assert "refs/heads/main" in [change.path for change in watched.changes()]
