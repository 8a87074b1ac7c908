"""`architect clean` and `architect parallel-cleanup`: remove what ended runs left behind, losing nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from architect_parallel.cli.console import answer, answer_json, display, progress, warn
from architect_parallel.errors import ExitCode, UsageError

MOST_HINTS = 3

if TYPE_CHECKING:
    from architect_parallel.landing.cleanup import CleanupOutcome, CleanupPlan
    from architect_parallel.landing.removal import Stays
    from architect_parallel.text.display import Display


def parallel_cleanup(
    run: Annotated[
        str | None, typer.Option(metavar="RUN", help="Clean up only this run: its id, its start or its end, or latest.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Also remove what is dirty or not merged; its state is kept for undo.")
    ] = False,
    losers: Annotated[
        bool,
        typer.Option("--losers", help="Remove all workers but those that were merged or are the best of their task."),
    ] = False,
    merged: Annotated[bool, typer.Option("--merged", help="Remove only workers whose work was merged.")] = False,
    keep_branches: Annotated[bool, typer.Option("--keep-branches", help="Remove only worktrees, no branches.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be removed and remove nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> int:
    """Remove what ended runs left behind, losing nothing.

    What is dirty, locked, in use or not merged stays, and is listed with the reason.

    What is removed is first saved under refs/architect/keep. `architect undo` brings it back.
    """
    from architect_parallel.journal import Journal
    from architect_parallel.landing.chosen_leftovers import LeftoverKind
    from architect_parallel.landing.cleanup import CleanupOutcome, execute, plan_cleanup, settle_runs
    from architect_parallel.system.git import open_repository

    if losers and merged:
        raise UsageError("--losers and --merged exclude each other", hint="architect clean --help")
    kind = LeftoverKind.LOSERS if losers else LeftoverKind.MERGED if merged else LeftoverKind.ALL
    repository = open_repository(Path.cwd())
    with Journal.of(repository) as journal:
        if not dry_run:
            for problem in settle_runs(repository, journal, run):
                warn(problem)
        with progress() as show:
            plan = plan_cleanup(
                repository, journal, run=run, force=force, keep_branches=keep_branches, kind=kind, show=show
            )
            if dry_run:
                outcome = CleanupOutcome(removed=(), stays=plan.stays)
            else:
                outcome = execute(repository, journal, plan, show)
    if as_json:
        answer_json(_plain(plan, outcome, dry_run=dry_run))
    else:
        _show(plan, outcome, dry_run=dry_run)
    return ExitCode.ENVIRONMENT if any(stay.failed for stay in outcome.stays) else ExitCode.SUCCESS


def _gone(plan: CleanupPlan, outcome: CleanupOutcome, *, dry_run: bool) -> list[dict[str, object]]:
    """One entry per worker of what is removed. An entry without a worker is the worktree of a baseline."""
    scratch: list[dict[str, object]] = [
        {"run_id": temporary.run_id, "worker_id": None, "worktree": str(temporary.path), "branch": None, "kept": []}
        for temporary in (plan if dry_run else outcome).scratch
    ]
    if dry_run:
        return scratch + [
            {
                "run_id": item.leftover.run_id,
                "worker_id": item.leftover.spec.worker_id,
                "worktree": str(item.leftover.path) if item.worktree else None,
                "branch": item.leftover.spec.branch if item.branch else None,
                "kept": [],
            }
            for item in plan.items
        ]
    return scratch + [
        {
            "run_id": removal.run_id,
            "worker_id": removal.worker_id,
            "worktree": removal.worktree_path,
            "branch": removal.branch if removal.tip else None,
            "kept": list(removal.kept),
            **({"aside": removal.aside} if removal.aside else {}),
        }
        for removal in outcome.removed
    ]


def _plain(plan: CleanupPlan, outcome: CleanupOutcome, *, dry_run: bool) -> dict[str, object]:
    return {
        "dry_run": dry_run,
        "removed": _gone(plan, outcome, dry_run=dry_run),
        "stays": [asdict(stay) for stay in outcome.stays],
    }


def _show(plan: CleanupPlan, outcome: CleanupOutcome, *, dry_run: bool) -> None:
    from architect_parallel.text.sanitize import one_line

    verb = "would remove" if dry_run else "removed"
    gone = _gone(plan, outcome, dry_run=dry_run)
    named = [(what, one_line(str(entry[what]))) for entry in gone for what in ("worktree", "branch") if entry[what]]
    if display().is_pipe:
        for what, name in named:
            answer(f"{verb} {what} {name}")
        for stay in outcome.stays:
            answer(one_line(_words(stay), limit=1000))
    elif named or outcome.stays:
        answer("\n".join(_table(named, outcome.stays, verb, display())))
    for entry in gone:
        if "aside" in entry:
            answer(f"files that no filter could store are in {one_line(str(entry['aside']))}")
    if not gone and not outcome.stays:
        answer("nothing to clean up")
    elif outcome.removed:
        answer("to bring it back: architect undo")


def _words(stay: Stays) -> str:
    hint = f"  (try: {stay.hint})" if stay.hint else ""
    return f"{stay.what} {stay.name} stays: {stay.reason}{hint}"


def _table(gone: Sequence[tuple[str, str]], stays: Sequence[Stays], verb: str, display: Display) -> list[str]:
    """The rows of a cleanup: everything that goes or stays, with hints below."""
    from architect_parallel.reports.table import Cell, TableColumn, render
    from architect_parallel.system.files import short_path
    from architect_parallel.text.display import Style
    from architect_parallel.text.sanitize import one_line

    columns = [
        TableColumn(title="STATE", rank=0),
        TableColumn(title="WHAT", rank=2),
        TableColumn(title="NAME", rank=1, least=24),
        TableColumn(title="WHY", rank=3, least=24),
    ]
    rows: list[list[Cell]] = [[(verb, Style.GOOD), what, short_path(name), ""] for what, name in gone]
    for stay in stays:
        style = Style.BAD if stay.failed else Style.CAREFUL
        rows.append([("stays", style), stay.what, short_path(one_line(stay.name)), one_line(stay.reason, 1000)])
    hints = list(dict.fromkeys(one_line(stay.hint) for stay in stays if stay.hint))
    tries = [part for hint in hints[:MOST_HINTS] for part in display.wrap(f"try: {hint}", "  ", hanging="  ")]
    more = [f"  … and {len(hints) - MOST_HINTS} more (--json lists them)"] if len(hints) > MOST_HINTS else []
    return [*render(columns, rows, display), *tries, *more]
