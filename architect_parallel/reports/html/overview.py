"""The top of the page: what the run was, who did best and why, and what anybody should know about it."""

from __future__ import annotations

from architect_parallel.domain import Escape, Status, WorkerResult, WorkerSpec
from architect_parallel.planning.naming import DEFAULT_MODEL
from architect_parallel.planning.plain_text import one_line
from architect_parallel.reports.html import figures
from architect_parallel.reports.html.checks import check_list
from architect_parallel.reports.html.markup import Markup, element, joined, shown
from architect_parallel.reports.html.present import Present
from architect_parallel.reports.text import reason_words

TITLE_CHARACTERS = 140


def heading(present: Present) -> Markup:
    """Name, state and figures of the run."""
    run = present.result
    title = present.common_task
    words = one_line(title, TITLE_CHARACTERS) if title else figures.count(run.total_tasks, "task")
    facts = [
        ("Workers", _ended_words(present)),
        ("Duration", figures.duration(run.total_duration_seconds)),
        ("Cost", _spent(present)),
        ("Base", joined(element("code", run.base_commit[:10]), " ", run.base_ref)),
        ("Started", joined(element("time", f"{run.started_at:%Y-%m-%d %H:%M}", datetime=run.started_at.isoformat()),
                           " UTC")),
    ]  # fmt: skip
    return element(
        "header",
        element(
            "p",
            element("span", "architect", class_="brand"),
            " ",
            figures.pill(figures.RUN_TONES[run.status], run.status.value),
            " ",
            element("code", run.run_id),
            class_="over",
        ),
        element("h1", words),
        _whole_task(title, words),
        element(
            "dl", [element("div", element("dt", name), element("dd", fact)) for name, fact in facts], class_="facts"
        ),
        id="top",
    )


def _whole_task(task: str | None, words: str) -> Markup | None:
    if task is None or " ".join(shown(task).split()) == shown(words):
        return None
    return element("details", element("summary", "The whole task"), element("pre", task, class_="words"), id="task")


def _spent(present: Present) -> str:
    costs = [each.cost for each in present.result.results if each.started_at is not None]
    costs += [each.cost for each in present.progress.values()]
    known = sum(cost for cost in costs if cost is not None)
    if None not in costs:
        return figures.cost(known)
    return f"{figures.cost(known)} + ?" if known else "?"


def _ended_words(present: Present) -> str:
    run = present.result
    good = run.count(Status.SUCCESS)
    waiting = run.total_tasks - len(run.results)
    words = f"{good} of {run.total_tasks} succeeded"
    return f"{words}, {waiting} not ended" if waiting else words


def notices(present: Present) -> Markup:
    """What has to be said before anything else: changes outside the worktrees, warnings."""
    run = present.result
    found = []
    if run.escaped is not None:
        found.append(_escape_notice(run.escaped))
    if run.warnings:
        items = [element("li", warning) for warning in run.warnings]
        found.append(element("div", element("h2", "Warnings"), element("ul", items), class_="notice fair", role="note"))
    return element("div", found, id="notices")


def _escape_notice(escape: Escape) -> Markup:
    names = [[" or " if position else None, figures.badge(each)] for position, each in enumerate(escape.suspects)]
    suspects = joined("It may have been worker ", names, ".") if names else "Who did it is not known."
    saved = ("The change is saved in ", element("code", escape.patch), ".") if escape.patch else ()
    return element(
        "div",
        element("h2", "The main checkout changed while workers ran"),
        element("p", suspects, " Nothing was reverted. ", saved),
        element("ul", [element("li", element("code", path)) for path in escape.paths]),
        class_="notice bad",
        role="note",
    )


COLUMNS = ("Place", "Worker", "Status", "Checks", "Cost", "Duration", "Changes", "Why here")


def ranking(present: Present) -> Markup:
    """Who did how well, best first, with the reason for each place."""
    rows = [_ended_row(present, result) for result in present.by_place]
    rows += [_running_row(present, spec) for spec in present.not_ended]
    head = element("tr", [element("th", name, scope="col", role="columnheader") for name in COLUMNS], role="row")
    table = element(
        "table",
        element(
            "caption", "Workers by place: checks, cost, duration and size of each result", class_="visually-hidden"
        ),
        element("thead", head, role="rowgroup"),
        element("tbody", rows, role="rowgroup"),
        class_="ranking",
        role="table",
    )
    title = element("h2", "Ranking", id="ranking-title")
    return element(
        "section", title, _verdict(present), table, _rates(present), id="ranking", aria_labelledby="ranking-title"
    )


