"""`architect chain FILE`: prompts one after another, each with the output of the one before."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from architect_parallel.cli import options
from architect_parallel.cli.flow import run_shown


@options.run_options(*options.CONTAINMENT, before="json")
def chain(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file with `steps`, YAML or JSON.")],
    budget: Annotated[str | None, typer.Option(metavar="USD", help="Cost limit of the whole chain.")] = None,
    timeout: Annotated[str | None, typer.Option(metavar="D", help="Time limit of the whole chain.")] = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    dry_run: options.DryRun = False,
    config: options.Config = None,
    **flags: Any,
) -> None:
    """Run prompts one after another, in the current directory.

    Each step names a backend and a prompt. `{{ previous }}` in it is the output of the step before. A chain is a flow:
    `architect resume RUN` continues it where it failed.
    """
    run_shown(
        file,
        {},
        budget=budget,
        timeout=timeout,
        as_json=json,
        quiet=quiet,
        dry_run=dry_run,
        config=config,
        **flags,
    )
