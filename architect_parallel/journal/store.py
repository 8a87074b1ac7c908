"""The SQLite file of a journal: opened, made, read and written safely.

A committed transaction survives a kill and a power cut: WAL with `synchronous=FULL`. Several processes and threads may
use the same file. Reading never creates anything. Paths are stored relative to the repository (`paths`).
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from architect_parallel.errors import EnvironmentProblem
from architect_parallel.journal.ballast import Ballast
from architect_parallel.journal.paths import Anchor
from architect_parallel.system.files import hand_over_tree, locked, ownership_hint, share
from architect_parallel.system.git import make_state_dir
from architect_parallel.text.sanitize import one_line

SCHEMA_VERSION = 2
_PLAIN_VERSION = 1
"""The version without the tables of `_ADDED`."""
_ADDED = """CREATE TABLE ended (
    run_id TEXT PRIMARY KEY REFERENCES runs (run_id), summary TEXT NOT NULL, events BLOB NOT NULL
);
CREATE TABLE cursors (run_id TEXT NOT NULL, host_id TEXT NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (run_id, host_id))
WITHOUT ROWID;
"""
"""Added by version 2: ended runs in packed form, and how much of each host's journal is recorded here."""
_SCHEMA = f"""
CREATE TABLE runs (position INTEGER PRIMARY KEY, run_id TEXT NOT NULL UNIQUE);
CREATE TABLE events (
    run_id TEXT NOT NULL REFERENCES runs (run_id), seq INTEGER NOT NULL, time TEXT NOT NULL, worker_id INTEGER,
    type TEXT NOT NULL, data TEXT NOT NULL, PRIMARY KEY (run_id, seq)
) WITHOUT ROWID;
CREATE TABLE operations (
    id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, run_id TEXT, time TEXT NOT NULL, payload TEXT NOT NULL,
    finished TEXT, undone TEXT
);
{_ADDED}"""
_STATEMENTS = frozenset(
    {
        *(f"CREATE TABLE {statement.strip()}" for statement in _SCHEMA.replace(";", "").split("CREATE TABLE ")[1:]),
        "CREATE TABLE sqlite_sequence(name,seq)",
    }
)
"""The text of every table, as SQLite keeps it."""
_TABLES = frozenset({"runs", "events", "operations", "ended", "cursors"})
_GIVEN_NAMES = frozenset(f"sqlite_autoindex_{table}_1" for table in ("runs", "events", "ended", "cursors"))
"""The indexes that SQLite makes by itself. They have no text."""
_BUSY_TIMEOUT_S = 30.0
_PLAIN_EVENTS = "SELECT seq, time, worker_id, type, data FROM events WHERE run_id = ?1"
_UNPACKED = f"""{", ".join(f"json_extract(value, '$[{column}]')" for column in range(5))}
    FROM ended, json_each(unpack(ended.events)) WHERE run_id = ?1"""
_ALL_EVENTS = f"{_PLAIN_EVENTS} UNION ALL SELECT {_UNPACKED}"
_SHRINK_PAGES = 4096
"""As many free pages (16 MiB), if they are most of the file, are given back to the file system."""


class DiskFull(EnvironmentProblem):
    """The journal's disk is full."""


