"""The tripwire: scan the main checkout while agents run, save its changes, and name the suspects.

Each run has one, in the launcher. It scans before the first agent starts, after each agent's end and before its
verdict, and in between, less often when a scan is slow. It never changes the checkout. A failing scan is reported and
does not fail the run.

The order at an agent's end: record the end, scan, judge. So a scan sees everything an agent did before its own verdict,
and no agent is suspected of a change after its end. Agents that end at the same time share a scan.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from architect_parallel.domain import Escape, WorkerSpec
from architect_parallel.errors import ArchitectParallelError
from architect_parallel.events import Escaped, Event, Warned
from architect_parallel.journal import Journal
from architect_parallel.snapshots.keep_refs import keep
from architect_parallel.system import clock, machine
from architect_parallel.system.files import replace_file
from architect_parallel.system.git import Repository
from architect_parallel.tripwire import attribution
from architect_parallel.tripwire.attribution import CheckoutChange, RunInterval, WorkerText
from architect_parallel.tripwire.checkout import MainCheckout
from architect_parallel.tripwire.repository_state import Landed
from architect_parallel.tripwire.verdict import SuspectedChange, TripwireVerdict, judge_worker

LOOK_S = 5.0
"""The least time between two scans while agents run, in seconds."""
MOST_SHARE = 0.01
"""Scans between the ends of agents take at most this share of the time."""
PATCH = "main-checkout.patch"
LOG_TAIL_BYTES = 4 * 1024**2
"""The bytes at the end of an agent's log that are searched for paths."""
MOST_OTHERS = 20
"""The number of newest runs that are checked for agents that ran a moment ago."""

_log = logging.getLogger(__name__)


