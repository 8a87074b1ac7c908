"""`architect compare [RUN] [N]...`: the results side by side, and which of them merge cleanly together."""

from __future__ import annotations

from pathlib import Path

from architect_parallel.cli import options
from architect_parallel.cli.console import answer, answer_json, display


def compare(words: options.Workers = None, json: options.Json = False) -> None:
    """Show the results side by side, and what merges cleanly.

    It changes nothing. For a live run it shows the workers that have ended.
    """
    from architect_parallel.event_json import to_plain
    from architect_parallel.journal.selection import select
    from architect_parallel.landing.compare import compare as compare_results
    from architect_parallel.reports import comparison as report
    from architect_parallel.reports.json import envelope
    from architect_parallel.runs.workspace import open_journal

    with open_journal(Path.cwd()) as (repository, journal):
        selection = select(journal, words or ())
        result = journal.result(selection.run_id, selection.worker_ids)
        comparison = compare_results(repository, result)
    if json:
        answer_json(envelope(result) | to_plain(comparison))
    else:
        answer(report.render(result, comparison, display()))
