"""`architect import DIR`: results of another machine become branches and a run of this clone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from architect_parallel.cli import options
from architect_parallel.cli.console import answer, answer_json, progress


def import_(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Directory that `--artifacts DIR` wrote.")],
    dry_run: options.DryRun = False,
    json: options.Json = False,
) -> None:
    """Bring results of another machine into this clone.

    The branches get the same names, or the next free numbers. Then `status`, `diff`, `report`, `merge` and
    `parallel-cleanup` work as for a run made here. `resume` and `leaderboard` leave it out.
    """
    from architect_parallel.api.import_run import import_run
    from architect_parallel.journal import Journal
    from architect_parallel.runs.workspace import load_workspace

    here = load_workspace(Path.cwd())
    with Journal.of(here.repository) as journal, progress() as show:
        settings = here.settings.worktrees
        imported = import_run(here.repository, journal, directory, dry_run=dry_run, settings=settings, show=show)
    if json:
        branches = [
            {"worker_id": worker_id, "branch": branch, "commit": imported.commits.get(worker_id)}
            for worker_id, branch in imported.branches.items()
        ]
        answer_json({"run_id": imported.run_id, "branches": branches, "renamed": imported.renamed, "dry_run": dry_run})
        return
    answer(f"{'would import' if dry_run else 'imported'} run {imported.run_id}")
    for worker_id, branch in imported.branches.items():
        commit = imported.commits.get(worker_id)
        answer(f"  worker {worker_id}: {branch}{f' ({commit[:12]})' if commit else ''}")
    if imported.renamed:
        answer("  its names are in use here: these are the next free ones")
    if not dry_run:
        answer(
            f"look: architect status {imported.run_id}; take back: architect parallel-cleanup --force --run "
            f"{imported.run_id}"
        )
