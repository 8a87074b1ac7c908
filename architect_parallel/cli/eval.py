"""`architect eval`: a competition. Words in, a ranking out."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from architect_parallel.cli import options
from architect_parallel.cli.parallel import run_shown, show_plan
from architect_parallel.cli.stdin_tasks import stdin_text


def evaluate(
    task: Annotated[str, typer.Argument(metavar="TASK", help="What to do; `-` reads it from stdin.")],
    models: options.Models = None,
    check: options.Check = None,
    runs_per_model: Annotated[
        str, typer.Option(metavar="K", help="So often each model; with more than one, pass rates.")
    ] = "1",
    score: Annotated[
        str, typer.Option(metavar="HOW", help="How results are ranked: lexicographic, weighted.")
    ] = "lexicographic",
    judge: Annotated[
        str | None,
        typer.Option(metavar="BACKEND", help="Agent that chooses between the best diffs, without their names."),
    ] = None,
    check_timeout: options.CheckTimeout = None,
    baseline: options.Baseline = None,
    backend: options.Backend = None,
    agent: options.Agent = None,
    max_parallel: Annotated[str | None, typer.Option(metavar="N", help="How many run at the same time [3].")] = None,
    budget_per_worker: options.BudgetPerWorker = None,
    budget: options.Budget = None,
    timeout_per_worker: options.TimeoutPerWorker = None,
    timeout: options.Timeout = None,
    idle_timeout: options.IdleTimeout = None,
    memory_per_worker: options.MemoryPerWorker = None,
    grace: options.Grace = None,
    max_steps: options.MaxSteps = None,
    retries: options.Retries = None,
    base: options.Base = "HEAD",
    include_dirty: options.IncludeDirty = False,
    allow_partial: options.AllowPartial = None,
    tripwire: options.Tripwire = None,
    artifacts: options.Artifacts = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    dry_run: options.DryRun = False,
    config: options.Config = None,
) -> None:
    """Let several models do the same task and rank what they did.

    Every model works as with `architect parallel`, under the same checks. `architect merge RUN --best` lands the
    winner; `architect leaderboard` shows all competitions together.
    """
    from architect_parallel.api.competition import as_competition
    from architect_parallel.api.launch import ParallelRunner
    from architect_parallel.runs.plan import ParallelConfig
    from architect_parallel.text.names import split_models

    request = as_competition(
        ParallelConfig(
            tasks=(stdin_text() if task == "-" else task,),
            models=() if models is None else split_models(models),
            checks=tuple(check or ()),
            check_timeout=check_timeout,
            baseline=baseline,
            backend=backend,
            agent=agent,
            max_parallel=max_parallel,
            budget_per_worker=budget_per_worker,
            budget=budget,
            timeout_per_worker=timeout_per_worker,
            timeout=timeout,
            idle_timeout=idle_timeout,
            memory_per_worker=memory_per_worker,
            grace=grace,
            max_steps=max_steps,
            retries=retries,
            base=base,
            include_dirty=include_dirty,
            allow_partial=allow_partial,
            tripwire=tripwire,
            artifacts=artifacts,
            on_terminal=sys.stderr.isatty(),
            config_file=config,
        ),
        runs_per_model=runs_per_model,
        score=score,
        judge=judge,
    )
    if dry_run:
        runner = ParallelRunner(request)
        show_plan(runner, runner.plan(), as_json=json)
        return
    result = run_shown(request, as_json=json, quiet=quiet)
    raise typer.Exit(result.exit_code or 0)
