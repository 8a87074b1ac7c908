"""A repository that was moved or copied: its journal finds its own worktrees, and never those of another one."""

from __future__ import annotations

import os
import shutil
import sqlite3
from pathlib import Path

import pytest
from support.landing_runs import begin_run, ended_run, everything, write
from support.repositories import git

from architect_parallel.errors import EnvironmentProblem
from architect_parallel.event_json import encode
from architect_parallel.events import RunResumed
from architect_parallel.journal import Journal
from architect_parallel.journal.paths import Anchor
from architect_parallel.landing.cleanup import CleanupOutcome, execute, plan_cleanup
from architect_parallel.landing.undo import execute as take_back
from architect_parallel.landing.undo import plan_undo
from architect_parallel.repository.registry import is_ours
from architect_parallel.system.git import Repository, open_repository


def clean(repository: Repository, *, force: bool = False) -> CleanupOutcome:
    with Journal.of(repository) as journal:
        return execute(repository, journal, plan_cleanup(repository, journal, force=force))


def stays(outcome: CleanupOutcome) -> list[tuple[str, str]]:
    return [(each.name, each.reason) for each in outcome.stays]


def make_run(repository: Repository) -> None:
    """One worker with work on its branch and an uncommitted file in its worktree."""
    with Journal.of(repository) as journal:
        run = ended_run(repository, journal, "run", {"a.txt": "a\n"})
        write(run.worktree(1), {"later.txt": "unsaved\n"})


def as_an_earlier_version_wrote_it(repository: Repository) -> None:
    """Rewrites the events of the run with the codec that stored every path absolute."""
    with Journal.of(repository) as journal:
        recorded = journal.recorded("run")
    with sqlite3.connect(repository.state_dir / "runs.db") as database:
        for each in recorded:
            database.execute("UPDATE events SET data = ? WHERE seq = ?", (encode(each.event)[1], each.seq))
    database.close()


def stored(repository: Repository) -> str:
    """All that the journal has stored of events and operations."""
    database = sqlite3.connect(repository.state_dir / "runs.db")
    rows = [*database.execute("SELECT data FROM events"), *database.execute("SELECT payload FROM operations")]
    database.close()
    return "\n".join(row[0] for row in rows)


def test_paths_are_stored_relative_and_read_absolute(repository: Repository, checkout: Path) -> None:
    make_run(repository)
    clean(repository, force=True)
    assert str(checkout) not in stored(repository)
    with Journal.of(repository) as journal:
        result = journal.result("run")
        assert result.results[0].worktree_path == result.planned[0].worktree_path == f"{checkout}/.architect-parallel-1"
        [operation] = journal.operations()
        assert operation.payload["removals"][0]["worktree_path"] == f"{checkout}/.architect-parallel-1"


def test_a_path_outside_the_repository_stays_as_it_is(tmp_path: Path) -> None:
    anchor = Anchor.of(tmp_path / "r" / ".git" / "architect")
    assert anchor.stored("/elsewhere/x") == "/elsewhere/x"
    assert anchor.stored(f"{tmp_path}/rx") == f"{tmp_path}/rx"
    assert anchor.stored("") == anchor.read("", None) == ""
    for inside in (f"{tmp_path}/r/x", f"{tmp_path}/r", f"{tmp_path}/r/.git/worktrees/x"):
        assert not os.path.isabs(anchor.stored(inside))
        assert anchor.read(anchor.stored(inside), None) == inside
    assert anchor.read("/old/r/x", "/old/r") == f"{tmp_path}/r/x"
    assert anchor.read("/old/rx", "/old/r") == "/old/rx"
    assert anchor.read("/old/r/x", "..") == "/old/r/x"
    module = Anchor.of(tmp_path / "r/.git/modules/m/architect", root=tmp_path / "r" / "m")
    assert module.stored(f"{tmp_path}/r/m/.architect-parallel-1") == "../../../m/.architect-parallel-1"


