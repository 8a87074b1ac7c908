"""The text report of a run, as written to a pipe: no colour, no terminal width, one row per worker."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from architect_parallel.domain import (
    SHELL,
    ApprovalMode,
    Attempt,
    Diff,
    Escape,
    Isolation,
    Reason,
    RunResult,
    SandboxMode,
    Status,
    WorkerResult,
    WorkerSpec,
)
from architect_parallel.reports.paused import asked, to_go_on
from architect_parallel.reports.table import align
from architect_parallel.scheduling import check_policy
from architect_parallel.text.quantities import show_count, show_workers
from architect_parallel.text.sanitize import one_line, plain_text

STATUS_WORDS = {
    Status.SUCCESS: "OK",
    Status.PARTIAL: "PARTIAL",
    Status.FAILED: "FAILED",
    Status.TIMEOUT: "TIMEOUT",
    Status.CANCELED: "CANCELED",
    Status.SKIPPED: "SKIPPED",
}
HEADINGS = ("#", "BACKEND", "MODEL", "STATUS", "STEPS", "COST", "DURATION", "FILES", "SESSION", "BRANCH", "TASK")
SHOWN_TASK = 60
SHOWN_TAIL_LINES = 10
"""The most lines of the end of a check's output."""


def cost_text(cost: float | None) -> str:
    """USD with four digits, or `?` for an unknown cost."""
    return "?" if cost is None else f"${cost:.4f}"


def finished_line(result: WorkerResult) -> str:
    """The line for the end of a worker: its final text, or the reason why it has none."""
    if result.status is Status.SUCCESS:
        return f"[{result.worker_id}] {one_line(result.output, 100) or reason_words(result)}"
    detail = one_line(result.error or result.output, 100)
    word = STATUS_WORDS[result.status]
    return f"[{result.worker_id}] {word} ({reason_words(result)}){': ' + detail if detail else ''}"


def attempt_line(worker_id: int, attempt: Attempt, because: str) -> str:
    """The line for a failed attempt that another one follows."""
    wait_s = attempt.next_in_seconds or 0.0
    when = f", next attempt in {wait_s:.1f} s" if wait_s >= 0.1 else ""
    error = f": {one_line(attempt.error, 100)}" if attempt.error else ""
    return f"[{worker_id}] attempt {attempt.number} ended ({because}){when}{error}"


def reason_words(result: WorkerResult) -> str:
    """The reason as words: `worker timeout`."""
    return str(result.reason).replace("_", " ") if result.reason is not None else "unknown"


def permission_line(workers: Sequence[WorkerSpec]) -> str | None:
    """The line about agents that act without asking. `None` means that there are none. A shell command never asks."""
    free = [
        spec
        for spec in workers
        if spec.approval_mode is ApprovalMode.NONE
        and spec.sandbox_mode is not SandboxMode.READ_ONLY
        and spec.backend != SHELL
    ]
    if not free:
        return None
    some = show_workers([spec.worker_id for spec in free])
    who = "agents run" if len(free) == len(workers) else f"the agents of {some} run"
    in_place = [spec.worker_id for spec in free if spec.isolation is Isolation.NONE]
    where = "each works in its own worktree" if not in_place else f"{show_workers(in_place)} in place"
    return f"{who} without asking (approval_mode none); {where}"


def results_table(results: Sequence[WorkerResult]) -> list[str]:
    """The table of results, a line per worker."""
    return align([HEADINGS, *(_row(result) for result in results)])


def _row(result: WorkerResult) -> tuple[str, ...]:
    return (
        str(result.worker_id),
        result.backend,
        result.model,
        STATUS_WORDS[result.status],
        str(result.steps),
        cost_text(result.cost),
        f"{result.duration:.2f}s",
        str(len(result.files_modified)),
        plain_text(result.session_id or "-")[:8],
        result.branch or "(in place)",
        task_words(result.worker_id, result.name, result.task, SHOWN_TASK),
    )


def _planned(spec: WorkerSpec) -> str:
    words = task_words(spec.worker_id, spec.name, spec.prompt, SHOWN_TASK)
    return f"{spec.worker_id}  {spec.branch or '(in place)'}  {words}"


def task_words(worker_id: int, name: str, task: str, limit: int) -> str:
    """A task on one line, with its name before it where the user gave one."""
    own = "" if name in ("", f"worker-{worker_id}") else f"{one_line(name, limit)}: "
    return one_line(own + task, limit)


def total_line(result: RunResult) -> str:
    """The last line: the number of tasks by status, and the time."""
    parts = [show_count(result.total_tasks, "task")]
    parts.append(f"{result.count(Status.SUCCESS)} completed")
    parts.append(f"{result.count(Status.FAILED, Status.PARTIAL, Status.TIMEOUT)} failed")
    for status, word in ((Status.CANCELED, "canceled"), (Status.SKIPPED, "skipped")):
        if result.count(status):
            parts.append(f"{result.count(status)} {word}")
    missing = result.total_tasks - len(result.results)
    if missing:
        parts.append(f"{missing} running")
    return f"Total: {', '.join(parts)} ({result.total_duration_seconds:.2f}s)"


def results(result: RunResult) -> str:
    """The report below the progress lines: heading, table, failed checks, total, changes of the main checkout."""
    failed = [line for worker in result.results for line in _failed_checks(worker)]
    escaped = ["", *escape_lines(result.escaped)] if result.escaped is not None else []
    table = ["", "Results", "=" * 60, *results_table(result.results), *failed, total_line(result), *escaped]
    return "\n".join([*table, *_endings(result)])


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


