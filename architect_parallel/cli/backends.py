"""`architect backends`: which agents are installed here, in which version, and what is missing to use the others."""

from __future__ import annotations

import os
from pathlib import Path

from architect_parallel.cli import options
from architect_parallel.cli.console import answer, answer_json, display


def backends(json: options.Json = False, config: options.Config = None) -> None:
    """List the agents: which are ready, what others lack."""
    from architect_parallel.api.agent_versions import agent_version
    from architect_parallel.reports.backends import Row, as_data, as_text
    from architect_parallel.runs.workspace import load_workspace

    here = load_workspace(Path.cwd(), config)
    rows = []
    for backend in here.backends.values():
        state = backend.availability(os.environ)
        settings = here.settings.backends.get(backend.name)
        rows.append(
            Row(backend=backend, availability=state, version=agent_version(backend, state, settings, os.environ))
        )
    answer_json(as_data(rows)) if json else answer(as_text(rows, display()))
