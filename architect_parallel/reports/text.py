"""The words and tables of text reports. On a pipe they are the same everywhere, without colours and widths."""

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
    RunResult,
    RunStatus,
    RunSummary,
    SandboxMode,
    Status,
    WorkerResult,
    WorkerSpec,
)
from architect_parallel.reports.table import Cell, TableColumn, render
from architect_parallel.text.display import PIPE, Display, Style, shorten
from architect_parallel.text.names import DEFAULT_MODEL, SHORTEST_RUN_END
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
STATUS_STYLES = {
    Status.SUCCESS: Style.GOOD,
    Status.PARTIAL: Style.CAREFUL,
    Status.FAILED: Style.BAD,
    Status.TIMEOUT: Style.BAD,
    Status.CANCELED: Style.CAREFUL,
    Status.SKIPPED: Style.FAINT,
}
RUN_STYLES = {
    RunStatus.RUNNING: Style.ACTIVE,
    RunStatus.SUCCESS: Style.GOOD,
    RunStatus.PARTIAL: Style.CAREFUL,
    RunStatus.FAILED: Style.BAD,
    RunStatus.CANCELED: Style.CAREFUL,
    RunStatus.INTERRUPTED: Style.BAD,
    RunStatus.ESCALATED: Style.CAREFUL,
}
_RESULT_COLUMNS = (
    TableColumn(title="#", rank=0),
    TableColumn(title="BACKEND", rank=8, is_extra=True),
    TableColumn(title="MODEL", rank=3, least=28),
    TableColumn(title="STATUS", rank=1),
    TableColumn(title="STEPS", rank=9, is_extra=True),
    TableColumn(title="COST", rank=6),
    TableColumn(title="DURATION", rank=7),
    TableColumn(title="FILES", rank=10, on_terminal=False),
    TableColumn(title="CHANGES", rank=4, on_pipe=False),
    TableColumn(title="CHECKS", rank=5, on_pipe=False),
    TableColumn(title="SESSION", rank=11, is_extra=True),
    TableColumn(title="BRANCH", rank=10, is_extra=True),
    TableColumn(title="TASK", rank=2, least=20),
)
_HOST_COLUMN = TableColumn(title="HOST", rank=5.5, least=8)
"""Only of a run that had workers on other machines."""
_RUN_COLUMNS = (
    TableColumn(title="RUN", rank=0),
    TableColumn(title="STATUS", rank=1),
    TableColumn(title="STARTED (UTC)", rank=6),
    TableColumn(title="TASKS", rank=7, on_terminal=False),
    TableColumn(title="OK", rank=7, on_terminal=False),
    TableColumn(title="FAILED", rank=7, on_terminal=False),
    TableColumn(title="DONE", rank=3, on_pipe=False),
    TableColumn(title="COST", rank=4),
    TableColumn(title="DURATION", rank=5),
    TableColumn(title="TASK", rank=2, least=20, on_pipe=False),
)
SHOWN_TASK = 60
WHOLE_TASK = 10_000
SHARED_TASK_LINES = 2


def cost_text(cost: float | None) -> str:
    """USD with four digits, or `?` for an unknown cost."""
    return "?" if cost is None else f"${cost:.4f}"


def whole_cost(run: RunResult) -> str:
    """The cost of a run in words: the known part, and whose cost is unknown."""
    workers = [result.cost for result in run.results if result.started_at is not None]
    return whole_cost_of(workers, [*(judgement.cost for judgement in run.judged), *run.debugger_costs])


def whole_cost_of(workers: Sequence[float | None], others: Sequence[float | None] = ()) -> str:
    """The cost of workers and of other calls of models, in USD. `None` means unknown.

    >>> whole_cost_of([0.034, None]), whole_cost_of([0.5]), whole_cost_of([None])
    ('$0.0340 + unknown for 1 worker', '$0.5000', 'unknown cost')
    """
    known = [cost for cost in (*workers, *others) if cost is not None]
    unknown = [show_count(workers.count(None), "worker")] if None in workers else []
    unknown += ["other calls"] if None in others else []
    if not unknown:
        return cost_text(sum(known))
    return f"{cost_text(sum(known))} + unknown for {' and '.join(unknown)}" if known else "unknown cost"


