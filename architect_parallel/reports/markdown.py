"""A run as GitHub-flavoured Markdown, for the step summary of a CI job: tables first, details folded, below 1 MiB.

The text of an agent is hostile. `inline` escapes it in a line and `fenced` in a block: it cannot end a table cell, make
a link, an image or HTML, or mention a user by `@name`. Parts that would make the page too large are left out, with a
note.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from architect_parallel.domain import CheckResult, Comparison, Rank, RunResult, RunStatus, Status, WorkerResult
from architect_parallel.reports import run_text, text
from architect_parallel.reports.material import Material
from architect_parallel.text.quantities import show_count
from architect_parallel.text.sanitize import one_line, plain_text

LIMIT_BYTES = 1_000_000
"""The size limit, below GitHub's 1 MiB for a step summary."""
_ROOM_BYTES = 4_000
"""The space that is reserved for the last section."""
SHOWN_LINES = 40
SHOWN_CHARACTERS = 6_000
SHOWN_FILES = 50
MARKS = {
    Status.SUCCESS: "✅",
    Status.PARTIAL: "🟡",
    Status.FAILED: "❌",
    Status.TIMEOUT: "⏱️",
    Status.CANCELED: "⚪",
    Status.SKIPPED: "⚪",
}

_JOINER = "\u2060"
_ENTITIES = str.maketrans({character: f"&#{ord(character)};" for character in r"\`*_[]{}|~$<>&^"})
_LINKS = re.compile(r":(?=//)|(?<=www)\.", re.IGNORECASE)
_REFERENCES = re.compile(r"(?<=[@#])(?=\w)|(?<=\bGH)(?=-\d)", re.IGNORECASE)
_BEGINNING = re.compile(r"^(?:[#+=-]|\d+(?=[.)]))")


def inline(words: str, limit: int = 300) -> str:
    r"""Text of unknown origin as one line of Markdown that shows exactly that text.

    Punctuation with a meaning becomes entities, which Markdown never takes for structure. An invisible joiner separates
    `@` and `#` from the following text, because GitHub looks for names and numbers after rendering.

    >>> inline("a|b <b>*c*")
    'a&#124;b &#60;b&#62;&#42;c&#42;'
    """
    line = _REFERENCES.sub(_JOINER, one_line(words, limit))  # first: entities hold a `#` of their own
    line = line.translate(_ENTITIES)
    line = _LINKS.sub(lambda match: f"&#{ord(match[0])};", line)
    return _BEGINNING.sub(lambda match: match[0][:-1] + f"&#{ord(match[0][-1])};", line)


def code(words: str, limit: int = 300) -> str:
    """Like `inline`, as code: a command, a path, a name."""
    return f"<code>{inline(words, limit)}</code>"


def fenced(words: str, *, tail: bool = False) -> str:
    """Text of unknown origin as a block of limited length. A `tail` shows the end of a long text, not its beginning.

    The fence is longer than any run of backticks in the text, so the text cannot close it.
    """
    words = words.strip("\n")
    room = 2 * SHOWN_CHARACTERS  # what is far from the shown end need not be looked at
    lines = plain_text(words[-room:] if tail else words[:room]).strip("\n").split("\n")
    cut = len(lines) > SHOWN_LINES or len(words) > room
    block = "\n".join(lines[-SHOWN_LINES:] if tail else lines[:SHOWN_LINES])
    if len(block) > SHOWN_CHARACTERS:
        block, cut = (block[-SHOWN_CHARACTERS:] if tail else block[:SHOWN_CHARACTERS]), True
    if cut:
        block = f"…\n{block}" if tail else f"{block}\n…"
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall(r"`+", block)), default=0))
    return f"{fence}text\n{block}\n{fence}"


def render(material: Material) -> str:
    """The report as Markdown."""
    result = material.result
    page = _Page()
    page.add(_head(result))
    page.add_table("Results", _RESULT_HEADINGS, (_result_row(worker) for worker in result.results))
    ended = {worker.worker_id for worker in result.results}
    waiting = [spec for spec in result.planned if spec.worker_id not in ended]
    page.add_list("Not ended yet", (f"{spec.worker_id}: {inline(spec.prompt, 80)}" for spec in waiting))
    tasks = {worker.worker_id: text.task_words(0, "", worker.task, text.SHOWN_TASK) for worker in result.results}
    several = sum(rank.place == 1 for rank in material.ranking) > 1
    places = (_place_line(rank, tasks.get(rank.worker_id) if several else None) for rank in material.ranking)
    page.add_list("Ranking", places)
    _add_checks(page, result)
    if material.comparison is not None:
        _add_conflicts(page, material.comparison)
    page.add_list("Warnings", (inline(message) for message in _warnings(result)))
    left_out = sum(not page.add(_details(result, worker)) for worker in result.results)
    if left_out:
        page.add_last(f"The details of {show_count(left_out, 'worker')} are left out: the page would be too large.")
    page.add_last(_next_steps(material))
    return page.text