def _rates(present: Present) -> Markup | None:
    """Of a competition with several runs of each model."""
    rates = present.material.rates
    if not rates:
        return None
    head = [element("th", name, scope="col") for name in ("Model", "Runs", "Passed", "95 % interval")]
    rows = [
        element(
            "tr",
            element("th", rate.model, scope="row"),
            element("td", rate.runs, class_="figure"),
            element("td", f"{rate.pass_rate:.0%}", figures.bar(rate.pass_rate), class_="figure"),
            element("td", f"{rate.interval[0]:.0%} to {rate.interval[1]:.0%}", class_="figure"),
        )
        for rate in rates
    ]
    table = element(
        "table", element("thead", element("tr", head)), element("tbody", rows), aria_labelledby="rates-title"
    )
    return joined(element("h3", "Models", id="rates-title", class_="apart"), figures.scrolled("Models", table))


def _verdict(present: Present) -> Markup:
    run = present.result
    if not run.results:
        return element("p", "No worker has ended yet.", class_="lead")
    if not run.count(Status.SUCCESS):
        kept = sum(bool(each.files_modified) for each in run.results)
        more = f" What {figures.count(kept, 'worker')} wrote is kept on branches." if kept else ""
        return element("p", f"No worker succeeded.{more}", class_="lead")
    if run.total_tasks == 1:
        return element("p", "One worker, nothing to choose from.", class_="lead")
    if not present.places:
        return element("p", "Each worker had something else to do: there is no ranking.", class_="lead")
    where = " leads: " if len(present.leaders) == 1 else " leads in its task: "
    return joined(*(
        element("p", figures.badge(best.worker_id), " ", element("strong", present.labels[best.worker_id]), where,
                best.reason, class_="lead")
        for best in present.leaders
    ))  # fmt: skip


def _cell(name: str, *children: object, class_: str | None = None) -> Markup:
    return element("td", *children, data_label=name, role="cell", class_=class_)  # type: ignore[arg-type]  # passed on


def _worker_cell(present: Present, spec: WorkerSpec) -> Markup:
    link = element("a", present.labels[spec.worker_id], href=f"#worker-{spec.worker_id}")
    result = present.results.get(spec.worker_id)
    model = spec.model or (result.model if result is not None and result.model != DEFAULT_MODEL else "")
    about = [f"model {model}" if model and model != present.labels[spec.worker_id] else "", spec.backend]
    words = ", ".join(word for word in about if word and word != present.labels[spec.worker_id])
    name = element(
        "div", figures.badge(spec.worker_id), link, element("small", words) if words else None, class_="name"
    )
    return element("th", name, scope="row", role="rowheader")


def _ended_row(present: Present, result: WorkerResult) -> Markup:
    place = present.places.get(result.worker_id)
    spec = present.specs[result.worker_id]
    good = result.status is Status.SUCCESS
    reason = "" if good or str(result.reason) == str(result.status) else reason_words(result)
    why = place.reason if place else figures.sentence(reason_words(result))
    score = element("small", f"{place.score:.1f} points") if place and place.score is not None else None
    diff = result.diff
    size = (
        joined(figures.lines_changed(diff.insertions, diff.deletions),
               element("small", figures.count(len(diff.files), "file")))
        if diff is not None and diff.files
        else element("span", "nothing", class_="muted")
    )  # fmt: skip
    return element(
        "tr",
        _cell("Place", place.place if place else "–", score, class_="place"),
        _worker_cell(present, spec),
        _cell("Status", figures.status_pill(result), element("small", reason) if reason else None),
        _cell("Checks", figures.check_words(result.checks)),
        _cell("Cost", figures.cost(result.cost), figures.bar(present.share_of_cost(result.cost)), class_="figure"),
        _cell("Duration", figures.duration(result.duration),
              figures.bar(present.share_of_duration(result.duration), "time"), class_="figure"),
        _cell("Changes", size, class_="figure"),
        _cell("Why here", why, class_="why"),
        role="row",
        class_="first" if place and place.place == 1 and good else None,
    )  # fmt: skip


def _running_row(present: Present, spec: WorkerSpec) -> Markup:
    seen = present.progress.get(spec.worker_id)
    words = "not begun" if seen is None else seen.phase
    steps = "" if seen is None or not seen.steps else figures.count(seen.steps, "step")
    return element(
        "tr",
        _cell("Place", "–", class_="place"),
        _worker_cell(present, spec),
        _cell("Status", figures.pill("live" if present.is_live else "none", words)),
        _cell("Checks", "–"),
        _cell("Cost", figures.cost(seen.cost if seen else 0.0), class_="figure"),
        _cell("Duration", "–", class_="figure"),
        _cell("Changes", "–", class_="figure"),
        _cell("Why here", f"Not ended yet{', ' + steps if steps else ''}", class_="why"),
        role="row",
    )


def baseline(present: Present) -> Markup | None:
    """The checks on the commit everybody started from."""
    checks = present.result.baseline
    if not checks:
        return None
    failing = sum(not check.passed for check in checks)
    words = (
        "All passed before anybody began."
        if not failing
        else f"{failing} of {len(checks)} failed before anybody began."
    )
    return element(
        "section", element("h2", "Checks on the base", id="baseline-title"), element("p", words, class_="lead"),
        check_list(checks, "baseline"), id="baseline", aria_labelledby="baseline-title",
    )  # fmt: skip
