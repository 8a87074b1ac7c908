"""`architect retry [RUN] N...`: another attempt of workers, with another model or backend if wanted."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from architect_parallel.cli import options


def retry(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[RUN] N...", help=f"{options.RUN}. {options.WORKER}."),
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", "-m", metavar="NAME", help="Another model from now on.")
    ] = None,
    backend: Annotated[
        str | None, typer.Option("--backend", "-b", metavar="NAME", help="Another agent CLI from now on.")
    ] = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    dry_run: options.DryRun = False,
    config: options.Config = None,
) -> None:
    """Run workers again, from the start.

    It is another attempt of the same worker, also after a success. It starts anew in its worktree, from its base. The
    work of earlier attempts, committed or not, is first kept under refs/architect/keep/. With --backend and no
    --model, that backend's default model is used.
    """
    from architect_parallel.api import retry as retrying
    from architect_parallel.cli.console import answer, answer_json, progress_report
    from architect_parallel.cli.parallel import print_result

    selection = options.selected_workers(words, "architect retry")
    if dry_run:
        todo = retrying.retried(Path.cwd(), selection, config_file=config, model=model, backend=backend)
        if json:
            answer_json({"run_id": selection.run_id, "worker_ids": [spec.worker_id for spec in todo], "dry_run": True})
            return
        for spec in todo:
            who = " ".join(filter(None, (spec.backend, spec.model)))
            answer(f"would run worker {spec.worker_id} again on {spec.branch} with {who} (attempt {spec.attempt})")
        return
    report = progress_report(as_json=json, quiet=quiet)
    with report:
        result = retrying.retry(
            Path.cwd(),
            selection,
            config_file=config,
            listeners=[report.take],
            started=report.begin,
            model=model,
            backend=backend,
        )
    print_result(result, as_json=json)
    raise typer.Exit(result.exit_code or 0)
