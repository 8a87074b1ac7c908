"""`architect mcp`: a Model Context Protocol server on stdio."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from architect_parallel.cli import options
from architect_parallel.errors import EnvironmentProblem


def mcp(
    config: options.Config = None,
    allow_merge: Annotated[
        bool, typer.Option("--allow-merge", help="Let the tool `merge` move branches. Otherwise it is a dry run.")
    ] = False,
    nested: Annotated[
        int,
        typer.Option(min=0, max=3, metavar="N", help="Let agents of workers start runs too, down to this depth."),
    ] = 0,
) -> None:
    """Let agents and editors start runs here, through MCP.

    It is a server of the Model Context Protocol. Its tools: run_parallel, status, result, diff, compare, merge,
    cancel. Requests come on stdin, answers go to stdout.
    """
    try:
        from architect_parallel.api.mcp_server import serve
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in ("mcp", "mcp_types", "anyio"):
            raise
        hint = "in a clone of architect-parallel: pipx install --force '.[mcp]', or pip install '.[mcp]'"
        raise EnvironmentProblem("the package of the Model Context Protocol is not installed", hint=hint) from error
    from architect_parallel.system.git import open_repository

    open_repository(Path.cwd())
    serve(Path.cwd(), config_file=config, allow_merge=allow_merge, nested=nested)
