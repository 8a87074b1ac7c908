"""The events of a run that this process executes, for `async for`."""

from __future__ import annotations

import threading
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

from architect_parallel.domain import RunPlan
from architect_parallel.journal import Journal
from architect_parallel.journal.requests import request_cancel
from architect_parallel.runs.watch import watch
from architect_parallel.system.git import Repository

Execute = Callable[[Callable[[RunPlan], None]], object]
"""Runs everything to its end. Its argument is called with the plan before any agent starts."""


async def run_events(execute: Execute, repository: Repository, root: Path) -> AsyncGenerator[dict[str, Any], None]:
    """Yield the events of a run as `watch` does, while `execute` works in a thread.

    The run is canceled, and its end awaited, if the caller stops before the last event.

    Raises:
        UsageError, EnvironmentProblem: As `execute` does.
    """
    import asyncio  # here, because the command line does without it

    loop, queue = asyncio.get_running_loop(), asyncio.Queue[dict[str, Any] | None]()
    plans: list[RunPlan] = []
    abandoned = threading.Event()

    def put(event: dict[str, Any] | None) -> None:
        loop.call_soon_threadsafe(queue.put_nowait, event)

    def feed(run_id: str) -> None:
        for event in watch(run_id, root):
            put(event)

    def cancel() -> None:
        abandoned.set()
        for plan in plans:
            with Journal.of(repository) as journal:
                request_cancel(journal.run_dir(plan.run_id))

    def work() -> None:
        feeders = []

        def started(plan: RunPlan) -> None:
            plans.append(plan)
            if abandoned.is_set():
                cancel()
            feeders.append(threading.Thread(target=feed, args=(plan.run_id,), name="events"))
            feeders[0].start()

        try:
            execute(started)
        finally:
            for feeder in feeders:
                feeder.join()
            put(None)

    working = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        while (event := await queue.get()) is not None:
            yield event
    finally:
        if not working.done():
            cancel()
        await asyncio.shield(working)
