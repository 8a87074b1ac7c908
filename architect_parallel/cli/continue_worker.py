"""`architect parallel --continue RUN N TASK`: continue an ended worker."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from architect_parallel.cli.console import answer, answer_json, warn
from architect_parallel.cli.stdin_tasks import stdin_text
from architect_parallel.errors import UsageError

if TYPE_CHECKING:
    from architect_parallel.domain import RunResult

ALLOWED = frozenset({"task", "continue_", "artifacts", "json", "quiet", "dry_run", "config"})
"""Parameters allowed with `--continue`. The worker keeps its other settings."""


def require_alone(context: typer.Context, run: str, worker: str, task: str | None) -> str:
    """Return the instructions of `--continue RUN N TASK`.

    Raises:
        UsageError: There are none, or an option is given that does not apply.
    """
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        if parameter.name not in ALLOWED and source is not None and source.name == "COMMANDLINE":
            hint = "leave it out: the worker keeps its backend, model and limits"
            raise UsageError(f"--continue and {max(parameter.opts, key=len)} exclude each other", hint=hint)
    if task is None:
        raise UsageError("no instructions given", hint=f'architect parallel --continue {run} {worker} "what to do"')
    return task


def go_on(
    run: str,
    worker_id: int,
    task: str,
    *,
    artifacts: Path | None,
    as_json: bool,
    quiet: bool,
    dry_run: bool,
    config: Path | None,
) -> RunResult | None:
    """Continue the worker and show it live. Return `None` for `--dry-run`."""
    from architect_parallel.api.continue_worker import continue_worker, continued
    from architect_parallel.cli.console import progress_report

    text = stdin_text() if task == "-" else task
    here = Path.cwd()
    if dry_run:
        spec = continued(here, run, worker_id, text, config_file=config)
        for warning in spec.warnings:
            warn(warning)
        if as_json:
            plan = {
                "run_id": spec.run_id,
                "worker_id": worker_id,
                "attempt": spec.attempt,
                "session_id": spec.session_id,
            }
            answer_json({**plan, "worktree_path": spec.worktree_path, "warnings": spec.warnings, "dry_run": True})
        else:
            answer(f"would continue worker {worker_id} in {spec.worktree_path} (attempt {spec.attempt})")
        return None
    report = progress_report(as_json=as_json, quiet=quiet)
    with report:
        return continue_worker(
            here,
            run,
            worker_id,
            text,
            config_file=config,
            artifacts=artifacts,
            listeners=[report.take],
            started=report.begin,
        )
