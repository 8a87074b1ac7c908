"""Events that the journal did not take, because it could not be written: a file in the run's directory has them.

Whoever looks at the run next, or goes on with it, records them.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path

from architect_parallel.errors import EnvironmentProblem
from architect_parallel.event_json import decode
from architect_parallel.events import Event
from architect_parallel.journal.database import Journal

UNRECORDED = "unrecorded-events.jsonl"
_log = logging.getLogger(__name__)


def record_left(journal: Journal, run_id: str, *, is_held: bool = False) -> int:
    """Record the events of a run that the journal did not take, and remove their file. Return their number.

    A run that is live is left alone, and so is one where the journal still cannot be written.

    Args:
        is_held: The caller holds the run's lock.
    """
    path = journal.run_dir(run_id) / UNRECORDED
    if not os.path.lexists(path):
        return 0
    with contextlib.suppress(EnvironmentProblem, OSError):
        lock = None if is_held else journal.hold(run_id)
        if lock is None and not is_held:
            return 0
        try:
            entries = list(_entries(path))
            journal.append([(run_id, worker_id, event) for worker_id, event in entries])
            path.unlink()
            return len(entries)
        finally:
            if lock is not None:
                lock.release()
    return 0


def _entries(path: Path) -> Iterator[tuple[int | None, Event]]:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, encoding="utf-8", errors="replace") as file:
        for line in file:
            try:
                entry = json.loads(line)
                yield entry["worker_id"], decode(entry["type"], json.dumps(entry["data"]))
            except (ValueError, KeyError, TypeError) as error:  # cut by a full disk, or of a newer version
                _log.warning("a line of %s is left out: %s", path, error)
