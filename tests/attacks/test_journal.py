"""Attacks on the journal: what an agent plants in it, and locks that it never gives back."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.landing_runs import begin_run, commit, ended_run

from architect_parallel import ParallelConfig, ParallelRunner
from architect_parallel.domain import Status
from architect_parallel.errors import EnvironmentProblem
from architect_parallel.events import WorkerFinished
from architect_parallel.journal import Journal, store
from architect_parallel.journal.unrecorded import UNRECORDED, record_left
from architect_parallel.system import files
from architect_parallel.system.git import Repository, open_repository

TURN = "replace(data, '\"failed\"', '\"success\"')"
PLANTED = {
    "trigger": (
        "CREATE TRIGGER evil AFTER INSERT ON events BEGIN"
        f" UPDATE events SET data = {TURN} WHERE run_id = new.run_id AND seq = new.seq; END"
    ),
    "trigger-on-the-runs": "CREATE TRIGGER evil AFTER INSERT ON runs BEGIN DELETE FROM events; END",
    "trigger-on-the-operations": "CREATE TRIGGER evil BEFORE UPDATE ON operations BEGIN SELECT raise(IGNORE); END",
    "view-in-the-place-of-a-table": (
        "ALTER TABLE events RENAME TO old;"
        f"CREATE VIEW events AS SELECT run_id, seq, time, worker_id, type, {TURN} AS data FROM old"
    ),
    "view-beside": "CREATE VIEW evil AS SELECT * FROM events",
    "table-beside": "CREATE TABLE evil (data TEXT)",
    "index": "CREATE INDEX evil ON events (data)",
    "index-that-computes": "CREATE INDEX evil ON events (json(data))",
    "column-that-computes": f"ALTER TABLE events ADD COLUMN evil TEXT AS ({TURN})",
    "default-that-lies": (
        "PRAGMA writable_schema = ON;"
        "UPDATE sqlite_master SET sql = replace(sql, 'data TEXT NOT NULL', 'data TEXT NOT NULL CHECK (1)')"
        " WHERE name = 'events'; PRAGMA schema_version = 99"
    ),
}

REFUSED = "that architect did not make|not the table that architect made|unsafe use of"


@pytest.fixture
def repository(checkout: Path) -> Repository:
    return open_repository(checkout)


@pytest.fixture
def journal(repository: Repository) -> Iterator[Journal]:
    with Journal.open(repository.state_dir) as opened:
        yield opened


def plant(repository: Repository, script: str) -> None:
    with contextlib.closing(sqlite3.connect(repository.state_dir / "runs.db")) as database:
        database.executescript(script)


@pytest.mark.parametrize("when", ["before-it-is-opened", "while-it-is-open"])
@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_schema_rewrites_what_is_recorded(
    repository: Repository, journal: Journal, name: str, when: str
) -> None:
    run = ended_run(repository, journal, "run", {"a.txt": "a\n"})
    if when == "before-it-is-opened":
        journal.close()
    plant(repository, PLANTED[name])
    with pytest.raises(EnvironmentProblem, match=REFUSED):
        journal.result("run")
    with pytest.raises(EnvironmentProblem, match=REFUSED):
        begin_run(repository, journal, "next", first=2)
    with pytest.raises(EnvironmentProblem, match=REFUSED), Journal.open(repository.state_dir) as fresh:
        fresh.run_ids()
    with contextlib.closing(sqlite3.connect(repository.state_dir / "runs.db")) as plain:
        assert plain.execute("SELECT count(*) FROM events").fetchone()[0] > 0, "the control: plain SQLite serves it"
    assert run.tip(1)


def test_control_a_trigger_turns_a_failure_into_success(
    repository: Repository, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended_run(repository, journal, "first", {"a.txt": "a\n"})
    plant(repository, PLANTED["trigger"])
    monkeypatch.setattr(store.Store, "_require_own_schema", lambda self, connection: None)
    run = begin_run(repository, journal, "run", first=2)
    commit(run.start(1), {"b.txt": "b\n"})
    run.finish(1, status=Status.FAILED)
    run.end()
    assert journal.result("run").results[0].status is Status.SUCCESS


def test_a_trigger_planted_by_the_agent_of_a_run_loses_its_result(repository: Repository) -> None:
    """The run ends with an error. A file beside the journal has what it could not record, until the next look."""
    script = "CREATE TRIGGER evil AFTER INSERT ON events BEGIN DELETE FROM events; END"
    act = f"""import sqlite3; c = sqlite3.connect({str(repository.state_dir / "runs.db")!r}); c.execute({script!r})"""
    config = ParallelConfig(tasks=(f'python3 -c "{act}"; echo x > work.txt',), backend="shell", workers=1)

    with pytest.raises(EnvironmentProblem, match="that architect did not make") as raised:
        ParallelRunner(config, workspace_root=repository.root).execute()

    beside = next(repository.state_dir.glob(f"runs/*/{UNRECORDED}"))
    assert str(beside) in raised.value.message
    assert beside.stat().st_mode & 0o777 == 0o600
    events = [json.loads(line) for line in beside.read_text().splitlines()]
    assert "WorkerFinished" in {event["type"] for event in events}

    run_id = beside.parent.name
    plant(repository, "DROP TRIGGER evil")
    with Journal.of(repository) as journal:
        before = journal.recorded(run_id)
        assert not any(isinstance(entry.event, WorkerFinished) for entry in before), "the control: it is not recorded"
        lock = journal.hold(run_id)
        assert lock is not None
        assert record_left(journal, run_id) == 0, "a live run is left alone"
        lock.release()
        assert record_left(journal, run_id) == len(events)
        left = [type(entry.event).__name__ for entry in journal.recorded(run_id)[len(before) :]]
        assert left == [event["type"] for event in events]
        assert record_left(journal, run_id) == 0
    assert not beside.exists()


def test_a_journal_that_is_never_given_back_stops_the_launcher(
    repository: Repository, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended_run(repository, journal, "run", {"a.txt": "a\n"})
    journal.close()
    monkeypatch.setattr(store, "_BUSY_TIMEOUT_S", 0.1)
    with contextlib.closing(sqlite3.connect(repository.state_dir / "runs.db", isolation_level=None)) as agent:
        agent.execute("BEGIN IMMEDIATE")
        with pytest.raises(EnvironmentProblem, match="in use"):
            begin_run(repository, journal, "next", first=2)


@pytest.mark.parametrize("name", ["worktrees.lock", "runs.db.lock"])
def test_a_lock_that_is_never_given_back_stops_the_launcher(
    repository: Repository, journal: Journal, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    if name == "worktrees.lock":
        ended_run(repository, journal, "run", {"a.txt": "a\n"})
    repository.state_dir.mkdir(exist_ok=True)
    monkeypatch.setattr(files.locked.__wrapped__, "__kwdefaults__", {"timeout_s": 0.1})  # type: ignore[attr-defined]
    descriptor = os.open(repository.state_dir / name, os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        with pytest.raises(EnvironmentProblem, match="is locked by another process"):
            begin_run(repository, journal, "next", first=2).start(1)
    finally:
        os.close(descriptor)
