"""`architect report RUN`: a run in any format, live or later."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from architect_parallel.cli import options
from architect_parallel.cli.output import answer


def report(
    run: options.Run,
    format_: Annotated[str, typer.Option("--format", "-f", metavar="FORMAT", help="text, json or html.")] = "text",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write it there instead of to stdout.")
    ] = None,
) -> None:
    """Show a run as a report."""
    from architect_parallel.api.place import open_journal
    from architect_parallel.api.reporting import FORMATS, material
    from architect_parallel.errors import EnvironmentProblem
    from architect_parallel.planning.suggest import require_known
    from architect_parallel.system.files import replace_file

    render = FORMATS[require_known("--format", format_, FORMATS)]
    with open_journal(Path.cwd()) as (repository, journal):
        rendered = render(material(repository, journal, run))
    if output is None:
        answer(rendered)
        return
    try:
        replace_file(output, (rendered + "\n").encode(errors="surrogateescape"))
    except OSError as error:
        raise EnvironmentProblem(f"{output} cannot be written: {error.strerror}", hint="--output FILE") from error
