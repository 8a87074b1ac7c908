"""The verdict about one worker: whether it is held responsible for a change in the main checkout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from architect_parallel.text.quantities import summarize
from architect_parallel.tripwire import attribution
from architect_parallel.tripwire.attribution import CheckoutChange, WorkerText


@dataclass(frozen=True, slots=True, kw_only=True)
class TripwireVerdict:
    """The tripwire's part in the result of a worker."""

    escaped: str = ""
    """Why the worker is held responsible for a change. Empty means that it is not."""
    warning: str = ""
    """The changes of which it is one suspect, or about which it is only warned. Empty means that there are none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SuspectedChange:
    """A change that agents may have made."""

    change: CheckoutChange
    suspects: tuple[int, ...]
    alone: bool = False
    """True if no agent of another run was running then."""

    @property
    def key(self) -> tuple[str, bool]:
        return self.change.path, not self.change.words


def judge_worker(
    worker_id: int,
    changes: Sequence[SuspectedChange],
    texts: Mapping[int, WorkerText],
    *,
    root: str,
    patch: Path,
    failing: bool,
) -> TripwireVerdict:
    """Decide about one worker.

    Args:
        changes: The changes of which it is a suspect, at least one.
        texts: Task and output of every suspect, by worker id.
        root: The main checkout.
        patch: The file with the saved changes, which may be missing.
        failing: Fail a worker that is certainly responsible (`--tripwire fail`). Otherwise only warn.
    """
    saved = f"; saved as {patch}" if patch.exists() else ""
    blamed: dict[str, str] = {}
    for suspected in changes:
        suspect_texts = {suspect: texts[suspect] for suspect in suspected.suspects}
        path = suspected.change.path
        reason = attribution.blame(worker_id, path, root, suspected.suspects, suspect_texts, alone=suspected.alone)
        if reason and failing:
            blamed[path] = reason
    if blamed:
        reasons = " and ".join(dict.fromkeys(blamed.values()))
        return TripwireVerdict(escaped=f"the main checkout changed: {summarize(sorted(blamed))} ({reasons}){saved}")
    candidates = ["this worker"]
    if len({suspect for suspected in changes for suspect in suspected.suspects}) > 1:
        candidates.append("another one")
    if not all(suspected.alone for suspected in changes):
        candidates.append("one of another run")
    paths = summarize(sorted({suspected.change.path for suspected in changes}))
    return TripwireVerdict(
        warning=f"while it ran, the main checkout changed: {paths} "
        f"({', '.join(candidates)} or you; nothing was reverted{saved})"
    )
