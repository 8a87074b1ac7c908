"""Undo leaves refs, worktrees and their state as they were before the cleanup or the merge."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.landing_runs import commit, ended_run, everything, write
from support.repositories import git

from architect_parallel.errors import EnvironmentProblem, NothingToDo
from architect_parallel.journal import Journal
from architect_parallel.landing import cleanup, merge, removal, undo
from architect_parallel.system.git import Git, Repository
from architect_parallel.worktrees.create import owns_branch


@pytest.fixture
def journal(repository: Repository) -> Iterator[Journal]:
    with Journal.open(repository.state_dir) as opened:
        yield opened


def land(repository: Repository, journal: Journal, run: str, worker_id: int, **options: object) -> None:
    plan = merge.plan_merge(repository, journal, run, worker_id, **options)  # type: ignore[arg-type]  # passed on
    merge.execute(repository, journal, plan)


def clean(repository: Repository, journal: Journal, *, force: bool = False) -> cleanup.CleanupOutcome:
    return cleanup.execute(repository, journal, cleanup.plan_cleanup(repository, journal, force=force))


def take_back(repository: Repository, journal: Journal) -> undo.UndoPlan:
    plan = undo.plan_undo(repository, journal)
    undo.execute(repository, journal, plan)
    return plan


@pytest.mark.parametrize("method", merge.Method)
@pytest.mark.parametrize("into", [None, "dev"])
def test_merge_and_undo_leave_everything_as_it_was(
    checkout: Path, repository: Repository, journal: Journal, method: merge.Method, into: str | None
) -> None:
    ended_run(repository, journal, "run", {"a/new.txt": "new\n", "README.md": "r\n", "slug.sh": None})
    commit(checkout, {"mine.txt": "mine\n"})
    git(checkout, "branch", "dev")
    write(checkout, {"untracked.txt": "u\n"})
    before = everything(checkout)
    land(repository, journal, "run", 1, method=method, into=into)
    assert everything(checkout) != before
    plan = take_back(repository, journal)
    assert everything(checkout) == before
    assert not (checkout / "a").exists()
    landed = plan.target.tip if plan.target else ""
    held = git(checkout, "for-each-ref", f"--points-at={landed}", "--format=%(refname)", "refs/architect/keep")
    assert held.startswith("refs/architect/keep/run/"), "what undo takes away is kept as well"


def test_undo_goes_back_one_by_one_until_there_is_nothing(
    checkout: Path, repository: Repository, journal: Journal
) -> None:
    with pytest.raises(NothingToDo):
        undo.plan_undo(repository, journal)
    ended_run(repository, journal, "run", {"a.txt": "a\n"}, {"b.txt": "b\n"})
    states = [everything(checkout)]
    for act in (
        lambda: land(repository, journal, "run", 1),
        lambda: land(repository, journal, "run", 2),
        lambda: clean(repository, journal),
    ):
        act()
        states.append(everything(checkout))
    for expected in reversed(states[:-1]):
        take_back(repository, journal)
        assert everything(checkout) == expected
    with pytest.raises(NothingToDo, match="nothing to undo") as nothing:
        undo.plan_undo(repository, journal)
    assert nothing.value.exit_code == 4
    land(repository, journal, "run", 2)
    take_back(repository, journal)
    assert everything(checkout) == states[0]


def test_dirty_target_stops_the_undo_of_a_merge(checkout: Path, repository: Repository, journal: Journal) -> None:
    ended_run(repository, journal, "run", {"a.txt": "a\n"})
    land(repository, journal, "run", 1)
    write(checkout, {"a.txt": "improved\n"})
    before = everything(checkout)
    with pytest.raises(EnvironmentProblem, match=r"a\.txt") as problem:
        take_back(repository, journal)
    assert problem.value.exit_code == 3
    assert everything(checkout) == before
    # Control: the naive way back takes the edit with it.
    git(checkout, "reset", "-q", "--hard", "HEAD~1")
    assert not (checkout / "a.txt").exists()


def test_target_that_went_on_is_not_moved_back(checkout: Path, repository: Repository, journal: Journal) -> None:
    ended_run(repository, journal, "run", {"a.txt": "a\n"})
    land(repository, journal, "run", 1)
    commit(checkout, {"later.txt": "l\n"})
    before = everything(checkout)
    with pytest.raises(EnvironmentProblem, match="moved on"):
        take_back(repository, journal)
    assert everything(checkout) == before
    git(checkout, "checkout", "-q", "--detach")
    git(checkout, "branch", "-qD", "main")
    with pytest.raises(EnvironmentProblem, match="main is gone"):
        take_back(repository, journal)


def test_forced_cleanup_and_undo_bring_back_uncommitted_work(
    checkout: Path, repository: Repository, journal: Journal
) -> None:
    run = ended_run(repository, journal, "run", {"a.txt": "a\n", "run.sh": "x\n"}, None, {"c.txt": "c\n"})
    one = run.worktree(1)
    odd = os.fsdecode(b"caf\xe9\nx")
    write(one, {"a.txt": "edited\n", odd: "odd\n", "deep/er/u.txt": "u\n", "slug.sh": None})
    write(one, {"staged.txt": "staged\n"})
    git(one, "add", "staged.txt")
    write(one, {"staged.txt": "staged, then edited\n"})
    (one / "run.sh").chmod(0o755)
    (one / "link").symlink_to("a.txt")
    git(run.worktree(3), "rm", "-q", "--cached", "c.txt")
    before = everything(checkout)
    assert clean(repository, journal, force=True).stays == ()
    assert git(checkout, "for-each-ref", "refs/heads/architect") == ""
    take_back(repository, journal)
    assert everything(checkout) == before
    assert os.readlink(one / "link") == "a.txt"
    assert os.access(one / "run.sh", os.X_OK)
    assert all(owns_branch(repository, run.branch(n), "run") for n in (1, 2, 3)), "and are the run's own again"


def test_a_branch_comes_back_with_where_it_was_pushed_to(
    checkout: Path, repository: Repository, journal: Journal, tmp_path: Path
) -> None:
    run = ended_run(repository, journal, "run", {"a.txt": "a\n"}, {"b.txt": "b\n"})
    git(tmp_path, "init", "-q", "--bare", "elsewhere")
    git(checkout, "remote", "add", "origin", tmp_path / "elsewhere")
    git(checkout, "push", "-q", "-u", "origin", run.branch(1), run.branch(2))
    git(checkout, "config", f"branch.{run.branch(1)}.description", "two\nlines")
    git(checkout, "worktree", "remove", run.worktree(2))
    before = git(checkout, "config", "--local", "--list")

    for _ in range(2):
        assert clean(repository, journal, force=True).stays == ()
        assert "branch.architect" not in git(checkout, "config", "--local", "--list"), "the control"
        take_back(repository, journal)
        assert git(checkout, "config", "--local", "--list") == before


def test_restored_leftovers_can_be_cleaned_up_again(checkout: Path, repository: Repository, journal: Journal) -> None:
    ended_run(repository, journal, "run", {"a.txt": "a\n"}, None)
    for _ in range(3):
        assert len(clean(repository, journal, force=True).removed) == 2
        assert git(checkout, "for-each-ref", "refs/heads/architect") == ""
        take_back(repository, journal)
    assert git(checkout, "for-each-ref", "refs/heads/architect").count("\n") == 1


def test_worktree_comes_back_where_its_head_was(checkout: Path, repository: Repository, journal: Journal) -> None:
    run = ended_run(repository, journal, "run", None, None)
    git(run.worktree(1), "checkout", "-q", "--detach")
    commit(run.worktree(1), {"a.txt": "a\n"})
    git(run.worktree(2), "checkout", "-q", "-b", "feature")
    commit(run.worktree(2), {"b.txt": "b\n"})
    write(run.worktree(2), {"b.txt": "dirty\n"})
    before = everything(checkout)
    clean(repository, journal, force=True)
    assert not run.worktree(1).exists()
    assert not run.worktree(2).exists()
    take_back(repository, journal)
    assert everything(checkout) == before


def test_unmerged_branch_that_stayed_gets_its_worktree_back(
    checkout: Path, repository: Repository, journal: Journal
) -> None:
    run = ended_run(repository, journal, "run", {"a.txt": "a\n"})
    before = everything(checkout)
    clean(repository, journal)
    assert not run.worktree(1).exists()
    added = git(checkout, "commit-tree", "-p", run.tip(1), "-m", "on top", f"{run.tip(1)}^{{tree}}")
    git(checkout, "update-ref", f"refs/heads/{run.branch(1)}", added)
    take_back(repository, journal)
    assert run.tip(1) == added, "what came on top meanwhile stays"
    git(checkout, "update-ref", f"refs/heads/{run.branch(1)}", f"{added}^")
    assert everything(checkout) == before


@pytest.mark.parametrize("taken", ["place", "branch", "number by a new run"])
def test_what_stands_in_the_place_now_is_not_touched(
    checkout: Path, repository: Repository, journal: Journal, taken: str
) -> None:
    run = ended_run(repository, journal, "run", {"a.txt": "a\n"}, {"b.txt": "b\n"})
    clean(repository, journal, force=True)
    if taken == "place":
        write(run.worktree(2), {"mine.txt": "mine\n"})
    elif taken == "branch":
        git(checkout, "branch", run.branch(2))
    else:
        ended_run(repository, journal, "new", {"n.txt": "n\n"}, first=2)
    before = everything(checkout)
    with pytest.raises(EnvironmentProblem) as problem:
        take_back(repository, journal)
    assert problem.value.exit_code == 3
    assert problem.value.hint is not None
    assert everything(checkout) == before, "nothing of it comes back when a part cannot"
    assert not journal.operations()[0].undone


def test_undo_that_was_cut_short_goes_on(checkout: Path, repository: Repository, journal: Journal) -> None:
    ended_run(repository, journal, "run", {"a.txt": "a\n"}, {"b.txt": "b\n"})
    before = everything(checkout)
    clean(repository, journal, force=True)
    plan = undo.plan_undo(repository, journal)
    undo._restore(repository, plan.restore[0])
    take_back(repository, journal)
    assert everything(checkout) == before


def test_cleanup_killed_on_the_way_is_undone_as_far_as_it_came(
    checkout: Path, repository: Repository, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = ended_run(repository, journal, "run", {"a.txt": "a\n"}, {"b.txt": "b\n"})
    write(run.worktree(1), {"dirty.txt": "d\n"})
    before = everything(checkout)
    monkeypatch.setattr(removal, "delete_branch", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        clean(repository, journal, force=True)
    monkeypatch.undo()
    assert not run.worktree(1).exists()
    assert not journal.operations()[0].finished
    assert not journal.is_live("run")
    take_back(repository, journal)
    assert everything(checkout) == before


@pytest.mark.parametrize("moment", ["before", "after the files"])
def test_merge_killed_on_the_way_is_taken_back(
    checkout: Path, repository: Repository, journal: Journal, moment: str
) -> None:
    ended_run(repository, journal, "run", {"a.txt": "a\n", "README.md": "r\n"})
    before = everything(checkout)
    plan = merge.plan_merge(repository, journal, "run", 1)
    payload = {"branch": "main", "old": plan.target.tip, "new": plan.commit, "workers": [1], "method": "merge"}
    journal.begin_operation("merge", "run", payload)
    if moment == "after the files":
        Git(cwd=checkout).run("read-tree", "-m", "-u", plan.target.tip, plan.commit or "")
        assert git(checkout, "status", "--porcelain") != ""
    take_back(repository, journal)
    assert everything(checkout) == before
    with pytest.raises(NothingToDo):
        undo.plan_undo(repository, journal)


def test_plan_says_what_comes_back_and_does_nothing(checkout: Path, repository: Repository, journal: Journal) -> None:
    run = ended_run(repository, journal, "run", {"a.txt": "a\n"})
    tip = run.tip(1)
    write(run.worktree(1), {"dirty.txt": "d\n"})
    clean(repository, journal, force=True)
    before = everything(checkout)
    assert undo.plan_undo(repository, journal).lines == [
        f"branch architect/parallel-1 returns at {tip[:12]}",
        f"worktree {run.worktree(1)} returns with its uncommitted state",
    ]
    assert everything(checkout) == before
