"""`architect status [RUN]`: runs and workers, past or live, from the journal."""

from __future__ import annotations

from pathlib import Path

from architect_parallel.cli import options
from architect_parallel.cli.console import answer, answer_json


def status(run: options.OptionalRun = None, json: options.Json = False) -> None:
    """Show all runs of this repository, or the workers of one."""
    from architect_parallel.reports import text
    from architect_parallel.reports.json import envelope, summary
    from architect_parallel.runs.workspace import open_journal

    with open_journal(Path.cwd()) as (_, journal):
        if run is None:
            results = [journal.result(run_id) for run_id in journal.run_ids()]
            if json:
                answer_json({"runs": [summary(result) for result in results]})
            else:
                answer(text.runs_table(results))
            return
        result = journal.result(journal.find(run))
        answer_json(envelope(result)) if json else answer(text.run_details(result))
