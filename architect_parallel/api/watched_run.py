"""One run as `architect watch` sees it: its events, the logs of its agents and their patches. It only reads."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from architect_parallel.backends.log_entries import LogEntry
from architect_parallel.errors import ArchitectParallelError
from architect_parallel.journal import Journal
from architect_parallel.journal.logs import log_files
from architect_parallel.journal.view import RunView
from architect_parallel.journal.worker_view import WorkerView
from architect_parallel.reports import text
from architect_parallel.reports.log_text import LogReader, LogText
from architect_parallel.reports.watch_events import take
from architect_parallel.runs.watch import Follower
from architect_parallel.snapshots.diff import patch
from architect_parallel.system.git import Repository
from architect_parallel.text.display import Display, Style
from architect_parallel.text.sanitize import one_line, plain_text

MOST_ENTRIES = 5_000
"""The most entries of a log that are kept, the newest ones."""
MOST_PATCH_BYTES = 4 * 2**20
"""The longest patch that is shown whole."""


@dataclass(slots=True)
class _Log:
    """The log of the newest attempt of one worker."""

    reader: LogReader
    entries: deque[LogEntry] = field(default_factory=lambda: deque(maxlen=MOST_ENTRIES))
    taken: int = 0
    """The entries so far, also those that are not kept."""


class WatchedRun:
    """One run. `look` reads its new events, the other methods read what they return."""

    def __init__(self, repository: Repository, journal: Journal, run_id: str) -> None:
        self.run_id = run_id
        self.view = RunView(run_id)
        self._store = repository.store
        self._run_dir = journal.run_dir(run_id)
        self._follower = Follower(journal, run_id)
        self._logs: dict[int, _Log] = {}

    def look(self) -> None:
        """Read the events since the last call."""
        for seen in self._follower.poll():
            take(self.view, seen)

    def worker(self, worker_id: int) -> WorkerView | None:
        """The worker. `None` means that the run has no such worker."""
        return self.view.workers.get(worker_id)

    def last_words(self, worker_id: int) -> str:
        """The newest line of its agent, as far as `log` has read it. Empty means none."""
        log = self._logs.get(worker_id)
        words = (entry.text for entry in reversed(log.entries) if entry.text.strip()) if log is not None else iter(())
        return one_line(next(words, ""), 300)

    def read_log(self, worker_id: int) -> bool:
        """Read what its log has grown by. Returns true if there is something new. A log that cannot be read adds none.

        May be called in another thread than the other methods, in one at a time.
        """
        worker = self.worker(worker_id)
        if worker is None:
            return False
        try:
            files = log_files(self._run_dir, worker_id)
            log = self._logs.get(worker_id)
            if not files:
                return False
            if log is None or log.reader.path != files[-1]:
                log = _Log(LogReader(files[-1], worker.spec.backend, worker.spec.worktree_path))
                self._logs[worker_id] = log
            entries = list(log.reader.read(is_over=worker.over))
        except (OSError, ArchitectParallelError):
            return False
        log.entries.extend(entries)
        log.taken += len(entries)
        return bool(entries)

    def log_length(self, worker_id: int) -> int:
        """A number that grows with its log."""
        log = self._logs.get(worker_id)
        return log.taken if log is not None else 0

    def log(self, worker_id: int, width: int) -> list[str]:
        """The log, as far as `read_log` has read it, as lines of at most `width` columns with colours."""
        log = self._logs.get(worker_id)
        entries = list(log.entries) if log is not None else []
        return LogText(Display(width=width, color=True)).lines(entries)

    def patch(self, worker_id: int) -> list[str]:
        """The worker's changes as the lines of a patch, or one line with the reason why there is none."""
        worker = self.worker(worker_id)
        diff = (worker.result or worker).diff if worker is not None else None
        if worker is None or diff is None:
            over = worker is not None and worker.over
            return ["its changes were not collected" if over else "its changes are shown when its agent has ended"]
        if not diff.files:
            return ["it changed nothing"]
        try:
            data = patch(self._store, diff.base, diff.head)
        except ArchitectParallelError as error:
            return [one_line(str(error))]
        lines = plain_text(data[:MOST_PATCH_BYTES].decode(errors="replace")).split("\n")
        cut = ["… the patch is longer than can be shown: architect diff"] if len(data) > MOST_PATCH_BYTES else []
        return [*text.diff_stat(diff).split("\n"), "", *lines, *cut]

    def facts(self, worker_id: int) -> list[str]:
        """The worker in a few lines with colours: task, place, failed checks, error, warnings."""
        worker = self.worker(worker_id)
        if worker is None:
            return []
        spec, result, paint = worker.spec, worker.result, Display(color=True).paint
        place = f"{spec.branch}  {spec.worktree_path}" if spec.branch else f"in place: {spec.worktree_path}"
        lines = [one_line(spec.first_prompt or spec.prompt, 400), paint(one_line(place), Style.FAINT)]
        if result is not None and result.error:
            lines.append(paint(f"{text.reason_words(result)}: {one_line(result.error, 400)}", Style.BAD))
        checks = (result or worker).checks
        lines += [paint(f"check failed: {one_line(check.command)}", Style.BAD) for check in checks if not check.passed]
        warnings = result.warnings if result is not None else worker.warnings
        return lines + [paint(f"warning: {one_line(warning, 400)}", Style.CAREFUL) for warning in warnings]


def matches(worker: WorkerView, words: Sequence[str]) -> bool:
    """Return whether each of the words is part of the worker's number, name, task, backend, model or state."""
    spec = worker.spec
    model = spec.model or worker.model or ""
    text = f"{spec.worker_id} {spec.name} {spec.prompt} {spec.backend} {model} {worker.state} {spec.branch}".casefold()
    return all(word.casefold() in text for word in words)
