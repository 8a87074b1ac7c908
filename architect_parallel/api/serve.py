"""`architect serve`: the report of a run and a list of all runs, live and read-only."""

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

MOST_RUNS = 200
"""The most runs in the list, the newest ones."""


class LiveReport:
    """The page of one run as it is now. Each state is rendered once. One thread may use it at a time.

    Args:
        selection: The run, and the workers that are shown.
        token: Part of the addresses that the page knows.
    """

    def __init__(self, repository: Repository, journal: Journal, selection: Selection, token: str) -> None:
        self._repository = repository
        self._journal = journal
        self._selection, self._run_id = selection, selection.run_id
        self._token = token
        self._seq = 0
        self._made: tuple[str, bytes] | None = None

    def state(self) -> str:
        """Changes whenever the page would change."""
        new = self._journal.recorded(self._run_id, after_seq=self._seq)
        self._seq = new[-1].seq if new else self._seq
        return f"{self._seq}-{'live' if self._journal.is_live(self._run_id) else 'ended'}"

    def page(self) -> bytes:
        """Render the page of the present state."""
        state = self.state()
        if self._made is None or self._made[0] != state:
            report = material(self._repository, self._journal, self._run_id, self._selection.worker_ids)
            events, index = f"/events/{self._run_id}?token={self._token}", f"/runs?token={self._token}"
            text = html.page(report, events=events, index=index, state=state)
            self._made = (state, text.encode(errors="replace"))
        return self._made[1]


class ServedRuns:
    """The pages of all runs of a repository: `/` and `/runs/RUN` are reports, `/runs` is their list.

    Safe to use from several threads.
    """

    def __init__(self, repository: Repository, journal: Journal, selection: Selection, token: str) -> None:
        self._repository = repository
        self._journal = journal
        self._token = token
        self._lock = threading.Lock()
        self._first = selection.run_id
        self._reports = {self._first: LiveReport(repository, journal, selection, token)}

    def page(self, path: str) -> bytes | None:
        """The page at `path`. `None` means that there is none."""
        with self._lock:
            if path == "/runs":
                return self._list()
            report = self._report(self._first if path == "/" else path.removeprefix("/runs/"))
            return None if report is None else report.page()

    def state(self, path: str) -> str | None:
        """The state of the page whose stream is at `path`. `None` means that there is none."""
        with self._lock:
            report = self._report(self._first if path == "/events" else path.removeprefix("/events/"))
            return None if report is None else report.state()

    def _report(self, run_id: str) -> LiveReport | None:
        """The report of a run. `None` means that there is no such run."""
        if run_id not in self._reports:
            if run_id not in self._journal.run_ids():
                return None
            selection = Selection(run_id=run_id)
            self._reports[run_id] = LiveReport(self._repository, self._journal, selection, self._token)
        return self._reports[run_id]

    def _list(self) -> bytes:
        run_ids = self._journal.run_ids()
        runs = {f"/runs/{run_id}?token={self._token}": self._journal.result(run_id) for run_id in run_ids[:MOST_RUNS]}
        hidden = max(0, len(run_ids) - MOST_RUNS)
        return html.runs_page(str(self._repository.root), runs, hidden=hidden).encode(errors="replace")


def serve(repository: Repository, journal: Journal, run: str, *, port: int, workers: Collection[int] = ()) -> Loopback:
    """Start to serve the report of `run`. The caller closes it.

    Args:
        workers: Ids of the workers to show. An empty one means all.

    Raises:
        NothingToDo: No such run.
        EnvironmentProblem: The port is not available.
    """
    token = secrets.token_urlsafe(32)
    selection = Selection(run_id=journal.find(run), worker_ids=tuple(workers))
    runs = ServedRuns(repository, journal, selection, token)
    return Loopback(port=port, page=runs.page, state=runs.state, policy=html.policy(live=True), token=token)
