"""`[RUN] [N]...`: the words that select a run and its workers mean one thing everywhere."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from architect_parallel.domain import AgentProfile, RunPlan, WorkerSpec
from architect_parallel.errors import ArchitectParallelError
from architect_parallel.events import RunExtended, RunStarted, StepTaken
from architect_parallel.journal import Journal
from architect_parallel.journal.selection import Selection, select, select_worker

OLD, NEW = "20260101-000000-aaaa", "20260102-000000-bbbb"


def planned(run_id: str, worker_id: int, number: int, name: str) -> WorkerSpec:
    return WorkerSpec(
        run_id=run_id, worker_id=worker_id, index=worker_id - 1, number=number, name=name, prompt="x", backend="shell",
        model=None, agent=AgentProfile(name="build"), branch=f"architect/parallel-{number}",
        worktree_path=f"/w/{number}", base_commit="0" * 40,
    )  # fmt: skip


def started(*workers: WorkerSpec) -> RunStarted:
    run_id, base = workers[0].run_id, "0" * 40
    plan = RunPlan(run_id=run_id, repository="/r", base_commit=base, base_ref="HEAD", workers=workers, max_parallel=1)
    return RunStarted(plan=plan, launcher_pid=1)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """An old run of one worker; a new run of three, one of them added later."""
    with Journal.open(tmp_path) as journal:
        journal.append([(OLD, None, started(planned(OLD, 1, 1, "old")))])
        journal.append([(NEW, None, started(planned(NEW, 1, 2, "review"), planned(NEW, 2, 3, "docs")))])
        journal.append([(NEW, None, RunExtended(workers=(planned(NEW, 3, 4, "worker-3"),)))])
        journal.append([(NEW, 1, StepTaken(steps=1)), (NEW, 2, StepTaken(steps=1))])
        yield journal


@pytest.mark.parametrize(
    ("words", "run_id", "ids"),
    [
        ("", NEW, ()),
        ("latest", NEW, ()),
        ("2", NEW, (2,)),
        ("2 1 2", NEW, (2, 1)),
        ("3", NEW, (3,)),
        ("docs review", NEW, (2, 1)),
        ("architect/parallel-2", NEW, (1,)),
        ("architect/parallel-1", OLD, (1,)),  # a branch names its run
        (OLD, OLD, ()),
        ("20260101 1", OLD, (1,)),
        ("aaaa old", OLD, (1,)),
        ("latest docs architect/parallel-4", NEW, (2, 3)),
    ],
)
def test_words_select(journal: Journal, words: str, run_id: str, ids: tuple[int, ...]) -> None:
    assert select(journal, words.split()) == Selection(run_id=run_id, worker_ids=ids)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ("nope", 4, "there is no run 'nope', and no worker of that name"),
        ("dosc", 4, "there is no run 'dosc', and no worker of that name; did you mean 'docs'?"),
        ("old", 4, "there is no run 'old', and no worker of that name"),  # names are those of the newest run
        ("7", 2, f"run {NEW} has no worker 7, it has 1 (review), 2 (docs), 3 (worker-3)"),
        ("aaaa docs", 2, f"run {OLD} has no worker 'docs', it has 1 (old)"),
        ("1 latest", 2, f"run {NEW} has no worker 'latest', it has 1 (review), 2 (docs), 3 (worker-3)"),
        ("2026", 2, f"'2026' fits 2 runs: {NEW}, {OLD}"),
    ],
)
def test_a_mistake_has_one_message(journal: Journal, words: str, code: int, message: str) -> None:
    with pytest.raises(ArchitectParallelError) as refused:
        select(journal, words.split())
    assert (refused.value.exit_code, refused.value.message) == (code, message)
    assert refused.value.hint


def test_a_word_that_fits_a_run_and_a_worker_is_refused(journal: Journal) -> None:
    newest = "20260103-000000-cccc"
    journal.append([(newest, None, started(planned(newest, 1, 5, "aaaa"), planned(newest, 2, 6, OLD)))])

    with pytest.raises(ArchitectParallelError) as refused:
        select(journal, ["aaaa"])

    assert refused.value.message == f"'aaaa' fits run {OLD} and worker 1 (aaaa) of run {newest}"
    assert select(journal, [OLD]).run_id == OLD  # a whole id is always a run


def test_two_workers_of_one_name_are_listed(journal: Journal) -> None:
    journal.append([(NEW, None, RunExtended(workers=(replace(planned(NEW, 4, 5, "docs")),)))])
    with pytest.raises(ArchitectParallelError, match=r"fits several workers of run .*: 2 \(docs\), 4 \(docs\)"):
        select(journal, ["docs"])


def test_one_worker(journal: Journal) -> None:
    assert select_worker(journal, [OLD]) == Selection(run_id=OLD, worker_ids=(1,))  # there is no other
    assert select_worker(journal, ["docs"]).worker_ids == (2,)
    with pytest.raises(ArchitectParallelError, match=r"no worker given; run .* has 1 \(review\), 2 \(docs\)"):
        select_worker(journal, [])
    with pytest.raises(ArchitectParallelError, match="2 workers given"):
        select_worker(journal, ["1", "2"])


def test_nothing_has_run_yet(tmp_path: Path) -> None:
    with Journal.open(tmp_path) as journal:
        for words, message in (([], "there is no run yet"), (["1"], "there is no run yet"), (["x"], "no run 'x'")):
            with pytest.raises(ArchitectParallelError, match=message):
                select(journal, words)


def test_a_run_can_be_read_as_if_it_had_only_some_workers(journal: Journal) -> None:
    only = journal.recorded(NEW, workers=(2,))
    assert [entry.worker_id for entry in only] == [None, None, 2]
    assert [spec.name for spec in journal.result(NEW, (2,)).planned] == ["docs"]
    assert [spec.name for spec in journal.result(NEW, (3,)).planned] == ["worker-3"]
