"""The events of a run of this or another process, from its first event to its end, as they come.

The journal is read a few times a second (an indexed read of a file in memory: 0.1 ms), so callers wait on an iterator.
The lock shows at the next read that a launcher died. Events are numbered here from 1 without gaps. The numbers depend
on the journal alone: a launcher's death, too, has the same number in every replay, before the resume that followed.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from architect_parallel.events import Recorded, RunFinished, RunResumed
from architect_parallel.journal import Journal
from architect_parallel.journal.view import RunView
from architect_parallel.reports.watch_events import WatchedEvent, as_data, take
from architect_parallel.system import clock
from architect_parallel.system.git import Repository, open_repository

LOOK_S = 0.2


class Follower:
    """Reads the journal of one run, from where it stopped the last time."""

    def __init__(self, journal: Journal, run_id: str, workers: Collection[int] = ()) -> None:
        self.over = False
        """True once the run has ended, or its launcher died. A later resume continues it."""
        self._journal = journal
        self._run_id = run_id
        self._workers = workers
        self._last_seq = 0
        self._last_time: datetime | None = None
        self._count = 0
        self._finished = False
        self._saw_death = False

    def poll(self) -> list[WatchedEvent]:
        """The events since the last call."""
        # Liveness first: a run that ends in between is then read with its end, never as interrupted.
        live = self._journal.is_live(self._run_id)
        recorded = self._journal.recorded(self._run_id, self._last_seq, workers=self._workers)
        seen = [item for entry in recorded for item in self._taken(entry)]
        if not live and not self._finished and not self._saw_death and self._last_time is not None:
            seen.append(self._death())
        self.over = self._finished or self._saw_death
        return seen

    def _taken(self, recorded: Recorded) -> list[WatchedEvent]:
        seen = []
        if isinstance(recorded.event, RunResumed):
            if not self._finished and not self._saw_death:
                seen.append(self._death())
            self._finished = self._saw_death = False
        elif isinstance(recorded.event, RunFinished):
            self._finished = True
        self._last_seq, self._last_time = recorded.seq, recorded.time
        return [*seen, self._numbered(recorded.time, recorded)]

    def _death(self) -> WatchedEvent:
        assert self._last_time is not None
        self._saw_death = True
        return self._numbered(self._last_time, None)

    def _numbered(self, time: datetime, recorded: Recorded | None) -> WatchedEvent:
        self._count += 1
        return WatchedEvent(seq=self._count, time=time, recorded=recorded)


def watch(
    run: str = "latest", workspace_root: str | os.PathLike[str] = ".", *, workers: Collection[int] = ()
) -> Iterator[dict[str, Any]]:
    """The events of a run as plain data, from its first event until its end, as they come.

    Each has `run_id`, `seq` (from 1 without gaps), `time`, `event`, `worker_id` (`None` means the run as a whole),
    `name`, `status` (of the worker, or of the run) and the fields of the event. The last one is `run_finished`, or
    `run_interrupted` when the launcher died. All watchers of a run see the same events.

    Args:
        run: A run's id, its beginning or end, or `latest`.
        workers: Leave out the events of other workers. An empty one means all.

    Raises:
        NothingToDo: No such run.
        EnvironmentProblem: Not in a repository, or its journal cannot be read.
    """
    repository = open_repository(Path(workspace_root))
    with Journal.of(repository) as journal:
        run_id = journal.find(run)
    return _events(repository, run_id, workers)


def _events(repository: Repository, run_id: str, workers: Collection[int]) -> Iterator[dict[str, Any]]:
    # The journal is opened for the first event: an unused iterator would never close it.
    view = RunView(run_id)
    with Journal.of(repository) as journal:
        for seen in follow(journal, run_id, workers):
            take(view, seen)
            yield as_data(view, seen)


def follow(journal: Journal, run_id: str, workers: Collection[int] = ()) -> Iterator[WatchedEvent]:
    """The events of a run until its end, as they come. See `watch` for `workers`."""
    follower = Follower(journal, run_id, workers)
    while True:
        yield from follower.poll()
        if follower.over:
            return
        clock.pause(LOOK_S)