def escape_lines(escape: Escape) -> list[str]:
    """The changes of the main checkout while agents ran, the suspects, and the way back."""
    shown = ", ".join(one_line(path, 100) for path in escape.paths[:10])
    shown += f" and {len(escape.paths) - 10} more" if len(escape.paths) > 10 else ""
    suspects = show_workers(escape.suspects)
    lines = [f"The main checkout changed while {suspects} ran (nothing was reverted): {shown}"]
    if escape.patch is not None:
        lines.append(f"  saved as {escape.patch}")
        lines.append(f"  git apply -R {shlex.quote(escape.patch)}    restore the files, at the top of the checkout")
    return lines


def _failed_checks(result: WorkerResult) -> list[str]:
    """The failed checks, each with the end of its output."""
    lines = []
    for check in check_policy.failing(result.checks):
        lines.append(f"[{result.worker_id}] check failed: {check_policy.words(check)}")
        lines += [f"    | {one_line(line, 200)}" for line in check.output_tail.splitlines()[-SHOWN_TAIL_LINES:]]
    return lines


def next_steps(result: RunResult) -> str:
    """Commands that a user may type next, with the run's own ids."""
    run = result.run_id
    good = [worker.worker_id for worker in result.results if worker.status is Status.SUCCESS and worker.files_modified]
    some = good or [worker.worker_id for worker in result.results if worker.files_modified]
    lines = [f"Run {run}"]
    if some:
        lines.append(f"  architect diff {run} {some[0]}     what worker {some[0]} changed")
        if good and result.competition is not None:
            lines.append(f"  architect merge {run} --best    land the winner on the current branch")
        else:
            lines.append(f"  architect merge {run} {some[0]}    land it on the current branch")
    if len(some) > 1:
        lines.append(f"  architect compare {run}    side by side: conflicts, and what merges cleanly together")
    if len(good) < result.total_tasks:
        lines.append(f"  architect logs {run} N     what worker N printed")
        lines.append(f"  architect resume {run}     run the unsuccessful workers again")
    lines.append("  architect parallel-cleanup               remove worktrees and merged branches")
    return "\n".join(lines)


def runs_table(runs: Sequence[RunResult]) -> str:
    """One line per run, newest first."""
    if not runs:
        return 'No runs yet. Start one: architect parallel "what to do"'
    rows = [("RUN", "STATUS", "STARTED (UTC)", "TASKS", "OK", "FAILED", "COST", "DURATION")]
    for run in runs:
        rows.append(
            (
                run.run_id,
                run.status.value,
                f"{run.started_at:%Y-%m-%d %H:%M}",
                str(run.total_tasks),
                str(run.count(Status.SUCCESS)),
                str(run.count(Status.FAILED, Status.PARTIAL, Status.TIMEOUT)),
                cost_text(run.total_cost),
                f"{run.total_duration_seconds:.1f}s",
            )
        )
    return "\n".join(align(rows))


def run_details(run: RunResult) -> str:
    """One run: its state, its workers, and the failures of each."""
    lines = [
        f"Run {run.run_id}: {run.status.value}, started {run.started_at:%Y-%m-%d %H:%M:%S} UTC, "
        f"from {run.base_ref} ({run.base_commit[:12]})"
    ]
    lines += [f"warning: {one_line(warning, 300)}" for warning in run.warnings]
    lines += escape_lines(run.escaped) if run.escaped is not None else []
    ended = {result.worker_id for result in run.results}
    if run.results:
        lines += ["", *results_table(run.results)]
    waiting = [spec for spec in run.planned if spec.worker_id not in ended]
    if waiting:
        lines += ["", "Not ended yet:", *(f"  {_planned(spec)}" for spec in waiting)]
    for result in run.results:
        notes = [reason_words(result)] if result.status is not Status.SUCCESS else []
        notes += [one_line(result.error, 300)] if result.error and result.reason is not Reason.CHECK_FAILED else []
        if len(result.attempt_history) > 1:
            notes += [attempt_words(attempt) for attempt in result.attempt_history]
        notes += [f"{result.leaked} processes that the agent left running were stopped"] if result.leaked else []
        notes += [f"warning: {one_line(warning, 300)}" for warning in result.warnings]
        notes += [line.removeprefix(f"[{result.worker_id}] check failed: ") for line in _failed_checks(result)]
        if notes:
            lines += ["", f"[{result.worker_id}] {STATUS_WORDS[result.status]}", *(f"    {note}" for note in notes)]
    return "\n".join([*lines, "", total_line(run), *_endings(run)])


def attempt_words(attempt: Attempt) -> str:
    """One attempt of several: its end, its time and its cost."""
    reason = str(attempt.reason or attempt.status).replace("_", " ")
    figures = f"{attempt.duration:.1f}s, {cost_text(attempt.cost)}"
    return f"attempt {attempt.number}: {reason} ({figures})" + (
        f": {one_line(attempt.error, 100)}" if attempt.error else ""
    )


def diff_stat(diff: Diff) -> str:
    """A line per changed file and a total, like `git diff --stat`."""
    lines = []
    for change in diff.files:
        name = one_line(change.path if change.old_path is None else f"{change.old_path} => {change.path}")
        counts = "binary" if change.insertions is None else f"+{change.insertions} -{change.deletions}"
        lines.append(f" {change.status} {name}  {counts}")
    files, insertions, deletions = (
        show_count(number, noun)
        for number, noun in ((len(diff.files), "file"), (diff.insertions, "insertion"), (diff.deletions, "deletion"))
    )
    return "\n".join([*lines, f" {files} changed, {insertions}(+), {deletions}(-)"])
