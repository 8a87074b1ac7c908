"""`architect cancel [RUN] [N]`: stop a live run of this or another process."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from architect_parallel.cli import options


def cancel(
    words: options.Workers = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until the run has ended.")] = True,
    json: options.Json = False,
    dry_run: options.DryRun = False,
) -> None:
    """Stop a live run, or one of its workers.

    Agents are asked to stop, then killed. Their work so far is kept on their branches.
    """
    from architect_parallel.api.cancel import cancel as cancel_run
    from architect_parallel.cli.console import answer, answer_json
    from architect_parallel.errors import UsageError

    selection = options.selected(words)
    run = selection.run_id
    if len(selection.worker_ids) > 1:
        raise UsageError("cancel takes one worker", hint=f"architect cancel {run} {selection.worker_ids[0]}")
    worker = next(iter(selection.worker_ids), None)
    outcome = cancel_run(Path.cwd(), run, worker, wait=wait, dry_run=dry_run)
    if json:
        answer_json(outcome)
        return
    what = f"run {outcome['run_id']}" if worker is None else f"worker {worker} of run {outcome['run_id']}"
    answer(f"{'would cancel' if dry_run else 'canceled' if outcome['ended'] else 'cancel requested for'} {what}")
