"""`architect status [RUN] [N]...`: runs and workers, past or live, from the journal."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from architect_parallel.cli import options
from architect_parallel.cli.console import answer, answer_json, display
from architect_parallel.errors import UsageError

NEWEST = 20

Words = Annotated[
    list[str] | None,
    typer.Argument(metavar="[RUN] [N]...", help=f"{options.RUN}. {options.WORKER}; without any word, all runs."),
]


def status(
    words: Words = None,
    every: Annotated[bool, typer.Option("--all", help="Show all runs.")] = False,
    limit: Annotated[
        str | None, typer.Option("--limit", "-n", metavar="N", help=f"Show the newest N runs [{NEWEST}].")
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(metavar="WHEN", help="Show runs started since then: 90m, 12h, 3d, 2w ago, or 2026-11-30 (UTC)."),
    ] = None,
    json: options.Json = False,
) -> None:
    """Show the newest runs, or the workers of one."""
    from architect_parallel.journal.selection import select
    from architect_parallel.journal.unrecorded import record_left
    from architect_parallel.reports import run_text, text
    from architect_parallel.reports.json import envelope, summary
    from architect_parallel.runs.workspace import open_journal

    if every and limit is not None:
        raise UsageError("--all and --limit exclude each other", hint="architect status --all")
    with open_journal(Path.cwd()) as (_, journal):
        if not words:
            run_ids = journal.run_ids()
            shown = _chosen(run_ids, every=every, limit=limit, since=since)
            for run_id in shown:
                record_left(journal, run_id)
            runs = journal.summaries(shown)
            if json:
                answer_json({"runs": list(map(summary, runs)), "total_runs": len(run_ids)})
            else:
                answer(text.runs_table(runs, display(), hidden=len(run_ids) - len(runs)))
            return
        if every or limit is not None or since is not None:
            raise UsageError("--all, --limit and --since list runs, and a run is named", hint="architect status")
        selection = select(journal, words)
        record_left(journal, selection.run_id)
        result = journal.result(selection.run_id, selection.worker_ids)
        answer_json(envelope(result)) if json else answer(run_text.run_details(result, display()))


def _chosen(run_ids: list[str], *, every: bool, limit: str | None, since: str | None) -> list[str]:
    """The newest of the runs, as far as the options allow. `--since` alone has no other limit."""
    from architect_parallel.system.clock import now
    from architect_parallel.text.names import run_id
    from architect_parallel.text.quantities import parse_count, parse_since

    if since is not None:
        earliest = run_id(parse_since(since, "--since", now=now()), "0000")
        run_ids = [name for name in run_ids if name >= earliest]
    if every or (limit is None and since is not None):
        return run_ids
    return run_ids[: NEWEST if limit is None else parse_count(limit, "--limit")]
