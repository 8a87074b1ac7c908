"""`architect diff [RUN] [N]...`: the changes of the workers as patches."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from architect_parallel.cli import options
from architect_parallel.cli.console import answer, answer_bytes, answer_json, display
from architect_parallel.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from architect_parallel.domain import Diff, WorkerResult
    from architect_parallel.system.git import Repository
    from architect_parallel.text.display import Display


def diff(
    words: options.Workers = None,
    stat: Annotated[bool, typer.Option("--stat", help="Show only the changed files and their line counts.")] = False,
    name_only: Annotated[bool, typer.Option("--name-only", help="Show only the names of the changed files.")] = False,
    tool: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Open the changes with `git difftool`; `default` is your diff.tool."),
    ] = None,
    json: options.Json = False,
) -> int:
    """Show what workers changed, as patches.

    Each patch is against the commit that the worker started from. On a terminal it has git's colours and goes through
    your own pager (GIT_PAGER, core.pager, PAGER). Pagers and tools from the repository's configuration do not run.
    """
    from architect_parallel.event_json import to_plain
    from architect_parallel.journal.selection import select
    from architect_parallel.runs.workspace import open_journal, require_worker

    forms = [name for name, given in (("--stat", stat), ("--name-only", name_only), ("--tool", tool)) if given]
    if len(forms) > 1:
        raise UsageError(f"{forms[0]} and {forms[1]} exclude each other", hint="architect diff --help")
    with open_journal(Path.cwd()) as (repository, journal):
        selection = select(journal, words or ())
        result, worker_ids = journal.result(selection.run_id), selection.worker_ids
        chosen = [require_worker(result, worker_id) for worker_id in worker_ids] or result.results
        if json:
            answer_json(
                {
                    "run_id": result.run_id,
                    "diffs": [{"worker_id": worker.worker_id, "diff": to_plain(worker.diff)} for worker in chosen],
                }
            )
            return ExitCode.SUCCESS
        if tool is not None:
            return _in_tool(repository, chosen, tool)
        parts: list[bytes] = []
        for worker in chosen:
            if worker.diff is None or not worker.diff.files:
                if worker_ids:
                    parts.append(_unchanged(worker))
                continue
            if len(chosen) > 1:
                parts.append(_heading(worker, display()))
            if name_only:
                parts += [os.fsencode(change.path) + b"\n" for change in worker.diff.files]
            else:
                parts.append(_changes(repository, worker.diff, display(), stat=stat))
    _show(b"".join(parts))
    return ExitCode.SUCCESS


def _changes(repository: Repository, diff: Diff, display: Display, *, stat: bool) -> bytes:
    from architect_parallel.reports.text import diff_stat
    from architect_parallel.snapshots import diff as changes

    if not stat:
        return changes.patch(repository.store, diff.base, diff.head, color=display.color)
    if display.width is None:
        return f"{diff_stat(diff)}\n".encode(errors="surrogateescape")
    return changes.stat(repository.store, diff.base, diff.head, width=display.width, color=display.color)


def _heading(worker: WorkerResult, display: Display) -> bytes:
    from architect_parallel.text.display import Style

    return f"{display.paint(f'# worker {worker.worker_id} ({worker.branch})', Style.STRONG)}\n".encode()


def _unchanged(worker: WorkerResult) -> bytes:
    if worker.diff is None and not worker.branch:
        return f"worker {worker.worker_id} worked in place: its changes cannot be told from others\n".encode()
    return f"worker {worker.worker_id} changed nothing\n".encode()


def _show(text: bytes) -> None:
    """Print the text, on a terminal through the user's pager."""
    from architect_parallel.system.pager import show_paged, user_pager

    if sys.stdout.isatty() and text:
        pager = user_pager(os.environ)
        if pager is not None and show_paged(text, pager, os.environ):
            return
    answer_bytes(text)


def _in_tool(repository: Repository, workers: list[WorkerResult], tool: str) -> int:
    from architect_parallel.snapshots.difftool import show_in_tool

    code = 0
    for worker in workers:
        if worker.diff is not None and worker.diff.files:
            if len(workers) > 1:
                answer(f"# worker {worker.worker_id} ({worker.branch})")
            code = code or show_in_tool(repository, worker.diff.base, worker.diff.head, tool, os.environ)
    return ExitCode.ENVIRONMENT if code else ExitCode.SUCCESS
