"""`architect undo [RUN]`: take back the last cleanup or merge."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from architect_parallel.cli.console import answer, answer_json

if TYPE_CHECKING:
    from architect_parallel.journal import Operation


def undo(
    run: Annotated[
        str | None,
        typer.Argument(metavar="[RUN]", help="Take back only the last step of this run; without it, of any run."),
    ] = None,
    list_only: Annotated[
        bool, typer.Option("--list", help="List the cleanups and merges, newest first, and change nothing.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would come back and change nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """Take back the last cleanup or merge.

    Each further `undo` takes back the one before.
    """
    from architect_parallel.journal import Journal
    from architect_parallel.landing.undo import execute, plan_undo
    from architect_parallel.system.git import open_repository

    repository = open_repository(Path.cwd())
    with Journal.of(repository) as journal:
        run_id = None if run is None else journal.find(run)
        if list_only:
            _list(journal.operations(run_id), as_json=as_json)
            return
        plan = plan_undo(repository, journal, run_id)
        if not dry_run:
            execute(repository, journal, plan)
    if as_json:
        restored = [
            {
                "run_id": worker.run_id,
                "worker_id": worker.worker_id,
                "branch": worker.branch if worker.tip else None,
                "worktree_path": worker.worktree_path,
            }
            for worker in plan.restore
        ]
        shown = {
            "undone": {"id": plan.operation.id, "kind": plan.operation.kind, "run_id": plan.operation.run_id},
            "restored": restored,
            "target": plan.target.branch if plan.target else None,
            "commit": plan.back_to,
            "removed": plan.integration.spec.branch if plan.integration else None,
            "dry_run": dry_run,
        }
        answer_json(shown)
        return
    verb = "would undo" if dry_run else "undid"
    answer(f"{verb} the {plan.operation.kind} of {plan.operation.time:%Y-%m-%d %H:%M:%S} UTC")
    for line in plan.lines:
        answer(f"  {line}")


def _list(operations: Sequence[Operation], *, as_json: bool) -> None:
    if as_json:
        from architect_parallel.event_json import to_plain

        answer_json({"operations": to_plain(operations)})
        return
    if not operations:
        answer("nothing was cleaned up or merged yet")
    for operation in operations:
        state = "undone" if operation.undone else "done" if operation.finished else "interrupted"
        time = f"{operation.time:%Y-%m-%d %H:%M:%S} UTC"
        answer(f"{operation.id:>3}  {time}  {operation.kind:<8}  {state:<11}  {_what(operation)}")


def _what(operation: Operation) -> str:
    from architect_parallel.text.quantities import show_workers, summarize

    payload = operation.payload
    if operation.kind == "merge":
        workers = payload.get("workers", [])
        new = payload.get("new")
        where = payload.get("integration") if payload.get("pull_request") else payload.get("branch")
        return f"{show_workers(workers)} on {where} ({str(new)[:12] if new else 'not moved'})"
    branches = [str(removal.get("branch")) for removal in payload.get("removals", [])]
    return summarize(branches, most=4)
