"""`worktrees.heads` and the checkouts of `worktrees.registry`: what git itself counts as checked out."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.landing_runs import commit
from support.repositories import git

from architect_parallel.repository import side_effects
from architect_parallel.repository.checkouts import checkout_of, checkouts
from architect_parallel.repository.heads import head_branch, is_taken, operation_in, put_head_on, read_head, read_reflog
from architect_parallel.system.git import open_repository
from architect_parallel.tripwire.repository_state import RepositoryState

REBASE = {"GIT_SEQUENCE_EDITOR": "sed -i s/^pick/edit/"}


def words_for(place: Path, branch: str) -> str | None:
    checkout = checkout_of(open_repository(place), branch)
    return None if checkout is None else checkout.words


def begin(place: Path, operation: str) -> None:
    """Leaves the checkout, which is on `work`, in the middle of the operation; `other` conflicts with it."""
    git(place, "switch", "-q", "-c", "other")
    commit(place, {"README.md": "other\n"}, "other")
    git(place, "switch", "-q", "-c", "work", "HEAD~1")
    for number in range(3 if operation == "bisect" else 1):
        commit(place, {"README.md": f"mine {number}\n"})
    commands = {
        "rebase": ("rebase", "other"),
        "rebase --apply": ("rebase", "--apply", "other"),
        "rebase -i": ("rebase", "-i", "HEAD~1"),
        "bisect": ("bisect", "start", "HEAD", "HEAD~3"),
        "merge": ("merge", "other"),
        "cherry-pick": ("cherry-pick", "other"),
        "cherry-pick series": ("cherry-pick", "other", "other~1"),
        "revert": ("revert", "--no-commit", "HEAD"),
    }
    if operation == "git am":
        git(place, "format-patch", "-q", "-1", "other", "-o", place.parent / "patches")
        git(place, "am", *(place.parent / "patches").iterdir(), check=False)
        return
    git(place, *commands[operation], env=REBASE, check=False)
    if operation == "cherry-pick series":
        git(place, "checkout", "-q", "--theirs", ".")
        git(place, "commit", "-qam", "resolved")
        assert not (place / ".git" / "CHERRY_PICK_HEAD").exists()


LEAVING = ("rebase", "rebase --apply", "rebase -i", "bisect")
STAYING = ("merge", "cherry-pick", "cherry-pick series", "revert", "git am")


@pytest.mark.parametrize("operation", LEAVING)
def test_the_branch_under_an_operation_counts_as_checked_out(checkout: Path, tmp_path: Path, operation: str) -> None:
    begin(checkout, operation)
    # Control: HEAD does not say it, and git refuses to move the branch.
    assert git(checkout, "symbolic-ref", "-q", "HEAD", check=False) == ""
    with pytest.raises(AssertionError, match=r"(checked out|used by worktree) at"):
        git(checkout, "branch", "-f", "work", "main")
    git(checkout, "worktree", "add", "-q", "-b", "side", tmp_path / "side")
    word = operation.split()[0]
    for place in (checkout, tmp_path / "side"):
        assert words_for(place, "work") == f"has a {word} in progress in {checkout}"
    assert operation_in(checkout / ".git") == word


@pytest.mark.parametrize("operation", STAYING)
def test_an_operation_on_the_branch_itself_is_seen(checkout: Path, operation: str) -> None:
    begin(checkout, operation)
    assert operation_in(checkout / ".git") == operation.removesuffix(" series")
    assert words_for(checkout, "work") == f"is checked out in {checkout}"


def test_no_operation_is_seen_where_none_is(checkout: Path) -> None:
    assert operation_in(checkout / ".git") is None
    git(checkout, "bisect", "start")
    git(checkout, "bisect", "reset")
    assert operation_in(checkout / ".git") is None


def test_branches_that_a_rebase_will_update_count_too(checkout: Path) -> None:
    git(checkout, "switch", "-q", "-c", "lower")
    commit(checkout, {"a": "a\n"}, "a")
    git(checkout, "switch", "-q", "-c", "upper")
    commit(checkout, {"b": "b\n"}, "b")
    git(checkout, "rebase", "-q", "-i", "--update-refs", "main", env=REBASE)
    assert words_for(checkout, "lower") == words_for(checkout, "upper") == f"has a rebase in progress in {checkout}"
    git(checkout, "rebase", "--abort")
    assert words_for(checkout, "lower") is None


def test_a_worktree_that_is_not_at_its_place_has_its_branch_as_for_git(checkout: Path, tmp_path: Path) -> None:
    git(checkout, "worktree", "add", "-q", "-b", "side", tmp_path / "side")
    (tmp_path / "side").rename(tmp_path / "moved")
    with pytest.raises(AssertionError, match="side"):
        git(checkout, "branch", "-f", "side", "main~1")
    assert words_for(checkout, "side") == f"is checked out in {tmp_path / 'side'}, which is not there"
    git(checkout, "worktree", "prune")
    assert words_for(checkout, "side") is None


def test_head_as_a_link_names_its_branch(checkout: Path) -> None:
    git(checkout, "-c", "core.preferSymlinkRefs=true", "symbolic-ref", "HEAD", "refs/heads/main")
    head = checkout / ".git" / "HEAD"
    if not head.is_symlink():  # a later git may have dropped the setting
        head.unlink()
        head.symlink_to("refs/heads/main")
    assert git(checkout, "symbolic-ref", "HEAD") == "refs/heads/main"
    assert head_branch(checkout / ".git") == "main"


def test_an_unusable_head_is_none(tmp_path: Path) -> None:
    assert read_head(tmp_path) is None
    for text in ("", "ref: elsewhere", "12", "a" * 41):
        (tmp_path / "HEAD").write_text(text)
        assert read_head(tmp_path) is None
    (tmp_path / "HEAD").unlink()
    os.mkfifo(tmp_path / "HEAD")
    assert read_head(tmp_path) is None


def test_a_reftable_is_asked(reftable: Path, tmp_path: Path) -> None:
    common = reftable / ".git"
    # Control: what the file says is not HEAD.
    assert (common / "HEAD").read_text().strip() == "ref: refs/heads/.invalid"
    assert head_branch(common) == "main"
    for name, words in {"side": ("-b", "side"), "off": ("--detach",)}.items():
        git(reftable, "worktree", "add", "-q", *words, tmp_path / name)
    repository = open_repository(reftable)
    assert {branch: [found.path for found in places] for branch, places in checkouts(repository).items()} == {
        "main": [reftable], "side": [tmp_path / "side"],
    }  # fmt: skip
    assert read_head(common / "worktrees" / "off") == git(reftable, "rev-parse", "main")
    git(tmp_path / "side", "switch", "-q", "--orphan", "unborn")
    assert head_branch(common / "worktrees" / "side") == "unborn"
    assert set(checkouts(repository)) == {"main", "unborn"}
    put_head_on(common / "worktrees" / "off", "side")
    assert git(tmp_path / "off", "symbolic-ref", "HEAD") == "refs/heads/side"


def test_a_branch_in_a_reftable_that_dangles_is_taken(reftable: Path) -> None:
    git(reftable, "symbolic-ref", "refs/heads/dangling", "refs/heads/nothing")
    assert git(reftable, "for-each-ref", "refs/heads/dangling") == ""
    assert is_taken(reftable / ".git", "refs/heads/dangling")
    assert not is_taken(reftable / ".git", "refs/heads/other")


@pytest.mark.parametrize("operation", [*LEAVING, *STAYING])
def test_operations_are_seen_in_a_reftable(reftable: Path, operation: str) -> None:
    begin(reftable, operation)
    word = operation.split(" ")[0] if operation != "git am" else operation
    assert operation_in(reftable / ".git") == word
    detached = operation in LEAVING
    assert words_for(reftable, "work") == (
        f"has a {word} in progress in {reftable}" if detached else f"is checked out in {reftable}"
    )


def test_reflogs_of_a_reftable_are_read_like_files(reftable: Path, checkout: Path) -> None:
    for place in (reftable, checkout):
        for number in range(2):
            (place / "tracked").write_text(f"{number}\n")
            git(place, "add", "tracked")
            git(place, "stash", "-q", "-m", f"number {number}")
        git(place, "switch", "-q", "-c", "other")
        found = side_effects.stashes(open_repository(place))
        assert [stash.message for stash in found] == ["On main: number 0", "On main: number 1"]
        assert [stash.oid for stash in found] == [git(place, "rev-parse", f"stash@{{{n}}}") for n in (1, 0)]
        assert side_effects.head_commits(place / ".git") >= {git(place, "rev-parse", "HEAD")}
        assert side_effects.visited_branches(place / ".git") == {"other"}
        assert read_reflog(place / ".git", "refs/heads/none") == []


def test_the_main_checkouts_head_is_watched_in_a_reftable(reftable: Path) -> None:
    standing = RepositoryState(open_repository(reftable))
    assert [*standing.changes()] == []
    git(reftable, "switch", "-q", "-c", "other")
    [change, _] = standing.changes()
    assert (change.path, change.words) == ("HEAD", "HEAD was ref: refs/heads/main, is ref: refs/heads/other")
