"""`architect merge [RUN] …`: land one result on a branch, or several combined."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from architect_parallel.cli import options
from architect_parallel.cli.console import answer, answer_json, answer_prose, note, warn
from architect_parallel.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from architect_parallel.api.merge import MergeRequest
    from architect_parallel.domain import LeftOut
    from architect_parallel.journal.selection import Selection
    from architect_parallel.landing.merge import MergeOutcome, MergePlan

_WHY = {"conflict": "it conflicts", "check": "it breaks a check", "not_successful": "it did not succeed"}
"""Why a worker is left out, in words."""


@options.run_options(
    *options.CONTAINMENT,
    before="push",
    sandbox="With --resolve: contain that agent: auto, off, write or closed [as configured].",
    network="With --resolve: network of that agent: open, hosts or none [as configured].",
)
def merge(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RUN] [N]...",
            help=f"{options.RUN}. {options.WORKER}: a result to land, also one that did not succeed.",
        ),
    ] = None,
    best: Annotated[bool, typer.Option("--best", help="Land the best result of each task.")] = False,
    every: Annotated[bool, typer.Option("--all", help="Land every success that merges cleanly and passes.")] = False,
    into: Annotated[str | None, typer.Option(metavar="BRANCH", help="Branch to land on [the current one].")] = None,
    as_merge: Annotated[bool, typer.Option("--merge", help="Merge as git does (default).")] = False,
    as_squash: Annotated[bool, typer.Option("--squash", help="Land each result as one commit.")] = False,
    as_rebase: Annotated[bool, typer.Option("--rebase", help="Rebase the commits onto the branch.")] = False,
    resolve: Annotated[
        str | None, typer.Option(metavar="BACKEND", help="Hand conflicts to this agent; else they are left out.")
    ] = None,
    push: Annotated[
        bool, typer.Option("--push", help="Push the branch afterwards to its upstream, or to origin.")
    ] = False,
    pull_request: Annotated[
        bool, typer.Option("--pr", help="Push the result and open a pull request with gh; the branch stays as it is.")
    ] = False,
    pr_each: Annotated[
        bool, typer.Option("--pr-each", help="Push each result by itself and open a pull request for it.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would happen and move nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
    config: options.Config = None,
    **flags: Any,
) -> int:
    """Land one result on a branch, or several combined.

    One result lands wholly or not at all. Several are combined on architect/merged-RUN, and the run's checks run
    after each. A result that conflicts or breaks a check is left out and named (exit 5). The branch moves last.
    `architect undo` takes it back.
    """
    from architect_parallel.api import merge as merging
    from architect_parallel.landing.merge import Method, Pick

    chosen = [method for method, flag in zip(Method, (as_merge, as_squash, as_rebase), strict=True) if flag]
    if len(chosen) > 1:
        raise UsageError(f"--{chosen[0]} and --{chosen[1]} exclude each other", hint="architect merge --help")
    if best and every:
        raise UsageError("--best and --all exclude each other", hint="architect merge --help")
    if resolve is None and any(flags.values()):
        raise UsageError("--sandbox, --network and --allow-host need --resolve", hint="leave them out")
    selection = _selected(words, "--best" if best else "--all" if every else None)
    request = merging.MergeRequest(
        run=selection.run_id,
        workers=selection.worker_ids,
        pick=Pick.BEST if best else Pick.ALL if every else Pick.NAMED,
        into=into,
        method=chosen[0] if chosen else Method.MERGE,
        resolve=resolve,
        push=push or pull_request or pr_each,
        pull_request=pull_request or pr_each,
        dry_run=dry_run,
        containment=options.request(flags),
    )
    return land_each(request, config, as_json=as_json) if pr_each else land(request, config, as_json=as_json)


def land(request: MergeRequest, config: Path | None, *, as_json: bool) -> int:
    """Land what `request` names, show it, and return the exit code."""
    code, shown = _land(request, config, as_json=as_json)
    if as_json:
        answer_json(shown)
    return code


def land_each(request: MergeRequest, config: Path | None, *, as_json: bool) -> int:
    """Land each result that `request` names by itself, show it, and return the exit code of the first that failed."""
    code, merges = landed_one_by_one(request, config, as_json=as_json)
    if as_json:
        answer_json({"run_id": request.run, "merges": merges})
    return code


def landed_one_by_one(
    request: MergeRequest, config: Path | None, *, as_json: bool
) -> tuple[int, list[dict[str, object]]]:
    """Land each result that `request` names by itself. Returns the first failure's exit code and all answers."""
    from dataclasses import replace

    from architect_parallel.api import merge as merging
    from architect_parallel.landing.merge import Pick

    together = merging.merge(Path.cwd(), replace(request, dry_run=True), config_file=config)[0]
    codes, merges = list[int](), list[dict[str, object]]()
    for source in sorted(together.steps, key=lambda source: source.worker_id):
        alone = replace(request, workers=(source.worker_id,), pick=Pick.NAMED)
        code, shown = _land(alone, config, as_json=as_json)
        codes.append(code)
        merges.append(shown)
    return next(filter(None, codes), ExitCode.SUCCESS), merges


