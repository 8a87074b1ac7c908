"""One run as text: the report at its end, its state later, and the commands to type next."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from architect_parallel.domain import CheckResult, Isolation, Reason, RunResult, Status, WorkerResult, WorkerSpec
from architect_parallel.reports.paused import asked, to_go_on
from architect_parallel.reports.text import (
    SHOWN_TASK,
    STATUS_STYLES,
    STATUS_WORDS,
    attempt_words,
    duration_text,
    escape_lines,
    reason_words,
    results_table,
    run_name,
    task_words,
    total_line,
    whole_cost,
)
from architect_parallel.scheduling import check_policy
from architect_parallel.system.files import short_path
from architect_parallel.text.display import PIPE, Display, Style, columns, shorten
from architect_parallel.text.quantities import show_count, show_workers
from architect_parallel.text.sanitize import one_line, plain_text

TAIL_LINES = 10
"""The most lines of the end of a check's output."""
SHORT_TAIL_LINES = 4
"""The same on a terminal."""
_INDENT = "    "


def results(result: RunResult, display: Display = PIPE) -> str:
    """The report below the progress lines: the table, failures, the total, changes of the main checkout.

    On a terminal the failures come first: the table and the total are on the screen when the command ends.
    """
    escaped = ["", *escape_lines(result.escaped)] if result.escaped is not None else []
    table = results_table(result.results, display) if result.results else []
    if display.is_pipe:
        failed = [line for worker in result.results for line in _failed_checks(worker)]
        lines = ["", "Results", "=" * 60, *table, *failed, total_line(result)]
    else:
        unsuccessful = [worker for worker in result.results if worker.status is not Status.SUCCESS]
        lines = [line for worker in unsuccessful for line in ("", *_failure(worker, display))]
        lines += ["", *table, "", _summary(result, display)]
    return "\n".join([*lines, *escaped, *_endings(result)])


def run_details(run: RunResult, display: Display = PIPE) -> str:
    """One run: its state, its workers, and the failures of each."""
    started = f"started {run.started_at:%Y-%m-%d %H:%M:%S} UTC, from {run.base_ref} ({run.base_commit[:12]})"
    lines = display.wrap(f"Run {run.run_id}: {run.status.value}, {started}", hanging="  ")
    for warning in run.warnings:
        lines += _warning(warning, display)
    shared = {} if display.is_pipe else _shared_warnings(run.results)
    for warning, worker_ids in shared.items():
        lines += _warning(f"{show_workers(worker_ids)}: {warning}", display)
    lines += escape_lines(run.escaped) if run.escaped is not None else []
    ended = {result.worker_id for result in run.results}
    if run.results:
        lines += ["", *results_table(run.results, display)]
    waiting = [spec for spec in run.planned if spec.worker_id not in ended]
    if waiting:
        lines += ["", "Not ended yet:", *(part for spec in waiting for part in display.wrap(_planned(spec), "  "))]
    for result in run.results:
        own = [warning for warning in result.warnings if warning not in shared]
        block = list(_failure(result, display, own))
        if len(block) > 1 or result.status is not Status.SUCCESS:
            lines += ["", *block]
    total = total_line(run) if display.is_pipe else _summary(run, display)
    return "\n".join([*lines, "", total, *_endings(run)])


def _shared_warnings(results: Sequence[WorkerResult]) -> dict[str, list[int]]:
    """Warnings that several workers have, with the ids of these workers."""
    all_of = dict.fromkeys(warning for result in results for warning in result.warnings)
    having = {text: [result.worker_id for result in results if text in result.warnings] for text in all_of}
    return {text: worker_ids for text, worker_ids in having.items() if len(worker_ids) > 1}


def _planned(spec: WorkerSpec) -> str:
    words = task_words(spec.worker_id, spec.name, spec.prompt, SHOWN_TASK)
    return f"{spec.worker_id}  {spec.branch or '(in place)'}  {words}"


def _summary(run: RunResult, display: Display) -> str:
    """The numbers of workers by status, the time, and the whole cost."""
    succeeded = run.count(Status.SUCCESS)
    parts = [display.paint(f"{succeeded} of {run.total_tasks} succeeded", Style.GOOD if succeeded else None)]
    counts = (
        ("failed", Style.BAD, (Status.FAILED, Status.PARTIAL, Status.TIMEOUT)),
        ("canceled", Style.CAREFUL, (Status.CANCELED,)),
        ("skipped", Style.FAINT, (Status.SKIPPED,)),
    )
    for word, style, statuses in counts:
        if number := run.count(*statuses):
            parts.append(display.paint(f"{number} {word}", style))
    if missing := run.total_tasks - len(run.results):
        parts.append(display.paint(f"{missing} running", Style.ACTIVE))
    return f"{', '.join(parts)} in {duration_text(run.total_duration_seconds)} for {whole_cost(run)}"