def duration_text(seconds: float) -> str:
    """
    >>> duration_text(3.25), duration_text(192), duration_text(7500)
    ('3.2s', '3m 12s', '2h 05m')
    """
    if seconds < 60:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}m {rest:02}s" if minutes < 60 else f"{minutes // 60}h {minutes % 60:02}m"


def finished_line(result: WorkerResult, display: Display = PIPE) -> str:
    """The line for the end of a worker: its final text, or the reason why it has none."""
    if result.status is Status.SUCCESS:
        return f"[{result.worker_id}] {one_line(result.output, 100) or reason_words(result)}"
    detail = one_line(result.error or result.output, 100)
    word = display.paint(STATUS_WORDS[result.status], STATUS_STYLES[result.status])
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


def results_table(results: Sequence[WorkerResult], display: Display = PIPE) -> list[str]:
    """The table of results, a line per worker. On a terminal a task that all share stands above it."""
    tasks = {result.task for result in results}
    shared = not display.is_pipe and len(results) > 1 and len(tasks) == 1 and not any(map(_own_name, results))
    above = _shared_task(tasks.pop(), display) if shared else []
    rows = [_row(result, display, shared) for result in results]
    if not any(result.host for result in results):
        return [*above, *render(_RESULT_COLUMNS, rows, display)]
    by_host = [(row[0], one_line(result.host or "-"), *row[1:]) for row, result in zip(rows, results, strict=True)]
    return [*above, *render((_RESULT_COLUMNS[0], _HOST_COLUMN, *_RESULT_COLUMNS[1:]), by_host, display)]


def _row(result: WorkerResult, display: Display, shared: bool) -> tuple[Cell, ...]:
    on_pipe = display.is_pipe
    limit = SHOWN_TASK if on_pipe else WHOLE_TASK
    return (
        str(result.worker_id),
        result.backend,
        result.model if on_pipe else _model(result),
        (STATUS_WORDS[result.status], STATUS_STYLES[result.status]),
        str(result.steps),
        cost_text(result.cost),
        f"{result.duration:.2f}s" if on_pipe else duration_text(result.duration),
        str(len(result.files_modified)),
        _changes(result),
        _checks(result),
        plain_text(result.session_id or "-")[: 8 if not display.wide else None],
        result.branch or "(in place)",
        "" if shared else task_words(result.worker_id, result.name, result.task, limit),
    )


def _own_name(result: WorkerResult) -> bool:
    return result.name not in ("", f"worker-{result.worker_id}")


def _shared_task(task: str, display: Display) -> list[str]:
    lines = display.wrap(f"Task: {one_line(task, WHOLE_TASK)}")
    if len(lines) > SHARED_TASK_LINES and not display.wide:
        lines = [*lines[: SHARED_TASK_LINES - 1], shorten(" ".join(lines[SHARED_TASK_LINES - 1 :]), display.width or 0)]
    return [*lines, ""]


def _model(result: WorkerResult) -> str:
    """The model, or the agent where its model is not known."""
    if result.model != DEFAULT_MODEL:
        return result.model
    return SHELL if result.backend == SHELL else f"{result.backend} default"


def _changes(result: WorkerResult) -> str:
    if result.diff is None or not result.diff.insertions + result.diff.deletions:
        return show_count(len(result.files_modified), "file") if result.files_modified else "none"
    return f"+{result.diff.insertions} -{result.diff.deletions}"


def _checks(result: WorkerResult) -> Cell:
    if not result.checks:
        return "-"
    passed = sum(check.passed for check in result.checks)
    flaky = " flaky" if any(check.flaky for check in result.checks) else ""
    style = Style.BAD if passed < len(result.checks) else Style.CAREFUL if flaky else Style.GOOD
    return f"{passed}/{len(result.checks)}{flaky}", style


def run_name(run: RunResult, display: Display) -> str:
    """The run's id for a command to type, on a terminal only its end."""
    return run.run_id if display.is_pipe else run.run_id[-SHORTEST_RUN_END:]


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


def runs_table(runs: Sequence[RunSummary], display: Display = PIPE, *, hidden: int = 0) -> str:
    """One line per run, newest first.

    Args:
        hidden: Number of further runs that are not shown.
    """
    if not runs:
        return 'No runs yet. Start one: architect parallel "what to do"' if not hidden else _more_runs(hidden)
    lines = render(_RUN_COLUMNS, [_run_row(run, display) for run in runs], display)
    return "\n".join([*lines, *([_more_runs(hidden)] if hidden else [])])


def _more_runs(hidden: int) -> str:
    return f"{show_count(hidden, 'more run')}: architect status --all"


def _run_row(run: RunSummary, display: Display) -> tuple[Cell, ...]:
    others = f" (+{run.total_tasks - 1})" if run.prompts > 1 else ""
    return (
        run.run_id,
        (run.status.value, RUN_STYLES[run.status]),
        f"{run.started_at:%Y-%m-%d %H:%M}",
        str(run.total_tasks),
        str(run.completed),
        str(run.failed),
        f"{run.completed}/{run.total_tasks}",
        cost_text(run.total_cost),
        f"{run.total_duration_seconds:.1f}s" if display.is_pipe else duration_text(run.total_duration_seconds),
        task_words(0, run.task_name, run.task, WHOLE_TASK) + others,
    )


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
