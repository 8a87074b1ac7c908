"""`architect resume [RUN] [N]...`: run the workers again that did not succeed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from architect_parallel.cli import options
from architect_parallel.errors import UsageError

if TYPE_CHECKING:
    from architect_parallel.api.resume import Choose
    from architect_parallel.runs.options import ParallelConfig


@options.run_options(
    *options.CONTAINMENT,
    before="json",
    sandbox="Contain the workers that run again: auto, off, write or closed [as planned].",
    network="Network of contained agents: open, hosts or none [as planned].",
)
def resume(
    words: options.Workers = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    dry_run: options.DryRun = False,
    config: options.Config = None,
    hosts: Annotated[str | None, typer.Option(metavar="URL", help="Where the hosts of the run are now.")] = None,
    **flags: Any,
) -> None:
    """Run the workers again that did not succeed.

    Each worker starts anew in its worktree, from its base. The work of earlier attempts, committed or not, is
    first kept under refs/architect/keep/. Agents that still run on other machines go on.
    """
    from architect_parallel.api import resume as resuming
    from architect_parallel.cli.console import progress_report
    from architect_parallel.cli.parallel import print_result

    selection = options.selected(words)
    run = selection.run_id
    flow = resuming.is_flow(Path.cwd(), run)
    if flow and selection.worker_ids:
        raise UsageError("a flow goes on as a whole: it takes no worker", hint=f"architect resume {run}")
    choose = resuming.chosen(selection)
    asked = options.request(flags)
    if dry_run:
        _show(run, choose, asked, config, flow=flow, as_json=json)
        return
    if flow:
        from architect_parallel.cli.flow import resumed

        result = resumed(run, as_json=json, quiet=quiet, config=config, words=asked)
    else:
        from architect_parallel.cli.spec import warn_of_merge
        from architect_parallel.specs.runner import resume_and_land

        report = progress_report(as_json=json, quiet=quiet)
        with report:
            result = resume_and_land(
                Path.cwd(),
                run,
                config_file=config,
                listeners=[report.take],
                started=report.begin,
                choose=choose,
                say=report.say,
                words=asked,
                hosts=hosts,
            )
        warn_of_merge(result)
    print_result(result, as_json=json)
    raise typer.Exit(result.exit_code or 0)


def _show(run: str, choose: Choose, words: ParallelConfig, config: Path | None, *, flow: bool, as_json: bool) -> None:
    """Show what would run."""
    from architect_parallel.api.resume import resumable
    from architect_parallel.cli.console import answer, answer_json

    if flow:
        from architect_parallel.flows.runner import flow_position

        run_id, state = flow_position(Path.cwd(), run)
        if as_json:
            answer_json({"run_id": run_id, "state": state, "dry_run": True})
        else:
            answer(f"would continue the flow {'from its start' if state is None else f'in state {state}'}")
        return
    run_id, todo = resumable(Path.cwd(), run, choose=choose, config_file=config, words=words)
    if as_json:
        answer_json({"run_id": run_id, "worker_ids": [spec.worker_id for spec in todo], "dry_run": True})
        return
    for spec in todo:
        answer(f"would run worker {spec.worker_id} again on {spec.branch} (attempt {spec.attempt})")
    if not todo:
        answer(f"would end run {run_id}: its launcher died when every worker had ended")
