"""Dependencies between the workers of a run. Pure.

A worker is held until all its dependencies have ended. Then it may start, or it is skipped because one of them did not
succeed. A skip is an end too, so it releases or skips the dependents of the skipped worker. There are no levels: every
worker whose dependencies have ended may start.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from architect_parallel.domain import OnPartial, Status, WorkerSpec
from architect_parallel.scheduling import graph


@dataclass(frozen=True, slots=True, kw_only=True)
class Released:
    """The dependents that the end of a worker releases or skips."""

    ready: tuple[WorkerSpec, ...] = ()
    skipped: tuple[tuple[WorkerSpec, str], ...] = ()
    """Each with the name of the worker that did not succeed, in the order of their ends."""


class Readiness:
    """Holds workers back until their dependencies have ended."""

    def __init__(self, specs: Sequence[WorkerSpec]) -> None:
        """Args:
        specs: Every worker that has not succeeded yet. A dependency that is not among them has succeeded.

        Raises:
            ValueError: The dependencies have a cycle.
        """
        self._specs = {spec.worker_id: spec for spec in specs}
        self._missing = {
            spec.worker_id: {dependency for dependency in spec.dependencies if dependency in self._specs}
            for spec in specs
        }
        self.heights = graph.heights({worker_id: tuple(needed) for worker_id, needed in self._missing.items()})
        """Worker id → length of the longest chain of dependents that begins with it."""
        self._followers: dict[int, list[int]] = {}
        for worker_id, needed in self._missing.items():
            for dependency in needed:
                self._followers.setdefault(dependency, []).append(worker_id)
        self.held = {worker_id for worker_id, needed in self._missing.items() if needed}
        self._ended: set[int] = set()

    @property
    def free(self) -> list[WorkerSpec]:
        """The workers without unfinished dependencies, in order."""
        return [spec for worker_id, spec in self._specs.items() if not self._missing[worker_id]]

    def ended(self, worker_id: int, status: Status) -> Released:
        """Note the end of a worker, and return the dependents that it releases or skips. A second end is ignored."""
        ready: list[WorkerSpec] = []
        skipped: list[tuple[WorkerSpec, str]] = []
        left = [(worker_id, status)]
        while left:
            ended, status = left.pop(0)
            if ended in self._ended:
                continue
            self._ended.add(ended)
            for follower in self._followers.get(ended, ()):
                if follower not in self.held:
                    continue
                self._missing[follower].discard(ended)
                spec = self._specs[follower]
                if status is not Status.SUCCESS and spec.on_partial is OnPartial.SKIP:
                    self.held.discard(follower)
                    skipped.append((spec, self._specs[ended].name))
                    left.append((follower, Status.SKIPPED))
                elif not self._missing[follower]:
                    self.held.discard(follower)
                    ready.append(spec)
        return Released(ready=tuple(ready), skipped=tuple(skipped))

    def drop(self, worker_ids: Iterable[int]) -> None:
        """Stop holding these workers: they have ended in another way."""
        self.held.difference_update(worker_ids)