class Store:
    """The SQLite file at `<state_dir>/runs.db`. Safe to use from several threads. Errors are `EnvironmentProblem`."""

    def __init__(self, state_dir: Path, now: Callable[[], datetime], root: Path | None = None) -> None:
        self.state_dir = state_dir
        self.path = state_dir / "runs.db"
        self.ballast = Ballast(state_dir)
        """Taken by a run, and given up when its events find no room."""
        self._anchor = Anchor.of(state_dir, root)
        self._roots: dict[str, str] = {}
        self._now = now
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._opened_s = time.time() - 1.0  # file systems have coarser clocks
        self._wrote = False
        self._own_schema: int | None = None
        """SQLite's number of the schema that was found to be this program's. It changes with the schema."""

    def close(self) -> None:
        """Close the database. A second call does nothing. Files that root made are given to the repository's owner."""
        with self._lock:
            self.ballast.drop()
            if self._connection is not None:
                self._connection.close()
                self._connection = None
                if self._wrote:
                    hand_over_tree(self.state_dir.parent, self._opened_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

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
                    # SQLite makes files beside the journal even to read, which a read-only directory does not allow.
                    if create or not self._is_at_rest():
                        raise
                    return self._opened("ro&immutable=1", create=False)
        except OSError as error:
            raise unwritable(self.path, error, self.state_dir) from error
        self._connection = connection
        return connection

    def _opened(self, mode: str, *, create: bool) -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"{self.path.absolute().as_uri()}?mode={mode}",
            uri=True,
            timeout=_BUSY_TIMEOUT_S,
            isolation_level=None,
            check_same_thread=False,
        )
        self._own_schema = None
        connection.create_function("unpack", 1, lambda packed: zlib.decompress(packed).decode(), deterministic=True)
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
        connection.execute("PRAGMA trusted_schema = OFF")
        if version() > SCHEMA_VERSION:
            raise EnvironmentProblem(
                f"the journal {self.path} was written by a newer version", hint="upgrade architect-parallel"
            )
        if version() in (SCHEMA_VERSION, _PLAIN_VERSION) or not create:
            self._require_own_schema(connection)
            return
        # The change to WAL needs exclusive access and does not wait for it, so only one process does it.
        with locked(self.state_dir / "runs.db.lock"):
            if version() == 0:
                self.path.chmod(0o600)
                share(self.path)  # SQLite gives the files beside it the same mode and, as root, the same owner
                connection.execute("PRAGMA journal_mode = WAL")
                connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")

    def _require_own_schema(self, connection: sqlite3.Connection) -> None:
        """Refuse a journal with anything that this program did not make. A trigger could change what is recorded.

        Raises:
            EnvironmentProblem: It has a trigger, a view, or another table or index.
        """
        cookie = connection.execute("PRAGMA schema_version").fetchone()[0]
        if cookie == self._own_schema:
            return
        for kind, name, sql in connection.execute("SELECT type, name, sql FROM sqlite_master").fetchall():
            if name not in _GIVEN_NAMES if sql is None else sql not in _STATEMENTS:
                name = one_line(str(name), 60)
                if name in _TABLES:
                    raise self._damaged(f"{name} is not the table that architect made")
                hint = f"sqlite3 '{self.path}' 'DROP {str(kind).upper()} \"{name}\"'"
                problem = f"the journal {self.path} has a {kind} that architect did not make: {name!r}"
                raise EnvironmentProblem(f"{problem}; nothing in it is taken on trust", hint=hint)
        self._own_schema = cookie

    def _rows(self, query: str, values: tuple[object, ...] = (), *, added: bool = False) -> list[Any]:
        """The rows of a query.

        Args:
            added: The query is about a table that a journal of an earlier version does not have.
        """
        with self._lock, self._errors():
            connection = self._connect(create=False)
            if connection is None:
                return []
            try:
                connection.execute("BEGIN")  # one state of the journal for the version and the query
                version = connection.execute("PRAGMA user_version").fetchone()[0]
                if version == 0 or (added and version == _PLAIN_VERSION):
                    return []  # another process is just making it
                self._require_own_schema(connection)
                query = query.replace("ALL_EVENTS", f"({_PLAIN_EVENTS if version == _PLAIN_VERSION else _ALL_EVENTS})")
                return connection.execute(query, values).fetchall()
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                if connection is not self._connection:  # it was opened as immutable: the next read needs a new one
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
                self._require_own_schema(connection)
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                # SQLite has rolled back by itself after some errors (a full disk); then there is nothing to do.
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def _pack(self, database: sqlite3.Connection, run_id: str, last_seq: int, summary: str) -> None:
        """Replace the events of an ended run by one compressed value, unless it has another last event by now."""
        rows = database.execute(f"{_PLAIN_EVENTS} ORDER BY seq", (run_id,)).fetchall()
        if rows and rows[-1][0] == last_seq:
            packed = zlib.compress(json.dumps(rows).encode())
            database.execute("INSERT INTO ended VALUES (?, ?, ?)", (run_id, summary, packed))
            database.execute("DELETE FROM events WHERE run_id = ?", (run_id,))

    def _unpack(self, database: sqlite3.Connection, run_id: str) -> None:
        """Restore the events of a run that goes on. Nothing happens to a run that is not packed."""
        if not is_plain(database):
            database.execute(f"INSERT INTO events SELECT run_id, {_UNPACKED}", (run_id,))
            database.execute("DELETE FROM ended WHERE run_id = ?", (run_id,))

    def _shrink(self) -> None:
        """Give free space back where most of the file is free."""
        with self._lock, self._errors():
            connection = self._connect(create=False)
            if connection is not None:
                free, pages = (
                    connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("freelist_count", "page_count")
                )
                if free > max(_SHRINK_PAGES, pages // 2):
                    connection.execute("VACUUM")

    def _recorded_root(self, run_id: str) -> str | None:
        """The repository's root in the run's plan. `None` means that there is no such run."""
        if run_id not in self._roots:
            rows = self._rows("SELECT data FROM ALL_EVENTS ORDER BY seq LIMIT 1", (run_id,))
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
        """Raise SQLite's errors as `EnvironmentProblem`."""
        try:
            yield
        except sqlite3.Error as error:
            code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
            if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR):
                raise self._damaged(str(error)) from error
            if code == sqlite3.SQLITE_FULL:
                raise DiskFull(f"the disk of {self.path} is full", hint="df -h; make room") from error
            if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise EnvironmentProblem(f"the journal {self.path} is in use", hint="try again") from error
            raise unwritable(self.path, error, self.state_dir) from error

    def _damaged(self, what: str) -> EnvironmentProblem:
        hint = f"mv '{self.path}' '{self.path}.damaged' (branches and worktrees stay as they are)"
        return EnvironmentProblem(f"the journal {self.path} is damaged: {what}", hint=hint)


def is_plain(database: sqlite3.Connection) -> bool:
    """Return whether an earlier version made the journal, so that it has no table of `_ADDED`."""
    return bool(database.execute("PRAGMA user_version").fetchone()[0] == _PLAIN_VERSION)


def upgrade(database: sqlite3.Connection) -> None:
    """Add the tables of `_ADDED` to a journal of an earlier version, whose programs cannot use it any more.

    `database` is in a transaction.
    """
    for statement in _ADDED.split(";")[:-1]:
        database.execute(statement)
    database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def unwritable(path: Path, error: Exception, state_dir: Path) -> EnvironmentProblem:
    what = error.strerror if isinstance(error, OSError) else error
    hint = ownership_hint(state_dir) or f"ls -ld '{path.parent}'; df -h '{path.parent}'"
    return EnvironmentProblem(f"cannot use {path}: {what}", hint=hint)
