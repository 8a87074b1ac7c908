"""The journal on a real disk: what was acknowledged survives a kill, numbers have no gaps, errors are one line."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import random
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from architect_parallel.domain import AgentProfile, RunPlan, RunStatus, WorkerSpec
from architect_parallel.errors import EnvironmentProblem, NothingToDo, UsageError
from architect_parallel.events import AgentOutput, EventSource, RunFinished, RunResumed, RunStarted, StepTaken, Warned
from architect_parallel.journal import Journal

APPENDER = """
import os, sys
from pathlib import Path
from architect_parallel.events import EventSource, StepTaken
from architect_parallel.journal import Journal
journal = Journal.open(Path(sys.argv[1]))
for n in range(1, 100_000):
    (recorded,) = journal.append([("run", 1, StepTaken(steps=n))])
    os.write(1, b"%d\\n" % recorded.seq)
"""
NAIVE_APPENDER = """
import os, sys
file = open(sys.argv[1], "a")
for n in range(1, 100_000):
    file.write(f"{n}\\n")
    os.write(1, b"%d\\n" % n)
"""


def acknowledged_until_killed(script: str, target: Path, after: int) -> int:
    """Runs the script, kills it once it has acknowledged `after` records, returns the last acknowledged one."""
    with subprocess.Popen([sys.executable, "-c", script, str(target)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for _ in range(after):
            assert process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        rest = process.stdout.read().split(b"\n")[:-1]
    return after + len(rest)


def test_acknowledged_event_survives_a_kill(tmp_path: Path) -> None:
    for attempt in range(6):
        state_dir = tmp_path / str(attempt)
        acknowledged = acknowledged_until_killed(APPENDER, state_dir, random.randint(1, 60))
        with Journal.open(state_dir) as journal:
            seqs = [each.seq for each in journal.recorded("run")]
            # One more may have become durable without its word getting out.
            assert seqs == list(range(1, len(seqs) + 1))
            assert acknowledged <= len(seqs) <= acknowledged + 1
            (after,) = journal.append([("run", 1, StepTaken(steps=0))])
            assert after.seq == len(seqs) + 1


def test_control_buffered_file_loses_acknowledged_records(tmp_path: Path) -> None:
    acknowledged = acknowledged_until_killed(NAIVE_APPENDER, tmp_path / "naive", 50)
    assert len((tmp_path / "naive").read_text().split("\n")[:-1]) < acknowledged


def append_many(state_dir: Path, worker_id: int, count: int) -> None:
    with Journal.open(state_dir) as journal:
        for n in range(count):
            journal.append([("shared", worker_id, StepTaken(steps=n)), (f"own-{worker_id}", None, Warned(message="x"))])


def test_several_processes_leave_no_gap_and_no_double(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=append_many, args=(tmp_path / "state", n, 12)) for n in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    with Journal.open(tmp_path / "state") as journal:
        recorded = journal.recorded("shared")
        assert [each.seq for each in recorded] == list(range(1, 37))
        for n in range(3):
            mine = [each.event for each in recorded if each.worker_id == n]
            assert mine == [StepTaken(steps=step) for step in range(12)]
            assert len(journal.recorded(f"own-{n}")) == 12


def test_threads_share_one_journal(tmp_path: Path) -> None:
    with Journal.open(tmp_path) as journal, ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: journal.append([("run", n, StepTaken(steps=n))]), range(40)))
        assert [each.seq for each in journal.recorded("run")] == list(range(1, 41))


def test_what_append_returns_is_what_is_read_back(tmp_path: Path) -> None:
    with Journal.open(tmp_path) as journal:
        shown = journal.append(
            [
                ("run", None, Warned(message="caf\udce9 ☕\x00")),
                ("run", 1, AgentOutput(text="live only")),
                ("run", 2, StepTaken(steps=1)),
            ]
        )
        assert [each.seq for each in shown] == [1, 0, 2]
        assert journal.recorded("run") == [shown[0], shown[2]]
        assert journal.recorded("run", after_seq=1) == [shown[2]]
        (only_live,) = journal.append([("other", 1, AgentOutput(text="nothing kept"))])
        assert (only_live.seq, journal.run_ids()) == (0, ["run"])


def test_reading_creates_nothing(tmp_path: Path) -> None:
    state_dir = tmp_path / "architect"
    with Journal.open(state_dir) as journal:
        assert journal.run_ids() == []
        assert journal.operations() == []
        assert not journal.is_live("run")
        with pytest.raises(NothingToDo):
            journal.result("run")
    assert not state_dir.exists()


def test_only_the_owner_may_read_it(tmp_path: Path) -> None:
    with Journal.open(tmp_path / "architect") as journal:
        journal.append([("run", None, Warned(message="secret"))])
        lock = journal.hold("run")
        assert lock is not None
        for path in ("architect", "architect/runs", "architect/runs/run"):
            assert stat.S_IMODE((tmp_path / path).stat().st_mode) == 0o700
        for file in ("runs.db", "runs.db-wal", "runs/run/lock"):
            assert stat.S_IMODE((tmp_path / "architect" / file).stat().st_mode) == 0o600
        lock.release()


def test_run_is_found_by_id_beginning_end_and_latest(tmp_path: Path) -> None:
    with Journal.open(tmp_path) as journal:
        with pytest.raises(NothingToDo, match="no run yet"):
            journal.find("latest")
        for run_id in ("20260101-aaa", "20260102-abc", "20260102-abc-2"):
            journal.append([(run_id, None, Warned(message="x"))])
        assert journal.run_ids() == ["20260102-abc-2", "20260102-abc", "20260101-aaa"]
        assert journal.find("latest") == "20260102-abc-2"
        assert journal.find("20260102-abc") == "20260102-abc"  # itself before a beginning of another
        assert journal.find("20260101") == "20260101-aaa"
        assert journal.find("-aaa") == "20260101-aaa"
        with pytest.raises(UsageError, match="20260102-abc-2, 20260102-abc, 20260101-aaa") as ambiguous:
            journal.find("2026")
        assert ambiguous.value.exit_code == 2
        journal.append([("20260103-000000-0012", None, Warned(message="x"))])
        assert journal.find("0012") == "20260103-000000-0012"
        # A number of a worker is no run, and so is an end that many runs have: the control is a naive `endswith`.
        for unknown in ("nope", "", "0102", "%", "12", "012", "2", "-2", "aaa"):
            with pytest.raises(NothingToDo) as missing:
                journal.find(unknown)
            assert missing.value.hint == "architect status"


def plan(run_id: str, *numbers: int) -> RunStarted:
    workers = tuple(
        WorkerSpec(
            run_id=run_id, worker_id=n, index=n - 1, number=number, name="w", prompt="p", backend="shell", model=None,
            agent=AgentProfile(name="build"), branch=f"architect/parallel-{number}", worktree_path="/w",
            base_commit="b" * 40,
        )
        for n, number in enumerate(numbers, start=1)
    )  # fmt: skip
    decided = RunPlan(
        run_id=run_id, repository="/r", base_commit="b" * 40, base_ref="HEAD", workers=workers, max_parallel=1
    )
    return RunStarted(plan=decided, launcher_pid=os.getpid())


def test_run_lives_as_long_as_its_lock_is_held(tmp_path: Path) -> None:
    with Journal.open(tmp_path) as journal, Journal.open(tmp_path) as elsewhere:
        lock = journal.hold("run")
        assert lock is not None
        journal.append([("run", None, plan("run", 4, 5)), ("dead", None, plan("dead", 6))])
        assert elsewhere.hold("run") is None
        assert elsewhere.is_live("run")
        assert elsewhere.launcher_pid("run") == os.getpid()
        assert {spec.number for spec in elsewhere.live_workers()} == {4, 5}
        assert elsewhere.result("run").status is RunStatus.RUNNING
        assert elsewhere.result("dead").status is RunStatus.INTERRUPTED
        lock.release()
        assert elsewhere.launcher_pid("run") is None
        assert elsewhere.live_workers() == []
        assert elsewhere.result("run").status is RunStatus.INTERRUPTED
        journal.append([("run", None, RunFinished(status=RunStatus.FAILED, exit_code=1))])
        assert elsewhere.result("run").status is RunStatus.FAILED


def test_taken_numbers_are_read_from_the_plans_alone(tmp_path: Path) -> None:
    with Journal.open(tmp_path) as journal:
        lock = journal.hold("run")
        assert lock is not None
        (later,) = plan("run", 9).plan.workers
        resumed = RunResumed(launcher_pid=1, worker_ids=(1,), workers=(later,))
        journal.append([("run", None, plan("run", 4, 5)), ("run", 1, StepTaken(steps=1)), ("run", None, resumed)])
        with contextlib.closing(sqlite3.connect(journal.path)) as database, database:
            database.execute("UPDATE events SET data = '{' WHERE type = 'StepTaken'")
        with pytest.raises(EnvironmentProblem, match="damaged"):
            journal.recorded("run")
        assert {spec.number for spec in journal.live_workers()} == {4, 5, 9}, "no other event is as much as decoded"
        lock.release()


def test_lock_of_a_killed_launcher_is_free(tmp_path: Path) -> None:
    holder = (
        "import sys, time; from pathlib import Path; from architect_parallel.journal import Journal\n"
        "lock = Journal.open(Path(sys.argv[1])).hold('run'); print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", holder, str(tmp_path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        with Journal.open(tmp_path) as journal:
            assert journal.launcher_pid("run") == process.pid
            assert journal.hold("run") is None
            process.kill()
            process.wait()
            assert not journal.is_live("run")
            lock = journal.hold("run")
            assert lock is not None
            lock.release()


def test_looking_at_a_run_never_stops_another_from_taking_it(tmp_path: Path) -> None:
    stop = threading.Event()
    with Journal.open(tmp_path) as journal, ThreadPoolExecutor(1) as pool:
        first = journal.hold("run")
        assert first is not None
        first.release()

        def look() -> None:
            while not stop.is_set():
                journal.is_live("run")
                stop.wait(0.0005)

        looking = pool.submit(look)
        try:
            for _ in range(300):
                lock = journal.hold("run")
                assert lock is not None
                lock.release()
        finally:
            stop.set()
        looking.result()


def test_operations_are_intent_first_and_marked_after(tmp_path: Path) -> None:
    with Journal.open(tmp_path, now=lambda: datetime(2026, 1, 1, tzinfo=UTC)) as journal:
        first = journal.begin_operation("merge", "run", {"ref": "refs/heads/main", "old": "1"})
        second = journal.begin_operation("cleanup", None, {"items": [1, 2]})
        journal.finish_operation(first)
        journal.finish_operation(second, {"items": [1]})
        journal.mark_undone(second)
        newest, oldest = journal.operations()
        assert (newest.id, newest.payload, newest.finished, newest.undone) == (second, {"items": [1]}, True, True)
        assert (oldest.kind, oldest.run_id, oldest.undone) == ("merge", "run", False)
        assert oldest.payload == {"ref": "refs/heads/main", "old": "1"}
        assert oldest.time == datetime(2026, 1, 1, tzinfo=UTC)
        third = journal.begin_operation("merge", "run", {})
        assert not journal.operations()[0].finished
        assert third > second


def test_all_of_an_append_is_stored_or_none(tmp_path: Path) -> None:
    with Journal.open(tmp_path) as journal:
        journal.append([("run", 1, StepTaken(steps=1))])
        unstorable = Warned(message=object())  # type: ignore[arg-type]  # what json refuses, midway
        with pytest.raises(TypeError):
            journal.append([("run", 1, StepTaken(steps=2)), ("run", 1, unstorable)])
        (after,) = journal.append([("run", 1, StepTaken(steps=3))])
        assert after.seq == 2


def test_event_of_a_newer_version_is_passed_over(tmp_path: Path) -> None:
    with Journal.open(tmp_path) as journal:
        journal.append([("run", 1, StepTaken(steps=n)) for n in (1, 2, 3)])
        with sqlite3.connect(tmp_path / "runs.db") as database:
            database.execute("UPDATE events SET type = 'FromTheFuture' WHERE seq = 2")
        database.close()
        assert [each.seq for each in journal.recorded("run")] == [1, 3]


def test_damaged_journal_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "runs.db").write_bytes(b"this is not a database, " * 400)
    with pytest.raises(EnvironmentProblem, match="is damaged") as problem:
        Journal.open(tmp_path)
    assert problem.value.exit_code == 3
    assert problem.value.hint is not None
    assert str(tmp_path / "runs.db.damaged") in problem.value.hint


def test_damage_in_the_middle_is_one_clear_line(tmp_path: Path) -> None:
    with Journal.open(tmp_path) as journal:
        journal.append([("run", n, Warned(message="x" * 500)) for n in range(200)])
    whole = (tmp_path / "runs.db").read_bytes()
    (tmp_path / "runs.db").write_bytes(whole[:4096] + b"\xa5" * (len(whole) - 4096))
    with Journal.open(tmp_path) as journal, pytest.raises(EnvironmentProblem, match="is damaged"):
        journal.recorded("run")


def test_event_that_does_not_decode_is_named(tmp_path: Path) -> None:
    with Journal.open(tmp_path) as journal:
        journal.append([("run", 1, StepTaken(steps=1))])
        with sqlite3.connect(tmp_path / "runs.db") as database:
            database.execute("UPDATE events SET data = '{\"unfit\": 1}'")
        database.close()
        with pytest.raises(EnvironmentProblem, match="event 1 of run run"):
            journal.recorded("run")


def _make_version_1(state_dir: Path) -> None:
    with sqlite3.connect(state_dir / "runs.db") as database:
        database.execute("DROP TABLE cursors")
        database.execute("DROP TABLE ended")
        database.execute("PRAGMA user_version = 1")
    database.close()


def test_journal_of_version_1_is_read_as_it_is_and_grows_with_the_next_event(tmp_path: Path) -> None:
    with Journal.open(tmp_path) as journal:
        journal.append([("run", 1, StepTaken(steps=1))])
    _make_version_1(tmp_path)
    before = (tmp_path / "runs.db").read_bytes()
    with Journal.open(tmp_path) as journal:
        assert [entry.event for entry in journal.recorded("run")] == [StepTaken(steps=1)]
        assert journal.cursors("run") == {}
    assert (tmp_path / "runs.db").read_bytes() == before
    with Journal.open(tmp_path) as journal:
        journal.append([("run", 1, StepTaken(steps=2))], [("run", EventSource("host", 7))])
    with Journal.open(tmp_path) as journal:
        assert [entry.event for entry in journal.recorded("run")] == [StepTaken(steps=1), StepTaken(steps=2)]
        assert journal.cursors("run") == {"host": 7}


def test_cursor_of_a_host_moves_with_the_events_and_never_back(tmp_path: Path) -> None:
    with Journal.open(tmp_path) as journal:
        journal.append([("run", 1, StepTaken(steps=1))], [("run", EventSource("a", 3)), ("run", EventSource("b", 1))])
        journal.append([], [("run", EventSource("a", 2)), ("other", EventSource("a", 9))])
        assert journal.cursors("run") == {"a": 3, "b": 1}
        journal.forget("run")
        assert (journal.cursors("run"), journal.cursors("other")) == ({}, {"a": 9})


def test_journal_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    with Journal.open(tmp_path) as journal:
        journal.append([("run", 1, StepTaken(steps=1))])
    with sqlite3.connect(tmp_path / "runs.db") as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(EnvironmentProblem, match="newer version") as problem:
        Journal.open(tmp_path)
    assert problem.value.hint == "upgrade architect-parallel"


def test_place_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with Journal.open(tmp_path / "file" / "architect") as journal:
        with pytest.raises(EnvironmentProblem, match="cannot use"):
            journal.append([("run", 1, StepTaken(steps=1))])
        with pytest.raises(EnvironmentProblem, match="cannot use"):
            journal.hold("run")


FILLER = """
import resource, sys
from pathlib import Path
from architect_parallel.errors import EnvironmentProblem
from architect_parallel.events import EventSource, StepTaken, Warned
from architect_parallel.journal import Journal
journal = Journal.open(Path(sys.argv[1]))
journal.append([("run", 1, StepTaken(steps=1))])
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
try:
    journal.append([("run", 1, StepTaken(steps=2)), ("run", 1, Warned(message="x" * 1_000_000))])
except EnvironmentProblem as problem:
    print(problem.message)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print(journal.append([("run", 1, StepTaken(steps=3))])[0].seq)
"""


def test_write_cut_short_stores_nothing_and_the_journal_goes_on(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", FILLER, str(tmp_path)], capture_output=True, text=True, check=True)
    problem, seq = done.stdout.splitlines()
    assert str(tmp_path) in problem
    assert seq == "2"
    with Journal.open(tmp_path) as journal:
        assert [each.event for each in journal.recorded("run")] == [StepTaken(steps=1), StepTaken(steps=3)]
