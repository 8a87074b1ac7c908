"""Ask the launcher of a live run to stop the run, or one worker of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from architect_parallel.errors import NothingToDo
from architect_parallel.journal.requests import request_cancel
from architect_parallel.journal.selection import find_workers
from architect_parallel.runs.workspace import open_journal
from architect_parallel.system import clock

LOOK_S = 0.1


def cancel(
    workspace_root: Path, run: str, worker_id: int | None = None, *, wait: bool = True, dry_run: bool = False
) -> dict[str, Any]:
    """Request the end of a live run, or of one worker of it.

    Args:
        wait: Return when the run has ended. A request for one worker returns at once.
        dry_run: Request nothing.

    Returns:
        `run_id`, `worker_id`, `requested` and `ended`: whether the run has ended (`None` for a single worker).

    Raises:
        NothingToDo: No such run, or it has ended.
        UsageError: The run has no such worker.
    """
    with open_journal(workspace_root) as (_, journal):
        run_id = journal.find(run)
        if worker_id is not None:
            find_workers(run_id, journal.planned(run_id), [worker_id])
        if not journal.is_live(run_id):
            raise NothingToDo(f"run {run_id} is not live", hint=f"architect status {run_id}")
        if not dry_run:
            request_cancel(journal.run_dir(run_id), worker_id)
            while wait and worker_id is None and journal.is_live(run_id):
                clock.pause(LOOK_S)
        ended = None if worker_id is not None else not journal.is_live(run_id)
        return {"run_id": run_id, "worker_id": worker_id, "requested": not dry_run, "ended": ended}
