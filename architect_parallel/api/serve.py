"""`architect serve`: the report of a run, live and read-only."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Collection

from architect_parallel.api.report import material
from architect_parallel.journal import Journal
from architect_parallel.journal.selection import Selection
from architect_parallel.reports import html
from architect_parallel.system.git import Repository
from architect_parallel.system.http_server import Loopback


class LiveReport:
    """The page of one run as it is now. Safe to use from several threads: each state is rendered once.

    Args:
        events: The address at which the page learns of a new state.
    """

    def __init__(self, repository: Repository, journal: Journal, selection: Selection, *, events: str) -> None:
        self._repository = repository
        self._journal = journal
        self._selection, self._run_id = selection, selection.run_id
        self._events = events
        self._lock = threading.Lock()
        self._seq = 0
        self._made: tuple[str, bytes] | None = None

    def state(self) -> str:
        """Changes whenever the page would change."""
        with self._lock:
            return self._state()

    def page(self) -> bytes:
        """Render the page of the present state."""
        with self._lock:
            state = self._state()
            if self._made is None or self._made[0] != state:
                report = material(self._repository, self._journal, self._run_id, self._selection.worker_ids)
                text = html.page(report, events=self._events, state=state)
                self._made = (state, text.encode(errors="replace"))
            return self._made[1]

    def _state(self) -> str:
        new = self._journal.recorded(self._run_id, after_seq=self._seq)
        self._seq = new[-1].seq if new else self._seq
        return f"{self._seq}-{'live' if self._journal.is_live(self._run_id) else 'ended'}"


def serve(repository: Repository, journal: Journal, run: str, *, port: int, workers: Collection[int] = ()) -> Loopback:
    """Start to serve the report of `run`. The caller closes it.

    Args:
        workers: Ids of the workers to show. An empty one means all.

    Raises:
        NothingToDo: No such run.
        EnvironmentProblem: The port is not available.
    """
    token = secrets.token_urlsafe(32)
    report = LiveReport(
        repository,
        journal,
        Selection(run_id=journal.find(run), worker_ids=tuple(workers)),
        events=f"/events?token={token}",
    )
    return Loopback(port=port, page=report.page, state=report.state, policy=html.policy(live=True), token=token)
