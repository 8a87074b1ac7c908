"""`architect send [RUN] N TEXT`: an ended worker goes on with further instructions."""

from __future__ import annotations

from typing import Annotated

import typer

from architect_parallel.cli import options
from architect_parallel.cli.continue_worker import go_on
from architect_parallel.errors import UsageError


def send(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="[RUN] N TEXT",
            help=f"{options.RUN}. {options.WORKER}. TEXT is what to do, in quotes; `-` reads it from stdin.",
        ),
    ],
    artifacts: options.Artifacts = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    dry_run: options.DryRun = False,
    config: options.Config = None,
) -> None:
    """Tell an ended worker what to do next.

    The worker goes on in its worktree, and in the same session if its agent can. The exit code is that of the
    worker.
    `parallel --continue RUN N TEXT` does the same.
    """
    from architect_parallel.cli.parallel import print_result

    *place, text = words
    # One word alone, such as a worker's number, is hardly what to do.
    if len(place) > 2 or (not place and text != "-" and len(text.split()) < 2):
        problem = "TEXT must be one word: put it in quotes" if len(place) > 2 else "no text given"
        raise UsageError(problem, hint='architect send 1 "also update the docs"')
    run_id, worker_id = options.selected_worker(place)
    result = go_on(
        run_id, worker_id, text, artifacts=artifacts, as_json=json, quiet=quiet, dry_run=dry_run, config=config
    )
    if result is None:
        return
    print_result(result, as_json=json)
    raise typer.Exit(result.exit_code or 0)
