"""Results side by side as text: changed files, files that several changed, conflicts, and what to merge."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from architect_parallel.domain import Comparison, Pair, RunResult, Status, WorkerResult
from architect_parallel.reports import text
from architect_parallel.text.display import PIPE, Display, Style
from architect_parallel.text.quantities import show_workers, summarize
from architect_parallel.text.sanitize import one_line

_SHOWN_FILES = 8
_CLEAN = "·"


def render(result: RunResult, comparison: Comparison, display: Display = PIPE) -> str:
    """The output of `architect compare` for people."""
    changed = [worker for worker in result.results if worker.diff is not None and worker.diff.files]
    lines = text.results_table(result.results, display) if result.results else ["No worker has ended yet."]
    if len(result.results) < len(result.planned):
        lines.append(f"{len(result.planned) - len(result.results)} of {len(result.planned)} have not ended yet")
    if not changed:
        return "\n".join([*lines, "", "No worker changed anything."])
    lines += ["", "Changed files", *_wrapped(map(_changed, changed), display)]
    if comparison.shared_files:
        lines += ["", "Changed by several", *_wrapped(_shared(comparison), display)]
    if comparison.conflicts:
        heading = f"Conflicts (number of files; {_CLEAN} merges cleanly)"
        lines += ["", heading, *matrix(comparison, display)]
        pairs = (pair for pair in comparison.conflicts if not pair.clean)
        conflicts = [f"  {pair.a} with {pair.b}: {_some(pair.files)}" for pair in pairs]
        lines += [display.paint(line, Style.BAD) for line in _wrapped(conflicts, display)]
    return "\n".join([*lines, "", *_wrapped(_proposal(result, comparison, display), display)])


def _wrapped(lines: Iterable[str], display: Display) -> list[str]:
    return [part for line in lines for part in display.wrap(line, hanging="     ")]


def matrix(comparison: Comparison, display: Display = PIPE) -> list[str]:
    """The pairs as a triangle: a row and a column per worker, the current branch first. A wide one comes in parts."""
    pairs = {(str(pair.a), pair.b): pair for pair in comparison.conflicts}
    columns = sorted({pair.b for pair in comparison.conflicts})
    rows = list(dict.fromkeys(str(pair.a) for pair in comparison.conflicts))
    names = {row: one_line(row, 24) for row in rows}
    first = max(len(name) for name in names.values())
    width = max(3, *(len(str(column)) + 1 for column in columns))
    most = len(columns) if display.width is None else max(1, (display.width - first - 2) // width)
    lines = []
    for begin in range(0, len(columns), most):
        part = columns[begin : begin + most]
        lines.append(" " * (first + 2) + "".join(f"{column:>{width}}" for column in part))
        for row in rows:
            cells = (_cell(pairs.get((row, column)), width, display) for column in part)
            line = f"  {names[row]:>{first}}{''.join(cells)}".rstrip()
            if len(line) > first + 2:
                lines.append(line)
    return lines


def _cell(pair: Pair | None, width: int, display: Display) -> str:
    shown = "" if pair is None else _CLEAN if pair.clean else str(len(pair.files) or "!")
    style = None if pair is None else Style.GOOD if pair.clean else Style.BAD
    return " " * (width - len(shown)) + display.paint(shown, style)


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


def _proposal(result: RunResult, comparison: Comparison, display: Display) -> list[str]:
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
    return [*lines, f"  architect merge {text.run_name(result, display)} {chosen}"]