@pytest.mark.parametrize("earlier", [False, True])
def test_a_moved_repository_names_its_trees_and_git_repairs_them(
    repository: Repository, checkout: Path, tmp_path: Path, earlier: bool
) -> None:
    make_run(repository)
    if earlier:
        as_an_earlier_version_wrote_it(repository)
        assert f"{checkout}/.architect-parallel-1" in stored(repository)  # control
    checkout.rename(tmp_path / "moved")
    moved = open_repository(tmp_path / "moved")
    place = moved.root / ".architect-parallel-1"
    for force in (False, True):
        outcome = clean(moved, force=force)
        assert outcome.removed == ()
        [stay] = outcome.stays
        assert (stay.what, stay.name) == ("worktree", str(place))
        assert stay.reason == f"its .git file names {checkout}/.git/worktrees/-architect-parallel-1, which is gone"
        assert stay.hint == f"git worktree repair {place}"
    assert (place / "later.txt").exists()
    git(moved.root, *(stay.hint or "").split()[1:])
    assert git(place, "status", "--porcelain") == "?? later.txt"
    assert stays(clean(moved)) == [(str(place), "it has uncommitted changes: later.txt")]
    before = everything(moved.root)
    assert clean(moved, force=True).stays == ()
    assert not place.exists()
    with Journal.of(moved) as journal:
        take_back(moved, journal, plan_undo(moved, journal))
    assert everything(moved.root) == before


@pytest.mark.parametrize("earlier", [False, True])
def test_a_copy_leaves_the_original_alone(
    repository: Repository, checkout: Path, tmp_path: Path, earlier: bool
) -> None:
    make_run(repository)
    if earlier:
        as_an_earlier_version_wrote_it(repository)
    before = everything(checkout)
    shutil.copytree(checkout, tmp_path / "copy", symlinks=True)
    copy = open_repository(tmp_path / "copy")
    place = copy.root / ".architect-parallel-1"
    outcome = clean(copy, force=True)
    assert outcome.removed == ()
    reason = f"its .git file names the worktree {checkout}/.git/worktrees/-architect-parallel-1"
    assert [(each.name, each.reason, each.hint) for each in outcome.stays] == [
        (str(place), reason, f"look at {place}")  # `git worktree repair` would bend the original's trees
    ]
    assert everything(checkout) == before
    assert (place / "later.txt").exists()
    # Control: by its registration alone the original's tree is the copy's.
    registered = copy.common_dir / "worktrees" / "-architect-parallel-1" / "gitdir"
    assert registered.read_text() == f"{checkout}/.architect-parallel-1/.git\n"
    assert not is_ours(copy, checkout / ".architect-parallel-1", "architect/parallel-1", "run")


def test_what_was_recorded_after_a_move_moves_along_too(repository: Repository, checkout: Path, tmp_path: Path) -> None:
    make_run(repository)
    as_an_earlier_version_wrote_it(repository)
    checkout.rename(tmp_path / "second")
    second = open_repository(tmp_path / "second")
    with Journal.of(second) as journal:
        workers = journal.result("run").planned
        journal.append([("run", None, RunResumed(launcher_pid=1, worker_ids=(1,), workers=workers))])
    (tmp_path / "second").rename(tmp_path / "third")
    third = open_repository(tmp_path / "third")
    with Journal.of(third) as journal:
        assert journal.result("run").planned[0].worktree_path == str(third.root / ".architect-parallel-1")


def test_a_killed_merges_tree_in_a_moved_repository_stays_and_is_named(
    repository: Repository, checkout: Path, tmp_path: Path
) -> None:
    with Journal.of(repository) as journal:
        begin_run(repository, journal, "run").end()
        place = checkout / ".architect-parallel-merged-run"
        git(checkout, "worktree", "add", "-q", "-b", "architect/merged-run", place)
        tip = git(checkout, "rev-parse", "HEAD")
        payload = {
            "branch": "main",
            "old": tip,
            "new": None,
            "integration": "architect/merged-run",
            "place": str(place),
        }
        journal.begin_operation("merge", "run", payload)
        (repository.common_dir / "worktrees" / "-architect-parallel-merged-run" / "architect-run").write_text("run\n")
    checkout.rename(tmp_path / "moved")
    moved = open_repository(tmp_path / "moved")
    [stay] = clean(moved, force=True).stays
    place = moved.root / place.name
    assert (stay.name, stay.hint) == (str(place), f"git worktree repair {place}")
    with Journal.of(moved) as journal, pytest.raises(EnvironmentProblem, match="which is gone") as caught:
        plan_undo(moved, journal)
    assert caught.value.hint == f"git worktree repair {place}"
