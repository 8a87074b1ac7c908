"""`worktrees.registry`: registrations and trees on the level of files, without git."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from architect_parallel.errors import EnvironmentProblem
from architect_parallel.repository.heads import head_branch
from architect_parallel.repository.registry import (
    admin_dir_from_dotgit,
    admin_dir_of,
    is_ours,
    lock_reason,
    marked_run,
    partial_worktrees,
    registered_path,
    write_owner,
)
from architect_parallel.repository.trash import empty_trash, move_to_trash
from architect_parallel.system.files import delete_tree
from architect_parallel.system.git import Repository


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    root = tmp_path / "repo"
    (root / ".git" / "worktrees").mkdir(parents=True)
    return Repository(root=root, checkout=root, common_dir=root / ".git")


def register(repository: Repository, name: str, **files: str) -> Path:
    admin = repository.common_dir / "worktrees" / name
    admin.mkdir()
    for file, content in files.items():
        (admin / file).write_text(content)
    return admin


def test_a_registration_names_its_place_absolutely_or_relatively(repository: Repository) -> None:
    place = repository.root / "w"
    assert registered_path(register(repository, "a", gitdir=f"{place}/.git\n")) == place
    assert registered_path(register(repository, "b", gitdir="../../../w/.git\r\n")) == place
    assert registered_path(register(repository, "c")) is None
    assert registered_path(register(repository, "d", gitdir="")) is None


def test_a_place_is_found_through_links_to_its_parent(repository: Repository, tmp_path: Path) -> None:
    admin = register(repository, "w", gitdir=f"{repository.root}/w/.git\n")
    (tmp_path / "link").symlink_to(repository.root)
    assert admin_dir_of(repository, tmp_path / "link" / "w") == admin
    assert admin_dir_of(repository, tmp_path / "w") is None


def test_a_link_in_the_place_of_a_worktree_is_not_it(repository: Repository, tmp_path: Path) -> None:
    register(repository, "w", gitdir=f"{tmp_path}/real/.git\n")
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert admin_dir_of(repository, tmp_path / "link") is None


def test_heads_locks_and_marks_are_read(repository: Repository) -> None:
    admin = register(repository, "w", HEAD="ref: refs/heads/a/b\n", locked="why\n")
    assert (head_branch(admin), lock_reason(admin), marked_run(admin)) == ("a/b", "why", None)
    write_owner(admin, "r1")
    assert marked_run(admin) == "r1"
    bare = register(repository, "x", HEAD="0" * 40 + "\n")
    assert (head_branch(bare), lock_reason(bare)) == (None, None)


def test_half_made_registrations_are_those_of_the_name_without_a_place(repository: Repository) -> None:
    place = repository.root / ".architect-parallel-1"
    ours = [register(repository, name) for name in ("-architect-parallel-1", "-architect-parallel-12")]
    register(repository, "-architect-parallel-2")
    register(repository, "architect-parallel-1")
    register(repository, "-architect-parallel-11", gitdir="/elsewhere/.git\n")
    assert partial_worktrees(repository, place) == ours


@pytest.mark.parametrize(
    ("files", "ours"),
    [
        ({"architect-run": "r1\n", "HEAD": "ref: refs/heads/agents\n"}, True),
        ({"architect-run": "r2\n", "HEAD": "ref: refs/heads/b\n"}, False),
        ({"HEAD": "ref: refs/heads/b\n"}, True),
        ({"HEAD": "ref: refs/heads/users\n"}, False),
        ({"HEAD": "0" * 40, "locked": "initializing"}, True),
        ({}, True),
    ],
)
def test_a_registration_tells_whose_it_is(repository: Repository, files: dict[str, str], ours: bool) -> None:
    place = repository.root / "w"
    place.mkdir()
    register(repository, "w", gitdir=f"{place}/.git\n", **files)
    assert is_ours(repository, place, "b", "r1") is ours


def test_an_unregistered_directory_is_ours_only_when_empty(repository: Repository) -> None:
    place = repository.root / "w"
    assert is_ours(repository, place, "b", "r1")
    place.mkdir()
    assert is_ours(repository, place, "b", "r1")
    (place / "file").touch()
    assert not is_ours(repository, place, "b", "r1")
    (place / ".git").write_text(f"gitdir: {repository.common_dir}/worktrees/w\n")
    assert admin_dir_from_dotgit(place) == repository.common_dir / "worktrees" / "w"
    assert not is_ours(repository, place, "b", "r1")
    register(repository, "w", gitdir=f"{place}/.git\n", **{"architect-run": "r1\n"})
    assert is_ours(repository, place, "b", "r1")


def test_taking_away_is_a_rename_and_the_space_is_freed_later(repository: Repository, tmp_path: Path) -> None:
    place = repository.root / "w"
    place.mkdir()
    (place / "file").touch()
    (place / "link").symlink_to(tmp_path)
    place.chmod(0o500)
    move_to_trash(repository, place, repository.root / "missing")
    assert not place.exists()
    trash = repository.state_dir / "trash"
    assert [sorted(path.name for path in taken.iterdir()) for taken in trash.iterdir()] == [["file", "link"]]
    empty_trash(repository)
    assert os.listdir(trash) == []
    assert tmp_path.exists()


def test_what_cannot_be_moved_is_named_and_the_rest_stays(repository: Repository) -> None:
    place = repository.root / "w"
    place.mkdir()
    repository.state_dir.mkdir()
    with pytest.raises(EnvironmentProblem, match="cannot be written"):
        move_to_trash(repository, repository.root / ("x" * 300), place)
    assert place.exists()


def test_a_link_is_deleted_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "precious")
    delete_tree(tmp_path / "link")
    delete_tree(tmp_path / "link")
    assert os.listdir(tmp_path) == ["precious"]
