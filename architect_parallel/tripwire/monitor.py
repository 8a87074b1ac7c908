"""The tripwire: looks at the main checkout while agents run, saves what changed there, tells whose doing it may be.

One per run, in the launcher. It looks before the first agent starts, after each agent's end and before its verdict,
and now and then in between, the rarer the dearer a look is. It never changes the checkout. What it cannot do (a look
that fails) it says and goes on: a run must not fail because its watchman does.

The order at an agent's end: its end is noted, then comes a look, then the judgement. So whatever an agent did is seen
before its own verdict, and nobody is suspected of what happened after its end. Ends that come together share a look.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from architect_parallel.domain import Escape, WorkerSpec
from architect_parallel.errors import ArchitectParallelError
from architect_parallel.events import Escaped, Event, Warned
from architect_parallel.journal import Journal
from architect_parallel.snapshots.keep_refs import keep
from architect_parallel.system import clock, machine
from architect_parallel.system.files import replace_file
from architect_parallel.system.git import Repository
from architect_parallel.text.quantities import summarize
from architect_parallel.tripwire import attribution
from architect_parallel.tripwire.attribution import Change, RunInterval, WorkerText
from architect_parallel.tripwire.checkout import MainCheckout
from architect_parallel.tripwire.repository_state import Landed

LOOK_S = 5.0
"""The least time between two looks while agents run."""
MOST_SHARE = 0.01
"""Looks between the ends of agents take at most this share of the time."""
PATCH = "main-checkout.patch"
LOG_TAIL_BYTES = 4 * 1024**2
"""How much of an agent's log is searched for paths."""
MOST_OTHERS = 20
"""How many of the newest runs that ended are asked whether they ended just now."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class TripwireVerdict:
    """What a worker's end has to know of the main checkout."""

    escaped: str = ""
    """Why it is held responsible for a change there; empty: it is not."""
    warning: str = ""
    """What changed while it ran, where it is a suspect among others or only to be warned; empty: nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """A change that agents may have made."""

    change: Change
    suspects: tuple[int, ...]
    alone: bool = False
    """No agent of another run ran then."""

    @property
    def key(self) -> tuple[str, bool]:
        return self.change.path, not self.change.words


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
        failing: Whether who surely did it has failed (`--tripwire fail`), or is only warned.
        emit: Takes events of the run as a whole, from any thread.
        own: Directories and files this program itself writes meanwhile (results, a state file); resolved.
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
        self._looked_s = 0.0
        """Wall time at which the last look began."""
        self._stretches: dict[tuple[int, int, bool], RunInterval] = {}
        """By worker, attempt, and whether it is the checks' time and not the agent's."""
        self._said: dict[int, WorkerText] = {}
        self._seen: dict[tuple[str, bool], _Seen] = {}
        """What is reported, by path and whether it is a file (one may be called `index`): from the first change of each
        to the last."""
        self._pending: dict[int, list[_Seen]] = {}
        """What each worker has still to be judged for."""
        self._old_operations: set[tuple[int, bool]] = set()
        self._earlier = earlier
        """What an earlier launch of the run saw."""
        self._earlier_patch = b""
        self._warned = ""

    def arm(self) -> None:
        """Begins the first look, in a thread of its own; returns at once. A second call does nothing."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="tripwire", daemon=True)
                self._thread.start()

    def begin(self, spec: WorkerSpec) -> None:
        """The agent of `spec` is about to start; returns once the first look is over."""
        self.arm()
        self._ready.wait()
        self._said[spec.worker_id] = WorkerText(task=spec.prompt)
        self._stretches[(spec.worker_id, spec.attempt, False)] = _begun(spec)

    def end(self, spec: WorkerSpec) -> None:
        """The agent's processes are gone."""
        self._finish((spec.worker_id, spec.attempt, False))

    @contextlib.contextmanager
    def checking(self, spec: WorkerSpec) -> Iterator[None]:
        """The time in which the checks of `spec` run, which may run what its agent wrote."""
        key = (spec.worker_id, spec.attempt, True)
        self._stretches[key] = _begun(spec)
        try:
            yield
        finally:
            self._finish(key)

    def _finish(self, key: tuple[int, int, bool]) -> None:
        self._stretches[key] = replace(self._stretches[key], ended_s=_now_s())

    def judge(self, spec: WorkerSpec, output: str, log: Path | None) -> TripwireVerdict:
        """What the agent of `spec`, which has ended, is held responsible for. Looks unless somebody has since.

        Args:
            output: Its final text.
            log: All it printed; `None`: there is none.
        """
        keys = ((spec.worker_id, spec.attempt, checks) for checks in (False, True))
        ends = [each.ended_s for key in keys if (each := self._stretches.get(key)) is not None]
        ended = [each for each in ends if each is not None]
        if not ended or len(ended) < len(ends):
            return TripwireVerdict()
        self._look(max(ended))
        with self._lock:
            seen = self._pending.pop(spec.worker_id, [])
        if not seen:
            return TripwireVerdict()
        self._said[spec.worker_id] = WorkerText(task=spec.prompt, output=f"{output}\n{_tail(log)}")
        return self._judge(spec.worker_id, seen)

    def close(self) -> None:
        """Ends the looking and removes what it was done with; the patch stays."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()
        shutil.rmtree(self._directory, ignore_errors=True)

    def _judge(self, worker_id: int, seen: Sequence[_Seen]) -> TripwireVerdict:
        root = str(self._repository.root)
        blamed: dict[str, str] = {}
        for each in seen:
            said = {suspect: self._said[suspect] for suspect in each.suspects}
            why = attribution.blame(worker_id, each.change.path, root, each.suspects, said, alone=each.alone)
            if why and self._failing:
                blamed[each.change.path] = why
        if blamed:
            why = " and ".join(dict.fromkeys(blamed.values()))
            return TripwireVerdict(
                escaped=f"the main checkout changed: {summarize(sorted(blamed))} ({why}){self._saved()}"
            )
        others = len({suspect for each in seen for suspect in each.suspects}) > 1
        may = ["this worker"]
        may += ["another one"] if others else []
        may += ["one of another run"] if not all(each.alone for each in seen) else []
        what = f"while it ran, the main checkout changed: {summarize(sorted({each.change.path for each in seen}))}"
        return TripwireVerdict(warning=f"{what} ({', '.join(may)} or you; nothing was reverted{self._saved()})")

    def _saved(self) -> str:
        path = self._patch_path
        return f"; saved as {path}" if path.exists() else ""

    @property
    def _patch_path(self) -> Path:
        return self._journal.run_dir(self._run_id) / PATCH

    def _run(self) -> None:
        try:
            with self._lock:
                self._looked_s = _now_s()
                if self._earlier is not None and self._patch_path.exists():
                    self._earlier_patch = self._patch_path.read_bytes()
                self._old_operations = {(each.id, each.undone) for each in self._journal.operations() if each.finished}
                self._checkout = MainCheckout(self._repository, self._directory)
        except Exception as error:  # whatever it is, the run goes on without it
            self._warn("the main checkout is not watched", error)
        finally:
            self._ready.set()
        pause_s = LOOK_S
        while self._checkout is not None and not self._over.wait(pause_s):
            if any(each.ended_s is None for each in tuple(self._stretches.values())):
                began_s = clock.monotonic_s()
                self._look(_now_s())
                pause_s = max(LOOK_S, (clock.monotonic_s() - began_s) / MOST_SHARE)

    def _look(self, after_s: float) -> None:
        """Looks, unless somebody else has begun to after `after_s`."""
        with self._lock:
            if self._checkout is None or self._looked_s > after_s:
                return
            since_s, began_s = self._looked_s, _now_s()
            try:
                changes = self._checkout.changes(self._landed())
                self._looked_s = began_s
                changes = self._not_ours(changes)
                new = [seen for change in changes if (seen := self._suspected(change, since_s, _now_s())) is not None]
                if new:
                    alone = not self._others_ran(since_s)
                    self._take([replace(each, alone=alone) for each in new])
            except Exception as error:  # whatever it is, the run goes on
                self._warn("the main checkout could not be looked at", error)

    def _not_ours(self, changes: list[Change]) -> list[Change]:
        """The changes without what this program, or who stands at the end of its pipe, writes into the checkout."""
        written = machine.files_we_write() if changes else set()
        root = self._repository.root

        def is_ours(change: Change) -> bool:
            place = root / change.path
            if any(_is_own(place, each) for each in self._own):
                return True
            try:
                found = place.lstat()
            except OSError:
                return False
            return (found.st_dev, found.st_ino) in written

        return [each for each in changes if not is_ours(each)]

    def _suspected(self, change: Change, since_s: float, until_s: float) -> _Seen | None:
        """The change with those whose agent ran when it happened; `None`: nobody's did."""
        # Times from another clock (a network file system) tell nothing.
        told = [each for each in (change.earliest_s, change.latest_s) if each is not None]
        sound = all(since_s - attribution.CLOCK_S <= each <= until_s + attribution.CLOCK_S for each in told)
        earliest_s = change.earliest_s if sound and change.earliest_s is not None else since_s
        latest_s = change.latest_s if sound and change.latest_s is not None else until_s
        suspects = attribution.running(tuple(self._stretches.values()), earliest_s, latest_s)
        if not suspects:
            return None
        return _Seen(change=change, suspects=suspects)

    def _take(self, new: Sequence[_Seen]) -> None:
        """Saves and reports."""
        for each in new:
            path, lost = each.change.path, each.change.lost
            if lost is not None:
                label = path.rpartition("/")[2]
                with contextlib.suppress(ArchitectParallelError):
                    kept = keep(self._repository, lost, self._run_id, 0, f"{label}-was")
                    each = replace(
                        each, change=replace(each.change, words=f"{each.change.words}; it is kept as {kept}")
                    )
            for suspect in each.suspects:
                self._pending.setdefault(suspect, []).append(each)
            before = self._seen.get(each.key)
            if before is not None:
                each = _Seen(
                    change=before.change.followed_by(each.change),
                    suspects=tuple(sorted({*before.suspects, *each.suspects})),
                )
            self._seen[each.key] = each
        try:
            self._save()
        except (ArchitectParallelError, OSError) as error:  # what changed is told all the same
            self._warn("what changed in the main checkout could not be saved", error)
        earlier = self._earlier or Escape(paths=(), patch=None, suspects=())
        escape = Escape(
            paths=tuple(sorted({*earlier.paths, *(path for path, _ in self._seen)})),
            patch=str(self._patch_path) if self._patch_path.exists() else None,
            suspects=tuple(
                sorted({*earlier.suspects, *(who for each in self._seen.values() for who in each.suspects)})
            ),
        )
        self._emit(Escaped(escape=escape))
        for each in new:
            if each.change.words and each.change.path != "index":
                self._emit(Warned(message=f"in the main checkout, {self._seen[each.key].change.words}"))

    def _save(self) -> None:
        assert self._checkout is not None
        patch = self._checkout.patch(each.change for each in self._seen.values())
        if patch is None:
            return
        replace_file(self._patch_path, self._earlier_patch + patch, mode=0o600)

    def _landed(self) -> list[Landed]:
        """Moves of branches that `merge` and `undo` made since the run began, whoever typed them."""
        found = []
        for each in self._journal.operations():
            if (each.id, each.undone) in self._old_operations or "branch" not in each.payload:
                continue
            branch, old, new = (str(each.payload.get(key)) for key in ("branch", "old", "new"))
            found.append(Landed(branch=branch, old=old, new=new))
        return found

    def _others_ran(self, since_s: float) -> bool:
        """Whether another run may have had agents running at some moment since."""
        others = [run_id for run_id in self._journal.run_ids() if run_id != self._run_id]
        if any(map(self._journal.is_live, others)):
            return True
        ended = (self._journal.recorded(run_id)[-1].time for run_id in others[:MOST_OTHERS])
        return any(time.timestamp() >= since_s for time in ended)

    def _warn(self, what: str, error: Exception) -> None:
        said = error.message if isinstance(error, ArchitectParallelError) else f"{type(error).__name__}: {error}"
        if what != self._warned:
            self._warned = what
            self._emit(Warned(message=f"{what}: {said}"))
        _log.warning("%s", what, exc_info=error)


def _begun(spec: WorkerSpec) -> RunInterval:
    return RunInterval(worker_id=spec.worker_id, started_s=_now_s())


def _now_s() -> float:
    return clock.now().timestamp()


def _tail(log: Path | None) -> str:
    """The end of a log as text; empty: it cannot be read."""
    if log is None:
        return ""
    try:
        with log.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - LOG_TAIL_BYTES))
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""


def _is_own(place: Path, own: Path) -> bool:
    """Whether `place` is what we write at `own`, or a version of it that is about to take its place."""
    return place.is_relative_to(own) or (place.parent == own.parent and place.name.startswith(f".{own.name}."))
