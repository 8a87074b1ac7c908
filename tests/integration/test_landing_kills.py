"""Whoever is killed in the middle of a cleanup or a merge: one undo, and everything is as it was before."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.landing_runs import commit, ended_run, everything, write
from support.repositories import git

from architect_parallel.errors import NothingToDo
from architect_parallel.journal import Journal
from architect_parallel.landing import cleanup, merge, undo
from architect_parallel.landing.integration_worktree import IntegrationContext
from architect_parallel.system.git import Repository

KILLED_AT_STEP = """
import os, signal, sys
from pathlib import Path
from architect_parallel.journal import Journal
from architect_parallel.landing import cleanup, merge
from architect_parallel.landing.integration_worktree import IntegrationContext
from architect_parallel.system.git import Git, open_repository
place, act, last = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
steps = 0

def counted(function, counts):
    def wrapper(*args, **options):
        global steps
        if counts(args):
            steps += 1
            if steps == last:
                os.kill(os.getpid(), signal.SIGKILL)
        return function(*args, **options)
    return wrapper

switches = lambda args: args[1] == "read-tree" and "-u" in args
Git.run = counted(Git.run, lambda args: args[1] in ("update-ref", "worktree") or switches(args))
os.rename = counted(os.rename, lambda args: ".architect-parallel" in str(args[0]) or "worktrees" in str(args[0]))
repository = open_repository(place)
with Journal.open(repository.state_dir) as journal:
    if act == "cleanup":
        cleanup.execute(repository, journal, cleanup.plan_cleanup(repository, journal, force=True))
    elif act == "merge":
        merge.execute(repository, journal, merge.plan_merge(repository, journal, "run", 1))
    else:
        shop = IntegrationContext(run_dir=journal.run_dir("run"), environ=os.environ)
        merge.execute(repository, journal, merge.plan_merge(repository, journal, "run", pick=merge.Pick.ALL), shop)
print(steps)
"""
MOMENTS = [("merge", step) for step in (1, 2, 3)] + [("cleanup", step) for step in (1, 2, 3, 4, 5, 7, 8)]


def killed_at(checkout: Path, act: str, step: int) -> tuple[int, str]:
    """Exit code and errors of a launcher that is killed before its `step`-th step."""
    paths = os.pathsep.join(map(str, (Path(__file__).parents[1], Path(__file__).parents[2])))
    done = subprocess.run(
        [sys.executable, "-c", KILLED_AT_STEP, os.fspath(checkout), act, str(step)],
        env=os.environ | {"PYTHONPATH": paths}, capture_output=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout.decode() + done.stderr.decode()


@pytest.mark.parametrize(("act", "step"), MOMENTS)
def test_killed_before_a_step_nothing_is_lost(checkout: Path, repository: Repository, act: str, step: int) -> None:
    with Journal.open(repository.state_dir) as journal:
        run = ended_run(repository, journal, "run", {"a.txt": "a\n", "README.md": "r\n"}, {"b.txt": "b\n"})
    write(run.worktree(1), {"dirty.txt": "d\n"})
    commit(checkout, {"mine.txt": "m\n"})
    before = everything(checkout)
    code, errors = killed_at(checkout, act, step)
    assert code == -signal.SIGKILL, errors
    # Killed before it began, there is nothing to take back.
    with Journal.open(repository.state_dir) as journal, contextlib.suppress(NothingToDo):
        undo.execute(repository, journal, undo.plan_undo(repository, journal))
    assert everything(checkout) == before


COMBINING = [("undo", step) for step in (1, 2, 3, 4, 8, 11, 12, 13, 14, 15, 16)]
COMBINING += [(after, step) for after in ("cleanup", "merge") for step in (2, 4, 12, 13, 16)]
"""Steps of a merge of two results with a check: branch, worktree, its tree before and after each check, its removal,
the branch at its end, the target's files, the target."""


@pytest.mark.parametrize(("after", "step"), COMBINING)
def test_killed_combination_is_taken_away_by_whatever_comes_next(
    checkout: Path, repository: Repository, after: str, step: int
) -> None:
    with Journal.open(repository.state_dir) as journal:
        run = ended_run(repository, journal, "run", {"a.txt": "a\n"}, {"b.txt": "b\n"}, checks=("echo x > junk",))
    commit(checkout, {"mine.txt": "m\n"})
    before = everything(checkout)
    tips = run.tip(1), run.tip(2)
    code, errors = killed_at(checkout, "combine", step)
    assert code == -signal.SIGKILL, errors
    with Journal.open(repository.state_dir) as journal:
        if after == "undo":
            with contextlib.suppress(NothingToDo):
                undo.execute(repository, journal, undo.plan_undo(repository, journal))
            assert everything(checkout) == before
        elif after == "cleanup":
            outcome = cleanup.execute(repository, journal, cleanup.plan_cleanup(repository, journal))
            assert not any(each.failed for each in outcome.stays)
            assert not list(checkout.glob(".architect-parallel-merged-*"))
            assert not list((checkout / ".git" / "worktrees").glob("*merged*"))
            held = git(checkout, "for-each-ref", "--format=%(objectname)")
            assert all(git(checkout, "for-each-ref", f"--contains={tip}") for tip in tips), held
        else:
            shop = IntegrationContext(run_dir=journal.run_dir("run"), environ=os.environ)
            undo_half_switch(repository, journal)
            with contextlib.suppress(NothingToDo):
                plan = merge.plan_merge(repository, journal, "run", pick=merge.Pick.ALL)
                assert merge.execute(repository, journal, plan, shop).merged == (1, 2)
            assert (checkout / "a.txt").exists()
            assert (checkout / "b.txt").exists()
            assert not list(checkout.glob(".architect-parallel-merged-*"))
    assert git(checkout, "status", "--porcelain") == "" or after == "cleanup"


def undo_half_switch(repository: Repository, journal: Journal) -> None:
    """What was killed between files and branch is for `undo`: the checkout is dirty until then."""
    if git(repository.root, "status", "--porcelain"):
        undo.execute(repository, journal, undo.plan_undo(repository, journal))


def test_what_an_undo_brought_back_of_a_killed_merge_can_go_again(checkout: Path, repository: Repository) -> None:
    with Journal.open(repository.state_dir) as journal:
        ended_run(repository, journal, "run", {"a.txt": "a\n"}, {"b.txt": "b\n"}, checks=("true",))
        assert killed_at(checkout, "combine", 4)[0] == -signal.SIGKILL
        for _ in range(2):
            cleanup.execute(repository, journal, cleanup.plan_cleanup(repository, journal))
            assert not list(checkout.glob(".architect-parallel-merged-*"))
            shop = IntegrationContext(run_dir=journal.run_dir("run"), environ=os.environ)
            plan = merge.plan_merge(repository, journal, "run", pick=merge.Pick.ALL)
            assert merge.execute(repository, journal, plan, shop).merged == (1, 2)
            for _ in range(2):
                undo.execute(repository, journal, undo.plan_undo(repository, journal))
            assert list(checkout.glob(".architect-parallel-merged-*")), "it came back with the cleanup's undo"
