"""`architect parallel`: the main job. Words in, a plan, a run, words out."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from architect_parallel.cli import options
from architect_parallel.cli.console import answer, answer_json, warn
from architect_parallel.cli.continue_worker import go_on
from architect_parallel.cli.stdin_tasks import read_sources

if TYPE_CHECKING:
    from architect_parallel.api.launch import ParallelRunner
    from architect_parallel.domain import RunPlan, RunResult
    from architect_parallel.runs.plan import ParallelConfig


def parallel(
    context: typer.Context,
    task: Annotated[str | None, typer.Argument(metavar="TASK", help="What to do; `-` reads it from stdin.")] = None,
    tasks: Annotated[
        list[str] | None, typer.Option("--task", metavar="TEXT", help="A further task; repeatable.")
    ] = None,
    file: Annotated[
        str | None,
        typer.Option(
            "--file", metavar="FILE", help="Task file, JSON or YAML; `-` is stdin (`architect config schema tasks`)."
        ),
    ] = None,
    lines: Annotated[
        bool, typer.Option("--lines", help="One task per line of stdin; empty lines do not count.")
    ] = False,
    foreach: Annotated[
        str | None,
        typer.Option(
            metavar="GLOB", help="The task once for every matching file, its path in place of `{path}`; quote the glob."
        ),
    ] = None,
    continue_: Annotated[
        tuple[str, str] | None,
        typer.Option(
            "--continue",
            metavar="RUN N",
            help="Worker N of an ended run goes on with TASK, where it left off; the exit code is its own.",
        ),
    ] = None,
    workers: Annotated[
        str | None, typer.Option(metavar="N", help="Number of workers [as many as tasks or models, else 3].")
    ] = None,
    max_parallel: Annotated[
        str | None, typer.Option(metavar="N", help="How many run at the same time [--workers, else 3].")
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", "-m", metavar="NAME", help="Model of every worker; not with --models.")
    ] = None,
    models: options.Models = None,
    backend: options.Backend = None,
    agent: options.Agent = None,
    assign: Annotated[
        str | None, typer.Option(metavar="HOW", help="How tasks and models meet: fill, round-robin, cross [fill].")
    ] = None,
    budget_per_worker: options.BudgetPerWorker = None,
    budget: options.Budget = None,
    timeout_per_worker: options.TimeoutPerWorker = None,
    timeout: options.Timeout = None,
    idle_timeout: options.IdleTimeout = None,
    memory_per_worker: options.MemoryPerWorker = None,
    grace: options.Grace = None,
    max_steps: options.MaxSteps = None,
    retries: options.Retries = None,
    refine: Annotated[
        bool | None, typer.Option("--refine/--no-refine", help="Tell a further attempt what went wrong before.")
    ] = None,
    check: options.Check = None,
    check_timeout: options.CheckTimeout = None,
    baseline: options.Baseline = None,
    strict: Annotated[bool, typer.Option("--strict", help="Tasks whose `files` overlap are an error.")] = False,
    base: options.Base = "HEAD",
    include_dirty: options.IncludeDirty = False,
    fail_fast: Annotated[
        bool | None, typer.Option("--fail-fast/--no-fail-fast", help="Cancel the rest at the first failure.")
    ] = None,
    allow_partial: options.AllowPartial = None,
    commit: Annotated[
        bool | None, typer.Option("--commit/--no-commit", help="Commit what the agent left uncommitted [commit].")
    ] = None,
    tripwire: options.Tripwire = None,
    artifacts: options.Artifacts = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    dry_run: options.DryRun = False,
    config: options.Config = None,
) -> None:
    """Run tasks in parallel, each in a worktree of its own.

    Each worker N works on branch architect/parallel-N in .architect-parallel-N. What it changed is committed there;
    your checkout is not touched. Look with `architect diff RUN N`, land with `architect merge RUN N`, clean up with
    `architect parallel-cleanup`.
    """
    from architect_parallel.api.launch import ParallelRunner
    from architect_parallel.runs.plan import ParallelConfig
    from architect_parallel.text.names import split_models

    if continue_ is not None:
        result = go_on(
            context, *continue_, task, artifacts=artifacts, as_json=json, quiet=quiet, dry_run=dry_run, config=config,
        )  # fmt: skip
        if result is None:
            return
        print_result(result, as_json=json)
        raise typer.Exit(result.exit_code or 0)
    source = read_sources(task, tasks or [], file=file, lines=lines)
    request = ParallelConfig(
        tasks=source.tasks,
        file=source.file,
        foreach=foreach,
        listed=lines,
        workers=workers,
        max_parallel=max_parallel,
        model=model,
        models=() if models is None else split_models(models),
        backend=backend,
        agent=agent,
        assign=assign,
        budget_per_worker=budget_per_worker,
        budget=budget,
        timeout_per_worker=timeout_per_worker,
        timeout=timeout,
        idle_timeout=idle_timeout,
        memory_per_worker=memory_per_worker,
        grace=grace,
        max_steps=max_steps,
        retries=retries,
        refine=refine,
        checks=tuple(check or ()),
        check_timeout=check_timeout,
        baseline=baseline,
        strict=strict,
        base=base,
        include_dirty=include_dirty,
        fail_fast=fail_fast,
        allow_partial=allow_partial,
        commit=commit,
        tripwire=tripwire,
        on_terminal=sys.stderr.isatty(),
        artifacts=artifacts,
        config_file=config,
    )
    if dry_run:
        runner = ParallelRunner(request)
        show_plan(runner, runner.plan(), as_json=json)
        return
    result = run_shown(request, as_json=json, quiet=quiet)
    raise typer.Exit(result.exit_code or 0)


def run_shown(request: ParallelConfig, *, as_json: bool, quiet: bool) -> RunResult:
    """Runs `request`, shows it live as the streams allow, and prints the answer."""
    from architect_parallel.api.launch import ParallelRunner
    from architect_parallel.reports.terminal import ProgressReport

    report = ProgressReport(as_json=as_json, quiet=quiet)
    runner = ParallelRunner(request, listeners=[report.take])
    with report:
        result = runner.execute(started=report.begin)
    print_result(result, as_json=as_json)
    return result


def print_result(result: RunResult, *, as_json: bool) -> None:
    """The final answer of a run on stdout, of a competition with its ranking, and on a terminal what to type next on
    stderr."""
    from architect_parallel.api.competition import rates_of
    from architect_parallel.evaluation.ranking import ranking_of
    from architect_parallel.reports import competition

    ranking, rates = ranking_of(result), rates_of(result)
    if as_json:
        from architect_parallel.reports.json import envelope

        answer_json(envelope(result) | competition.additions(result, ranking, rates))
        return
    from architect_parallel.reports import text

    more = competition.as_text(result, ranking, rates)
    answer("\n".join([text.results(result), *([more] if more else [])]))
    if sys.stderr.isatty():
        from architect_parallel.cli.console import note

        note(text.next_steps(result))


def show_plan(runner: ParallelRunner, plan: RunPlan, *, as_json: bool) -> None:
    """The whole plan with exact argv and cost ceiling; nothing was started."""
    from dataclasses import replace

    from architect_parallel.reports import plan as plan_report

    commands = runner.command_lines(plan)
    lines = {worker_id: command.argv for worker_id, command in commands.items()}
    # What a backend says only when it writes the command line is said of the run as it happens; here it is now.
    told = {worker_id: command.warnings for worker_id, command in commands.items()}
    plan = replace(
        plan,
        workers=tuple(replace(each, warnings=(*each.warnings, *told[each.worker_id])) for each in plan.workers),
        warnings=(*plan.warnings, *dict.fromkeys(text for texts in told.values() for text in texts)),
    )
    for warning in plan.warnings:
        warn(warning)
    if as_json:
        answer_json(plan_report.as_data(plan, lines))
    else:
        answer(plan_report.as_text(plan, lines))
