"""The journal of a repository: the events of its runs, the operations on them, and the locks of live runs.

Events that `append` has returned survive a kill and a power cut. A plain buffered file lost acknowledged records in 53
of 60 kills. Raw appends write short on a full disk without an error. Events of a run are numbered from 1 without
gaps and never change. Only a run that has made nothing can be removed. A repository without a journal has no runs.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime
from pathlib import Path

from architect_parallel.domain import RunPlan, RunResult, RunSummary, WorkerSpec
from architect_parallel.errors import EnvironmentProblem, InternalError, NothingToDo, UsageError
from architect_parallel.event_json import decode, encode, from_plain, to_plain
from architect_parallel.events import AgentOutput, Event, EventSource, Recorded, RunExtended, RunResumed, RunStarted
from architect_parallel.journal.operations import OperationLog
from architect_parallel.journal.paths import change_event
from architect_parallel.journal.replay import of_workers, replay
from architect_parallel.journal.run_locks import RunLocks
from architect_parallel.journal.store import DiskFull, is_plain, upgrade
from architect_parallel.journal.view import RunView
from architect_parallel.system import clock
from architect_parallel.system.git import Repository
from architect_parallel.text.names import SHORTEST_RUN_END, is_worker_number

_WITHOUT_FILES = (
    "json_replace(data, '$.diff.files', json('[]'), '$.result.diff.files', json('[]'),"
    " '$.result.files_modified', json('[]'))"
)
_PACKED_AT_ONCE = 100
"""Runs that are packed in one transaction, while no other process can write."""


class Journal(OperationLog, RunLocks):
    """The journal of one repository. Safe to use from several threads. Errors are `EnvironmentProblem`."""

    @classmethod
    def of(cls, repository: Repository) -> Journal:
        """The journal of a repository. See `open`."""
        return cls.open(repository.state_dir, root=repository.root)

    @classmethod
    def open(cls, state_dir: Path, *, now: Callable[[], datetime] = clock.now, root: Path | None = None) -> Journal:
        """The journal at `<state_dir>/runs.db`. No file is created before the first write.

        Args:
            now: Returns the time for events and operations.
            root: The repository's root, which paths are relative to. `None` means its usual place (see `paths`).

        Raises:
            EnvironmentProblem: The file is damaged, unreadable or of a newer version.
        """
        journal = cls(state_dir, now, root)
        with journal._lock:
            journal._connect(create=False)
        return journal

    def append(
        self, entries: Iterable[tuple[str, int | None, Event]], sources: Iterable[tuple[str, EventSource]] = ()
    ) -> list[Recorded]:
        """Record (run id, worker id or `None`, event) in this order, all or none. Durable on return.

        `AgentOutput` is not stored: it is returned with `seq` 0.

        Args:
            sources: (run id, source) of the events that hosts reported. See `cursors`.

        Raises:
            EnvironmentProblem: The events could not be made durable (disk full, read-only, damaged). None was stored.
        """
        entries, sources = list(entries), list(sources)
        while True:
            try:
                return self._append(entries, sources)
            except DiskFull:
                if not self.ballast.give_up():
                    raise

    def _append(
        self, entries: Sequence[tuple[str, int | None, Event]], sources: Sequence[tuple[str, EventSource]]
    ) -> list[Recorded]:
        now = self._now()
        time_ = now.replace(microsecond=now.microsecond // 1000 * 1000)  # as the codec stores it
        if not sources and all(isinstance(event, AgentOutput) for _, _, event in entries):
            return [Recorded(run_id=run, seq=0, time=time_, worker_id=worker, event=ev) for run, worker, ev in entries]
        recorded = []
        with self._transaction() as database:
            last: dict[str, int] = {}
            for run_id, worker_id, event in entries:
                seq = 0
                if not isinstance(event, AgentOutput):
                    if run_id not in last:
                        last[run_id] = self._last_seq(database, run_id)
                    seq = last[run_id] = last[run_id] + 1
                    row = (run_id, seq, to_plain(time_), worker_id, *self._encoded(event))
                    database.execute("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?)", row)
                recorded.append(Recorded(run_id=run_id, seq=seq, time=time_, worker_id=worker_id, event=event))
            if sources and is_plain(database):
                upgrade(database)
            for run_id, source in sources:
                database.execute(
                    "INSERT INTO cursors VALUES (?, ?, ?)"
                    " ON CONFLICT DO UPDATE SET seq = excluded.seq WHERE excluded.seq > seq",
                    (run_id, source.host_id, source.seq),
                )
        return recorded

    def cursors(self, run_id: str) -> dict[str, int]:
        """The id of each host of the run → the number of the newest event of its journal that is recorded here.

        It is stored in one transaction with the events, so no event is recorded twice and none is left out.
        """
        return dict(self._rows("SELECT host_id, seq FROM cursors WHERE run_id = ?", (run_id,), added=True))

    def adopt(self, recorded: Sequence[Recorded]) -> None:
        """Record the events of an imported run with their own times, all or none. Durable on return.

        Raises:
            NothingToDo: The journal has this run already.
            EnvironmentProblem: As `append`.
        """
        run_id = recorded[0].run_id
        with self._transaction() as database:
            if self._last_seq(database, run_id) > 0:
                raise NothingToDo(f"run {run_id} is in this repository already", hint=f"architect status {run_id}")
            for seq, entry in enumerate(recorded, start=1):
                row = (run_id, seq, to_plain(entry.time), entry.worker_id, *self._encoded(entry.event))
                database.execute("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?)", row)

    def summaries(self, run_ids: Sequence[str]) -> list[RunSummary]:
        """The rows of these runs in a list of runs, in this order.

        Runs that have ended are read once. Then their events are packed and kept together with the summary.
        """
        query = "SELECT run_id, summary FROM ended WHERE run_id IN (SELECT value FROM json_each(?))"
        rows = self._rows(query, (json.dumps(list(run_ids)),), added=True)
        summaries = {run_id: self._read_summary(run_id, text) for run_id, text in rows}
        ended: dict[str, int] = {}
        for run_id in run_ids:
            if run_id not in summaries:
                # Liveness first, as in `result`.
                live = self.is_live(run_id)
                recorded = self.recorded(run_id, files=False)
                summaries[run_id] = replay(recorded, live=live).summary()
                if not live:
                    ended[run_id] = recorded[-1].seq
        with contextlib.suppress(EnvironmentProblem):  # somebody may read the journal and not write it
            self._pack_all([(summaries[run_id], last_seq) for run_id, last_seq in ended.items()])
        return [summaries[run_id] for run_id in run_ids]

    def _pack_all(self, ended: Sequence[tuple[RunSummary, int]]) -> None:
        """Pack runs that have ended, each with the number of its last event. Other users pack none."""
        if not ended or self.path.stat().st_uid != os.geteuid():
            return
        run_ids = self.run_ids()
        for start in range(0, len(ended), _PACKED_AT_ONCE):
            with self._transaction() as database:
                if is_plain(database):
                    if any(map(self.is_live, run_ids)):  # maybe a launcher of an earlier version
                        return
                    upgrade(database)
                for summary, last_seq in ended[start : start + _PACKED_AT_ONCE]:
                    if not self.is_live(summary.run_id):
                        self._pack(
                            database, summary.run_id, last_seq, json.dumps(to_plain(summary), separators=(",", ":"))
                        )
        self._shrink()

    def _read_summary(self, run_id: str, text: str) -> RunSummary:
        try:
            summary: RunSummary = from_plain(RunSummary, json.loads(text))
        except (ValueError, TypeError) as error:
            raise self._damaged(f"summary of run {run_id}") from error
        return summary

    def forget(self, run_id: str) -> None:
        """Remove a run that has made nothing: its events, its prompts and its logs.

        The caller holds the run's lock. An unknown run is ignored.

        Raises:
            EnvironmentProblem: As `append`.
        """
        with self._transaction() as database:
            self._unpack(database, run_id)
            database.execute("DELETE FROM events WHERE run_id = ?", (run_id,))
            if not is_plain(database):
                database.execute("DELETE FROM cursors WHERE run_id = ?", (run_id,))
            database.execute("DELETE FROM runs WHERE run_id = ?", (run_id,))
        shutil.rmtree(self.run_dir(run_id), ignore_errors=True)

    def recorded(
        self, run_id: str, after_seq: int = 0, *, files: bool = True, workers: Collection[int] = ()
    ) -> list[Recorded]:
        """The run's events with a `seq` above `after_seq`, in order. Empty for an unknown run.

        Events of a type that this version does not know (written by a newer one) are left out.

        Args:
            files: Whether to read the lists of changed files, the largest part of a large result. Otherwise they are
                empty.
            workers: Leave out the other workers, as if the run did not have them. An empty one means all.
        """
        data = "data" if files else _WITHOUT_FILES
        rows = self._rows(
            f"SELECT seq, time, worker_id, type, {data} FROM ALL_EVENTS WHERE seq > ?2 ORDER BY seq",
            (run_id, after_seq),
        )
        recorded = [entry for row in rows if (entry := self._decoded(run_id, row)) is not None]
        return of_workers(recorded, workers) if workers else recorded

    def first(self, run_id: str) -> Recorded | None:
        """The run's first event, which holds its plan. The others are not read. `None` means that there is none."""
        rows = self._rows("SELECT seq, time, worker_id, type, data FROM ALL_EVENTS ORDER BY seq LIMIT 1", (run_id,))
        return self._decoded(run_id, rows[0]) if rows else None

    def plan(self, run_id: str) -> RunPlan:
        """The plan of the run as it was recorded at the start.

        Raises:
            InternalError: The journal of the run does not begin with its plan.
        """
        first = self.first(run_id)
        if first is None or not isinstance(first.event, RunStarted):
            raise InternalError(f"the journal of run {run_id} does not begin with its plan")
        return first.event.plan

    def _of_types(self, run_id: str, *types: type[Event]) -> list[Recorded]:
        """The run's events of some types, in order. The others are not decoded."""
        names = tuple(kind.__name__ for kind in types)
        rows = self._rows(
            "SELECT seq, time, worker_id, type, data FROM ALL_EVENTS"
            f" WHERE type IN ({', '.join('?' * len(names))}) ORDER BY seq",
            (run_id, *names),
        )
        return [entry for row in rows if (entry := self._decoded(run_id, row)) is not None]

    def run_ids(self) -> list[str]:
        """The ids of all runs, newest first."""
        return [row[0] for row in self._rows("SELECT run_id FROM runs ORDER BY position DESC")]

    def find(self, text: str) -> str:
        """The run id that `text` stands for: a run id, a unique beginning of one, a unique end of at least four
        characters, or `latest`. A number of fewer digits is a worker's id.

        Raises:
            NothingToDo: There is no such run.
            UsageError: `text` fits several runs.
        """
        fits = self.fitting(text)
        if not fits:
            what = "there is no run yet" if text == "latest" else f"there is no run {text!r}"
            raise NothingToDo(what, hint="architect status")
        if len(fits) > 1:
            shown = ", ".join(fits[:5]) + (", …" if len(fits) > 5 else "")
            raise UsageError(f"{text!r} fits {len(fits)} runs: {shown}", hint="give more of its name")
        return fits[0]

    def fitting(self, text: str) -> list[str]:
        """The ids of the runs that `text` may stand for, newest first. See `find`."""
        runs = self.run_ids()
        if text == "latest" or text in runs:
            return runs[:1] if text == "latest" else [text]
        named = bool(text) and not is_worker_number(text)
        by_end = named and len(text) >= SHORTEST_RUN_END
        return [run for run in runs if (named and run.startswith(text)) or (by_end and run.endswith(text))]

    def planned(self, run_id: str) -> tuple[WorkerSpec, ...]:
        """The workers of the run, sorted by `worker_id`, each as its latest attempt was planned."""
        view = RunView.of(run_id, self._of_types(run_id, RunStarted, RunExtended, RunResumed))
        return tuple(worker.spec for worker in view.workers.values())

    def result(self, run_id: str, workers: Collection[int] = ()) -> RunResult:
        """The result of the run so far.

        Args:
            workers: As in `recorded`.

        Raises:
            NothingToDo: There is no such run.
        """
        # Liveness first: a run that ends in between is then read with its end, never as interrupted.
        live = self.is_live(run_id)
        recorded = self.recorded(run_id, workers=workers)
        if not recorded:
            raise NothingToDo(f"no run {run_id!r}", hint="architect status")
        return self.with_landing(replay(recorded, live=live))

    def with_landing(self, result: RunResult) -> RunResult:
        """Add the newest merge of the run to its `result`, and return it."""
        result.merge = self._landing(result.run_id)
        return result

    def live_workers(self, *, besides: str | None = None) -> list[WorkerSpec]:
        """The workers that plans of live runs have, with the numbers, branches and directories that they have taken.

        Args:
            besides: The id of a run that is left out.
        """
        specs: list[WorkerSpec] = []
        for run_id in self.run_ids():
            if run_id != besides and self.is_live(run_id):
                events = [entry.event for entry in self._of_types(run_id, RunStarted, RunExtended, RunResumed)]
                planned = [event.plan.workers for event in events if isinstance(event, RunStarted)]
                planned += [event.workers for event in events if isinstance(event, (RunExtended, RunResumed))]
                specs += [spec for workers in planned for spec in workers]
        return specs

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

    def _last_seq(self, database: sqlite3.Connection, run_id: str) -> int:
        """The number of the run's last event, 0 for a new run. A packed run can be continued afterwards."""
        database.execute("INSERT OR IGNORE INTO runs (run_id) VALUES (?)", (run_id,))
        for _ in range(2):
            last = database.execute("SELECT max(seq) FROM events WHERE run_id = ?", (run_id,)).fetchone()[0]
            if last is not None:
                return int(last)
            self._unpack(database, run_id)
        return 0
