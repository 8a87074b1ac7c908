"""Attacks on what lands: branches moved after their collection, and pushes led elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from support.landing_runs import MadeRun, begin_run, commit
from support.repositories import git

from architect_parallel.journal import Journal
from architect_parallel.landing.merge import plan_merge
from architect_parallel.system import clock
from architect_parallel.system.git import Repository, open_repository

BRANCH = "refs/heads/architect/parallel-1"


@pytest.fixture
def repository(checkout: Path) -> Repository:
    return open_repository(checkout)


@pytest.fixture
def journal(repository: Repository) -> Iterator[Journal]:
    """Its clock is ahead, so that what happens in a run is before the run's end, however fast the test is."""
    with Journal.open(repository.state_dir, now=lambda: clock.now() + timedelta(seconds=0.5)) as opened:
        yield opened


def dated(run: MadeRun, commit_id: str, seconds: float) -> None:
    """Moves the branch with a reflog entry of this time, in seconds from now."""
    when = f"@{int(time.time() + seconds)} +0000"
    git(run.repository.root, "update-ref", BRANCH, commit_id, env={"GIT_COMMITTER_DATE": when})


def forged_log(run: MadeRun, commit_id: str) -> None:
    """Writes ref and reflog as files, with the user's name and a time to come."""
    common = run.repository.common_dir
    (common / BRANCH).write_text(f"{commit_id}\n")
    entry = f"{run.tip(1)} {commit_id} You <you@example.com> {int(time.time()) + 3600} +0000\tcommit: mine\n"
    with (common / "logs" / BRANCH).open("a") as log:
        log.write(entry)


def without_log(run: MadeRun, commit_id: str) -> None:
    (run.repository.common_dir / "logs" / BRANCH).unlink()
    (run.repository.common_dir / BRANCH).write_text(f"{commit_id}\n")


def packed(run: MadeRun, commit_id: str) -> None:
    without_log(run, commit_id)
    git(run.repository.root, "pack-refs", "--all")


MOVES = {
    "by-a-command": lambda run, commit_id: dated(run, commit_id, -60),
    "dated-forward": lambda run, commit_id: dated(run, commit_id, 3600),
    "dated-a-little-forward": lambda run, commit_id: dated(run, commit_id, 0.9),
    "by-a-forged-reflog": forged_log,
    "without-a-reflog": without_log,
    "in-packed-refs": packed,
}


@pytest.mark.parametrize("ended", [True, False], ids=["ended", "killed"])
@pytest.mark.parametrize("name", MOVES)
def test_a_branch_moved_after_its_collection_lands(
    repository: Repository, journal: Journal, name: str, ended: bool
) -> None:
    run = begin_run(repository, journal, "run")
    collected = commit(run.start(1), {"a.txt": "a\n"})
    run.finish(1)
    sneaked = git(repository.root, "commit-tree", "-p", collected, "-m", "more", f"{run.base}^{{tree}}")
    MOVES[name](run, sneaked)
    run.end() if ended else run.die()

    plan = plan_merge(repository, journal, "run", 1)

    assert plan.commit == collected
    assert all("not by you: only what was collected lands" in warning for warning in plan.warnings)
    assert git(repository.root, "rev-parse", BRANCH) == sneaked, "the control: plain git merges this"


def test_control_the_user_amends_after_the_end(repository: Repository) -> None:
    with Journal.open(repository.state_dir) as journal:
        amend(repository, journal)


def amend(repository: Repository, journal: Journal) -> None:
    run = begin_run(repository, journal, "run")
    commit(run.start(1), {"a.txt": "a\n"})
    run.finish(1)
    run.end()
    mine = commit(run.worktree(1), {"b.txt": "b\n"})
    assert plan_merge(repository, journal, "run", 1).commit == mine
