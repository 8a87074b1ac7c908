"""Past runs: those that left nothing are not looked at, and none that left something is passed over."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.landing_runs import ended_run
from support.repositories import git

from architect_parallel.journal import Journal
from architect_parallel.landing.traces import Traces
from architect_parallel.repository.ownership import OWNED
from architect_parallel.system.git import Repository
from architect_parallel.worktrees.temporary import temporary_worktree_path

BRANCH = "architect/parallel-1"


@pytest.fixture
def journal(repository: Repository) -> Iterator[Journal]:
    with Journal.open(repository.state_dir) as opened:
        yield opened


def suspects(repository: Repository, journal: Journal) -> set[str]:
    traces = Traces.read(repository, journal)
    return {run.run_id for run in journal.summaries(journal.run_ids()) if traces.may_have_left(run)}


def remove_worktree(checkout: Path) -> None:
    git(checkout, "worktree", "remove", "--force", ".architect-parallel-1")


def test_a_run_with_a_worktree_or_a_branch_may_have_left_something(
    checkout: Path, repository: Repository, journal: Journal
) -> None:
    run = ended_run(repository, journal, "run", {"a.txt": "a\n"})
    assert suspects(repository, journal) == {"run"}

    git(run.worktree(1), "switch", "--quiet", "--detach")
    git(checkout, "branch", "-D", BRANCH)
    assert suspects(repository, journal) == {"run"}, "its worktree is left"

    remove_worktree(checkout)
    assert suspects(repository, journal) == set()


def test_a_branch_is_of_the_run_that_its_reflog_or_its_owner_ref_names(
    checkout: Path, repository: Repository, journal: Journal
) -> None:
    ended_run(repository, journal, "earlier", {"a.txt": "a\n"})
    remove_worktree(checkout)
    git(checkout, "branch", "-D", BRANCH)
    git(checkout, "update-ref", "-d", f"{OWNED}/earlier/{BRANCH}")
    ended_run(repository, journal, "later", {"a.txt": "a\n"})
    remove_worktree(checkout)
    assert suspects(repository, journal) == {"later"}, "both had worker 1"

    git(checkout, "update-ref", "-d", f"{OWNED}/later/{BRANCH}")
    assert suspects(repository, journal) == {"later"}, "the reflog names it"

    git(checkout, "update-ref", f"{OWNED}/later/{BRANCH}", BRANCH)
    (repository.common_dir / "logs" / "refs" / "heads" / BRANCH).write_text("")
    assert suspects(repository, journal) == {"earlier", "later"}, "without a reflog it may be either's"


def test_the_rest_of_a_temporary_worktree_is_a_trace(repository: Repository, journal: Journal, checkout: Path) -> None:
    ended_run(repository, journal, "run", None)
    remove_worktree(checkout)
    git(checkout, "branch", "-D", BRANCH)
    assert suspects(repository, journal) == set()

    path = temporary_worktree_path(repository, "run")
    git(checkout, "worktree", "add", "--quiet", "--detach", str(path))
    shutil.rmtree(path)
    assert suspects(repository, journal) == {"run"}, "its registration is left"
