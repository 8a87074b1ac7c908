"""`architect parallel`: the main job. Words in, a plan, a run, words out."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from architect_parallel.cli import options
from architect_parallel.cli.output import answer, answer_json, warn
from architect_parallel.errors import UsageError

if TYPE_CHECKING:
    from architect_parallel.api.planning import ParallelConfig
    from architect_parallel.api.running import ParallelRunner
    from architect_parallel.config.task_file import TaskText
    from architect_parallel.domain import RunPlan, RunResult

LARGEST_STDIN_TASK = 64 * 2**20
"""Bytes; a task is text for a model, not a disk image."""


def parallel(
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
    workers: Annotated[
        str | None, typer.Option(metavar="N", help="Number of workers [as many as tasks or models, else 3].")
    ] = None,
    max_parallel: Annotated[
        str | None, typer.Option(metavar="N", help="How many run at the same time [--workers, else 3].")
    ] = None,
    models: Annotated[str | None, typer.Option(metavar="CSV", help="Models, separated by commas.")] = None,
    backend: Annotated[
        str | None, typer.Option(metavar="NAME", help="Agent CLI to run: see `architect backends` [architect].")
    ] = None,
    agent: Annotated[str | None, typer.Option(metavar="NAME", help="Agent profile [build].")] = None,
    assign: Annotated[
        str | None, typer.Option(metavar="HOW", help="How tasks and models meet: fill, round-robin, cross [fill].")
    ] = None,
    budget_per_worker: Annotated[str | None, typer.Option(metavar="USD", help="Cost limit of one worker.")] = None,
    budget: Annotated[str | None, typer.Option(metavar="USD", help="Cost limit of the whole run.")] = None,
    timeout_per_worker: Annotated[
        str | None, typer.Option(metavar="D", help="Time limit of one worker: seconds, 30s, 5m, 1h.")
    ] = None,
    timeout: Annotated[str | None, typer.Option(metavar="D", help="Time limit of the whole run.")] = None,
    idle_timeout: Annotated[
        str | None, typer.Option(metavar="D", help="Stop a worker that printed nothing for so long.")
    ] = None,
    memory_per_worker: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Memory limit of a worker's process tree, such as 2GiB.")
    ] = None,
    grace: Annotated[str | None, typer.Option(metavar="D", help="Time between polite signal and kill [5s].")] = None,
    max_steps: Annotated[str | None, typer.Option(metavar="N", help="Agent steps per worker [50].")] = None,
    base: Annotated[str, typer.Option(metavar="REF", help="Commit the worktrees start from.")] = "HEAD",
    include_dirty: Annotated[
        bool, typer.Option("--include-dirty", help="Carry the uncommitted state over into the worktrees.")
    ] = False,
    fail_fast: Annotated[
        bool | None, typer.Option("--fail-fast/--no-fail-fast", help="Cancel the rest at the first failure.")
    ] = None,
    allow_partial: Annotated[
        bool | None, typer.Option("--allow-partial/--no-allow-partial", help="Exit 0 if at least one succeeded.")
    ] = None,
    commit: Annotated[
        bool | None, typer.Option("--commit/--no-commit", help="Commit what the agent left uncommitted [commit].")
    ] = None,
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
    from architect_parallel.api.planning import ParallelConfig
    from architect_parallel.api.running import ParallelRunner
    from architect_parallel.planning.naming import split_models

    source = read_sources(task, tasks or [], file=file, lines=lines)
    request = ParallelConfig(
        tasks=source.tasks,
        file=source.file,
        foreach=foreach,
        listed=lines,
        workers=workers,
        max_parallel=max_parallel,
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
        base=base,
        include_dirty=include_dirty,
        fail_fast=fail_fast,
        allow_partial=allow_partial,
        commit=commit,
        config_file=config,
    )
    if dry_run:
        runner = ParallelRunner(request)
        show_plan(runner, runner.plan(), as_json=json)
        return
    result = run_shown(request, as_json=json, quiet=quiet)
    raise typer.Exit(result.exit_code or 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """What the command line and stdin gave: tasks in their order, or a task file."""

    tasks: tuple[str, ...] = ()
    file: Path | TaskText | None = None


def read_sources(first: str | None, others: list[str], *, file: str | None = None, lines: bool = False) -> Sources:
    """The tasks from wherever they were said to be.

    `-` is one task on stdin. With no task, no file and stdin no terminal, stdin is a task file if it holds tasks, else
    one task.

    Raises:
        UsageError: There is none, stdin is no text, or tasks come from two places.
    """
    given = ([] if first is None else [first]) + others
    if sum((bool(given), file is not None, lines)) > 1:
        raise UsageError("tasks come from one place: TASK and --task, --file, or --lines", hint="leave the others out")
    if file is not None and file != "-":
        return Sources(file=Path(file))
    if file is not None:
        return Sources(file=_stdin_file(_stdin()))
    if lines:
        every = tuple(line.strip() for line in _stdin_text(_stdin()).splitlines() if line.strip())
        return Sources(tasks=every)
    if not given and sys.stdin is not None and not sys.stdin.isatty():
        from architect_parallel.config.task_file import holds_tasks

        data = _stdin()
        return Sources(file=_stdin_file(data)) if holds_tasks(data) else Sources(tasks=(_stdin_text(data),))
    if given.count("-") > 1:
        raise UsageError("stdin can be only one task", hint='architect parallel - --task "another"')
    return Sources(tasks=tuple(_stdin_text(_stdin()) if text == "-" else text for text in given))


def _stdin() -> bytes:
    data = sys.stdin.buffer.read(LARGEST_STDIN_TASK + 1) if sys.stdin is not None else b""
    if len(data) > LARGEST_STDIN_TASK:
        raise UsageError("the task on stdin is larger than 64 MiB", hint="name a file in the task instead")
    return data


def _stdin_file(data: bytes) -> TaskText:
    from architect_parallel.config.task_file import TaskText

    return TaskText(name="stdin", data=data)


def _stdin_text(data: bytes) -> str:
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise UsageError(f"the task on stdin is not UTF-8 (byte {error.start})", hint="convert it to UTF-8") from error
    if not text.strip():
        raise UsageError("there is no task", hint='architect parallel "what to do"')
    return text.removesuffix("\n")


def run_shown(request: ParallelConfig, *, as_json: bool, quiet: bool) -> RunResult:
    """Runs `request`, shows it live as the streams allow, and prints the answer."""
    from architect_parallel.api.running import ParallelRunner
    from architect_parallel.reports.terminal import LiveReport

    report = LiveReport(as_json=as_json, quiet=quiet)
    runner = ParallelRunner(request, listeners=[report.take])
    with report:
        result = runner.execute(started=report.begin)
    print_result(result, as_json=as_json)
    return result


def print_result(result: RunResult, *, as_json: bool) -> None:
    """The final answer of a run on stdout, and on a terminal what to type next on stderr."""
    if as_json:
        from architect_parallel.reports.json import envelope

        answer_json(envelope(result))
        return
    from architect_parallel.reports import text

    answer(text.results(result))
    if sys.stderr.isatty():
        from architect_parallel.cli.output import note

        note(text.next_steps(result))


def show_plan(runner: ParallelRunner, plan: RunPlan, *, as_json: bool) -> None:
    """The whole plan with exact argv and cost ceiling; nothing was started."""
    from architect_parallel.reports import plan as plan_report

    for warning in plan.warnings:
        warn(warning)
    lines = runner.command_lines(plan)
    if as_json:
        answer_json(plan_report.as_data(plan, lines))
    else:
        answer(plan_report.as_text(plan, lines))
