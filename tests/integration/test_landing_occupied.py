"""A branch with an operation in progress, or behind a lock, is refused by name, and no step to undo stays."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.landing_runs import MadeRun, commit, ended_run, everything
from support.repositories import git

from architect_parallel.errors import EnvironmentProblem, ExitCode, NothingToDo
from architect_parallel.journal import Journal
from architect_parallel.landing import cleanup, merge, undo
from architect_parallel.landing.target_branch import find_target, move
from architect_parallel.snapshots.keep_refs import keep
from architect_parallel.system.git import GitError, Repository, open_repository
from architect_parallel.worktrees.create import add_worktree, reopen_worktree
from architect_parallel.worktrees.remove import delete_branch


@pytest.fixture
def journal(repository: Repository) -> Iterator[Journal]:
    with Journal.open(repository.state_dir) as opened:
        yield opened


def begin_on_main(checkout: Path, operation: str) -> None:
    git(checkout, "switch", "-q", "-c", "topic")
    commit(checkout, {"README.md": "topic\n"}, "topic")
    git(checkout, "switch", "-q", "main")
    commit(checkout, {"README.md": "mine\n"}, "mine")
    patches = checkout.parent / "patches"
    git(checkout, "format-patch", "-q", "-1", "topic", "-o", patches)
    commands: dict[str, tuple[str | Path, ...]] = {
        "merge": ("merge", "topic"),
        "cherry-pick": ("cherry-pick", "topic"),
        "revert": ("revert", "--no-commit", "HEAD"),
        "git am": ("am", *patches.iterdir()),
        "rebase": ("rebase", "topic"),
        "bisect": ("bisect", "start", "HEAD", "HEAD~2"),
    }
    git(checkout, *commands[operation], check=False)


@pytest.mark.parametrize("operation", ["merge", "cherry-pick", "revert", "git am", "rebase", "bisect"])
@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_target_with_an_operation_in_progress_is_refused_by_name(
    checkout: Path, repository: Repository, journal: Journal, tmp_path: Path, operation: str, elsewhere: bool
) -> None:
    ended_run(repository, journal, "run", {"new.txt": "new\n"})
    begin_on_main(checkout, operation)
    here = repository
    if elsewhere:  # the user stands in another worktree
        git(checkout, "worktree", "add", "-q", "-b", "side", tmp_path / "side", "topic")
        here = open_repository(tmp_path / "side")
    tip = git(checkout, "rev-parse", "main")
    with pytest.raises(EnvironmentProblem) as caught:
        merge.plan_merge(here, journal, "run", 1, into="main")
    assert caught.value.exit_code == ExitCode.ENVIRONMENT
    assert caught.value.message == f"main has a {operation} in progress in {checkout}"
    assert (caught.value.hint or "").startswith(f"git -C {checkout} {operation.removeprefix('git ')} ")
    assert git(checkout, "rev-parse", "main") == tip
    assert journal.operations() == []


def test_without_a_branch_named_the_rebase_is_named_instead_of_a_detached_head(
    checkout: Path, repository: Repository, journal: Journal
) -> None:
    ended_run(repository, journal, "run", {"new.txt": "new\n"})
    begin_on_main(checkout, "rebase")
    with pytest.raises(EnvironmentProblem, match="main has a rebase in progress"):
        merge.plan_merge(repository, journal, "run", 1)


def test_a_rebase_that_begins_between_plan_and_move_is_seen(
    checkout: Path, repository: Repository, journal: Journal
) -> None:
    ended_run(repository, journal, "run", {"new.txt": "new\n"})
    git(checkout, "branch", "target")
    plan = merge.plan_merge(repository, journal, "run", 1, into="target")
    git(checkout, "switch", "-q", "target")
    with pytest.raises(EnvironmentProblem, match="meanwhile"):
        merge.execute(repository, journal, plan)
    assert git(checkout, "status", "--porcelain") == ""
    assert journal.operations() == []


def test_undo_of_a_merge_waits_for_the_end_of_a_rebase(
    checkout: Path, repository: Repository, journal: Journal
) -> None:
    ended_run(repository, journal, "run", {"new.txt": "new\n"})
    merge.execute(repository, journal, merge.plan_merge(repository, journal, "run", 1))
    git(checkout, "rebase", "-q", "-i", "HEAD~1", env={"GIT_SEQUENCE_EDITOR": "sed -i s/^pick/edit/"})
    tip = git(checkout, "rev-parse", "main")
    with pytest.raises(EnvironmentProblem, match="main has a rebase in progress"):
        undo.plan_undo(repository, journal)
    git(checkout, "rebase", "--abort")
    undo.execute(repository, journal, undo.plan_undo(repository, journal))
    assert git(checkout, "rev-parse", "main") == git(checkout, "rev-parse", f"{tip}~1")


def leave_a_rebase_of(run: MadeRun, checkout: Path) -> None:
    """The user rebases the worker's branch in the main checkout."""
    git(checkout, "worktree", "remove", "--force", run.worktree(1))
    git(checkout, "switch", "-q", run.branch(1))
    git(checkout, "rebase", "-q", "-i", "HEAD~1", env={"GIT_SEQUENCE_EDITOR": "sed -i s/^pick/edit/"})


