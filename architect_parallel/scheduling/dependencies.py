"""Who waits for whom among the workers of a run. Pure.

A worker is held until everything it depends on has ended. Then it may start, or it is skipped because something did
not succeed; a skip is an end too, so it goes on to those that wait for the skipped one. Nothing else waits: there are
no levels, and a place is free for whoever is ready.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from architect_parallel.domain import OnPartial, Status, WorkerSpec
from architect_parallel.scheduling import graph


@dataclass(frozen=True, slots=True, kw_only=True)
class Released:
    """What the end of a worker means for those that waited for it."""

    ready: tuple[WorkerSpec, ...] = ()
    skipped: tuple[tuple[WorkerSpec, str], ...] = ()
    """With the name of what did not succeed, in the order in which they ended."""


class Readiness:
    """Holds workers back until what they depend on has ended."""

    def __init__(self, specs: Sequence[WorkerSpec]) -> None:
        """Args:
        specs: Every worker but those that succeeded before: a dependency that is not among them did.

        Raises:
            ValueError: They wait for one another in a circle.
        """
        self._specs = {spec.worker_id: spec for spec in specs}
        self._missing = {spec.worker_id: {each for each in spec.dependencies if each in self._specs} for spec in specs}
        self.heights = graph.heights({each: tuple(needed) for each, needed in self._missing.items()})
        """How many workers stand on the longest chain behind each, itself included."""
        self._followers: dict[int, list[int]] = {}
        for worker_id, needed in self._missing.items():
            for each in needed:
                self._followers.setdefault(each, []).append(worker_id)
        self.held = {worker_id for worker_id, needed in self._missing.items() if needed}
        self._ended: set[int] = set()

    @property
    def free(self) -> list[WorkerSpec]:
        """The workers that wait for nobody, in order."""
        return [spec for worker_id, spec in self._specs.items() if not self._missing[worker_id]]

    def ended(self, worker_id: int, status: Status) -> Released:
        """Who may start, and who is skipped, now that a worker has ended. A second time nothing follows."""
        ready: list[WorkerSpec] = []
        skipped: list[tuple[WorkerSpec, str]] = []
        left = [(worker_id, status)]
        while left:
            gone, how = left.pop(0)
            if gone in self._ended:
                continue
            self._ended.add(gone)
            for follower in self._followers.get(gone, ()):
                if follower not in self.held:
                    continue
                self._missing[follower].discard(gone)
                spec = self._specs[follower]
                if how is not Status.SUCCESS and spec.on_partial is OnPartial.SKIP:
                    self.held.discard(follower)
                    skipped.append((spec, self._specs[gone].name))
                    left.append((follower, Status.SKIPPED))
                elif not self._missing[follower]:
                    self.held.discard(follower)
                    ready.append(spec)
        return Released(ready=tuple(ready), skipped=tuple(skipped))

    def drop(self, worker_ids: Iterable[int]) -> None:
        """Takes those out that are held: they end otherwise, or have ended."""
        self.held.difference_update(worker_ids)
