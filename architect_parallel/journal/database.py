"""Events and operations of a repository's runs, kept in SQLite; and the lock that tells a live run from a dead one.

What `append` has returned survives a kill and a power cut: one transaction, WAL with `synchronous=FULL`. (A plain
buffered file lost acknowledged records in 53 of 60 kills, and raw appends write short on a full disk without a word.)
Several processes and threads may use the same journal. Reading never creates anything: a repository without a journal
has no runs. The invariant: events of a run are numbered from 1 without gaps, and are never changed or removed. Paths
are stored relative to the repository and read as absolute ones (`paths`).

A run lives as long as its launcher holds the `flock` on `runs/<run id>/lock`; the kernel drops it when the launcher
dies, however it dies.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from architect_parallel.domain import Landing, RunResult
from architect_parallel.errors import EnvironmentProblem, NothingToDo, UsageError
from architect_parallel.events import (
    AgentOutput,
    Event,
    Recorded,
    RunExtended,
    RunResumed,
    RunStarted,
    decode,
    encode,
    from_plain,
    to_plain,
)
from architect_parallel.journal.paths import Anchor, change_event, change_payload
from architect_parallel.journal.replay import replay
from architect_parallel.system import clock
from architect_parallel.system.files import (
    HeldLock,
    hand_over_tree,
    is_locked,
    locked,
    make_shared_dir,
    ownership_hint,
    share,
)
from architect_parallel.system.git import Repository, make_state_dir
from architect_parallel.text.names import SHORTEST_RUN_END, is_worker_number

SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE runs (position INTEGER PRIMARY KEY, run_id TEXT NOT NULL UNIQUE);
CREATE TABLE events (
    run_id TEXT NOT NULL REFERENCES runs (run_id), seq INTEGER NOT NULL, time TEXT NOT NULL, worker_id INTEGER,
    type TEXT NOT NULL, data TEXT NOT NULL, PRIMARY KEY (run_id, seq)
) WITHOUT ROWID;
CREATE TABLE operations (
    id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, run_id TEXT, time TEXT NOT NULL, payload TEXT NOT NULL,
    finished TEXT, undone TEXT
);
"""
_WITHOUT_FILES = (
    "json_replace(data, '$.diff.files', json('[]'), '$.result.diff.files', json('[]'),"
    " '$.result.files_modified', json('[]'))"
)
_BUSY_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One act of `landing` that `undo` can take back: written before it, marked after it."""

    id: int
    kind: str
    """`cleanup` or `merge`."""
    run_id: str | None
    """`None`: over several runs."""
    time: datetime
    payload: Mapping[str, Any]
    """What was intended, and how it was before, as plain JSON data."""
    finished: bool
    """False: the program died on the way; parts of it may have happened."""
    undone: bool


class Journal:
    """The journal of one repository. Safe to use from several threads; errors are `EnvironmentProblem`."""

    def __init__(self, state_dir: Path, now: Callable[[], datetime], root: Path | None = None) -> None:
        self.state_dir = state_dir
        self.path = state_dir / "runs.db"
        self._anchor = Anchor.of(state_dir, root)
        self._roots: dict[str, str] = {}
        self._now = now
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._opened_s = time.time() - 1.0  # file systems have coarser clocks
        self._wrote = False

    @classmethod
    def of(cls, repository: Repository) -> Journal:
        """The journal of a repository; see `open`."""
        return cls.open(repository.state_dir, root=repository.root)

    @classmethod
    def open(
        cls, state_dir: Path, *, now: Callable[[], datetime] = clock.now, root: Path | None = None
    ) -> Journal:  # fmt: skip
        """The journal at `<state_dir>/runs.db`; creates nothing until something is written.

        Args:
            root: The repository's root, which paths are relative to; `None` means its usual place (see `paths`).

        Raises:
            EnvironmentProblem: When there is one that is damaged, unreadable or of a newer version.
        """
        journal = cls(state_dir, now, root)
        with journal._lock:
            journal._connect(create=False)
        return journal

    def close(self) -> None:
        """Closes the database; a second call does nothing. As root, gives the repository's owner what was made."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None
                if self._wrote:
                    hand_over_tree(self.state_dir.parent, self._opened_s)

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Events

    def append(self, entries: Iterable[tuple[str, int | None, Event]]) -> list[Recorded]:
        """Records (run id, worker id or `None`, event) in this order, all or none; durable on return.

        `AgentOutput` is not stored: it comes back with `seq` 0.

        Raises:
            EnvironmentProblem: When it could not be made durable (disk full, read-only, damaged): nothing was stored.
        """
        entries = list(entries)
        now = self._now()
        time_ = now.replace(microsecond=now.microsecond // 1000 * 1000)  # as the codec stores it
        if all(isinstance(event, AgentOutput) for _, _, event in entries):
            return [Recorded(run_id=run, seq=0, time=time_, worker_id=worker, event=ev) for run, worker, ev in entries]
        recorded = []
        with self._transaction() as database:
            last: dict[str, int] = {}
            for run_id, worker_id, event in entries:
                seq = 0
                if not isinstance(event, AgentOutput):
                    if run_id not in last:
                        last[run_id] = _last_seq(database, run_id)
                    seq = last[run_id] = last[run_id] + 1
                    row = (run_id, seq, to_plain(time_), worker_id, *self._encoded(event))
                    database.execute("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?)", row)
                recorded.append(Recorded(run_id=run_id, seq=seq, time=time_, worker_id=worker_id, event=event))
        return recorded

    def adopt(self, recorded: Sequence[Recorded]) -> None:
        """Records the events of a run that ended elsewhere, with their own times, all or none; durable on return.

        Raises:
            NothingToDo: The journal has this run already.
            EnvironmentProblem: As `append`.
        """
        run_id = recorded[0].run_id
        with self._transaction() as database:
            if _last_seq(database, run_id) > 0:
                raise NothingToDo(f"run {run_id} is in this repository already", hint=f"architect status {run_id}")
            for seq, each in enumerate(recorded, start=1):
                row = (run_id, seq, to_plain(each.time), each.worker_id, *self._encoded(each.event))
                database.execute("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?)", row)

    def forget(self, run_id: str) -> None:
        """Removes a run of which nothing was made: its events, its prompts and its logs.

        The caller holds the run's lock. An unknown run is no error.

        Raises:
            EnvironmentProblem: As `append`.
        """
        with self._transaction() as database:
            database.execute("DELETE FROM events WHERE run_id = ?", (run_id,))
            database.execute("DELETE FROM runs WHERE run_id = ?", (run_id,))
        shutil.rmtree(self.run_dir(run_id), ignore_errors=True)

    def recorded(self, run_id: str, after_seq: int = 0, *, files: bool = True) -> list[Recorded]:
        """The run's events with a `seq` above `after_seq`, in order; empty for an unknown run.

        Events of a type that this version does not know (written by a newer one) are left out.

        Args:
            files: Whether to read the lists of changed files; without, they are empty. Large results are mostly those.
        """
        data = "data" if files else _WITHOUT_FILES
        rows = self._rows(
            f"SELECT seq, time, worker_id, type, {data} FROM events WHERE run_id = ? AND seq > ? ORDER BY seq",
            (run_id, after_seq),
        )
        return [each for row in rows if (each := self._decoded(run_id, row)) is not None]

    def first(self, run_id: str) -> Recorded | None:
        """The run's first event, which holds its plan, without reading the others; `None`: it cannot be read."""
        rows = self._rows(
            "SELECT seq, time, worker_id, type, data FROM events WHERE run_id = ? ORDER BY seq LIMIT 1", (run_id,)
        )
        return self._decoded(run_id, rows[0]) if rows else None

    def _of_types(self, run_id: str, *types: type[Event]) -> list[Recorded]:
        """The run's events of some types alone, in order: the others are not even decoded."""
        names = tuple(each.__name__ for each in types)
        rows = self._rows(
            "SELECT seq, time, worker_id, type, data FROM events WHERE run_id = ?"
            f" AND type IN ({', '.join('?' * len(names))}) ORDER BY seq",
            (run_id, *names),
        )
        return [each for row in rows if (each := self._decoded(run_id, row)) is not None]

    def run_ids(self) -> list[str]:
        """All runs, newest first."""
        return [row[0] for row in self._rows("SELECT run_id FROM runs ORDER BY position DESC")]

    def find(self, text: str) -> str:
        """The run id meant by `text`: itself, a unique beginning of one, a unique end of at least four characters, or
        `latest`. A number of fewer digits is none: it is a worker's.

        Raises:
            NothingToDo: When there is no such run.
            UsageError: When it fits several.
        """
        runs = self.run_ids()
        if text == "latest" and runs:
            return runs[0]
        if text in runs:
            return text
        named = bool(text) and not is_worker_number(text)
        by_end = named and len(text) >= SHORTEST_RUN_END
        fits = [run for run in runs if (named and run.startswith(text)) or (by_end and run.endswith(text))]
        if not fits:
            what = "there is no run yet" if text == "latest" else f"there is no run {text!r}"
            raise NothingToDo(what, hint="architect status")
        if len(fits) > 1:
            shown = ", ".join(fits[:5]) + (", …" if len(fits) > 5 else "")
            raise UsageError(f"{text!r} fits {len(fits)} runs: {shown}", hint="give more of its name")
        return fits[0]

    def result(self, run_id: str) -> RunResult:
        """What the run amounts to so far.

        Raises:
            NothingToDo: When there is no such run.
        """
        # Liveness first: a run that ends in between is then read with its end, never as interrupted.
        live = self.is_live(run_id)
        recorded = self.recorded(run_id)
        if not recorded:
            raise NothingToDo(f"no run {run_id!r}", hint="architect status")
        return self.with_landing(replay(recorded, live=live))

    def with_landing(self, result: RunResult) -> RunResult:
        """Add the newest merge of the run to its `result`, and return it."""
        result.merge = self._landing(result.run_id)
        return result

    # The living and the dead

    def run_dir(self, run_id: str) -> Path:
        """Directory of the run's prompts, logs and lock; it may not exist."""
        return self.state_dir / "runs" / run_id

    def hold(self, run_id: str) -> HeldLock | None:
        """Makes the run live until the lock is released or this process dies; `None`: somebody else holds it.

        Creates the run's directory, private or as the repository is shared; the lock file has our pid.
        """
        try:
            runs = make_shared_dir(make_state_dir(self.state_dir) / "runs")
            path = make_shared_dir(runs / run_id) / "lock"
            for _ in range(5):
                # `is_live` of another process takes the lock for a moment to look; that is not a holder.
                if (lock := HeldLock.try_acquire(path)) is not None:
                    lock.write(f"{os.getpid()}\n")
                    return lock
                time.sleep(0.01)
        except OSError as error:
            raise _unwritable(self.run_dir(run_id), error, self.state_dir) from error
        return None

    def is_live(self, run_id: str) -> bool:
        """Whether the run's launcher lives."""
        return is_locked(self.run_dir(run_id) / "lock")

    def launcher_pid(self, run_id: str) -> int | None:
        """Process id of the launcher of a live run; `None`: it is not live."""
        if not self.is_live(run_id):
            return None
        with contextlib.suppress(OSError, ValueError):
            return int((self.run_dir(run_id) / "lock").read_text())
        return None

    def live_numbers(self, *, besides: str | None = None) -> set[int]:
        """The numbers N of `architect/parallel-N` that plans of live runs have taken, one run left out (`besides`)."""
        numbers: set[int] = set()
        for run_id in self.run_ids():
            if run_id != besides and self.is_live(run_id):
                events = [each.event for each in self._of_types(run_id, RunStarted, RunExtended, RunResumed)]
                planned = [each.plan.workers for each in events if isinstance(each, RunStarted)]
                planned += [each.workers for each in events if isinstance(each, (RunExtended, RunResumed))]
                numbers |= {spec.number for workers in planned for spec in workers}
        return numbers

    # Operations

    def begin_operation(self, kind: str, run_id: str | None, payload: Mapping[str, Any]) -> int:
        """Records what is about to be done; durable on return. Returns its id."""
        with self._transaction() as database:
            row = (kind, run_id, to_plain(self._now()), self._payload_text(payload))
            found = database.execute("INSERT INTO operations (kind, run_id, time, payload) VALUES (?, ?, ?, ?)", row)
            return int(found.lastrowid or 0)

    def finish_operation(self, operation_id: int, payload: Mapping[str, Any] | None = None) -> None:
        """Marks it as done; `payload` replaces what was intended by what was done (`None`: as intended)."""
        with self._transaction() as database:
            if payload is not None:
                text = self._payload_text(payload)
                database.execute("UPDATE operations SET payload = ? WHERE id = ?", (text, operation_id))
            database.execute("UPDATE operations SET finished = ? WHERE id = ?", (to_plain(self._now()), operation_id))

    def amend_operation(self, operation_id: int, payload: Mapping[str, Any]) -> None:
        """Replaces what is intended, before the part of it that the new payload tells of; durable on return."""
        with self._transaction() as database:
            text = self._payload_text(payload)
            database.execute("UPDATE operations SET payload = ? WHERE id = ?", (text, operation_id))

    def withdraw_operation(self, operation_id: int) -> None:
        """Forget an operation that was refused before it changed anything. One that is finished stays."""
        with self._transaction() as database:
            database.execute("DELETE FROM operations WHERE id = ? AND finished IS NULL", (operation_id,))

    def operations(self, run_id: str | None = None) -> list[Operation]:
        """All operations (on one run alone: `run_id`), newest first, the undone ones included."""
        columns = "id, kind, run_id, time, payload, finished, undone"
        where, values = ("WHERE run_id = ?", (run_id,)) if run_id is not None else ("", ())
        return [
            Operation(
                id=row[0], kind=row[1], run_id=row[2], time=datetime.fromisoformat(row[3]),
                payload=self._payload(row[4], row[2]), finished=row[5] is not None, undone=row[6] is not None,
            )
            for row in self._rows(f"SELECT {columns} FROM operations {where} ORDER BY id DESC", values)
        ]  # fmt: skip

    def _landing(self, run_id: str) -> Landing | None:
        """The newest merge of the run that was done and stands."""
        rows = self._rows(
            "SELECT payload, time FROM operations WHERE run_id = ? AND kind = 'merge' AND finished IS NOT NULL"
            " AND undone IS NULL ORDER BY id DESC LIMIT 1",
            (run_id,),
        )
        if not rows:
            return None
        done = json.loads(rows[0][0])
        plain = {
            "merged": done["workers"], "left_out": done.get("left_out", []), "target": done["branch"],
            "commit": done["new"], "method": done["method"], "branch": done.get("integration"),
            "pull_request": bool(done.get("pull_request")), "time": rows[0][1],
        }  # fmt: skip
        landing: Landing = from_plain(Landing, plain)
        return landing

    def mark_undone(self, operation_id: int) -> None:
        """Records that the operation was taken back."""
        with self._transaction() as database:
            database.execute("UPDATE operations SET undone = ? WHERE id = ?", (to_plain(self._now()), operation_id))

    # SQLite

    def _connect(self, *, create: bool) -> sqlite3.Connection | None:
        if self._connection is not None:
            return self._connection
        try:
            if create or self.state_dir.is_dir():
                make_state_dir(self.state_dir)
            if not create and not self.path.exists():
                return None
            with self._errors():
                try:
                    connection = self._opened("rwc" if create else "rw", create=create)
                except sqlite3.OperationalError:
                    # Even to read, SQLite makes files beside the journal: not in a place that cannot be written.
                    if create or not self._is_at_rest():
                        raise
                    return self._opened("ro&immutable=1", create=False)
        except OSError as error:
            raise _unwritable(self.path, error, self.state_dir) from error
        self._connection = connection
        return connection

    def _opened(self, mode: str, *, create: bool) -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"{self.path.absolute().as_uri()}?mode={mode}", uri=True, timeout=_BUSY_TIMEOUT_S,
            isolation_level=None, check_same_thread=False,
        )  # fmt: skip
        try:
            self._prepare(connection, create=create)
        except BaseException:
            connection.close()
            raise
        return connection

    def _is_at_rest(self) -> bool:
        """Return whether the one file holds everything: no process has the journal open or died with it open."""
        wal = self.path.with_name(f"{self.path.name}-wal")
        return not wal.exists() or wal.stat().st_size == 0

    def _prepare(self, connection: sqlite3.Connection, *, create: bool) -> None:
        def version() -> int:
            return int(connection.execute("PRAGMA user_version").fetchone()[0])

        connection.execute("PRAGMA synchronous = FULL")
        if version() > SCHEMA_VERSION:
            raise EnvironmentProblem(
                f"the journal {self.path} was written by a newer version", hint="upgrade architect-parallel"
            )
        if version() == SCHEMA_VERSION or not create:
            return
        # Going to WAL needs the file alone and does not wait for it, so only one process does it.
        with locked(self.state_dir / "runs.db.lock"):
            if version() == 0:
                self.path.chmod(0o600)
                share(self.path)  # SQLite gives the files beside it the same mode and, as root, the same owner
                connection.execute("PRAGMA journal_mode = WAL")
                connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")

    def _rows(self, query: str, values: tuple[object, ...] = ()) -> list[Any]:
        with self._lock, self._errors():
            connection = self._connect(create=False)
            if connection is None or connection.execute("PRAGMA user_version").fetchone()[0] == 0:
                return []  # no journal, or one that another process is just making
            try:
                return connection.execute(query, values).fetchall()
            finally:
                if connection is not self._connection:  # a view that stays as it is; the next look opens a new one
                    connection.close()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock, self._errors():
            connection = self._connect(create=True)
            assert connection is not None
            self._prepare(connection, create=True)
            connection.execute("BEGIN IMMEDIATE")
            self._wrote = True
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                # SQLite has rolled back by itself after some errors (a full disk); then there is nothing to do.
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def _decoded(self, run_id: str, row: tuple[int, str, int | None, str, str]) -> Recorded | None:
        seq, time_, worker_id, name, data = row
        try:
            event = decode(name, data)
        except KeyError:
            return None
        except (ValueError, TypeError) as error:
            raise self._damaged(f"event {seq} of run {run_id}") from error
        recorded_root = self._recorded_root(run_id)
        event = change_event(event, lambda path: self._anchor.read(path, recorded_root))
        at = datetime.fromisoformat(time_)
        return Recorded(run_id=run_id, seq=seq, time=at, worker_id=worker_id, event=event)

    def _encoded(self, event: Event) -> tuple[str, str]:
        return encode(change_event(event, self._anchor.stored))

    def _payload_text(self, payload: Mapping[str, Any]) -> str:
        return json.dumps(change_payload(to_plain(payload), lambda path, _: self._anchor.stored(path)))

    def _payload(self, text: str, run_id: str | None) -> dict[str, Any]:
        def change(path: str, of_run: str | None) -> str:
            return self._anchor.read(path, self._recorded_root(of_run or run_id or ""))

        return change_payload(json.loads(text), change)

    def _recorded_root(self, run_id: str) -> str | None:
        """The root of the repository as the run's plan has it; `None` where there is no such run."""
        if run_id not in self._roots:
            rows = self._rows("SELECT data FROM events WHERE run_id = ? ORDER BY seq LIMIT 1", (run_id,))
            try:
                root = json.loads(rows[0][0])["plan"]["repository"] if rows else None
            except (ValueError, TypeError, KeyError):
                root = None
            if root is None:
                return None
            self._roots[run_id] = str(root)
        return self._roots[run_id]

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        """SQLite's errors as ours."""
        try:
            yield
        except sqlite3.Error as error:
            code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
            if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR):
                raise self._damaged(str(error)) from error
            if code == sqlite3.SQLITE_FULL:
                raise EnvironmentProblem(f"the disk of {self.path} is full", hint="df -h; make room") from error
            if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise EnvironmentProblem(f"the journal {self.path} is in use", hint="try again") from error
            raise _unwritable(self.path, error, self.state_dir) from error

    def _damaged(self, what: str) -> EnvironmentProblem:
        hint = f"mv '{self.path}' '{self.path}.damaged' (branches and worktrees stay as they are)"
        return EnvironmentProblem(f"the journal {self.path} is damaged: {what}", hint=hint)


def _last_seq(database: sqlite3.Connection, run_id: str) -> int:
    database.execute("INSERT OR IGNORE INTO runs (run_id) VALUES (?)", (run_id,))
    found = database.execute("SELECT max(seq) FROM events WHERE run_id = ?", (run_id,)).fetchone()[0]
    return int(found or 0)


def _unwritable(path: Path, error: Exception, state_dir: Path) -> EnvironmentProblem:
    what = error.strerror if isinstance(error, OSError) else error
    hint = ownership_hint(state_dir) or f"ls -ld '{path.parent}'; df -h '{path.parent}'"
    return EnvironmentProblem(f"cannot use {path}: {what}", hint=hint)