def _failure(result: WorkerResult, display: Display, warnings: Sequence[str] | None = None) -> Iterator[str]:
    """How a worker ended and why, and where its work is. A success has only its warnings.

    Args:
        warnings: `None` means that neither warnings nor processes left behind are shown.
    """
    failed, on_pipe = result.status is not Status.SUCCESS, display.is_pipe
    word = display.paint(STATUS_WORDS[result.status], STATUS_STYLES[result.status])
    reason = "" if on_pipe or not failed else f"  {reason_words(result)}"
    own_name = "" if result.name in ("", f"worker-{result.worker_id}") or on_pipe else f" {one_line(result.name, 60)}"
    yield f"[{result.worker_id}]{own_name} {word}{reason}"
    if failed and on_pipe:
        yield _INDENT + reason_words(result)
    if result.error and result.reason is not Reason.CHECK_FAILED:
        yield from display.wrap(one_line(result.error, 300), _INDENT)
    checks = [line for check in check_policy.failing(result.checks) for line in _failed_check(check, display)]
    if not on_pipe:
        yield from checks
        if failed:
            yield from display.wrap(_place_of_work(result), _INDENT)
    if len(result.attempt_history) > 1:
        for attempt in result.attempt_history:
            yield from display.wrap(attempt_words(attempt), _INDENT)
    if warnings is not None:
        if result.leaked:
            yield f"{_INDENT}{result.leaked} processes that the agent left running were stopped"
        for warning in warnings:
            yield from _warning(warning, display, _INDENT)
    if on_pipe:
        yield from checks


def _warning(warning: str, display: Display, indent: str = "") -> list[str]:
    lines = display.wrap(f"warning: {one_line(warning, 300)}", indent, hanging="  ")
    return [display.paint(line, Style.CAREFUL) for line in lines]


def _failed_check(check: CheckResult, display: Display) -> Iterator[str]:
    yield from display.wrap(check_policy.words(check), _INDENT)
    lines = check.output_tail.splitlines()
    if not display.is_pipe:  # rules and markers take the place of the message
        lines = [line for line in lines if any(map(str.isalnum, line))]
    room = max(20, (display.width or 208) - 2 * len(_INDENT) - 2)
    for line in lines[-(TAIL_LINES if display.is_pipe else SHORT_TAIL_LINES) :]:
        text = one_line(line, room) if display.is_pipe else shorten(one_line(line), room)
        yield display.paint(f"{_INDENT * 2}| {text}", Style.FAINT)


def _failed_checks(result: WorkerResult) -> list[str]:
    """The failed checks as in the report of a pipe, each with the end of its output."""
    lines = []
    for check in check_policy.failing(result.checks):
        lines.append(f"[{result.worker_id}] check failed: {check_policy.words(check)}")
        lines += [f"    | {one_line(line, 200)}" for line in check.output_tail.splitlines()[-TAIL_LINES:]]
    return lines


def _place_of_work(result: WorkerResult) -> str:
    if result.started_at is None:
        return "it did not start"
    place = one_line(short_path(result.worktree_path), 200)
    if not result.branch:
        return f"it worked in {place}"
    if not result.files_modified:
        return f"it changed nothing; its worktree is {place}"
    changed = show_count(len(result.files_modified), "changed file")
    return f"{changed} on {result.branch}, in {place}"


def _landing(run: RunResult) -> list[str]:
    """The merged results, and those that were left out."""
    if run.merge is None:
        return []
    how = "For a pull request against" if run.merge.pull_request else "Merged on"
    return [
        "",
        f"{how} {one_line(run.merge.target)}: {show_workers(run.merge.merged)} ({run.merge.commit[:12]})",
        *(f"  left out: worker {left.worker_id} ({left.reason})" for left in run.merge.left_out),
    ]


def _endings(result: RunResult) -> list[str]:
    """The merge, the coordinator's synthesis, and what a person has to decide."""
    lines = _landing(result)
    for heading, text in (("Synthesis", result.synthesis), ("Escalated", result.briefing)):
        if text:
            lines += ["", heading, "=" * 60, plain_text(text).strip()]
    if result.pause is not None:
        lines += ["", f"Paused in state {one_line(result.pause.state)}", "=" * 60]
        lines += [plain_text(asked(result.pause)).strip(), f"to go on: {to_go_on(result.run_id)}"]
    return lines


def next_steps(result: RunResult, display: Display = PIPE) -> str:
    """Commands that a user may type next, with the run's id. Only commands that have something to do."""
    commands = [(f"architect {words}", why) for words, why in _next_commands(result, run_name(result, display))]
    width = max((columns(command) for command, _ in commands), default=0)
    lines = []
    for command, why in commands:
        room = None if display.width is None else display.width - width - 4
        shown = "" if room is not None and columns(why) > room else f"{' ' * (width - columns(command))}  {why}"
        lines.append(f"  {display.paint(command, Style.STRONG)}{shown}")
    return "\n".join([f"Run {result.run_id}", *lines])


def _next_commands(result: RunResult, run: str) -> Iterator[tuple[str, str]]:
    changed = [worker for worker in result.results if worker.files_modified and worker.branch]
    good = [worker for worker in changed if worker.status is Status.SUCCESS]
    unsuccessful = [worker for worker in result.results if worker.status is not Status.SUCCESS]
    if changed:
        first = (good or changed)[0].worker_id
        yield f"diff {run} {first}", f"what worker {first} changed"
    if len(changed) > 1:
        yield f"compare {run}", "conflicts, and what merges cleanly together"
    if len(good) > 1 and len({worker.task for worker in good}) < len(good):
        yield f"merge {run} --best", "land the best result of each task"
    elif len(good) > 1:
        yield f"merge {run} --all", "land all that merges cleanly"
    elif changed:
        first = (good or changed)[0].worker_id
        yield f"merge {run} {first}", "land it on the current branch"
    if unsuccessful:
        first = unsuccessful[0].worker_id
        yield f"logs {run} {first}", f"what the agent of worker {first} did"
    if unsuccessful and result.pause is None:
        yield f"resume {run}", "run the unsuccessful workers again"
    if any(spec.isolation is Isolation.WORKTREE for spec in result.planned):
        yield "clean", "remove worktrees and merged branches"
