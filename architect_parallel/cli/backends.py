"""`architect backends`: which agents are installed here, and what is missing to use the others."""

from __future__ import annotations

import os
from pathlib import Path

from architect_parallel.cli import options
from architect_parallel.cli.output import answer, answer_json


def backends(json: options.Json = False, config: options.Config = None) -> None:
    """List the agents: which are ready, what others lack."""
    from architect_parallel.api.place import load_here
    from architect_parallel.reports.backends import as_data, as_text

    found = load_here(Path.cwd(), config).backends
    rows = [(backend, backend.availability(os.environ)) for backend in found.values()]
    answer_json(as_data(rows)) if json else answer(as_text(rows))
