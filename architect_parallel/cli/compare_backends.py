"""`architect compare-backends PROMPT`: one task for several agents, side by side."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from architect_parallel.cli import options
from architect_parallel.cli.parallel import run_or_show
from architect_parallel.errors import NothingToDo, UsageError


@options.run_options(
    *("max_parallel", "budget", "budget_per_worker", "timeout_per_worker"),
    *options.CONTAINMENT,
    *options.HOSTS,
    before="json",
    max_parallel="Number of workers that run at the same time [3].",
)
def compare_backends(
    prompt: Annotated[str, typer.Argument(metavar="PROMPT", help="What to do.")],
    backends: Annotated[str | None, typer.Option(metavar="CSV", help="Backends, separated by commas.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Use every agent that is ready here.")] = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    dry_run: options.DryRun = False,
    config: options.Config = None,
    **flags: Any,
) -> None:
    """Give one task to several agents.

    Each works in its own worktree. Compare the results with `architect compare` and `architect diff N`.
    """
    from architect_parallel.backends.registry import require_backend
    from architect_parallel.domain import ApprovalMode, Task
    from architect_parallel.runs.workspace import load_workspace

    if (backends is None) == (not every):
        raise UsageError("give either --backends or --all", hint='architect compare-backends "..." --backends a,b')
    here = load_workspace(Path.cwd(), config)
    if every:
        agents = [backend for backend in here.backends.values() if not backend.capabilities.runs_its_prompt]
        names = [backend.name for backend in agents if backend.availability(os.environ).ready]
        if not names:
            raise NothingToDo("no agent is ready here", hint="architect backends")
    else:
        names = [name.strip() for name in (backends or "").split(",")]
        if not all(names):
            raise UsageError("--backends has an empty name", hint="architect backends")
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise UsageError(f"--backends names {twice} twice", hint="leave it out once")
        for name in names:
            require_backend(here.backends, name)
    tasks = [Task(prompt=prompt, name=name, backend=name, approval_mode=ApprovalMode.NONE) for name in names]
    request = options.request(flags, tasks=tasks, listed=True, config_file=config)
    run_or_show(request, as_json=json, quiet=quiet, dry_run=dry_run)