class _Page:
    """A page of limited size, made of blocks."""

    def __init__(self) -> None:
        self._blocks: list[str] = []
        self._bytes = 0

    @property
    def text(self) -> str:
        return "\n\n".join(self._blocks)

    def add(self, block: str) -> bool:
        """Add a block. Returns false where it does not fit."""
        size = len(block.encode(errors="replace")) + 2
        if self._bytes + size > LIMIT_BYTES - _ROOM_BYTES:
            return False
        self.add_last(block)
        return True

    def add_last(self, block: str) -> None:
        """Add a short block to the reserved space."""
        self._blocks.append(block)
        self._bytes += len(block.encode(errors="replace")) + 2

    def add_list(self, title: str, items: Iterable[str]) -> None:
        """Add a section of items. Without items there is no section."""
        self._add_lines(title, [], [f"- {item}" for item in items])

    def add_table(self, title: str, headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Add a section with a table. Without rows there is no section."""
        head = [
            f"| {' | '.join(headings)} |",
            f"|{'|'.join('---:' if heading in _RIGHT else '---' for heading in headings)}|",
        ]
        self._add_lines(title, head, [f"| {' | '.join(row)} |" for row in rows])

    def _add_lines(self, title: str, head: list[str], lines: list[str]) -> None:
        if not lines:
            return
        room = (LIMIT_BYTES - _ROOM_BYTES - self._bytes) // 2  # the rest of the page needs space, too
        shown = [f"## {title}", "", *head]
        for number, line in enumerate(lines):
            room -= len(line.encode(errors="replace")) + 1
            if room < 0:
                shown += ["", f"{len(lines) - number} more are left out."]
                break
            shown.append(line)
        self.add("\n".join(shown))


_RESULT_HEADINGS = ("#", "Status", "Backend", "Model", "Steps", "Cost", "Time", "Files", "+/−", "Branch", "Task")
_RIGHT = frozenset({"#", "Steps", "Cost", "Time", "Files", "+/−"})


def _head(result: RunResult) -> str:
    mark = {RunStatus.SUCCESS: "✅", RunStatus.RUNNING: "⏳"}.get(result.status, "❌")
    mark = "🟡" if result.status is RunStatus.PARTIAL else mark
    figures = text.total_line(result).removeprefix("Total: ")
    return (
        f"# {mark} architect: {result.status} — {figures}\n\n"
        f"Run {code(result.run_id)} from {code(result.base_ref)} ({code(result.base_commit[:12])}), "
        f"cost {_money(result.total_cost)}."
    )


def _money(cost: float | None) -> str:
    return "unknown" if cost is None else inline(text.cost_text(cost))


def _result_row(result: WorkerResult) -> tuple[str, ...]:
    diff = result.diff
    return (
        str(result.worker_id),
        f"{MARKS[result.status]} {text.STATUS_WORDS[result.status]}"
        + ("" if result.status is Status.SUCCESS else f" ({inline(text.reason_words(result))})"),
        inline(result.backend, 40),
        inline(result.model, 80),
        str(result.steps),
        inline(text.cost_text(result.cost)),
        f"{result.duration:.1f}s",
        str(len(result.files_modified)),
        f"+{diff.insertions}/−{diff.deletions}" if diff else "",
        code(result.branch, 60) if result.branch else "(in place)",
        inline(text.task_words(result.worker_id, result.name, result.task, text.SHOWN_TASK), 120),
    )


def _place_line(place: Rank, task: str | None) -> str:
    """A rank with its reason, and with the task where several are ranked."""
    points = "" if place.score is None else f", {place.score:.1f} points"
    of_task = "" if task is None else f" of {inline(task, 80)}"
    about = f"({inline(place.model, 80)}{points}){of_task}"
    return f"**{place.place}. worker {place.worker_id}** {about}: {inline(place.reason)}"


def _add_checks(page: _Page, result: RunResult) -> None:
    commands = list(dict.fromkeys(check.command for worker in result.results for check in worker.checks))
    commands += [check.command for check in result.baseline if check.command not in commands]
    if not commands:
        return
    workers = [worker for worker in result.results if worker.checks]
    columns = [{check.command: check for check in checks} for checks in (result.baseline, *(w.checks for w in workers))]
    rows = ([code(command, 120), *(_check_cell(column.get(command)) for column in columns)] for command in commands)
    page.add_table("Checks", ["Check", "base", *(f"worker {worker.worker_id}" for worker in workers)], rows)


def _check_cell(check: CheckResult | None) -> str:
    return "" if check is None else f"{'✅' if check.passed else '❌'} {_check_words(check)}"


def _check_words(check: CheckResult) -> str:
    words = ["timed out" if check.timed_out else "passed" if check.passed else f"exit {check.exit_code}"]
    words += [str(check.change).replace("_", " ")] if check.change not in (None, "unchanged") else []
    return ", ".join([*words, *(["flaky"] if check.flaky else [])])


def _add_conflicts(page: _Page, comparison: Comparison) -> None:
    conflicting = [pair for pair in comparison.conflicts if not pair.clean]
    lines = []
    if comparison.proposed:
        lines.append(f"**Merge cleanly together:** {', '.join(map(str, comparison.proposed))}")
    for pair in conflicting:
        one = f"worker {pair.a}" if isinstance(pair.a, int) else code(pair.a)
        lines.append(f"{one} and worker {pair.b} conflict in {_paths(pair.files)}")
    shared = [f"{code(path, 120)}: {', '.join(map(str, ids))}" for path, ids in comparison.shared_files.items()]
    if comparison.conflicts and not conflicting:
        lines.append("No two results conflict.")
    page.add_list("Conflicts", lines)
    page.add_list("Files that several workers changed", shared)


def _paths(paths: Sequence[str]) -> str:
    more = f" and {len(paths) - 5} more" if len(paths) > 5 else ""
    return ", ".join(code(path, 120) for path in paths[:5]) + more


def _warnings(result: RunResult) -> list[str]:
    warnings = list(result.warnings)
    if result.escaped is not None:
        suspects = ", ".join(map(str, result.escaped.suspects)) or "unknown"
        warnings.append(f"the main checkout changed ({', '.join(result.escaped.paths[:5])}); suspects: {suspects}")
    return warnings


def _details(run: RunResult, result: WorkerResult) -> str:
    """The details of one worker, folded."""
    reason = inline(text.reason_words(result))
    summary = (
        f"<summary>{MARKS[result.status]} worker {result.worker_id}: {inline(result.backend, 40)} "
        f"{inline(result.model, 80)}, {text.STATUS_WORDS[result.status]} ({reason})</summary>"
    )
    blocks = [f"<details>\n{summary}", "**Task**", fenced(result.task)]
    blocks += ["**Error**", fenced(result.error, tail=True)] if result.error else []
    notes = [*result.warnings]
    notes += [f"{result.leaked} processes that the agent left running were stopped"] if result.leaked else []
    blocks += ["\n".join(f"- {inline(note)}" for note in notes[:SHOWN_FILES])] if notes else []
    if len(result.attempt_history) > 1:
        blocks.append("\n".join(f"- {inline(text.attempt_words(attempt))}" for attempt in result.attempt_history))
    blocks += [block for check in result.checks if not check.passed for block in _failed_check(check)]
    blocks += ["**Final words**", fenced(result.output, tail=True)] if result.output else []
    if result.diff is not None and result.diff.files:
        lines = text.diff_stat(result.diff).splitlines()
        shown = [*lines[:-1][:SHOWN_FILES], *(["…"] if len(lines) - 1 > SHOWN_FILES else []), lines[-1]]
        blocks += ["**Changes**", fenced("\n".join(shown), tail=True)]
    return "\n\n".join([*blocks, "</details>"])


def _failed_check(check: CheckResult) -> list[str]:
    title = f"**Check failed:** {code(check.command, 200)} ({_check_words(check)})"
    return [title, *([fenced(check.output_tail, tail=True)] if check.output_tail else [])]


def _next_steps(material: Material) -> str:
    # Only run id and worker numbers are in it: no text of an agent.
    lines = [line.strip() for line in run_text.next_steps(material.result).splitlines()[1:]]
    commands = "\n".join(re.sub(r" {2,}", "  # ", line, count=1) for line in lines)
    return f"## Next steps\n\n```sh\n{commands}\n```"
