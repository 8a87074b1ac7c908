"""Results side by side as text: changed files, files that several changed, conflicts, and what to merge."""

from __future__ import annotations

from collections.abc import Sequence

from architect_parallel.domain import Comparison, RunResult, Status, WorkerResult
from architect_parallel.reports import text
from architect_parallel.text.quantities import show_workers, summarize
from architect_parallel.text.sanitize import one_line

_SHOWN_FILES = 8
_CLEAN = "·"


def render(result: RunResult, comparison: Comparison) -> str:
    """The output of `architect compare` for people."""
    changed = [worker for worker in result.results if worker.diff is not None and worker.diff.files]
    lines = text.results_table(result.results) if result.results else ["No worker has ended yet."]
    if len(result.results) < len(result.planned):
        lines.append(f"{len(result.planned) - len(result.results)} of {len(result.planned)} have not ended yet")
    if not changed:
        return "\n".join([*lines, "", "No worker changed anything."])
    lines += ["", "Changed files", *(_changed(worker) for worker in changed)]
    if comparison.shared_files:
        lines += ["", "Changed by several", *_shared(comparison)]
    if comparison.conflicts:
        lines += ["", f"Conflicts (number of files; {_CLEAN} merges cleanly)", *matrix(comparison)]
        pairs = (pair for pair in comparison.conflicts if not pair.clean)
        lines += [f"  {pair.a} with {pair.b}: {_some(pair.files)}" for pair in pairs]
    return "\n".join([*lines, "", *_proposal(result, comparison)])


def matrix(comparison: Comparison) -> list[str]:
    """The pairs as a triangle: a row and a column per worker, the current branch first."""
    pairs = {(str(pair.a), pair.b): pair for pair in comparison.conflicts}
    columns = sorted({pair.b for pair in comparison.conflicts})
    rows = list(dict.fromkeys(str(pair.a) for pair in comparison.conflicts))
    names = {row: one_line(row, 24) for row in rows}
    first = max(len(name) for name in names.values())
    width = max(3, *(len(str(column)) + 1 for column in columns))
    lines = [" " * (first + 2) + "".join(f"{column:>{width}}" for column in columns)]
    for row in rows:
        cells = []
        for column in columns:
            pair = pairs.get((row, column))
            shown = "" if pair is None else _CLEAN if pair.clean else str(len(pair.files) or "!")
            cells.append(f"{shown:>{width}}")
        lines.append(f"  {names[row]:>{first}}{''.join(cells)}".rstrip())
    return lines


def _changed(worker: WorkerResult) -> str:
    diff = worker.diff
    files = [] if diff is None else [change.path for change in diff.files]
    counts = "" if diff is None else f" (+{diff.insertions} -{diff.deletions})"
    return f"  {worker.worker_id}: {_some(files)}{counts}"


def _shared(comparison: Comparison) -> list[str]:
    shown = list(comparison.shared_files.items())
    lines = [f"  {one_line(path)}: {', '.join(map(str, workers))}" for path, workers in shown[: 3 * _SHOWN_FILES]]
    return [*lines, *([f"  and {len(shown) - len(lines)} more"] if len(shown) > len(lines) else [])]


def _some(files: Sequence[str]) -> str:
    if not files:
        return "no common file"
    return summarize(map(one_line, files), _SHOWN_FILES)


def _proposal(result: RunResult, comparison: Comparison) -> list[str]:
    named = [str(pair.a) for pair in comparison.conflicts if not isinstance(pair.a, int)]
    onto = f" with {named[0]}" if named else ""
    if not comparison.proposed:
        return [f"Nothing merges cleanly{onto}."] if comparison.order else []
    chosen = " ".join(map(str, comparison.proposed))
    if len(comparison.proposed) == 1:
        lines = [f"Proposed: {chosen} merges cleanly{onto}."]
    else:
        lines = [f"Proposed: {chosen} merge cleanly{onto} and with each other."]
    failed = [
        worker.worker_id
        for worker in result.results
        if worker.status is not Status.SUCCESS and worker.worker_id in comparison.proposed
    ]
    if failed:
        lines.append(f"{show_workers(failed).capitalize()} did not succeed.")
    rest = comparison.order[len(comparison.proposed) :]
    if rest:
        lines.append(f"To try after that, in this order: {' '.join(map(str, rest))}")
    return [*lines, f"  architect merge {result.run_id} {chosen}"]
