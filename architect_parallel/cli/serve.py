"""`architect serve [RUN] [N]...`: the report of a run live in a browser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from architect_parallel.cli import options
from architect_parallel.cli.console import answer, note


def serve(
    words: options.Workers = None,
    port: Annotated[int, typer.Option("--port", metavar="N", min=0, max=65535, help="Port [one that is free].")] = 0,
    open_: Annotated[bool, typer.Option("--open", help="Open it in your browser.")] = False,
) -> None:
    """Show a run live in your browser, and a list of all runs.

    It is read-only. Only this machine can reach it, and only with the token in the address. Ctrl-C ends it.
    """
    import contextlib
    import queue
    import signal

    from architect_parallel.api.serve import serve as begin
    from architect_parallel.runs.workspace import open_journal
    from architect_parallel.system.browser import browser
    from architect_parallel.system.signals import forwarded

    selection = options.selected(words)
    arrived: queue.SimpleQueue[signal.Signals] = queue.SimpleQueue()
    with (
        contextlib.ExitStack() as held,
        open_journal(Path.cwd()) as (repository, journal),
        forwarded(arrived.put),
        begin(repository, journal, selection.run_id, port=port, workers=selection.worker_ids) as server,
    ):
        answer(server.address)
        note("Ctrl-C ends it")
        if open_ and not held.enter_context(browser(server.address)):
            note("no browser was found: open the address yourself")
        raise typer.Exit(128 + arrived.get())
