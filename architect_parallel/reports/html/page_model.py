"""A run's material, prepared for the templates."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from architect_parallel.domain import Pair, Rank, RunStatus, Status, WorkerResult, WorkerSpec
from architect_parallel.events import StepTaken, UsageReported
from architect_parallel.reports.html import formatting as figures
from architect_parallel.reports.html.spans import Timeline, timeline
from architect_parallel.reports.material import Material
from architect_parallel.text.names import DEFAULT_MODEL
from architect_parallel.text.sanitize import one_line

TITLE_CHARACTERS = 140
WINDOW_TITLE_CHARACTERS = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """A worker that has not ended."""

    phase: str
    steps: int
    cost: float | None
    """USD so far. `None` means unknown."""


class Present:
    """The material of a run, with what several parts of the page need."""

    def __init__(self, material: Material) -> None:
        self.material = material
        self.result = material.result
        self.places: dict[int, Rank] = {place.worker_id: place for place in material.ranking}

    @property
    def is_live(self) -> bool:
        return self.result.status is RunStatus.RUNNING

    @property
    def unfinished_tone(self) -> str:
        """The colour of workers that have not ended."""
        return "live" if self.is_live else "none"

    @cached_property
    def specs(self) -> dict[int, WorkerSpec]:
        return {spec.worker_id: spec for spec in self.result.planned}

    @cached_property
    def labels(self) -> dict[int, str]:
        is_by_task = self.common_task is None
        return {spec.worker_id: figures.label(spec, is_by_task=is_by_task) for spec in self.result.planned}

    @cached_property
    def results(self) -> dict[int, WorkerResult]:
        return {result.worker_id: result for result in self.result.results}

    @cached_property
    def common_task(self) -> str | None:
        """The task of all workers. `None` if they have different ones."""
        tasks = {spec.prompt for spec in self.result.planned}
        return next(iter(tasks)) if len(tasks) == 1 else None

    @property
    def title(self) -> str:
        if self.common_task:
            return one_line(self.common_task, TITLE_CHARACTERS)
        return figures.plural(self.result.total_tasks, "task")

    @property
    def has_longer_task(self) -> bool:
        """The title does not contain the whole task."""
        return self.common_task is not None and " ".join(figures.shown(self.common_task).split()) != self.title

    @property
    def window_title(self) -> str:
        title = self.common_task or self.result.run_id
        return " ".join(figures.shown(title).split())[:WINDOW_TITLE_CHARACTERS]

    @property
    def progress_text(self) -> str:
        run = self.result
        unfinished = run.total_tasks - len(run.results)
        text = f"{run.count(Status.SUCCESS)} of {run.total_tasks} succeeded"
        return f"{text}, {unfinished} not ended" if unfinished else text

    @property
    def cost_text(self) -> str:
        """The cost of all workers so far. `+ ?` if that of some is unknown."""
        costs = [result.cost for result in self.result.results if result.started_at is not None]
        costs += [progress.cost for progress in self.progress.values()]
        known = sum(cost for cost in costs if cost is not None)
        if None not in costs:
            return figures.cost(known)
        return f"{figures.cost(known)} + ?" if known else "?"

    # Ranking

    @cached_property
    def by_place(self) -> list[WorkerResult]:
        """The ranked results, task by task, then those without a place."""
        order = {worker_id: index for index, worker_id in enumerate(self.places)}
        return sorted(
            self.result.results, key=lambda result: (order.get(result.worker_id, len(order)), result.worker_id)
        )

    @cached_property
    def leaders(self) -> list[Rank]:
        """The first of each ranked task."""
        return [place for place in self.material.ranking if place.place == 1]

    @property
    def verdict(self) -> str:
        """Why no worker leads. Empty if one does."""
        run = self.result
        if not run.results:
            return "No worker has ended yet."
        if not run.count(Status.SUCCESS):
            kept = sum(bool(result.files_modified) for result in run.results)
            more = f" The changes of {figures.plural(kept, 'worker')} are kept on branches." if kept else ""
            return f"No worker succeeded.{more}"
        if run.total_tasks == 1:
            return "Only one worker: nothing to compare."
        return "" if self.places else "Each worker had a task of its own: there is no ranking."

    def backend_and_model(self, spec: WorkerSpec) -> str:
        """The backend, model and agent of a worker, without what its label already says."""
        label = self.labels[spec.worker_id]
        result = self.results.get(spec.worker_id)
        model = spec.model or (result.model if result is not None and result.model != DEFAULT_MODEL else "")
        details = [f"model {model}" if model and model != label else "", spec.backend if spec.backend != label else ""]
        return ", ".join(detail for detail in details if detail)

    def share_of_cost(self, cost: float | None) -> float | None:
        """As a share of the most expensive worker's cost. `None` if no worker cost anything."""
        highest = max((result.cost or 0.0 for result in self.result.results), default=0.0)
        return (cost or 0.0) / highest if highest else None

    def share_of_duration(self, seconds: float) -> float | None:
        """As a share of the slowest worker's time. `None` if no worker took any."""
        longest = max((result.duration for result in self.result.results), default=0.0)
        return seconds / longest if longest else None

    # Unfinished workers

    @cached_property
    def not_ended(self) -> list[WorkerSpec]:
        return [spec for spec in self.result.planned if spec.worker_id not in self.results]

    @cached_property
    def timeline(self) -> Timeline:
        return timeline(self.material.recorded)

    @cached_property
    def progress(self) -> dict[int, Progress]:
        """The progress of each worker that has not ended."""
        steps: dict[int, int] = {}
        costs: dict[int, float | None] = {}
        for recorded in self.material.recorded:
            if recorded.worker_id is None:
                continue
            if isinstance(recorded.event, StepTaken):
                steps[recorded.worker_id] = recorded.event.steps
            elif isinstance(recorded.event, UsageReported):
                costs[recorded.worker_id] = recorded.event.cost
        phases = {lane.worker_id: lane.spans[-1].phase.value for lane in self.timeline.lanes if lane.spans}
        return {
            spec.worker_id: Progress(
                phase=phases.get(spec.worker_id, "waiting"),
                steps=steps.get(spec.worker_id, 0),
                cost=costs.get(spec.worker_id, 0.0),
            )
            for spec in self.not_ended
        }

    # Conflicts

    @cached_property
    def pairs(self) -> dict[tuple[int | str, int | str], Pair]:
        """The compared pairs, under both orders of their sides."""
        conflicts = self.material.comparison.conflicts if self.material.comparison else ()
        return {sides: pair for pair in conflicts for sides in ((pair.a, pair.b), (pair.b, pair.a))}

    @property
    def matrix_columns(self) -> list[int | str]:
        """The branches, then the workers."""
        comparison = self.material.comparison
        assert comparison is not None
        branches = dict.fromkeys(pair.a for pair in comparison.conflicts if isinstance(pair.a, str))
        return [*branches, *sorted(comparison.order)]

    @property
    def why_no_comparison(self) -> str:
        changed = sum(bool(result.files_modified) for result in self.result.results)
        if not changed:
            return "No worker changed anything, so nothing can conflict."
        return "There is no comparison of this run." if changed > 1 else "Only one worker changed anything."
