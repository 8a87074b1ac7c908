"""`architect parallel`: run tasks in parallel."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from architect_parallel.cli import options
from architect_parallel.cli.choose_backend import with_default_backend
from architect_parallel.cli.console import answer, answer_json, display, note, warn
from architect_parallel.cli.continue_worker import go_on, require_alone
from architect_parallel.cli.stdin_tasks import read_sources

if TYPE_CHECKING:
    from architect_parallel.api.launch import ParallelRunner
    from architect_parallel.domain import RunPlan, RunResult
    from architect_parallel.runs.options import ParallelConfig


@options.run_options(checks=options.CHECK)
def parallel(
    context: typer.Context,
    task: Annotated[str | None, typer.Argument(metavar="TASK", help="What to do; `-` reads it from stdin.")] = None,
    tasks: Annotated[
        list[str] | None, typer.Option("--task", metavar="TEXT", help="A further task; repeatable.")
    ] = None,
    file: Annotated[
        str | None,
        typer.Option(
            "--file",
            "-f",
            metavar="FILE",
            help="Task file, JSON or YAML; `-` is stdin (`architect config schema tasks`).",
        ),
    ] = None,
    prompt_file: Annotated[
        Path | None, typer.Option("--prompt-file", metavar="FILE", help="Read the task, as text, from FILE.")
    ] = None,
    edit: Annotated[
        bool, typer.Option("--edit", help="Write the task in your editor ($VISUAL, $EDITOR or vi).")
    ] = False,
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="Name of the task, and so of its workers.")
    ] = None,
    issue: Annotated[
        list[str] | None,
        typer.Option(
            "--issue", metavar="N", help="Use the title and text of this issue as a task, through gh or glab."
        ),
    ] = None,
    from_issues: Annotated[
        str | None,
        typer.Option(
            "--from-issues",
            metavar="QUERY",
            help="Start a worker for each open issue that this search finds, such as label:agent.",
        ),
    ] = None,
    repo: Annotated[str | None, typer.Option("--repo", metavar="OWNER/NAME", help="Repository of the issues.")] = None,
    lines: Annotated[
        bool, typer.Option("--lines", help="Read one task per line of stdin; empty lines do not count.")
    ] = False,
    foreach: Annotated[
        str | None,
        typer.Option(
            metavar="GLOB",
            help="Run the task once for every matching file, with its path in place of `{path}`; quote the glob.",
        ),
    ] = None,
    continue_: Annotated[
        tuple[str, str] | None,
        typer.Option(
            "--continue",
            metavar="RUN N",
            help="Continue worker N of an ended run with TASK; the exit code is that of the worker.",
        ),
    ] = None,
    open_pr: Annotated[
        bool, typer.Option("--open-pr", help="Open a pull request for the best result of each task at the end.")
    ] = False,
    artifacts: options.Artifacts = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    dry_run: options.DryRun = False,
    config: options.Config = None,
    **flags: Any,
) -> None:
    """Run tasks in parallel, each in its own worktree.

    Each worker N works on branch architect/parallel-N in .architect-parallel-N. Its changes are committed there.
    Your checkout is not touched. Look with `architect diff N`, land with `architect merge N`, clean up with
    `architect clean`. `architect "two words"` is the same as `architect parallel "two words"`.
    """
    if continue_ is not None:
        instructions = require_alone(context, *continue_, task)
        result = go_on(
            *options.selected_worker(continue_),
            instructions,
            artifacts=artifacts,
            as_json=json,
            quiet=quiet,
            dry_run=dry_run,
            config=config,
        )
        if result is None:
            return
        print_result(result, as_json=json)
        raise typer.Exit(result.exit_code or 0)
    no_more = bool(issue) or from_issues is not None
    source = read_sources(
        task, tasks or [], file=file, lines=lines, prompt_file=prompt_file, edit=edit, no_stdin=no_more
    )
    request = options.request(
        flags,
        tasks=source.tasks,
        file=source.file,
        foreach=foreach,
        issues=tuple(issue or ()),
        from_issues=from_issues,
        repo=repo,
        name=name,
        listed=lines,
        artifacts=artifacts,
        config_file=config,
    )
    run_or_show(request, as_json=json, quiet=quiet, dry_run=dry_run, open_pr=open_pr)


def run_or_show(request: ParallelConfig, *, as_json: bool, quiet: bool, dry_run: bool, open_pr: bool = False) -> None:
    """Run `request` and end with its exit code, or only show its plan."""
    if open_pr:
        from architect_parallel.api.merge import require_pull_requests

        require_pull_requests(Path.cwd())
    if open_pr and not dry_run:
        raise typer.Exit(_run_and_open_pull_requests(request, as_json=as_json, quiet=quiet))
    if not dry_run:
        result = run_shown(request, as_json=as_json, quiet=quiet)
        raise typer.Exit(result.exit_code or 0)
    from architect_parallel.api.launch import ParallelRunner

    def planned() -> tuple[ParallelRunner, RunPlan]:
        runner = ParallelRunner(request)
        return runner, runner.plan()

    runner, plan = with_default_backend(planned)
    show_plan(runner, plan, as_json=as_json)


def _run_and_open_pull_requests(request: ParallelConfig, *, as_json: bool, quiet: bool) -> int:
    """Run `request`, then open a pull request for the best result of each task. Returns the exit code."""
    from architect_parallel.api.merge import MergeRequest
    from architect_parallel.cli.merge import landed_one_by_one
    from architect_parallel.domain import Status
    from architect_parallel.landing.selection import Pick

    result = _executed(request, as_json=as_json, quiet=quiet)
    if not as_json:
        print_result(result, as_json=False)
    code, merges = 0, list[dict[str, object]]()
    if any(worker.status is Status.SUCCESS and worker.files_modified for worker in result.results):
        config = None if request.config_file is None else Path(request.config_file)
        merge_request = MergeRequest(run=result.run_id, pick=Pick.BEST, push=True, pull_request=True)
        code, merges = landed_one_by_one(merge_request, config, as_json=as_json)
    else:
        note("no pull request: no worker succeeded and changed something")
    if as_json:
        print_result(result, as_json=True, more={"merges": merges})
    return result.exit_code or code


def run_shown(request: ParallelConfig, *, as_json: bool, quiet: bool) -> RunResult:
    """Run `request`, show it live as far as the streams allow, and print the answer."""
    result = _executed(request, as_json=as_json, quiet=quiet)
    print_result(result, as_json=as_json)
    return result


def _executed(request: ParallelConfig, *, as_json: bool, quiet: bool) -> RunResult:
    from architect_parallel.api.launch import ParallelRunner
    from architect_parallel.cli.console import progress_report

    def run() -> RunResult:
        report = progress_report(as_json=as_json, quiet=quiet)
        runner = ParallelRunner(request, listeners=[report.take])
        with report:
            return runner.execute(started=report.begin)

    return with_default_backend(run)


def print_result(result: RunResult, *, as_json: bool, more: Mapping[str, object] | None = None) -> None:
    """Print the result of a run, of a competition with its ranking. On a terminal add the next commands on stderr.

    Then tell the user's terminal and the user's command that the run has ended.

    Args:
        more: Further fields of the JSON object.
    """
    from architect_parallel.cli.finish import announce

    _print_result(result, as_json=as_json, more=more or {})
    announce(result)


def _print_result(result: RunResult, *, as_json: bool, more: Mapping[str, object]) -> None:
    from architect_parallel.api.competition import rates_of
    from architect_parallel.evaluation.ranking import ranking_of
    from architect_parallel.reports import competition

    ranking, rates = ranking_of(result), rates_of(result)
    if as_json:
        from architect_parallel.reports.json import envelope

        answer_json(envelope(result) | competition.additions(result, ranking, rates) | dict(more))
        return
    from architect_parallel.reports import run_text

    shown = display()
    ranked = competition.as_text(result, ranking, rates, shown)
    answer("\n".join([run_text.results(result, shown), *([ranked] if ranked else [])]))
    if sys.stderr.isatty():
        note(f"\n{run_text.next_steps(result, display(sys.stderr))}")


def show_plan(runner: ParallelRunner, plan: RunPlan, *, as_json: bool) -> None:
    """Print the plan with exact argv and cost ceiling. Nothing is started."""
    from dataclasses import replace

    from architect_parallel.reports import plan as plan_report

    commands = runner.command_lines(plan)
    lines = {worker_id: command.argv for worker_id, command in commands.items()}
    # Some warnings of a backend come only with the command line.
    extra = {worker_id: command.warnings for worker_id, command in commands.items()}
    plan = replace(
        plan,
        workers=tuple(
            replace(worker, warnings=(*worker.warnings, *extra[worker.worker_id])) for worker in plan.workers
        ),
        warnings=(*plan.warnings, *dict.fromkeys(text for texts in extra.values() for text in texts)),
    )
    for warning in plan.warnings:
        warn(warning)
    if as_json:
        answer_json(plan_report.as_data(plan, lines))
    else:
        answer(plan_report.as_text(plan, lines))
