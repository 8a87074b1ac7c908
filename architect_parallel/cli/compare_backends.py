"""`architect compare-backends PROMPT`: one task for several agents, side by side."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from architect_parallel.cli import options
from architect_parallel.cli.parallel import run_shown, show_plan
from architect_parallel.errors import NothingToDo, UsageError


def compare_backends(
    prompt: Annotated[str, typer.Argument(metavar="PROMPT", help="What to do.")],
    backends: Annotated[str | None, typer.Option(metavar="CSV", help="Backends, separated by commas.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every agent that is ready here.")] = False,
    max_parallel: Annotated[str | None, typer.Option(metavar="N", help="How many run at the same time.")] = None,
    budget: Annotated[str | None, typer.Option(metavar="USD", help="Cost limit of the whole run.")] = None,
    budget_per_worker: Annotated[str | None, typer.Option(metavar="USD", help="Cost limit of one worker.")] = None,
    timeout_per_worker: Annotated[str | None, typer.Option(metavar="D", help="Time limit of one worker.")] = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    dry_run: options.DryRun = False,
    config: options.Config = None,
) -> None:
    """Give one task to several agents, each in a worktree of its own.

    Then look at what they did: `architect compare RUN`, `architect diff RUN N`.
    """
    from architect_parallel.api.launch import ParallelRunner
    from architect_parallel.backends.registry import require_backend
    from architect_parallel.domain import ApprovalMode, Task
    from architect_parallel.runs.plan import ParallelConfig
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
            raise UsageError("--backends names one twice", hint="leave it out once")
        for name in names:
            require_backend(here.backends, name)
    request = ParallelConfig(
        tasks=[Task(prompt=prompt, name=name, backend=name, approval_mode=ApprovalMode.NONE) for name in names],
        listed=True,
        max_parallel=max_parallel,
        budget=budget,
        budget_per_worker=budget_per_worker,
        timeout_per_worker=timeout_per_worker,
        on_terminal=sys.stderr.isatty(),
        config_file=config,
    )
    if dry_run:
        runner = ParallelRunner(request)
        show_plan(runner, runner.plan(), as_json=json)
        return
    result = run_shown(request, as_json=json, quiet=quiet)
    raise typer.Exit(result.exit_code or 0)