def _land(request: MergeRequest, config: Path | None, *, as_json: bool) -> tuple[int, dict[str, object]]:
    """Land once. Returns the exit code and the answer for `--json`. Without `as_json` the answer is shown."""
    from architect_parallel.api import merge as merging
    from architect_parallel.landing.integration import Interrupted

    plans: list[MergePlan] = []
    shown: list[str] = []

    def warned(warning: str) -> None:
        shown.append(warning)
        warn(warning)

    try:
        plan, outcome = merging.merge(
            Path.cwd(), request, config_file=config, say=_progress, warned=warned, planned=plans.append
        )
    except Interrupted as stopped:
        if as_json:
            answer_json(_json(plans[0], _nothing(plans[0]), shown, error=stopped.message))
        raise
    answered = _json(plan, outcome, shown) if as_json else {}
    if not as_json:
        _show(plan, outcome, shown)
    problem = outcome.published.problem if outcome is not None else None
    if problem is not None:
        note(f"architect: {problem}")
        return ExitCode.ENVIRONMENT, answered
    return ExitCode.CONFLICT if (outcome or plan).left_out else ExitCode.SUCCESS, answered


def _selected(words: Sequence[str] | None, flag: str | None) -> Selection:
    """The run and the workers to land.

    Args:
        flag: `--best` or `--all`. `None` means that workers have to be named.
    """
    from architect_parallel.journal.selection import no_worker_given, select
    from architect_parallel.runs.workspace import open_journal

    with open_journal(Path.cwd()) as (_, journal):
        selection = select(journal, words or ())
        run = selection.run_id
        if flag is not None and selection.worker_ids:
            raise UsageError(f"{flag} and workers exclude each other", hint=f"architect merge {run} {flag}")
        if flag is None and not selection.worker_ids:
            raise no_worker_given(run, journal.planned(run), f"architect merge {run} N, or --best, or --all")
        return selection


def _progress(line: str) -> None:
    from architect_parallel.text.sanitize import one_line

    note(one_line(line, 200))


def _nothing(plan: MergePlan) -> MergeOutcome:
    from architect_parallel.landing.merge import MergeOutcome

    return MergeOutcome(
        commit=None,
        merged=(),
        left_out=plan.left_out,
        files=(),
        fast_forward=False,
        cost=None if plan.resolve else 0.0,
    )


def _json(
    plan: MergePlan, outcome: MergeOutcome | None, shown: Sequence[str], error: str | None = None
) -> dict[str, object]:
    from architect_parallel.reports.json import left_out

    done = outcome or plan
    warnings = list(dict.fromkeys([*_warnings(plan, outcome), *shown]))
    _warn_of(warnings, shown)
    for left in done.left_out:
        note(_left_out_words(plan, left, resolved=outcome is None and plan.resolve))
    warnings += [f"worker {left.worker_id} is left out: {left.detail}" for left in done.left_out if left.detail]
    published = outcome.published if outcome is not None else None
    return {
        "run_id": plan.run_id,
        "merged": list(done.merged),
        "left_out": left_out(done.left_out),
        "target": plan.target.branch,
        "commit": done.commit,
        "method": plan.method.value,
        "fast_forward": done.fast_forward,
        "files": list(done.files),
        "branch": outcome.branch if outcome is not None else None,
        "checks": list(plan.checks),
        "pushed": published.pushed if published else None,
        "pull_request": published.pull_request if published else None,
        "cost": outcome.cost if outcome is not None else None,
        "error": error or (published.problem if published else None),
        "dry_run": outcome is None,
        "because": plan.because,
        "warnings": warnings,
    }


