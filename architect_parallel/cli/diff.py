"""`architect diff [RUN] [N]...`: the changes of the workers as patches."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from architect_parallel.cli import options
from architect_parallel.cli.console import answer, answer_bytes, answer_json


def diff(
    words: options.Workers = None,
    stat: Annotated[bool, typer.Option("--stat", help="Show only the changed files and their line counts.")] = False,
    json: options.Json = False,
) -> None:
    """Show what workers changed, as patches.

    Each patch is against the commit that the worker started from.
    """
    from architect_parallel.event_json import to_plain
    from architect_parallel.journal.selection import select
    from architect_parallel.reports.text import diff_stat
    from architect_parallel.runs.workspace import open_journal, require_worker
    from architect_parallel.snapshots.diff import patch
    from architect_parallel.text.sanitize import plain_text

    with open_journal(Path.cwd()) as (repository, journal):
        selection = select(journal, words or ())
        result, worker_ids = journal.result(selection.run_id), selection.worker_ids
        chosen = [require_worker(result, worker_id) for worker_id in worker_ids] or result.results
        if json:
            answer_json(
                {
                    "run_id": result.run_id,
                    "diffs": [{"worker_id": worker.worker_id, "diff": to_plain(worker.diff)} for worker in chosen],
                }
            )
            return
        for worker in chosen:
            if worker.diff is None or not worker.diff.files:
                if worker_ids and worker.diff is None and not worker.branch:
                    answer(f"worker {worker.worker_id} worked in place: its changes cannot be told from others")
                elif worker_ids:
                    answer(f"worker {worker.worker_id} changed nothing")
                continue
            if len(chosen) > 1:
                answer(f"# worker {worker.worker_id} ({worker.branch})")
            if stat:
                answer(diff_stat(worker.diff))
            else:
                data = patch(repository.store, worker.diff.base, worker.diff.head)
                if sys.stdout.isatty():  # a file of an agent may hold sequences that a terminal obeys
                    answer(plain_text(data.decode(errors="replace")).rstrip("\n"))
                else:
                    answer_bytes(data)
