"""`architect spec run|validate|graph FILE`: a task graph with dependencies."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from architect_parallel.cli import options
from architect_parallel.cli.choose_backend import with_default_backend
from architect_parallel.cli.console import warn
from architect_parallel.cli.fast_params import PlainCommand, PlainGroup
from architect_parallel.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from architect_parallel.domain import RunPlan, RunResult

app = typer.Typer(
    cls=PlainGroup,
    help="Run, check or draw a task graph with dependencies.",
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

File = Annotated[Path, typer.Argument(metavar="FILE", help="A spec, YAML or JSON (`architect config schema spec`).")]


@app.command(cls=PlainCommand)
@options.run_options(
    *("max_parallel", "backend", "budget", "timeout", "base", "include_dirty", "fail_fast", "allow_partial"),
    *("strict", "tripwire", "allow_secrets"),
    *options.CONTAINMENT,
    *options.HOSTS,
    max_parallel="Number of workers that run at the same time [as the spec says, else 4].",
    backend="Agent CLI for every task.",
    base="Start the first tasks from this commit.",
)
def run(
    file: File,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="NAME", help="Run only this task and all it depends on; repeatable."),
    ] = None,
    resume: Annotated[
        str | None, typer.Option(metavar="RUN", help="Continue a run of this spec: run what is left of it.")
    ] = None,
    artifacts: options.Artifacts = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    dry_run: options.DryRun = False,
    config: options.Config = None,
    **flags: Any,
) -> None:
    """Run a spec: each task as soon as what it depends on is done.

    Each task works in its own worktree, which starts from the merged work of its dependencies. Tasks that depend on
    a failed task are skipped, and no others.
    """
    from architect_parallel.cli.console import progress_report
    from architect_parallel.cli.parallel import print_result, show_plan
    from architect_parallel.specs.plan import SpecConfig
    from architect_parallel.specs.runner import SpecRunner, resume_spec

    parallel_config = options.request(flags, artifacts=artifacts, config_file=config)
    request = SpecConfig(file=file, only=tuple(only or ()), flags=parallel_config)
    report = progress_report(as_json=json, quiet=quiet)
    if resume is not None:
        _require_as_planned({"dry_run": dry_run, **flags, "artifacts": artifacts}, resume)
        with report:
            result = resume_spec(
                request, resume, Path.cwd(), listeners=[report.take], started=report.begin, say=report.say
            )
    elif dry_run:

        def planned() -> tuple[SpecRunner, RunPlan]:
            runner = SpecRunner(request, say=report.say)
            return runner, runner.plan()

        show_plan(*with_default_backend(planned), as_json=json)
        return
    else:

        def execute() -> RunResult:
            with report:
                return SpecRunner(request, listeners=[report.take], say=report.say).execute(started=report.begin)

        result = with_default_backend(execute)
    warn_of_merge(result)
    print_result(result, as_json=json)
    raise typer.Exit(result.exit_code or 0)


def warn_of_merge(result: RunResult) -> None:
    """Show the warnings of the merge, which come after the live report has ended."""
    for warning in result.warnings:
        if warning.startswith("merge: "):
            warn(warning)


def _require_as_planned(flags: Mapping[str, object], run: str) -> None:
    """Raise `UsageError` for a flag that cannot change a run which is planned already."""
    given = [f"--{name.replace('_', '-')}" for name, value in flags.items() if value not in (None, False, "HEAD")]
    if given:
        raise UsageError(f"--resume keeps the plan of the run: leave out {', '.join(given)}", hint=f"--resume {run}")


@app.command(cls=PlainCommand)
def validate(file: File, json: options.Json = False, config: options.Config = None) -> None:
    """Check a spec and list all its faults."""
    from architect_parallel.cli.console import answer, answer_json
    from architect_parallel.scheduling.graph import critical_path
    from architect_parallel.specs.plan import task_graph, validated
    from architect_parallel.text.quantities import show_count

    try:
        spec = validated(file, Path.cwd(), config, "HEAD")
    except UsageError as error:
        if not json:
            raise
        lines = error.message.splitlines()
        faults = lines[1:] or lines  # of several the first line is how many
        answer_json({"schema_version": 1, "file": str(file), "valid": False, "faults": faults})
        raise typer.Exit(ExitCode.USAGE) from None
    chain = critical_path(task_graph(spec)).names
    if json:
        answer_json(
            {
                "schema_version": 1,
                "file": str(file),
                "valid": True,
                "faults": [],
                "name": spec.name,
                "tasks": len(spec.tasks),
                "longest_chain": chain,
                "warnings": spec.warnings,
            }
        )
        return
    for warning in spec.warnings:
        warn(warning)
    tasks = show_count(len(spec.tasks), "task")
    answer(f"{file}: {spec.name}, {tasks}, no faults; longest chain ({len(chain)}): {' → '.join(chain)}")


@app.command(cls=PlainCommand)
def graph(
    file: File,
    format: Annotated[str, typer.Option("--format", metavar="FORMAT", help="text, mermaid, dot or svg.")] = "text",
    json: options.Json = False,
    config: options.Config = None,
) -> None:
    """Draw the graph of a spec on stdout.

    Arrows lead from a task to those that depend on it.
    """
    from architect_parallel.cli.console import answer, answer_json
    from architect_parallel.reports.graph import FORMATS
    from architect_parallel.scheduling import graph as graphs
    from architect_parallel.specs.plan import task_graph, validated
    from architect_parallel.text.suggest import require_known

    render = FORMATS[require_known("format", format, FORMATS)]
    spec = validated(file, Path.cwd(), config)
    needs = task_graph(spec)
    if json:
        answer_json(
            {
                "schema_version": 1,
                "name": spec.name,
                "tasks": [{"name": name, "dependencies": dependencies} for name, dependencies in needs.items()],
                "order": graphs.topological(needs),
                "steps": graphs.levels(needs),
                "longest_chain": graphs.critical_path(needs).names,
            }
        )
    else:
        answer(render(spec.name, needs))
