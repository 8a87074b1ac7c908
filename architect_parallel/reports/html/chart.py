"""The timeline drawn: a track per worker, and the same as a table."""

from __future__ import annotations

import math

from architect_parallel.reports.html import figures
from architect_parallel.reports.html.markup import Markup, element, joined
from architect_parallel.reports.html.present import Present
from architect_parallel.reports.html.spans import Lane, Phase, Timeline, totals

TICKS = 5
NICE_S = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400)


def section(present: Present) -> Markup:
    """When each worker did what."""
    time = present.timeline
    if not time.total_s or not any(lane.spans for lane in time.lanes):
        body: Markup = element(
            "p", "Nothing has happened yet." if present.is_live else "No times are known.", class_="lead"
        )
    else:
        body = joined(_legend(time), _tracks(present, time), _table(present, time))
    title = element("h2", "Timeline", id="timeline-title")
    return element("section", title, body, id="timeline", aria_labelledby="timeline-title")


def _legend(time: Timeline) -> Markup:
    used = {span.phase for lane in time.lanes for span in lane.spans} | ({Phase.CHECKS} if time.baseline_s else set())
    keys = [
        element("li", element("svg", element("rect", width="100%", height="100%", rx=2, class_=phase.value),
                              class_="key", aria_hidden="true"), " ", phase.value)
        for phase in Phase if phase in used
    ]  # fmt: skip
    return element("ul", keys, class_="legend")


def _tracks(present: Present, time: Timeline) -> Markup:
    rows = [
        element(
            "div",
            element("a", figures.badge(lane.worker_id), " ", element("span", present.labels[lane.worker_id]),
                    href=f"#worker-{lane.worker_id}", class_="who"),
            _track(present, lane, time),
            class_="lane",
        )
        for lane in time.lanes
    ]  # fmt: skip
    if time.baseline_s:
        rows.insert(0, _baseline(time.baseline_s, time))
    return element("div", rows, element("div", element("span", class_="who"), _axis(time), class_="lane axis"),
                   class_="lanes")  # fmt: skip


def _baseline(end_s: float, time: Timeline) -> Markup:
    words = f"checks on the base, {figures.duration(end_s)}"
    bar = element("rect", x=0, width=_at(end_s, time), y="22%", height="56%", rx=2, class_=Phase.CHECKS.value)
    track = element("svg", element("g", element("title", words), bar), class_="track", role="img", aria_label=words)
    return element("div", element("a", "base", href="#baseline", class_="who"), track, class_="lane")


def _at(seconds: float, time: Timeline) -> str:
    return f"{seconds / time.total_s * 100:.3f}%"


def _track(present: Present, lane: Lane, time: Timeline) -> Markup:
    lines = [element("line", x1=_at(each, time), x2=_at(each, time), y1=0, y2="100%", class_="grid")
             for each in _ticks(time.total_s)]  # fmt: skip
    lines += [element("line", x1=_at(each, time), x2=_at(each, time), y1=0, y2="100%", class_="resumed")
              for each in time.resumed_s]  # fmt: skip
    bars = []
    for span in lane.spans:
        words = f"{span.phase.value}, {figures.duration(span.length_s)}"
        if any(each.attempt > 1 for each in lane.spans):
            words += f", attempt {span.attempt}"
        bars.append(
            element("g", element("title", words), element(
                "rect", x=_at(span.begin_s, time), width=_at(span.length_s, time), y="22%", height="56%", rx=2,
                class_=f"{span.phase.value}{' open' if span.is_open and present.is_live else ''}",
            ))
        )  # fmt: skip
    marks = [
        element("g", element("title", f"{figures.duration(mark.at_s)}: {mark.words}"),
                element("rect", x=_at(mark.at_s, time), y="6%", width=3, height="88%", class_="mark"))
        for mark in lane.marks
    ]  # fmt: skip
    said = ", ".join(f"{phase.value} {figures.duration(length)}" for phase, length in totals(lane.spans).items())
    return element("svg", lines, bars, marks, class_="track", role="img",
                   aria_label=f"worker {lane.worker_id}: {said or 'nothing yet'}")  # fmt: skip


def _ticks(total_s: float) -> list[float]:
    step = next((each for each in NICE_S if total_s / each <= TICKS), NICE_S[-1] * math.ceil(total_s / 86400 / TICKS))
    return [step * number for number in range(int(total_s / step) + 1)]


def _axis(time: Timeline) -> Markup:
    texts = [
        element("text", _tick(each), x=_at(each, time), y=14, class_="start" if not each else None)
        for each in _ticks(time.total_s) if each / time.total_s < 0.97
    ]  # fmt: skip
    return element("svg", texts, class_="track", aria_hidden="true")


def _tick(seconds: float) -> str:
    if seconds < 60 or seconds % 60:
        return f"{seconds:g} s" if seconds < 60 else f"{int(seconds // 60)}:{int(seconds % 60):02d}"
    return f"{seconds / 60:g} min" if seconds < 7200 else f"{seconds / 3600:g} h"


def _table(present: Present, time: Timeline) -> Markup:
    used = [phase for phase in Phase if any(span.phase is phase for lane in time.lanes for span in lane.spans)]
    head = [
        element("th", name, scope="col") for name in ("Worker", *(figures.sentence(phase) for phase in used), "Notes")
    ]
    rows = []
    for lane in time.lanes:
        sums = totals(lane.spans)
        notes = [element("li", f"{figures.duration(mark.at_s)}: {mark.words}") for mark in lane.marks]
        rows.append(
            element(
                "tr",
                element("th", figures.badge(lane.worker_id), " ", present.labels[lane.worker_id], scope="row"),
                [
                    element("td", figures.duration(sums[phase]) if phase in sums else "–", class_="figure")
                    for phase in used
                ],
                element("td", element("ul", notes) if notes else None),
            )
        )
    base = element("p", f"The checks on the base were through after {figures.duration(time.baseline_s)}.") \
        if time.baseline_s is not None else None  # fmt: skip
    table = element("table", element("caption", "Time per worker and phase", class_="visually-hidden"),
                    element("thead", element("tr", head)), element("tbody", rows))  # fmt: skip
    return element("details", element("summary", "The same as a table"), base,
                   figures.scrolled("Time per worker and phase", table), id="timeline-table")  # fmt: skip
