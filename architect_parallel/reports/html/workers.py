"""A part of the page per worker: all that is known of it."""

from __future__ import annotations

from architect_parallel.domain import Attempt, WorkerResult, WorkerSpec
from architect_parallel.planning.plain_text import one_line
from architect_parallel.reports.html import figures
from architect_parallel.reports.html.checks import check_list
from architect_parallel.reports.html.markup import Markup, element, joined
from architect_parallel.reports.html.present import Present
from architect_parallel.reports.text import reason_words

WORDS_CHARACTERS = 20_000
LISTED = 50


def section(present: Present, printed: dict[int, int]) -> Markup:
    """All workers, in order of id.

    Args:
        printed: Worker id → characters of its transcript; absent: there is none.
    """
    parts = [_worker(present, spec, printed.get(spec.worker_id)) for spec in present.result.planned]
    title = element("h2", "Workers", id="workers-title")
    return element("section", title, parts, id="workers", aria_labelledby="workers-title")


def _worker(present: Present, spec: WorkerSpec, printed: int | None) -> Markup:
    number = spec.worker_id
    result = present.results.get(number)
    if result is not None:
        state = joined(figures.status_pill(result), " ", element("small", reason_words(result)))
        body = joined(_facts(present, spec, result), _troubles(result), _changes(present, result), _words(result),
                      _checks(result), _attempts(result), _outside_scope(result))  # fmt: skip
    else:
        seen = present.progress.get(number)
        state = figures.pill("live" if present.is_live else "none", seen.phase if seen else "not begun")
        body = element("p", figures.count(seen.steps, "step") + " so far" if seen and seen.steps else "Not ended yet.")
    heading = element("h3", figures.badge(number), " ", present.labels[number], " ", state, id=f"worker-{number}-title")
    return element(
        "article", heading, body, _task(present, spec), _transcript(number, printed), _commands(present, result),
        id=f"worker-{number}", aria_labelledby=f"worker-{number}-title", tabindex=-1,
    )  # fmt: skip


def _facts(present: Present, spec: WorkerSpec, result: WorkerResult) -> Markup:
    usage = result.usage
    counted = ((usage.input_tokens, "in"), (usage.cached_tokens, "cached"), (usage.output_tokens, "out"))
    tokens = ", ".join(f"{number:,} {word}" for number, word in counted if number)
    memory = f"{result.peak_memory_bytes / 2**20:,.0f} MiB" if result.peak_memory_bytes else ""
    facts: list[tuple[str, str | Markup]] = [
        ("Backend", result.backend),
        ("Model", result.model),
        ("Agent", result.agent),
        ("Cost", figures.cost(result.cost)),
        ("Duration", figures.duration(result.duration)),
        ("Steps", str(result.steps)),
        ("Tokens", tokens),
        ("Peak memory", memory),
        ("Exit code", "" if result.exit_code is None else str(result.exit_code)),
        ("Branch", element("code", result.branch) if result.branch else "in place"),
        ("Worktree", element("code", result.worktree_path) if result.worktree_path else ""),
        ("Session", element("code", result.session_id) if result.session_id else ""),
        ("Tags", ", ".join(result.tags)),
    ]
    return element(
        "dl",
        [element("div", element("dt", name), element("dd", fact)) for name, fact in facts if fact],
        class_="facts small",
    )


def _troubles(result: WorkerResult) -> Markup | None:
    lines = [element("li", result.error, class_="bad")] if result.error else []
    lines += [element("li", f"{figures.count(result.leaked, 'process')} left behind by the agent: ended",
                      class_="fair")] if result.leaked else []  # fmt: skip
    lines += [element("li", warning, class_="fair") for warning in result.warnings]
    return element("ul", lines, class_="troubles") if lines else None


def _changes(present: Present, result: WorkerResult) -> Markup:
    if result.diff is None or not result.diff.files:
        return element("p", "Changed nothing.", class_="muted")
    diff = result.diff
    link = element("a", "Show the changes", href=f"#changes-{result.worker_id}", class_="action")
    size = figures.lines_changed(diff.insertions, diff.deletions)
    return element("p", figures.count(len(diff.files), "file"), " changed, ", size, ". ", link)


def _words(result: WorkerResult) -> Markup | None:
    words = result.output.strip()
    if not words:
        return None
    cut = words[:WORDS_CHARACTERS]
    left = len(words) - len(cut)
    more = element("p", f"… {left:,} more characters: architect status --json has them.") if left else None
    return element(
        "details", element("summary", "What it said at the end"), element("pre", cut, class_="words", tabindex=0), more,
        id=f"worker-{result.worker_id}-words", open=True,
    )  # fmt: skip


def _checks(result: WorkerResult) -> Markup | None:
    if not result.checks:
        return None
    return joined(element("h4", "Checks"), check_list(result.checks, f"worker-{result.worker_id}"))


def _attempts(result: WorkerResult) -> Markup | None:
    if len(result.attempt_history) < 2:
        return None
    head = [element("th", name, scope="col") for name in ("Attempt", "Ended", "Cost", "Duration", "Waited", "Error")]
    table = element(
        "table",
        element("caption", "Attempts", class_="visually-hidden"),
        element("thead", element("tr", head)),
        element("tbody", [_attempt(attempt) for attempt in result.attempt_history]),
    )
    return joined(element("h4", "Attempts"), figures.scrolled("Attempts", table))


def _attempt(attempt: Attempt) -> Markup:
    return element(
        "tr",
        element("th", attempt.number, scope="row"),
        element(
            "td", figures.pill(figures.TONES[attempt.status], str(attempt.reason or attempt.status).replace("_", " "))
        ),
        element("td", figures.cost(attempt.cost), class_="figure"),
        element("td", figures.duration(attempt.duration), class_="figure"),
        element("td", figures.duration(attempt.waited_seconds), class_="figure"),
        element("td", one_line(attempt.error or "", 300)),
    )


def _outside_scope(result: WorkerResult) -> Markup | None:
    if not result.outside_scope:
        return None
    items = [element("li", element("code", path)) for path in result.outside_scope[:LISTED]]
    left = len(result.outside_scope) - len(items)
    more = element("li", f"… and {left} more") if left else None
    return joined(element("h4", "Changed outside its scope"), element("ul", items, more, class_="plain"))


def _task(present: Present, spec: WorkerSpec) -> Markup | None:
    if present.common_task is not None:
        return None
    return element("details", element("summary", "Its task"), element("pre", spec.prompt, class_="words", tabindex=0),
                   id=f"worker-{spec.worker_id}-task")  # fmt: skip


def _transcript(number: int, printed: int | None) -> Markup | None:
    if not printed:
        return None
    summary = element("summary", "What it printed ", element("small", figures.size(printed)))
    return element("details", summary, element("pre", class_="output", tabindex=0, data_log=number),
                   id=f"worker-{number}-log")  # fmt: skip


def _commands(present: Present, result: WorkerResult | None) -> Markup | None:
    if result is None:
        return None
    run, number = present.result.run_id, result.worker_id
    lines = []
    if result.diff is not None and result.diff.files and result.branch:
        lines.append(f"architect merge {run} {number}")
    lines.append(f"architect logs {run} {number}")
    return element("p", [[element("code", line), " "] for line in lines], class_="commands")
