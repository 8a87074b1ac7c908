"""The conflict matrix says what git says, and what it proposes really merges cleanly."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.landing_runs import begin_run, commit, ended_run, everything, write
from support.repositories import git, make_repository

from architect_parallel.domain import Comparison, Reason, RunStatus, Status
from architect_parallel.errors import UsageError
from architect_parallel.journal import Journal
from architect_parallel.landing.compare import compare
from architect_parallel.system.git import Repository, open_repository

BLOCK = "".join(f"line {number} of a long block\n" for number in range(12))


@pytest.fixture
def journal(repository: Repository) -> Iterator[Journal]:
    with Journal.open(repository.state_dir) as opened:
        yield opened


def found(comparison: Comparison) -> dict[tuple[int | str, int], tuple[str, ...] | None]:
    """Pair → conflicting files; `None`: clean."""
    return {(pair.a, pair.b): None if pair.clean else pair.files for pair in comparison.conflicts}


def test_every_pair_and_the_branch_are_held_against_each_other(
    checkout: Path, repository: Repository, journal: Journal
) -> None:
    ended_run(
        repository, journal, "run", {"a.txt": "a\n"}, {"README.md": "two\n"}, {"README.md": "three\n", "c.txt": "c\n"},
        None, {"a.txt": "five\n", "slug.sh": None},
    )  # fmt: skip
    commit(checkout, {"c.txt": "mine\n"})
    before, objects = everything(checkout), git(checkout, "count-objects", "-v")
    comparison = compare(repository, journal.result("run"))
    assert found(comparison) == {
        ("main", 1): None, ("main", 2): None, ("main", 3): ("c.txt",), ("main", 5): None,
        (1, 2): None, (1, 3): None, (1, 5): ("a.txt",),
        (2, 3): ("README.md",), (2, 5): None,
        (3, 5): None,
    }  # fmt: skip
    assert dict(comparison.shared_files) == {"README.md": (2, 3), "a.txt": (1, 5)}
    assert comparison.proposed == (1, 2)
    assert comparison.order == (1, 2, 5, 3)
    assert (everything(checkout), git(checkout, "count-objects", "-v")) == (before, objects), "looking leaves nothing"


def test_clean_in_pairs_is_not_clean_together(checkout: Path, repository: Repository, journal: Journal) -> None:
    base = BLOCK + "q1\nq2\nq3\nq4\nq5\n"
    commit(checkout, {"moved.txt": base})
    moved_away, added_below = base.removeprefix(BLOCK), base + BLOCK
    ended_run(
        repository, journal, "run", {"moved.txt": moved_away}, {"moved.txt": added_below},
        {"moved.txt": base.replace("q3", "Q3")},
    )  # fmt: skip
    comparison = compare(repository, journal.result("run"))
    assert all(pair.clean for pair in comparison.conflicts), "the control: looking at pairs, all three go together"
    assert comparison.proposed == (1, 2)
    assert comparison.order == (1, 2, 3)
    git(checkout, "merge", "-q", "--no-edit", "architect/parallel-1")
    git(checkout, "merge", "-q", "--no-edit", "architect/parallel-2")
    with pytest.raises(AssertionError, match="failed"):
        git(checkout, "merge", "-q", "--no-edit", "architect/parallel-3")


LINES = st.lists(st.sampled_from(["a", "b", "c", "d", "{", "}"]), min_size=0, max_size=9)
FILES = st.dictionaries(st.sampled_from(["x", "y", "d/z", "d"]), LINES, max_size=3)


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(base=FILES, onto=FILES, work=st.lists(FILES, min_size=2, max_size=4))
def test_proposed_set_really_merges_on_random_histories(
    base: dict[str, list[str]], onto: dict[str, list[str]], work: list[dict[str, list[str]]]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = make_repository(Path(folder) / "repo", {"README": "r\n"})
        replace_all(root, base)
        first = git(root, "rev-parse", "HEAD")
        repository = open_repository(root)
        with Journal.open(repository.state_dir) as journal:
            run = begin_run(repository, journal, "run", workers=len(work))
            for worker_id, files in enumerate(work, start=1):
                replace_all(run.start(worker_id), files)
                run.finish(worker_id)
            run.end()
            replace_all(root, onto)
            comparison = compare(repository, journal.result("run"))
        changed = {n for n in range(1, len(work) + 1) if run.tip(n) != first}
        assert set(comparison.order) == changed
        for worker_id in comparison.proposed:
            git(root, "merge", "--quiet", "--no-edit", run.branch(worker_id))
        assert git(root, "status", "--porcelain", "-uno") == ""


def replace_all(place: Path, files: dict[str, list[str]]) -> None:
    """Commits exactly these files beside the README, where that changes something."""
    git(place, "rm", "-rqf", "--ignore-unmatch", "x", "y", "d")
    taken = {"d/z"} if "d" in files else set()
    write(place, {name: "".join(f"{line}\n" for line in lines) for name, lines in files.items() if name not in taken})
    git(place, "add", "--all")
    if git(place, "status", "--porcelain"):
        git(place, "commit", "--quiet", "-m", "work")


def test_drivers_of_the_repository_do_not_run_but_built_in_ones_count(
    checkout: Path, repository: Repository, journal: Journal
) -> None:
    commit(checkout, {".gitattributes": "*.log merge=union\n*.txt merge=trap\n", "a.txt": "a\n", "a.log": "a\n"})
    ended_run(repository, journal, "run", {"a.txt": "1\n"}, {"a.txt": "2\n"}, {"a.log": "3\n"}, {"a.log": "4\n"})
    canary = checkout.parent / "canary"
    git(checkout, "config", "merge.trap.driver", f"touch '{canary}'")
    comparison = compare(repository, journal.result("run"))
    assert found(comparison)[1, 2] == ("a.txt",)
    assert found(comparison)[3, 4] is None
    assert not canary.exists()
    git(checkout, "merge-tree", "--write-tree", "architect/parallel-1", "architect/parallel-2", check=False)
    assert canary.exists(), "the control: git itself runs it"


def test_of_a_live_run_those_that_ended(repository: Repository, journal: Journal) -> None:
    run = begin_run(repository, journal, "run", workers=3)
    for worker_id in (1, 2):
        commit(run.start(worker_id), {"a.txt": f"{worker_id}\n"})
    run.finish(2)
    comparison = compare(repository, journal.result("run"))
    assert comparison.order == (2,)
    run.finish(1, Status.TIMEOUT, Reason.WORKER_TIMEOUT)
    run.end(RunStatus.PARTIAL)
    assert compare(repository, journal.result("run")).proposed == (2,), "a success is preferred"


def test_odd_names_and_places(checkout: Path, repository: Repository, journal: Journal) -> None:
    name = os.fsdecode(b"caf\xe9\nx")
    run = ended_run(repository, journal, "run", {name: "1\n"}, {name: "2\n"}, {"c.txt": "c\n"})
    git(run.worktree(3), "checkout", "-q", "--orphan", "fresh")
    git(run.worktree(3), "commit", "-qm", "no history")
    git(run.worktree(3), "branch", "-f", run.branch(3), "HEAD")
    git(checkout, "checkout", "-q", "--detach")
    comparison = compare(repository, journal.result("run"))
    assert found(comparison)[1, 2] == (name,)
    assert {pair.a for pair in comparison.conflicts} == {"HEAD", 1, 2}
    with pytest.raises(UsageError, match="no local branch"):
        compare(repository, journal.result("run"), into="nope")
    bare = open_repository(checkout / ".git")
    assert compare(bare, journal.result("run")).order == comparison.order