def test_cleanup_leaves_a_branch_that_is_being_rebased(
    checkout: Path, repository: Repository, journal: Journal
) -> None:
    run = ended_run(repository, journal, "run", {"new.txt": "new\n"})
    leave_a_rebase_of(run, checkout)
    done = cleanup.execute(repository, journal, cleanup.plan_cleanup(repository, journal, force=True))
    assert [stays.reason for stays in done.stays] == [f"it has a rebase in progress in {checkout}"]
    assert journal.operations() == []
    git(checkout, "rebase", "--abort")
    # Control: git's own lowest door deletes it under the rebase.
    git(checkout, "switch", "-q", "--detach")
    git(checkout, "update-ref", "-d", f"refs/heads/{run.branch(1)}")


def test_a_worker_whose_branch_is_being_rebased_is_not_begun_again(
    checkout: Path, repository: Repository, journal: Journal
) -> None:
    run = ended_run(repository, journal, "run", {"new.txt": "new\n"})
    leave_a_rebase_of(run, checkout)
    tip = run.tip(1)
    with pytest.raises(EnvironmentProblem, match="has a rebase in progress"):
        reopen_worktree(repository, path=run.worktree(1), branch=run.branch(1), base_commit=run.base, run_id=run.run_id)
    assert run.tip(1) == tip


def test_a_combined_branch_takes_no_name_that_a_packed_branch_below_it_blocks(
    checkout: Path, repository: Repository, journal: Journal
) -> None:
    ended_run(repository, journal, "run", {"a.txt": "a\n"}, {"b.txt": "b\n"})
    git(checkout, "branch", "architect/merged-run/mine")
    git(checkout, "pack-refs", "--all")
    outcome = merge.execute(repository, journal, merge.plan_merge(repository, journal, "run", 1, 2))
    assert outcome.branch == "architect/merged-run-2"


def test_the_branch_of_a_checkout_that_was_moved_away_is_not_moved(
    checkout: Path, repository: Repository, journal: Journal, tmp_path: Path
) -> None:
    ended_run(repository, journal, "run", {"new.txt": "new\n"})
    git(checkout, "worktree", "add", "-q", "-b", "side", tmp_path / "side")
    (tmp_path / "side").rename(tmp_path / "moved")
    with pytest.raises(EnvironmentProblem, match="which is not there") as caught:
        merge.plan_merge(repository, journal, "run", 1, into="side")
    assert "git worktree repair" in (caught.value.hint or "")
    git(tmp_path / "moved", "worktree", "repair")
    assert git(tmp_path / "moved", "status", "--porcelain") == ""


def test_a_checkout_with_another_repository_in_its_place_is_not_touched(
    checkout: Path, repository: Repository, journal: Journal, tmp_path: Path
) -> None:
    ended_run(repository, journal, "run", {"new.txt": "new\n"})
    git(checkout, "worktree", "add", "-q", "-b", "side", tmp_path / "side")
    (tmp_path / "side" / ".git").unlink()
    git(tmp_path / "side", "init", "-q")
    with pytest.raises(EnvironmentProblem, match="is not the checkout of side"):
        merge.plan_merge(repository, journal, "run", 1, into="side")
    assert not (tmp_path / "side" / "new.txt").exists()


# Locks


