"""`architect watch [RUN] [N]...`: a run of this or another process, live."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from architect_parallel.cli import options
from architect_parallel.cli.console import answer_line_while_read


def watch(
    words: options.Workers = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print events as JSON, one object a line, until the run ends.")
    ] = False,
) -> int:
    """Watch a run, from its first event to its end.

    On a terminal it is a full-screen view: `?` shows the keys, and `q` leaves while the run goes on. Elsewhere it
    prints a line per event.
    """
    from architect_parallel.system.terminal import is_interactive

    selection = options.selected(words)
    run_id, workers = selection.run_id, selection.worker_ids
    if json:
        from architect_parallel.reports.json import line
        from architect_parallel.runs.watch import watch as events

        for event in events(run_id, workers=workers):
            answer_line_while_read(line(event))
        return 0

    from architect_parallel.runs.workspace import open_journal

    with open_journal(Path.cwd()) as (repository, journal):
        if is_interactive():
            from architect_parallel.api.watch_screen import show

            return show(Path.cwd(), repository, journal, run_id, workers)

        from architect_parallel.journal.view import RunView
        from architect_parallel.reports.watch_events import as_line, take
        from architect_parallel.runs.watch import follow

        view = RunView(run_id)
        for seen in follow(journal, run_id, workers):
            take(view, seen)
            if (text := as_line(view, seen)) is not None:
                answer_line_while_read(text)
    return 0
