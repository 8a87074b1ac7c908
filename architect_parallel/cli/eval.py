"""`architect eval`: several models do one task and are ranked."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from architect_parallel.cli import options
from architect_parallel.cli.parallel import run_or_show
from architect_parallel.cli.stdin_tasks import stdin_text


@options.run_options(
    *("models", "checks"),
    before="runs_per_model",
    models="Models, separated by commas.",
    checks=options.CHECK,
)
@options.run_options(
    *("check_timeout", "baseline", "backend", "agent", "max_parallel", "budget_per_worker", "budget"),
    *(
        "timeout_per_worker",
        "timeout",
        "idle_timeout",
        "memory_per_worker",
        "processes_per_worker",
        "grace",
        "max_steps",
    ),
    *("retries", "base", "include_dirty", "allow_partial", "tripwire", "allow_secrets"),
    *options.CONTAINMENT,
    *options.HOSTS,
    max_parallel="Number of workers that run at the same time [3].",
)
def evaluate(
    task: Annotated[str, typer.Argument(metavar="TASK", help="What to do; `-` reads it from stdin.")],
    runs_per_model: Annotated[
        str, typer.Option(metavar="K", help="Number of runs of each model; more than one gives pass rates.")
    ] = "1",
    score: Annotated[
        str, typer.Option(metavar="HOW", help="Rank the results by this rule: lexicographic, weighted.")
    ] = "lexicographic",
    judge: Annotated[
        str | None,
        typer.Option(
            metavar="BACKEND", help="Let this agent choose between the best diffs without knowing their models."
        ),
    ] = None,
    artifacts: options.Artifacts = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    dry_run: options.DryRun = False,
    config: options.Config = None,
    **flags: Any,
) -> None:
    """Let several models do one task and rank them.

    Every model works as with `architect parallel`, under the same checks. `architect merge --best` lands the
    winner. `architect leaderboard` shows all competitions together.
    """
    from architect_parallel.api.competition import as_competition

    tasks = (stdin_text() if task == "-" else task,)
    request = as_competition(
        options.request(flags, tasks=tasks, artifacts=artifacts, config_file=config),
        runs_per_model=runs_per_model,
        score=score,
        judge=judge,
    )
    run_or_show(request, as_json=json, quiet=quiet, dry_run=dry_run)
