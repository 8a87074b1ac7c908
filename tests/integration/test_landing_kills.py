"""Whoever is killed in the middle of a cleanup or a merge: one undo, and everything is as it was before."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from landing_runs import commit, ended_run, everything, write

from architect_parallel.errors import NothingToDo
from architect_parallel.journal import Journal
from architect_parallel.landing import undo
from architect_parallel.system.git import Repository

KILLED_AT_STEP = """
import os, signal, sys
from pathlib import Path
from architect_parallel.journal import Journal
from architect_parallel.landing import cleanup, merge
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

switches = lambda args: args[1] == "read-tree" and args[-4:-2] == ("-m", "-u")
Git.run = counted(Git.run, lambda args: args[1] == "update-ref" or switches(args))
os.rename = counted(os.rename, lambda args: ".architect-parallel" in str(args[0]) or "worktrees" in str(args[0]))
repository = open_repository(place)
with Journal.open(repository.state_dir) as journal:
    if act == "cleanup":
        cleanup.execute(repository, journal, cleanup.plan_cleanup(repository, journal, force=True))
    else:
        merge.execute(repository, journal, merge.plan_merge(repository, journal, "run", 1))
print(steps)
"""
MOMENTS = [("merge", step) for step in (1, 2, 3)] + [("cleanup", step) for step in (1, 2, 3, 4, 5, 7, 8)]


@pytest.mark.parametrize(("act", "step"), MOMENTS)
def test_killed_before_a_step_nothing_is_lost(checkout: Path, repository: Repository, act: str, step: int) -> None:
    with Journal.open(repository.state_dir) as journal:
        run = ended_run(repository, journal, "run", {"a.txt": "a\n", "README.md": "r\n"}, {"b.txt": "b\n"})
    write(run.worktree(1), {"dirty.txt": "d\n"})
    commit(checkout, {"mine.txt": "m\n"})
    before = everything(checkout)
    paths = os.pathsep.join(map(str, (Path(__file__).parents[1], Path(__file__).parents[2])))
    done = subprocess.run(
        [sys.executable, "-c", KILLED_AT_STEP, os.fspath(checkout), act, str(step)],
        env=os.environ | {"PYTHONPATH": paths}, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    # Killed before it began, there is nothing to take back.
    with Journal.open(repository.state_dir) as journal, contextlib.suppress(NothingToDo):
        undo.execute(repository, journal, undo.plan_undo(repository, journal))
    assert everything(checkout) == before
