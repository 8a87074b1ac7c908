"""Who gets in whose way: the matrix of pairs, what merges cleanly together, the files several changed."""

from __future__ import annotations

from architect_parallel.domain import Comparison, Pair
from architect_parallel.reports.html import figures
from architect_parallel.reports.html.markup import Markup, element, hidden, joined
from architect_parallel.reports.html.present import Present

SHARED_ROWS = 200


def section(present: Present) -> Markup:
    """The conflict matrix; without one, why there is none."""
    comparison = present.material.comparison
    title = element("h2", "Conflicts", id="conflicts-title")
    if comparison is None or not (comparison.conflicts or comparison.order):
        body: Markup = element("p", _why_none(present), class_="lead")
    else:
        body = joined(
            _proposal(present, comparison), _matrix(present, comparison), _list(comparison), _shared(comparison)
        )
    return element("section", title, body, id="conflicts", aria_labelledby="conflicts-title")


def _why_none(present: Present) -> str:
    changed = sum(bool(each.files_modified) for each in present.result.results)
    if not changed:
        return "Nobody changed anything, so nothing can be in the way."
    return "There is no comparison of this run." if changed > 1 else "Only one worker changed anything."


def _proposal(present: Present, comparison: Comparison) -> Markup:
    together = comparison.proposed
    rest = [each for each in comparison.order if each not in together]
    if not together:
        return element("p", "No result merges cleanly with the current branch.", class_="lead")
    arrows = joined([[" → " if number else None, figures.badge(each)] for number, each in enumerate(together)])
    words = "merge cleanly, in this order." if len(together) > 1 else "merges cleanly."
    more = (" Then try ", [[figures.badge(each), " "] for each in rest]) if rest else ()
    return element("p", arrows, f" {words}", more, class_="lead")


def _name(present: Present, side: int | str) -> Markup:
    if isinstance(side, str):
        return element("code", side)
    return element("span", figures.badge(side), title=present.labels[side])


def _matrix(present: Present, comparison: Comparison) -> Markup:
    pairs: dict[tuple[int | str, int | str], Pair] = {}
    for pair in comparison.conflicts:
        pairs[pair.a, pair.b] = pairs[pair.b, pair.a] = pair
    branches = list(dict.fromkeys(pair.a for pair in comparison.conflicts if isinstance(pair.a, str)))
    workers = sorted(comparison.order)
    sides: list[int | str] = [*branches, *workers]
    head = [element("th", _name(present, side), scope="col") for side in sides]
    rows = [
        element(
            "tr",
            element("th", _name(present, row), " ", element("span", present.labels[row], class_="long"), scope="row"),
            [_cell(pairs.get((row, column)), row, column) for column in sides],
        )
        for row in workers
    ]
    table = element(
        "table",
        element("caption", "Each pair of results: whether they merge cleanly. Arrow keys move between the cells.",
                class_="visually-hidden"),
        element("thead", element("tr", element("td"), head)),
        element("tbody", rows),
        class_="matrix",
    )  # fmt: skip
    return joined(
        element("div", table, class_="scroll"),
        element("div", id="pair", aria_live="polite", class_="pair", hidden=True),
    )


def _cell(pair: Pair | None, row: int, column: int | str) -> Markup:
    if row == column:
        return element("td", class_="same")
    if pair is None:
        return element("td", element("span", "–", title="not compared"))
    number = len(pair.files)
    between = f"worker {row} and {'worker ' if isinstance(column, int) else ''}{column}: "
    words = "clean" if pair.clean else figures.count(number, "conflicting file")
    return element(
        "td",
        element("button", "✓" if pair.clean else str(number or "✗"), type="button", data_a=column, data_b=row,
                aria_label=between + words, class_="clean" if pair.clean else "clash", tabindex=-1),
    )  # fmt: skip


def _list(comparison: Comparison) -> Markup | None:
    bad = [pair for pair in comparison.conflicts if not pair.clean]
    if not bad:
        return None
    items = []
    for pair in bad:
        a = figures.badge(pair.a) if isinstance(pair.a, int) else element("code", pair.a)
        files = joined([[", " if number else None, element("code", path)] for number, path in enumerate(pair.files)])
        items.append(element("li", a, hidden(" and "), " ", figures.badge(pair.b), " ", files or "(no file is named)"))
    return element("details", element("summary", f"{figures.count(len(bad), 'pair')} in conflict, with files"),
                   element("ul", items, class_="plain"), id="conflict-list")  # fmt: skip


def _shared(comparison: Comparison) -> Markup | None:
    if not comparison.shared_files:
        return None
    listed = list(comparison.shared_files.items())
    rows = [
        element("li", element("code", path), " ", [[figures.badge(each), " "] for each in workers])
        for path, workers in listed[:SHARED_ROWS]
    ]
    left = len(listed) - len(rows)
    more = (
        element("p", f"… and {figures.count(left, 'file')} more: architect compare shows them all.") if left else None
    )
    summary = element("summary", f"{figures.count(len(listed), 'file')} changed by several workers")
    return element("details", summary, element("ul", rows, class_="plain"), more, id="shared-files")
