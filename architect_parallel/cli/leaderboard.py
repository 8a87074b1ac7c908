"""`architect leaderboard`: the models of all competitions held in this repository."""

from __future__ import annotations

from pathlib import Path

from architect_parallel.cli import options
from architect_parallel.cli.console import answer, answer_json, display


def leaderboard(json: options.Json = False) -> None:
    """Show how models did over all competitions here.

    For each model: runs, pass rate, median cost and time, and a Bradley-Terry rating, with 95 % intervals. Imported
    runs do not count.
    """
    from architect_parallel.api.competition import leaderboard as over_all
    from architect_parallel.reports import competition
    from architect_parallel.runs.workspace import open_journal

    with open_journal(Path.cwd()) as (_, journal):
        rows = over_all(journal)
    if json:
        answer_json(competition.leaderboard_data(rows))
    else:
        answer(competition.leaderboard(rows, display()))
