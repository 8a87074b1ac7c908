"""`clean --losers` and `--merged`: only these workers go, and their work is kept."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.landing_runs import ended_run
from support.repositories import git

from architect_parallel.journal import Journal
from architect_parallel.landing import merge, undo
from architect_parallel.landing.chosen_leftovers import LeftoverKind, best_workers
from architect_parallel.landing.cleanup import CleanupOutcome, execute, plan_cleanup
from architect_parallel.system.git import Repository


@pytest.fixture
def journal(repository: Repository) -> Iterator[Journal]:
    with Journal.open(repository.state_dir) as opened:
        yield opened


def clean(repository: Repository, journal: Journal, kind: LeftoverKind) -> CleanupOutcome:
    return execute(repository, journal, plan_cleanup(repository, journal, kind=kind))


def branches(checkout: Path) -> list[str]:
    listed = git(checkout, "for-each-ref", "--format=%(refname:short)", "refs/heads/architect").splitlines()
    return [name.removeprefix("architect/parallel-") for name in listed]


def test_losers_go_and_the_best_and_the_merged_stay(checkout: Path, repository: Repository, journal: Journal) -> None:
    run = ended_run(
        repository, journal, "run", {"a": "1\n2\n3\n"}, {"b": "1\n"}, {"c": "1\n2\n"}, {"d": "1\n2\n3\n4\n"}
    )
    assert best_workers(journal.result("run")) == {2}
    merge.execute(repository, journal, merge.plan_merge(repository, journal, "run", 3))
    tip = git(checkout, "rev-parse", "architect/parallel-1")

    outcome = clean(repository, journal, LeftoverKind.LOSERS)

    assert [removal.worker_id for removal in outcome.removed] == [1, 4]
    assert (branches(checkout), outcome.stays) == (["2", "3"], ())
    assert [run.worktree(number).exists() for number in (1, 2, 3, 4)] == [False, True, True, False]
    undo.execute(repository, journal, undo.plan_undo(repository, journal))
    assert git(checkout, "rev-parse", "architect/parallel-1") == tip


def test_a_loser_with_uncommitted_work_stays(checkout: Path, repository: Repository, journal: Journal) -> None:
    run = ended_run(repository, journal, "run", {"a": "1\n"}, {"b": "1\n2\n"})
    (run.worktree(2) / "by-hand").write_text("the user's\n")
    outcome = clean(repository, journal, LeftoverKind.LOSERS)
    assert (outcome.removed, [stay.worker_id for stay in outcome.stays]) == ((), [2])
    assert (run.worktree(2) / "by-hand").exists()


def test_nobody_loses_alone(checkout: Path, repository: Repository, journal: Journal) -> None:
    ended_run(repository, journal, "run", {"a": "1\n"})
    assert clean(repository, journal, LeftoverKind.LOSERS).removed == ()


@pytest.mark.parametrize("squash", [False, True])
def test_only_merged_work_goes(checkout: Path, repository: Repository, journal: Journal, squash: bool) -> None:
    ended_run(repository, journal, "run", {"a": "1\n"}, None, {"c": "1\n"})
    method = merge.Method.SQUASH if squash else merge.Method.MERGE
    merge.execute(repository, journal, merge.plan_merge(repository, journal, "run", 1, method=method))
    outcome = clean(repository, journal, LeftoverKind.MERGED)
    assert [removal.worker_id for removal in outcome.removed] == [1]
    assert branches(checkout) == ["2", "3"]


def test_an_undone_merge_is_none(checkout: Path, repository: Repository, journal: Journal) -> None:
    ended_run(repository, journal, "run", {"a": "1\n"})
    merge.execute(repository, journal, merge.plan_merge(repository, journal, "run", 1))
    undo.execute(repository, journal, undo.plan_undo(repository, journal))
    assert clean(repository, journal, LeftoverKind.MERGED).removed == ()


def test_what_git_merged_is_merged(checkout: Path, repository: Repository, journal: Journal) -> None:
    ended_run(repository, journal, "run", {"a": "1\n"}, None)
    git(checkout, "merge", "--quiet", "architect/parallel-1")
    assert [removal.worker_id for removal in clean(repository, journal, LeftoverKind.MERGED).removed] == [1]
