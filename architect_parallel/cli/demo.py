"""`architect demo`: the main job, offline, on a bundled repository with scripted models."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from architect_parallel.cli import options
from architect_parallel.cli.console import answer, answer_json, note
from architect_parallel.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from architect_parallel.agent.demo import DemoRepository
    from architect_parallel.domain import RunResult
    from architect_parallel.system.git import Repository


def demo(
    directory: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Directory for the repository, new or empty [a temporary directory]."),
    ] = None,
    json: options.Json = False,
) -> None:
    """Show the main job, offline, with scripted models.

    Three of them run in parallel on a small repository with a failing test; no network, no key. The models are played
    back from a file; everything else is real. The repository stays for you to look at.
    """
    from architect_parallel.agent import demo as content
    from architect_parallel.api.launch import ParallelRunner
    from architect_parallel.reports.terminal import ProgressReport
    from architect_parallel.runs.options import ParallelConfig

    place = content.prepare_demo(_target(directory))
    say = note if json else answer
    say(f"{content.INTRODUCTION}\n\nRepository: {place.path}\nTask:       {place.task}")
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
    report = ProgressReport(as_json=json, quiet=False)
    runner = ParallelRunner(config, place.path, listeners=[report.take], environ=environ)
    with report:
        result = runner.execute(started=report.begin)
    _show(result, place, runner.here.repository, as_json=json)
    if [str(each.status) for each in result.results] != ["success", "failed", "failed"]:
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
    from architect_parallel.reports import text
    from architect_parallel.reports.json import envelope
    from architect_parallel.snapshots.diff import patch

    if as_json:
        answer_json(envelope(result))
        return
    for each in result.results:
        answer(f"\n--- worker {each.worker_id}: {each.model}, {text.cost_text(each.cost)}, {text.reason_words(each)}")
        for warning in each.warnings:
            answer(f"    {warning}")
        if each.diff is not None and each.diff.files:
            answer(_indented(patch(repository.store, each.diff.base, each.diff.head).decode(errors="replace")))
    answer(text.results(result))
    answer(
        f"""
The tests ran on the commit before anybody began (there they fail) and on each result. Worker 2 said that all tests
pass: what an agent says is shown, not believed. Worker 3 was stopped by its budget; what it had written is kept.

What to type next:
  {_way_in(place.path)}
  architect status latest         # how each worker ended, and why
  architect logs latest 3         # what the third one printed
  architect diff latest 1         # what the first one changed
  architect compare latest        # all of them side by side
  architect report latest --format html --output report.html
  architect merge latest --best   # land the best on main
  {place.check:29}   # the tests pass now
  architect parallel-cleanup      # remove what the run left; what is not merged stays
  architect undo                  # change your mind

In a repository of your own:
  architect backends              # which agents are ready here
  architect parallel "what to do" --backend claude --workers 3"""
    )


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
