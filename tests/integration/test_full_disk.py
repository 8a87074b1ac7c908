"""A disk that an agent fills: it ends alone, and the journal has room for everything."""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path

from support.console import Architect

from architect_parallel.events import Warned
from architect_parallel.journal import Journal
from architect_parallel.journal.store import DiskFull

FILLER = "echo small > small; cat /dev/zero > large; sleep 1000"


def fill(path: Path) -> None:
    with path.open("ab", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(1 << 16)):
            pass


def appended(journal: Journal, small_disk: Path) -> int:
    """The number of large events, of twenty, that find room while others take all that is free."""
    for number in range(20):
        fill(small_disk / "filling")
        try:
            journal.append([("run", None, Warned(message="x" * 100_000))])
        except DiskFull:
            return number
    return 20


def test_the_journal_goes_on_after_the_disk_is_full(small_disk: Path) -> None:
    """In the control nothing was kept for it."""
    with Journal.open(small_disk / "prepared") as journal:
        journal.append([("run", None, Warned(message="first"))])
        journal.ballast.take()
        assert appended(journal, small_disk) >= 16
    (small_disk / "filling").unlink()
    with Journal.open(small_disk / "naive") as journal:
        journal.append([("run", None, Warned(message="first"))])
        assert appended(journal, small_disk) < 2


def test_an_agent_that_fills_the_disk_ends_alone(checkout: Path, small_disk: Path) -> None:
    repository = small_disk / "repo"
    shutil.copytree(checkout, repository, symlinks=True)
    (small_disk / "config.yaml").write_text("parallel_runs: {min_free_disk: 48MiB}\n")
    # The other one goes on when the disk has been full, and the work of the first is saved.
    other = "until git -C .. cat-file -e architect/parallel-1:small; do sleep 0.1; done; echo ok > ok"
    tasks = [{"prompt": FILLER, "name": "filler"}, {"prompt": other, "name": "other"}]
    (small_disk / "tasks.json").write_text(json.dumps({"tasks": tasks, "defaults": {"backend": "shell"}}))
    words = ("--file", "../tasks.json", "-c", "../config.yaml", "--tripwire", "off", "--sandbox", "off", "--json")
    done = Architect(repository)("parallel", *words)
    filler, other_one = done.json["results"]
    assert (filler["status"], filler["reason"], filler["files_modified"]) == ("partial", "disk", ["small"])
    assert any("'large' (" in warning and "stays in the worktree" in warning for warning in filler["warnings"])
    assert (repository / ".architect-parallel-1" / "large").stat().st_size > 30 << 20
    assert (other_one["status"], other_one["files_modified"]) == ("success", ["ok"])
