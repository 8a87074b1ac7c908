"""`worktrees.merged`: work that landed is recognised however it landed; in doubt it is not."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.repositories import commit_all, fake_git, git, make_repository

from architect_parallel.landing.merged_check import is_merged
from architect_parallel.system.git import Repository, open_repository


@pytest.fixture(params=["git as it is", "git before 2.38"])
def repository(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """`main` with a file of 30 lines; branch `work` changes line 5 and line 6 in two commits and adds a file."""
    if request.param != "git as it is":
        monkeypatch.setenv("PATH", fake_git(tmp_path / "bin", "2.34.1"))
    place = make_repository(tmp_path / "repo", {"file": lines(), "other": "x\n"})
    git(place, "switch", "-q", "-c", "work")
    (place / "file").write_text(lines(five="work"))
    commit_all(place, "one")
    (place / "file").write_text(lines(five="work", six="work"))
    (place / "added").write_text("added\n")
    commit_all(place, "two")
    git(place, "switch", "-q", "main")
    return open_repository(place)


def lines(**changed: str) -> str:
    names = {"five": 5, "six": 6, "twenty": 20}
    content = [f"line {number}" for number in range(30)]
    for name, text in changed.items():
        content[names[name]] = text
    return "\n".join(content) + "\n"


def merged(repository: Repository, target: str = "main") -> bool:
    resolve = repository.store.text
    return is_merged(repository, tip=resolve("rev-parse", "work"), target=resolve("rev-parse", target))


def advance(place: Path) -> None:
    (place / "file").write_text((place / "file").read_text().replace("line 20", "main went on"))
    commit_all(place, "main went on")


def test_unmerged_work_is_not_merged(repository: Repository) -> None:
    assert not merged(repository)
    advance(repository.root)
    assert not merged(repository)


def test_a_branch_at_its_base_is_empty(repository: Repository) -> None:
    tip = repository.store.text("rev-parse", "work")
    main = repository.store.text("rev-parse", "main")
    assert is_merged(repository, tip=tip, target=main, base=tip)
    assert not is_merged(repository, tip=tip, target=main, base=main)


@pytest.mark.parametrize("way", ["fast-forward", "merge", "squash", "rebase"])
@pytest.mark.parametrize("later", [False, True])
def test_landed_work_is_recognised(repository: Repository, way: str, later: bool) -> None:
    place = repository.root
    if way != "fast-forward":
        advance(place)
    match way:
        case "fast-forward":
            git(place, "merge", "-q", "--ff-only", "work")
        case "merge":
            git(place, "merge", "-q", "--no-edit", "work")
        case "squash":
            git(place, "merge", "-q", "--squash", "work")
            commit_all(place, "squashed")
            # Control: for git's own -d the branch is not merged.
            git(place, "branch", "copy", "work")
            with pytest.raises(AssertionError, match="not fully merged"):
                git(place, "branch", "-d", "copy")
        case _:
            git(place, "checkout", "-q", "-B", "rebased", "work")
            git(place, "rebase", "-q", "main")
            git(place, "switch", "-q", "main")
            git(place, "merge", "-q", "--ff-only", "rebased")
    if later:  # the same lines again: only the patches tell now
        (place / "file").write_text((place / "file").read_text().replace("work", "edited later"))
        commit_all(place, "later")
    assert merged(repository)


def test_half_of_the_work_is_not_all(repository: Repository) -> None:
    git(repository.root, "cherry-pick", "work~1")
    assert not merged(repository)


def test_work_that_went_on_after_a_squash_is_not_merged(repository: Repository) -> None:
    place = repository.root
    git(place, "merge", "-q", "--squash", "work")
    commit_all(place, "squashed")
    git(place, "switch", "-q", "work")
    (place / "added").write_text("more\n")
    commit_all(place, "three")
    git(place, "switch", "-q", "main")
    assert not merged(repository)


def test_conflicting_work_is_not_merged(repository: Repository) -> None:
    (repository.root / "file").write_text(lines(five="main"))
    commit_all(repository.root, "conflict")
    assert not merged(repository)


def test_unrelated_histories_are_not_merged(repository: Repository) -> None:
    git(repository.root, "checkout", "-q", "--orphan", "island")
    commit_all(repository.root, "island")
    assert not merged(repository, "island")


def test_comparing_leaves_no_objects_and_runs_no_driver(repository: Repository, tmp_path: Path) -> None:
    place, ran = repository.root, tmp_path / "ran"
    (place / ".git" / "info" / "attributes").write_text("* merge=evil\n")
    (place / ".gitattributes").write_text("* merge=evil\n")
    (place / "file").write_text(lines(five="main"))
    commit_all(place, "conflict")
    git(place, "config", "merge.evil.driver", f"touch '{ran}'; false")
    objects = git(place, "count-objects", "-v")
    assert not merged(repository)
    assert git(place, "count-objects", "-v") == objects
    assert not list(repository.state_dir.glob("merged-*"))
    assert not ran.exists()
    git(place, "merge", "--no-edit", "work", check=False)  # control
    assert ran.exists()


@pytest.mark.parametrize("option", ["--object-format=sha256", "--shallow"])
def test_odd_repositories_are_compared(repository: Repository, tmp_path: Path, option: str) -> None:
    if option == "--shallow":
        git(repository.root, "branch", "base", "main")
        git(tmp_path, "clone", "-q", "--no-single-branch", "--depth=3", f"file://{repository.root}", """sh"al\\low""")
        place = tmp_path / """sh"al\\low"""
        git(place, "branch", "work", "origin/work")
    else:
        place = make_repository(tmp_path / "sha256", {"file": lines()}, options=(option,))
        git(place, "switch", "-q", "-c", "work")
        (place / "file").write_text(lines(five="work"))
        commit_all(place, "one")
        git(place, "switch", "-q", "main")
    found = open_repository(place)
    assert not merged(found)
    git(place, "merge", "-q", "--squash", "work")
    commit_all(place, "squashed")
    advance(place)
    assert merged(found)
