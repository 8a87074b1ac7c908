"""Title and text of a pull request, from the facts of the run.

The text of an agent is hostile: it must not close an issue, mention a user or make a link. `Closes` stands only for the
issue that the user named as the task.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from architect_parallel.domain import CheckResult, LeftOut, Rank, RunResult, WorkerResult
from architect_parallel.evaluation.ranking import ranking_of
from architect_parallel.reports.markdown import code, fenced, inline
from architect_parallel.reports.text import cost_text, diff_stat, duration_text, whole_cost
from architect_parallel.text.quantities import show_count, show_workers
from architect_parallel.text.sanitize import one_line

TITLE_CHARACTERS = 120
_SHOWN_CHECKS = 50


def words(
    run: RunResult, merged: Sequence[int], left_out: Sequence[LeftOut] = (), *, is_imported: bool = False
) -> tuple[str, str]:
    """Title and text of a pull request for results of a run.

    Args:
        merged: Ids of the workers whose results are in it, in order. At least one.
        left_out: The results that were meant to be in it and are not.
        is_imported: The run is another machine's, so that it cannot name an issue to close.
    """
    by_id = {worker.worker_id: worker for worker in run.results}
    workers = [by_id[worker_id] for worker_id in merged]
    ranks = {rank.worker_id: rank for rank in ranking_of(run)}
    tasks = list(dict.fromkeys(_first_line(worker.task) for worker in workers))
    title = tasks[0] if len(tasks) == 1 else f"{show_count(len(workers), 'result')}: {'; '.join(tasks)}"
    blocks: list[str] = []
    for worker in workers:
        if len(workers) > 1:
            blocks.append(f"## {inline(_first_line(worker.task), TITLE_CHARACTERS)}")
        blocks += _worker(worker, run.baseline, ranks.get(worker.worker_id), _attempts(run, worker))
    blocks += ["\n".join(_left_out(left_out))] if left_out else []
    closes = [line for worker in workers for line in _closes(worker.meta)] if not is_imported else []
    blocks += ["\n".join(dict.fromkeys(closes))] if closes else []
    made_by = f"Run {run.run_id} of architect-parallel: {show_workers(merged)}, {whole_cost(run)} in all"
    blocks.append(f"<sub>{made_by}</sub>")
    return one_line(title, TITLE_CHARACTERS) or run.run_id, "\n\n".join(blocks) + "\n"


def _first_line(task: str) -> str:
    lines = [line.strip().lstrip("#").strip() for line in task.splitlines()]
    return next(filter(None, lines), "")


def _worker(worker: WorkerResult, baseline: Sequence[CheckResult], rank: Rank | None, attempts: int) -> Iterator[str]:
    if worker.output.strip():
        yield fenced(worker.output, tail=True)
    if worker.checks:
        yield "\n".join(_checks(worker.checks, baseline))
    if worker.diff is not None and worker.diff.files:
        yield fenced(diff_stat(worker.diff), tail=True)
    made_by = f"{inline(worker.backend, 40)} {inline(worker.model, 80)}"
    facts = [f"- made by {made_by} in {duration_text(worker.duration)} for {cost_text(worker.cost)}"]
    if rank is not None and attempts > 1:
        facts.append(f"- place {rank.place} of {attempts} results of this task: {inline(rank.reason)}")
    yield "\n".join(facts)


def _checks(checks: Sequence[CheckResult], baseline: Sequence[CheckResult]) -> Iterator[str]:
    before = {check.command: check for check in baseline}
    yield "| Check | Before | After |"
    yield "|---|---|---|"
    for check in checks[:_SHOWN_CHECKS]:
        yield f"| {code(check.command, 120)} | {_check(before.get(check.command))} | {_check(check)} |"


def _check(check: CheckResult | None) -> str:
    if check is None:
        return "not run"
    word = "passed" if check.passed else "timed out" if check.timed_out else "failed"
    return f"{word}, flaky" if check.flaky else word


def _left_out(left_out: Sequence[LeftOut]) -> Iterator[str]:
    yield "Left out:"
    for left in left_out:
        files = f": {', '.join(code(path, 120) for path in left.files)}" if left.files else ""
        yield f"- worker {left.worker_id} ({left.reason.replace('_', ' ')}){files}"


def _closes(meta: dict[str, Any]) -> Iterator[str]:
    """The line that closes the issue which was the task. `meta` of a task file can only name a number."""
    issue = meta.get("issue")
    number = issue.get("number") if isinstance(issue, dict) else issue
    if isinstance(number, int) and not isinstance(number, bool) and number > 0:
        yield f"Closes #{number}"


def _attempts(run: RunResult, worker: WorkerResult) -> int:
    return sum(other.task == worker.task for other in run.results)
