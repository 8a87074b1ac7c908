"""`architect merge RUN N`: lands one worker's result on a branch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from architect_parallel.cli.output import answer, answer_json, note, warn
from architect_parallel.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from architect_parallel.landing.merge import MergePlan


def merge(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Run id, a unique part of it, or latest.")],
    workers: Annotated[
        list[str] | None, typer.Argument(metavar="N", help="Worker to land; also one that did not succeed.")
    ] = None,
    into: Annotated[
        str | None, typer.Option(metavar="BRANCH", help="Branch to land on; default: the current one.")
    ] = None,
    as_merge: Annotated[bool, typer.Option("--merge", help="As git merge does (default).")] = False,
    as_squash: Annotated[bool, typer.Option("--squash", help="As one commit.")] = False,
    as_rebase: Annotated[bool, typer.Option("--rebase", help="Its commits on top of the branch.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would happen, move nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> int:
    """Land one worker's result on a branch.

    Wholly, or not at all; `architect undo` takes it back.
    """
    from architect_parallel.journal import Journal
    from architect_parallel.landing.merge import Method, execute, plan_merge
    from architect_parallel.system.git import open_repository

    chosen = [method for method, flag in zip(Method, (as_merge, as_squash, as_rebase), strict=True) if flag]
    if len(chosen) > 1:
        raise UsageError(f"--{chosen[0]} and --{chosen[1]} exclude each other", hint="architect merge --help")
    worker_id = _worker_id(run, workers or [])
    repository = open_repository(Path.cwd())
    with Journal.open(repository.state_dir) as journal:
        plan = plan_merge(
            repository, journal, run, worker_id, into=into, method=chosen[0] if chosen else Method.MERGE
        )  # fmt: skip
        if not dry_run:
            execute(repository, journal, plan)
    _show(plan, dry_run=dry_run, as_json=as_json)
    return ExitCode.CONFLICT if plan.left_out else ExitCode.SUCCESS


def _worker_id(run: str, words: list[str]) -> int:
    if not words:
        raise UsageError("which worker is to land is not said", hint=f"architect merge {run} N")
    if len(words) > 1:
        raise UsageError("one worker at a time can be landed", hint=f"architect merge {run} {words[0]}")
    if not (words[0].isascii() and words[0].isdigit()):
        raise UsageError(f"{words[0]!r} is not a worker's number", hint=f"architect status {run}")
    return int(words[0])


def _show(plan: MergePlan, *, dry_run: bool, as_json: bool) -> None:
    from architect_parallel.planning.plain_text import one_line

    for warning in plan.warnings:
        warn(warning)
    if as_json:
        left_out = [
            {"worker_id": each.worker_id, "reason": each.reason, "files": list(each.files)} for each in plan.left_out
        ]
        shown = {
            "run_id": plan.run_id, "merged": list(plan.merged), "left_out": left_out, "target": plan.target.branch,
            "commit": plan.commit, "method": plan.method.value, "fast_forward": plan.fast_forward,
            "files": list(plan.files), "dry_run": dry_run, "warnings": list(plan.warnings),
        }  # fmt: skip
        answer_json(shown)
        return
    for left in plan.left_out:
        note(f"worker {left.worker_id} conflicts with {plan.target.branch}; nothing was moved. Files:")
        for path in left.files:
            note(f"  {one_line(path)}")
    if plan.commit is not None:
        verb = "would land" if dry_run else "landed"
        workers = ", ".join(map(str, plan.merged))
        how = "fast-forward" if plan.fast_forward else plan.method.value
        answer(f"worker {workers} of {plan.run_id} {verb} on {plan.target.branch} at {plan.commit[:12]} ({how})")
        for path in plan.files:
            answer(f"  {one_line(path)}")
        if not dry_run:
            answer("to take it back: architect undo")