def _show(plan: MergePlan, outcome: MergeOutcome | None, shown: Sequence[str]) -> None:
    from architect_parallel.text.quantities import show_workers
    from architect_parallel.text.sanitize import one_line

    done = outcome or plan
    _warn_of(_warnings(plan, outcome), shown)
    for left in done.left_out:
        if outcome is None and plan.resolve and left.reason == "conflict":
            note(f"worker {left.worker_id} conflicts; the agent would be asked to resolve it")
            continue
        _show_left_out(plan, left, alone=len(plan.steps) == 1)
    if done.commit is None:
        note("nothing would be moved" if outcome is None else "nothing was moved")
        return
    if plan.because is not None:
        best = f"{show_workers(done.merged)} is the best" if len(plan.steps) == 1 else "best of each task"
        answer_prose(f"{best}: {one_line(plan.because, 300)}")
    words = f"{show_workers(done.merged)} of {plan.run_id}"
    how = "fast-forward" if done.fast_forward else plan.method.value
    if outcome is None and plan.checks:
        how += ", if the check still passes" if len(plan.checks) == 1 else f", if {len(plan.checks)} checks still pass"
    at = f"{done.commit[:12]} ({how})"
    if plan.opens_pull_request:
        branch = outcome.branch if outcome is not None else f"architect/merged-{plan.run_id}"
        verb = "would be" if outcome is None else "is"
        answer_prose(f"{words} {verb} on {branch} at {at}; {plan.target.branch} stays where it is")
    else:
        answer_prose(f"{words} {'would land' if outcome is None else 'landed'} on {plan.target.branch} at {at}")
        if outcome is not None and outcome.branch is not None:
            answer_prose(f"combined on {outcome.branch}")
    for path in done.files:
        answer(f"  {one_line(path)}")
    if outcome is None:
        return
    if outcome.published.pushed is not None:
        answer_prose(f"pushed to {one_line(outcome.published.pushed)}")
    if outcome.published.pull_request is not None:
        answer_prose(f"pull request: {one_line(outcome.published.pull_request)}")
    answer_prose("to take it back: architect undo")


def _warn_of(warnings: Sequence[str], shown: Sequence[str]) -> None:
    for warning in warnings:
        if warning not in shown:
            warn(warning)


def _warnings(plan: MergePlan, outcome: MergeOutcome | None) -> list[str]:
    return [*plan.warnings, *(outcome.warnings if outcome is not None else ())]


def _left_out_words(plan: MergePlan, left: LeftOut, *, resolved: bool) -> str:
    """One line, for a program that reads the answer.

    Args:
        resolved: An agent would be asked to resolve a conflict.
    """
    from architect_parallel.text.sanitize import one_line

    if resolved and left.reason == "conflict":
        return f"worker {left.worker_id} conflicts; the agent would be asked to resolve it"
    detail = f": {one_line(left.detail, 300)}" if left.detail else ""
    files = f": {one_line(', '.join(left.files), 300)}" if left.files else ""
    return f"worker {left.worker_id} is left out: {_WHY[left.reason]}{detail}{files}"


def _show_left_out(plan: MergePlan, left: LeftOut, *, alone: bool) -> None:
    from architect_parallel.text.sanitize import one_line

    detail = f": {one_line(left.detail, 300)}" if left.detail else ""
    if left.reason == "conflict" and alone:
        note(f"worker {left.worker_id} conflicts with {plan.target.branch}{detail}. Files:")
    else:
        note(f"worker {left.worker_id} is left out: {_WHY[left.reason]}{detail}")
    for path in left.files:
        note(f"  {one_line(path)}")