def lock(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    os.utime(path, (1_700_000_000, 1_700_000_000))
    return path


@pytest.mark.parametrize("name", ["index.lock", "HEAD.lock", "refs/heads/main.lock"])
def test_a_merge_names_the_lock_and_leaves_no_step(
    checkout: Path, repository: Repository, journal: Journal, name: str
) -> None:
    ended_run(repository, journal, "run", {"new.txt": "new\n"})
    plan = merge.plan_merge(repository, journal, "run", 1)
    before = everything(checkout)
    held = lock(checkout / ".git" / name)
    with pytest.raises(EnvironmentProblem) as caught:
        merge.execute(repository, journal, plan)
    assert caught.value.message.startswith(f"{held} is in the way, ")
    assert "days old" in caught.value.message
    assert (caught.value.hint or "").startswith(f"rm {held},")
    held.unlink()
    assert everything(checkout) == before
    assert journal.operations() == []
    merge.execute(repository, journal, plan)
    assert (checkout / "new.txt").exists()


@pytest.mark.parametrize("name", ["index.lock", "HEAD.lock", "refs/heads/main.lock"])
def test_an_undo_names_the_lock_and_can_be_had_later(
    checkout: Path, repository: Repository, journal: Journal, name: str
) -> None:
    ended_run(repository, journal, "run", {"new.txt": "new\n"})
    before = everything(checkout)
    merge.execute(repository, journal, merge.plan_merge(repository, journal, "run", 1))
    plan = undo.plan_undo(repository, journal)
    held = lock(checkout / ".git" / name)
    with pytest.raises(EnvironmentProblem, match=str(held)):
        undo.execute(repository, journal, plan)
    held.unlink()
    undo.execute(repository, journal, undo.plan_undo(repository, journal))
    assert everything(checkout) == before


def test_a_merge_of_several_that_a_lock_stopped_names_it_and_can_be_undone(
    checkout: Path, repository: Repository, journal: Journal
) -> None:
    ended_run(repository, journal, "run", {"a.txt": "a\n"}, {"b.txt": "b\n"})
    before = everything(checkout)
    plan = merge.plan_merge(repository, journal, "run", 1, 2)
    held = lock(checkout / ".git" / "index.lock")
    with pytest.raises(EnvironmentProblem) as caught:
        merge.execute(repository, journal, plan)
    assert str(held) in caught.value.message
    assert "combined on architect/merged-run" in caught.value.message
    held.unlink()
    undo.execute(repository, journal, undo.plan_undo(repository, journal))
    assert everything(checkout) == before


def test_cleanup_names_the_lock_of_packed_refs(checkout: Path, repository: Repository, journal: Journal) -> None:
    run = ended_run(repository, journal, "run", None)
    held = lock(checkout / ".git" / "packed-refs.lock")
    done = cleanup.execute(repository, journal, cleanup.plan_cleanup(repository, journal, force=True))
    [stays] = done.stays
    assert (stays.what, stays.name, stays.failed) == ("branch", run.branch(1), True)
    assert str(held) in stays.reason
    # The worktree went: that is a step. When nothing more goes, there is none.
    assert len(journal.operations()) == 1
    cleanup.execute(repository, journal, cleanup.plan_cleanup(repository, journal, force=True))
    assert len(journal.operations()) == 1


def test_a_branch_whose_settings_cannot_be_removed_stays(checkout: Path, repository: Repository) -> None:
    git(checkout, "branch", "side")
    git(checkout, "config", "branch.side.remote", "origin")
    held = lock(checkout / ".git" / "config.lock")
    tip = git(checkout, "rev-parse", "side")
    assert str(held) in (delete_branch(repository, "side", tip) or "")
    held.unlink()
    assert delete_branch(repository, "side", tip) is None
    assert git(checkout, "config", "--get-regexp", "^branch", check=False) == ""


def test_a_worktree_that_a_lock_hinders_names_it(checkout: Path, repository: Repository) -> None:
    held = lock(checkout / ".git" / "refs" / "heads" / "architect" / "parallel-1.lock")
    base = git(checkout, "rev-parse", "HEAD")
    place = checkout / ".architect-parallel-1"
    with pytest.raises(GitError, match=str(held)):
        add_worktree(repository, path=place, branch="architect/parallel-1", base_commit=base, run_id="run")
    assert not place.exists()


def test_what_cannot_be_kept_for_a_lock_names_it(checkout: Path, repository: Repository) -> None:
    held = lock(checkout / ".git" / "refs" / "architect" / "keep" / "run" / "1.lock")
    with pytest.raises(GitError, match=str(held)):
        keep(repository, git(checkout, "rev-parse", "HEAD"), "run", 1)


def test_the_lock_of_a_reftable_is_named(reftable: Path) -> None:
    repository = open_repository(reftable)
    new = git(reftable, "commit-tree", "-p", "HEAD", "-m", "new", "HEAD^{tree}")
    held = lock(reftable / ".git" / "reftable" / "tables.list.lock")
    with pytest.raises(EnvironmentProblem, match=str(held)):
        move(repository, find_target(repository, "main"), new, message="test")
    held.unlink()
    move(repository, find_target(repository, "main"), new, message="test")
    assert git(reftable, "rev-parse", "main") == new


def test_a_branch_that_moved_meanwhile_is_still_told_from_a_lock(
    checkout: Path, repository: Repository, journal: Journal
) -> None:
    ended_run(repository, journal, "run", {"new.txt": "new\n"})
    git(checkout, "branch", "dev")
    plan = merge.plan_merge(repository, journal, "run", 1, into="dev")
    git(checkout, "branch", "-f", "dev", "main~1")
    with pytest.raises(EnvironmentProblem) as caught:
        merge.execute(repository, journal, plan)
    assert (caught.value.message, caught.value.hint) == ("dev has moved meanwhile", "try again")
    assert journal.operations() == []


def test_a_removal_that_fails_half_way_is_taken_back_and_leaves_no_step(
    checkout: Path, repository: Repository, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = ended_run(repository, journal, "run", {"new.txt": "new\n"})
    before = everything(checkout)
    plan = cleanup.plan_cleanup(repository, journal, force=True)
    renamed = os.rename

    def fail_at_the_registration(source: str | Path, target: str | Path) -> None:
        if Path(source).parent.name == "worktrees":
            raise PermissionError(1, "Operation not permitted")
        renamed(source, target)

    monkeypatch.setattr(os, "rename", fail_at_the_registration)  # modes do not stop the root of a container
    done = cleanup.execute(repository, journal, plan)
    monkeypatch.undo()
    assert [stays.failed for stays in done.stays] == [True]
    assert run.worktree(1).exists()
    assert everything(checkout) == before
    with pytest.raises(NothingToDo):
        undo.plan_undo(repository, journal)
