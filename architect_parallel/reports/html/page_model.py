"""A run's material looked at from the page's side: who stands where, what each is called, who is still at work."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from architect_parallel.domain import Rank, RunStatus, WorkerResult, WorkerSpec
from architect_parallel.events import StepTaken, UsageReported
from architect_parallel.reports.html import formatting
from architect_parallel.reports.html.spans import Timeline, timeline
from architect_parallel.reports.material import Material


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """A worker that has not ended."""

    phase: str
    steps: int
    cost: float | None


class Present:
    """The material, with what several parts of the page need of it."""

    def __init__(self, material: Material) -> None:
        self.material = material
        self.result = material.result
        self.places: dict[int, Rank] = {place.worker_id: place for place in material.ranking}

    @property
    def is_live(self) -> bool:
        return self.result.status is RunStatus.RUNNING

    @cached_property
    def specs(self) -> dict[int, WorkerSpec]:
        return {spec.worker_id: spec for spec in self.result.planned}

    @cached_property
    def labels(self) -> dict[int, str]:
        return {spec.worker_id: formatting.label(spec) for spec in self.result.planned}

    @cached_property
    def results(self) -> dict[int, WorkerResult]:
        return {result.worker_id: result for result in self.result.results}

    @cached_property
    def by_place(self) -> list[WorkerResult]:
        """Who has a place, task by task, then who has none."""
        order = {worker_id: index for index, worker_id in enumerate(self.places)}
        return sorted(self.result.results, key=lambda each: (order.get(each.worker_id, len(order)), each.worker_id))

    @cached_property
    def leaders(self) -> list[Rank]:
        """The first of each ranked task."""
        return [place for place in self.material.ranking if place.place == 1]

    @cached_property
    def not_ended(self) -> list[WorkerSpec]:
        return [spec for spec in self.result.planned if spec.worker_id not in self.results]

    @cached_property
    def common_task(self) -> str | None:
        """The task, where all workers have the same one."""
        tasks = {spec.prompt for spec in self.result.planned}
        return next(iter(tasks)) if len(tasks) == 1 else None

    @cached_property
    def timeline(self) -> Timeline:
        return timeline(self.material.recorded)

    @cached_property
    def progress(self) -> dict[int, Progress]:
        """How far those are that began and have not ended."""
        steps: dict[int, int] = {}
        costs: dict[int, float | None] = {}
        for each in self.material.recorded:
            if each.worker_id is None:
                continue
            if isinstance(each.event, StepTaken):
                steps[each.worker_id] = each.event.steps
            elif isinstance(each.event, UsageReported):
                costs[each.worker_id] = each.event.cost
        phases = {lane.worker_id: lane.spans[-1].phase.value for lane in self.timeline.lanes if lane.spans}
        return {
            spec.worker_id: Progress(
                phase=phases.get(spec.worker_id, "waiting"), steps=steps.get(spec.worker_id, 0),
                cost=costs.get(spec.worker_id, 0.0),
            )
            for spec in self.not_ended
        }  # fmt: skip

    def share_of_cost(self, cost: float | None) -> float | None:
        """Of the dearest worker's cost; `None`: nothing to compare."""
        most = max((each.cost or 0.0 for each in self.result.results), default=0.0)
        return (cost or 0.0) / most if most else None

    def share_of_duration(self, seconds: float) -> float | None:
        """Of the slowest worker's time; `None`: nothing to compare."""
        most = max((each.duration for each in self.result.results), default=0.0)
        return seconds / most if most else None
