"""`architect status [RUN] [N]...`: runs and workers, past or live, from the journal."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from architect_parallel.cli import options
from architect_parallel.cli.console import answer, answer_json

Words = Annotated[
    list[str] | None,
    typer.Argument(metavar="[RUN] [N]...", help=f"{options.RUN}. {options.WORKER}; without any word, all runs."),
]


def status(words: Words = None, json: options.Json = False) -> None:
    """Show all runs of this repository, or the workers of one."""
    from architect_parallel.journal.selection import select
    from architect_parallel.reports import text
    from architect_parallel.reports.json import envelope, summary
    from architect_parallel.runs.workspace import open_journal

    with open_journal(Path.cwd()) as (_, journal):
        if not words:
            results = [journal.result(run_id) for run_id in journal.run_ids()]
            if json:
                answer_json({"runs": [summary(result) for result in results]})
            else:
                answer(text.runs_table(results))
            return
        selection = select(journal, words)
        result = journal.result(selection.run_id, selection.worker_ids)
        answer_json(envelope(result)) if json else answer(text.run_details(result))
