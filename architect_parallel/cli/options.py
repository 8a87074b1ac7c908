"""Options that several commands share, written once so that help texts agree."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Run = Annotated[str, typer.Argument(metavar="RUN", help="A run: its id, an unambiguous part of it, or `latest`.")]
OptionalRun = Annotated[str | None, typer.Argument(metavar="RUN", help="A run; without it, all or the newest.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be done; do nothing.")]
Config = Annotated[Path | None, typer.Option("--config", "-c", metavar="FILE", help="Configuration file to use.")]
Artifacts = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR", help="Write result, report, and a patch and a bundle per worker there (`architect import`)."
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print only the final result.")]
