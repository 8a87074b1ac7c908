"""`architect report [RUN] [N]...`: a run in any format, live or later."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from architect_parallel.cli import options
from architect_parallel.cli.console import answer, note, warn


def report(
    words: options.Workers = None,
    format_: Annotated[
        str, typer.Option("--format", "-f", metavar="FORMAT", help="text, json, markdown, html or junit.")
    ] = "text",
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write the report to this file instead of stdout."),
    ] = None,
    artifacts: options.Artifacts = None,
) -> None:
    """Show a run as a report.

    For a live run it shows what has happened so far.
    """
    from architect_parallel.api.artifacts import require_place, write_artifacts
    from architect_parallel.api.report import FORMATS, material
    from architect_parallel.errors import EnvironmentProblem
    from architect_parallel.journal.selection import select
    from architect_parallel.runs.workspace import open_journal
    from architect_parallel.system.files import write_out
    from architect_parallel.text.suggest import require_known

    render = FORMATS[require_known("--format", format_, FORMATS)]
    with open_journal(Path.cwd()) as (repository, journal):
        selection = select(journal, words or ())
        run_id = selection.run_id
        if artifacts is not None:
            require_place(artifacts, run_id)
        rendered = render(material(repository, journal, run_id, selection.worker_ids))
        if output is None:
            answer(rendered)
        else:
            try:
                write_out(output, (rendered + "\n").encode(errors="surrogateescape"))
            except OSError as error:
                raise EnvironmentProblem(
                    f"{output} cannot be written: {error.strerror}", hint="--output FILE"
                ) from error
        if artifacts is not None:
            for message in write_artifacts(repository, journal, run_id, artifacts):
                warn(message)
            note(f"artifacts: {artifacts}")
