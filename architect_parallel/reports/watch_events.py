"""The events that `architect watch` prints, as data and as lines.

All output is computed from the events read so far (`WatchedEvent`), so two watchers of one run print the same, whenever
they started.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from architect_parallel.event_json import to_plain
from architect_parallel.events import (
    AgentStarted,
    AttemptEnded,
    FlowMoved,
    LimitReached,
    Recorded,
    RunFinished,
    RunResumed,
    RunStarted,
    Warned,
    WorkerFinished,
)
from architect_parallel.journal.view import RunView
from architect_parallel.reports import text
from architect_parallel.reports.paused import asked
from architect_parallel.text.quantities import show_count, show_workers
from architect_parallel.text.sanitize import one_line

RUN_INTERRUPTED = "run_interrupted"
"""Name of the event that a launcher died. No journal has it."""
_WORD = re.compile(r"(?<!^)(?=[A-Z])")


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchedEvent:
    """An event of a run as a watcher reads it."""

    seq: int
    """From 1 without gaps."""
    time: datetime
    recorded: Recorded | None
    """`None` means that the launcher died. `time` is then that of its last sign of life."""


def take(view: RunView, seen: WatchedEvent) -> None:
    """Apply the next event to `view`."""
    if seen.recorded is None:
        view.interrupt(seen.time)
    else:
        view.take(seen.recorded)


def event_name(seen: WatchedEvent) -> str:
    """`worker_finished` for `WorkerFinished`."""
    return RUN_INTERRUPTED if seen.recorded is None else _WORD.sub("_", type(seen.recorded.event).__name__).lower()


def as_data(view: RunView, seen: WatchedEvent) -> dict[str, Any]:
    """The event as plain data, the fields of the contract first. `view` has taken it already."""
    worker_id = seen.recorded.worker_id if seen.recorded is not None else None
    worker = view.workers.get(worker_id) if worker_id is not None else None
    common = {
        "run_id": view.run_id,
        "seq": seen.seq,
        "time": to_plain(seen.time),
        "event": event_name(seen),
        "worker_id": worker_id,
        "name": worker.spec.name if worker is not None else None,
        "status": worker.state if worker is not None else view.status.value,
    }
    return common | {key: value for key, value in _details(seen).items() if key not in common}


def _details(seen: WatchedEvent) -> dict[str, Any]:
    event = seen.recorded.event if seen.recorded is not None else None
    if event is None:
        return {}
    if isinstance(event, RunStarted):
        plan = event.plan
        workers = [
            {
                "worker_id": spec.worker_id,
                "name": spec.name,
                "task": spec.prompt,
                "backend": spec.backend,
                "model": spec.model,
                "branch": spec.branch,
            }
            for spec in plan.workers
        ]
        return {
            "base_commit": plan.base_commit,
            "max_parallel": plan.max_parallel,
            "budget_usd": plan.budget_usd,
            "warnings": list(plan.warnings),
            "workers": workers,
        }
    if isinstance(event, RunResumed):
        return {"worker_ids": list(event.worker_ids)}
    plain = to_plain(event)
    assert isinstance(plain, dict)
    return plain


def as_line(view: RunView, seen: WatchedEvent) -> str | None:
    """The event as a line for people. `view` has taken it already. `None` means that it is not shown."""
    message = _message(view, seen)
    return None if message is None else f"{seen.time:%H:%M:%S} {message}"


def _message(view: RunView, seen: WatchedEvent) -> str | None:
    if seen.recorded is None:
        return f"the launcher of run {view.run_id} died (try: architect resume {view.run_id})"
    event, worker_id = seen.recorded.event, seen.recorded.worker_id
    match event:
        case RunStarted(plan=plan) if plan.flow is not None:
            return f"run {view.run_id}: the flow {one_line(plan.flow.file, 200)}"
        case RunStarted(plan=plan):
            tasks = show_count(len(plan.workers), "task")
            return f"run {view.run_id}: {tasks}, at most {plan.max_parallel} at a time"
        case RunResumed(worker_ids=worker_ids):
            return f"resumed: {show_workers(worker_ids)}" if worker_ids else "resumed"
        case FlowMoved(pause=pause) if pause is not None:
            return f"the flow waits in state {one_line(pause.state, 80)}: {one_line(asked(pause), 300)}"
        case RunFinished(status=status):
            return f"run {view.run_id}: {status}"
        case AgentStarted() if worker_id in view.workers:
            spec = view.workers[worker_id].spec
            return f"[{worker_id}] started: {text.task_words(spec.worker_id, spec.name, spec.prompt, 80)}"
        case LimitReached() if worker_id in view.workers:
            return f"[{worker_id}] stopping: {one_line(view.workers[worker_id].note, 200)}"
        case AttemptEnded(attempt=attempt, because=because):
            return text.attempt_line(worker_id or 0, attempt, because)
        case WorkerFinished(result=result):
            return text.finished_line(result)
        case Warned(message=message):
            return f"{'' if worker_id is None else f'[{worker_id}] '}warning: {one_line(message, 300)}"
        case _:
            return None
