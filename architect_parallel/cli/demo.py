"""`architect demo`: the main job, offline, on a bundled repository with scripted models."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from architect_parallel.cli import options
from architect_parallel.cli.console import answer, answer_json, display, note
from architect_parallel.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from architect_parallel.agent.demo import DemoRepository
    from architect_parallel.domain import RunResult
    from architect_parallel.system.git import Repository


_WHAT_HAPPENED = """\
The tests ran on the base commit, where they fail, and on each result. Worker 2 claims that all tests pass: a claim is
shown, but the checks decide. Worker 3 was stopped by its budget. What it had written is kept."""


def demo(
    directory: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Directory for the repository, new or empty [a temporary directory]."),
    ] = None,
    json: options.Json = False,
) -> None:
    """Show the main job, offline, with scripted models.

    Three of them run in parallel on a small repository with a failing test. No network, no key. The models are played
    back from a file. Everything else is real. The repository stays for you to look at.
    """
    from architect_parallel.agent import demo as content
    from architect_parallel.api.launch import ParallelRunner
    from architect_parallel.cli.console import progress_report
    from architect_parallel.runs.options import ParallelConfig

    place = content.prepare_demo(_target(directory))
    say = note if json else answer
    say(f"{_reflowed(content.INTRODUCTION)}\n\nRepository: {place.path}\n{_reflowed(f'Task: {place.task}')}")
    for model, does in content.WHAT_THEY_DO.items():
        say(f"  {model:20} {does}")
    say("")
    config = ParallelConfig(
        tasks=[place.task],
        models=place.models,
        backend="architect",
        budget_per_worker=place.budget_per_worker_usd,
        checks=(place.check,),
    )
    # The user's own scripts would take the place of the bundled ones.
    environ = {name: value for name, value in os.environ.items() if not name.startswith("ARCHITECT_")}
    report = progress_report(as_json=json, quiet=False)
    runner = ParallelRunner(config, place.path, listeners=[report.take], environ=environ)
    with report:
        result = runner.execute(started=report.begin)
    _show(result, place, runner.here.repository, as_json=json)
    if [str(worker.status) for worker in result.results] != ["success", "failed", "failed"]:
        note("The demonstration did not go as scripted.")
        raise typer.Exit(ExitCode.NOT_ALL_SUCCEEDED)


def _target(directory: Path | None) -> Path:
    if directory is None:
        import tempfile

        return Path(tempfile.mkdtemp(prefix="architect-demo-")) / "pricelist"
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise UsageError(f"{directory} is not an empty directory", hint="architect demo --directory NEW")
    return directory.absolute()


def _show(result: RunResult, place: DemoRepository, repository: Repository, *, as_json: bool) -> None:
    from architect_parallel.reports import run_text, text
    from architect_parallel.reports.json import envelope
    from architect_parallel.snapshots.diff import patch

    if as_json:
        answer_json(envelope(result))
        return
    for worker in result.results:
        cost, reason = text.cost_text(worker.cost), text.reason_words(worker)
        answer(f"\n--- worker {worker.worker_id}: {worker.model}, {cost}, {reason}")
        for warning in worker.warnings:
            answer("\n".join(display().wrap(warning, "    ")))
        if worker.diff is not None and worker.diff.files:
            answer(_indented(patch(repository.store, worker.diff.base, worker.diff.head).decode(errors="replace")))
    answer(run_text.results(result, display()))
    answer(
        f"""
{_reflowed(_WHAT_HAPPENED)}

What to type next:
  {_way_in(place.path)}
  architect status latest   # how each worker ended, and why
  architect logs 3          # what the third one said and did
  architect diff 1          # what the first one changed
  architect compare         # all of them side by side
  architect report --format html --output ../report.html
  architect merge --best    # land the best on main
  {place.check:23}   # the tests pass now
  architect clean           # remove worktrees and what is merged
  architect undo            # change your mind

In your own repository:
  architect backends        # which agents are ready here
  architect "what to do" --agents claude,codex --check "make test"   # several agents on one task"""
    )


def _reflowed(text: str) -> str:
    """A paragraph that fits the terminal. On a pipe it stays as it is."""
    surface = display()
    return text if surface.width is None else "\n".join(surface.wrap(" ".join(text.split())))


def _indented(patch: str) -> str:
    return "\n".join(f"    {line}" for line in patch.rstrip("\n").split("\n"))


def _way_in(directory: Path) -> str:
    """The commands that lead to where `architect` can be typed. An inactive venv is not on PATH."""
    import shlex
    import shutil

    enter = f"cd {shlex.quote(str(directory))}"
    if shutil.which("architect") is not None:
        return enter
    return f'{enter}; export PATH={shlex.quote(str(Path(sys.executable).parent))}:"$PATH"'