class Tripwire:
    """Watches the main checkout of one run. Each worker's thread calls `begin`, `end` and `judge`, in that order."""

    def __init__(
        self,
        *,
        repository: Repository,
        journal: Journal,
        run_id: str,
        failing: bool,
        emit: Callable[[Event], None],
        own: Sequence[Path] = (),
        earlier: Escape | None = None,
    ) -> None:
        """Args:
        failing: Fail a worker that is certainly responsible (`--tripwire fail`). Otherwise only warn.
        emit: Called with events of the run as a whole, from any thread.
        own: Directories and files that this program writes during the run (results, a state file), resolved.
        earlier: The change that an earlier launch of the run recorded. `None` means that there was none.
        """
        self._repository = repository
        self._journal = journal
        self._run_id = run_id
        self._failing = failing
        self._emit = emit
        self._own = own
        self._directory = journal.run_dir(run_id) / "tripwire"
        self._lock = threading.Lock()
        self._ready = threading.Event()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self._checkout: MainCheckout | None = None
        self._scanned_s = 0.0
        """Wall time at which the last scan began, in seconds since the epoch."""
        self._intervals: dict[tuple[int, int, bool], RunInterval] = {}
        """Run intervals by worker, attempt, and whether checks ran, not the agent."""
        self._texts: dict[int, WorkerText] = {}
        self._reported: dict[tuple[str, bool], SuspectedChange] = {}
        """The reported changes, by path and whether it is a file, as a file may be named `index`.

        Each spans from the first change to the last.
        """
        self._pending: dict[int, list[SuspectedChange]] = {}
        """The changes for which each worker must still be judged, by worker id."""
        self._old_operations: set[tuple[int, bool]] = set()
        self._earlier = earlier
        """The change that an earlier launcher of the run recorded."""
        self._earlier_patch = b""
        self._warned = ""

    def arm(self) -> None:
        """Start the first scan in a separate thread. A second call does nothing."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="tripwire", daemon=True)
                self._thread.start()

    def begin(self, spec: WorkerSpec) -> None:
        """Record that the agent of `spec` is about to start, after waiting for the first scan."""
        self.arm()
        self._ready.wait()
        self._texts[spec.worker_id] = WorkerText(task=spec.prompt)
        self._intervals[(spec.worker_id, spec.attempt, False)] = _begun(spec)

    def end(self, spec: WorkerSpec) -> None:
        """Record that the agent's processes have ended."""
        self._finish((spec.worker_id, spec.attempt, False))

    @contextlib.contextmanager
    def checking(self, spec: WorkerSpec) -> Iterator[None]:
        """Record the time of the checks of `spec`, which may run programs that its agent wrote."""
        key = (spec.worker_id, spec.attempt, True)
        self._intervals[key] = _begun(spec)
        try:
            yield
        finally:
            self._finish(key)

    def _finish(self, key: tuple[int, int, bool]) -> None:
        self._intervals[key] = replace(self._intervals[key], ended_s=_now_s())

    def judge(self, spec: WorkerSpec, output: str, log: Path | None) -> TripwireVerdict:
        """Judge the worker of `spec`, whose agent has ended. Scans first, unless a scan began after that end.

        Args:
            output: The agent's final text.
            log: The file with all its output. `None` means that there is none.
        """
        keys = ((spec.worker_id, spec.attempt, checks) for checks in (False, True))
        ends = [interval.ended_s for key in keys if (interval := self._intervals.get(key)) is not None]
        known_ends = [end_s for end_s in ends if end_s is not None]
        if not known_ends or len(known_ends) < len(ends):
            return TripwireVerdict()
        self._scan(max(known_ends))
        with self._lock:
            changes = self._pending.pop(spec.worker_id, [])
        if not changes:
            return TripwireVerdict()
        self._texts[spec.worker_id] = WorkerText(task=spec.prompt, output=f"{output}\n{_tail(log)}")
        return judge_worker(
            spec.worker_id,
            changes,
            self._texts,
            root=str(self._repository.root),
            patch=self._patch_path,
            failing=self._failing,
        )

    def close(self) -> None:
        """Stop scanning, and remove the files that the scans needed. The patch stays."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()
        shutil.rmtree(self._directory, ignore_errors=True)

    @property
    def _patch_path(self) -> Path:
        return self._journal.run_dir(self._run_id) / PATCH

    def _run(self) -> None:
        try:
            with self._lock:
                self._scanned_s = _now_s()
                if self._earlier is not None and self._patch_path.exists():
                    self._earlier_patch = self._patch_path.read_bytes()
                self._old_operations = {
                    (operation.id, operation.undone) for operation in self._journal.operations() if operation.finished
                }
                self._checkout = MainCheckout(self._repository, self._directory)
        except Exception as error:  # whatever it is, the run continues without a tripwire
            self._warn("the main checkout is not watched", error)
        finally:
            self._ready.set()
        pause_s = LOOK_S
        while self._checkout is not None and not self._over.wait(pause_s):
            if any(interval.ended_s is None for interval in tuple(self._intervals.values())):
                began_s = clock.monotonic_s()
                self._scan(_now_s())
                pause_s = max(LOOK_S, (clock.monotonic_s() - began_s) / MOST_SHARE)

    def _scan(self, after_s: float) -> None:
        """Scan the checkout, unless another thread began a scan after `after_s` (seconds since the epoch)."""
        with self._lock:
            if self._checkout is None or self._scanned_s > after_s:
                return
            since_s, began_s = self._scanned_s, _now_s()
            try:
                changes = self._checkout.changes(self._landed())
                self._scanned_s = began_s
                changes = self._not_ours(changes)
                suspected = [self._suspected(change, since_s, _now_s()) for change in changes]
                new = [suspect_change for suspect_change in suspected if suspect_change is not None]
                if new:
                    alone = not self._others_ran(since_s)
                    self._report([replace(suspect_change, alone=alone) for suspect_change in new])
            except Exception as error:  # whatever it is, the run continues
                self._warn("the main checkout could not be looked at", error)

    def _not_ours(self, changes: list[CheckoutChange]) -> list[CheckoutChange]:
        """The changes without the files that this program, or the reader of its output, writes to the checkout."""
        written = machine.files_we_write() if changes else set()
        root = self._repository.root

        def is_ours(change: CheckoutChange) -> bool:
            path = root / change.path
            if any(_is_own(path, own) for own in self._own):
                return True
            try:
                status = path.lstat()
            except OSError:
                return False
            return (status.st_dev, status.st_ino) in written

        return [change for change in changes if not is_ours(change)]

    def _suspected(self, change: CheckoutChange, since_s: float, until_s: float) -> SuspectedChange | None:
        """The change with the workers whose agents ran when it happened. `None` means that no agent ran then."""
        # Times from another clock (a network file system) are ignored.
        times_s = [time_s for time_s in (change.earliest_s, change.latest_s) if time_s is not None]
        usable = all(since_s - attribution.CLOCK_S <= time_s <= until_s + attribution.CLOCK_S for time_s in times_s)
        earliest_s = change.earliest_s if usable and change.earliest_s is not None else since_s
        latest_s = change.latest_s if usable and change.latest_s is not None else until_s
        suspects = attribution.running(tuple(self._intervals.values()), earliest_s, latest_s)
        if not suspects:
            return None
        return SuspectedChange(change=change, suspects=suspects)

    def _report(self, new: Sequence[SuspectedChange]) -> None:
        """Save and report these changes."""
        for suspected in new:
            change = suspected.change
            if change.lost is not None:
                label = change.path.rpartition("/")[2]
                with contextlib.suppress(ArchitectParallelError):
                    kept = keep(self._repository, change.lost, self._run_id, 0, f"{label}-was")
                    change = replace(change, words=f"{change.words}; it is kept as {kept}")
                    suspected = replace(suspected, change=change)
            for worker_id in suspected.suspects:
                self._pending.setdefault(worker_id, []).append(suspected)
            before = self._reported.get(suspected.key)
            if before is not None:
                suspected = SuspectedChange(
                    change=before.change.followed_by(suspected.change),
                    suspects=tuple(sorted({*before.suspects, *suspected.suspects})),
                )
            self._reported[suspected.key] = suspected
        try:
            self._save()
        except (ArchitectParallelError, OSError) as error:  # the change is reported nevertheless
            self._warn("what changed in the main checkout could not be saved", error)
        earlier = self._earlier or Escape(paths=(), patch=None, suspects=())
        suspects = {worker_id for suspected in self._reported.values() for worker_id in suspected.suspects}
        escape = Escape(
            paths=tuple(sorted({*earlier.paths, *(path for path, _ in self._reported)})),
            patch=str(self._patch_path) if self._patch_path.exists() else None,
            suspects=tuple(sorted({*earlier.suspects, *suspects})),
        )
        self._emit(Escaped(escape=escape))
        for suspected in new:
            if suspected.change.words and suspected.change.path != "index":
                self._emit(Warned(message=f"in the main checkout, {self._reported[suspected.key].change.words}"))

    def _save(self) -> None:
        assert self._checkout is not None
        patch = self._checkout.patch(suspected.change for suspected in self._reported.values())
        if patch is None:
            return
        replace_file(self._patch_path, self._earlier_patch + patch, mode=0o600)

    def _landed(self) -> list[Landed]:
        """Moves of branches that `merge` and `undo` made since the run began."""
        landed = []
        for operation in self._journal.operations():
            if (operation.id, operation.undone) in self._old_operations or "branch" not in operation.payload:
                continue
            branch, old, new = (str(operation.payload.get(key)) for key in ("branch", "old", "new"))
            landed.append(Landed(branch=branch, old=old, new=new))
        return landed

    def _others_ran(self, since_s: float) -> bool:
        """Return whether another run may have had agents running since then."""
        others = [run_id for run_id in self._journal.run_ids() if run_id != self._run_id]
        if any(map(self._journal.is_live, others)):
            return True
        ended = (self._journal.recorded(run_id)[-1].time for run_id in others[:MOST_OTHERS])
        return any(time.timestamp() >= since_s for time in ended)

    def _warn(self, problem: str, error: Exception) -> None:
        reason = error.message if isinstance(error, ArchitectParallelError) else f"{type(error).__name__}: {error}"
        if problem != self._warned:
            self._warned = problem
            self._emit(Warned(message=f"{problem}: {reason}"))
        _log.warning("%s", problem, exc_info=error)


def _begun(spec: WorkerSpec) -> RunInterval:
    return RunInterval(worker_id=spec.worker_id, started_s=_now_s())


def _now_s() -> float:
    return clock.now().timestamp()


def _tail(log: Path | None) -> str:
    """The end of a log as text. Empty means that it cannot be read."""
    if log is None:
        return ""
    try:
        with log.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - LOG_TAIL_BYTES))
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""


def _is_own(path: Path, own: Path) -> bool:
    """Return whether `path` is what this program writes at `own`, or a temporary file that will replace it."""
    return path.is_relative_to(own) or (path.parent == own.parent and path.name.startswith(f".{own.name}."))
