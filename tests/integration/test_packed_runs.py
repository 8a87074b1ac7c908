"""Ended runs in the journal: packed once they were listed, read as before, and continued as before."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from architect_parallel.domain import AgentProfile, Reason, RunPlan, RunStatus, Status, WorkerSpec
from architect_parallel.events import RunFinished, RunResumed, RunStarted, StepTaken, Warned, WorkerFinished
from architect_parallel.journal import Journal
from architect_parallel.scheduling.retries import unstarted

RUNS = ("20260101-000000-aaaa", "20260102-000000-bbbb")


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """The journal of two ended runs."""
    with Journal.open(tmp_path / "architect", root=tmp_path) as journal:
        for run_id in RUNS:
            spec = WorkerSpec(
                run_id=run_id,
                worker_id=1,
                index=0,
                number=1,
                name="worker-1",
                prompt="fix it",
                backend="shell",
                model=None,
                agent=AgentProfile(name=""),
                branch="architect/parallel-1",
                worktree_path=str(tmp_path / ".architect-parallel-1"),
                base_commit="b" * 40,
            )
            plan = RunPlan(
                run_id=run_id,
                repository=str(tmp_path),
                base_commit="b" * 40,
                base_ref="main",
                max_parallel=1,
                workers=(spec,),
            )
            journal.append([(run_id, None, RunStarted(plan=plan, launcher_pid=1)), (run_id, 1, StepTaken(steps=1))])
            result = unstarted(spec, Status.CANCELED, Reason.INTERRUPTED)
            journal.append([(run_id, 1, WorkerFinished(result=result))])
            journal.append([(run_id, None, RunFinished(status=RunStatus.FAILED, exit_code=1))])
        yield journal


def packed(journal: Journal) -> set[str]:
    """The runs whose events are not rows any more."""
    with closing(sqlite3.connect(journal.path)) as database:
        plain = {row[0] for row in database.execute("SELECT DISTINCT run_id FROM events")}
    return set(journal.run_ids()) - plain


def make_plain(journal: Journal) -> None:
    """Make the journal one of the version before runs were packed."""
    with closing(sqlite3.connect(journal.path)) as database:
        database.executescript("DROP TABLE ended; DROP TABLE cursors; PRAGMA user_version = 1;")


def test_a_packed_run_reads_as_before(journal: Journal, tmp_path: Path) -> None:
    before = [(journal.recorded(run), journal.result(run), journal.plan(run), journal.planned(run)) for run in RUNS]

    first, again = journal.summaries(RUNS), journal.summaries(RUNS)

    assert packed(journal) == set(RUNS)
    assert first == again == [result.summary() for _, result, _, _ in before]
    assert before == [
        (journal.recorded(run), journal.result(run), journal.plan(run), journal.planned(run)) for run in RUNS
    ]
    assert [entry.seq for entry in journal.recorded(RUNS[0], after_seq=2)] == [3, 4]
    assert journal.recorded(RUNS[0], files=False) == before[0][0]


def test_a_packed_run_goes_on_with_the_next_number(journal: Journal) -> None:
    recorded = journal.recorded(RUNS[0])
    journal.summaries(RUNS)

    (resumed,) = journal.append([(RUNS[0], None, RunResumed(worker_ids=(1,), launcher_pid=1))])

    assert resumed.seq == 5
    assert journal.recorded(RUNS[0]) == [*recorded, resumed]
    assert packed(journal) == {RUNS[1]}
    assert journal.summaries(RUNS)[0].status is RunStatus.INTERRUPTED


def test_a_live_run_stays_plain(journal: Journal) -> None:
    lock = journal.hold(RUNS[0])
    assert lock is not None
    journal.summaries(RUNS)
    assert packed(journal) == {RUNS[1]}
    lock.release()


def test_a_run_that_got_another_event_meanwhile_stays_plain(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    pack_all = journal._pack_all

    def late(ended: object) -> None:
        journal.append([(RUNS[0], None, Warned(message="late"))])
        pack_all(ended)  # type: ignore[arg-type]

    monkeypatch.setattr(journal, "_pack_all", late)
    journal.summaries(RUNS)

    assert packed(journal) == {RUNS[1]}
    assert len(journal.recorded(RUNS[0])) == 5


def test_an_earlier_journal_is_packed_unless_a_run_of_it_is_live(journal: Journal) -> None:
    before = [journal.recorded(run) for run in RUNS]
    make_plain(journal)
    lock = journal.hold(RUNS[1])  # maybe of a launcher that cannot read packed runs
    assert lock is not None
    journal.summaries(RUNS)
    assert packed(journal) == set()

    lock.release()
    journal.append([(RUNS[0], None, Warned(message="late"))])
    summaries = journal.summaries(RUNS)

    assert packed(journal) == set(RUNS)
    assert [summary.run_id for summary in summaries] == list(RUNS)
    assert [journal.recorded(run)[:4] for run in RUNS] == before


def test_who_may_only_read_sees_the_same(journal: Journal) -> None:
    expected = [journal.result(run).summary() for run in RUNS]
    with closing(sqlite3.connect(journal.path)) as other:
        other.execute("BEGIN IMMEDIATE")  # nobody else can write meanwhile
        connection = journal._connect(create=False)
        assert connection is not None
        connection.execute("PRAGMA busy_timeout = 1")
        assert journal.summaries(RUNS) == expected
    assert packed(journal) == set()


def test_a_packed_run_can_be_removed(journal: Journal) -> None:
    journal.summaries(RUNS)
    journal.forget(RUNS[0])
    assert journal.run_ids() == [RUNS[1]]
    assert journal.recorded(RUNS[0]) == []
