"""A task graph as text, Mermaid, dot or SVG. Arrows go from a task to its dependents.

The SVG is laid out here, in layers by the longest chain before each task: it needs no program, no script and no font.
Names come from people: every format shows their characters and interprets none.
"""

from __future__ import annotations

import itertools
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from architect_parallel.scheduling import graph
from architect_parallel.text.sanitize import one_line

Names = Mapping[str, Sequence[str]]
"""Name → the names that it depends on."""

_WIDTH, _HEIGHT, _GAP_X, _GAP_Y, _EDGE = 180, 36, 70, 18, 12
_GAP_PASSING = 14
"""The gap between edges that pass through a column."""
_MOST_PASSING = 20_000
"""The most places of passing edges. A drawing with more would be unreadable in any case."""


def as_text(title: str, needs: Names) -> str:
    """A line per task, by steps, and the longest chain."""
    lines = [one_line(title, 200)]
    for number, level in enumerate(graph.levels(needs), 1):
        lines.append(f"Step {number}")
        for name in level:
            after = f"  ← {', '.join(one_line(before, 120) for before in needs[name])}" if needs[name] else ""
            lines.append(f"  {one_line(name, 120)}{after}")
    chain = graph.critical_path(needs)
    lines.append(f"Longest chain ({len(chain.names)}): {' → '.join(one_line(name, 120) for name in chain.names)}")
    return "\n".join(lines)


def as_mermaid(title: str, needs: Names) -> str:
    """A Mermaid flowchart."""
    ids = {name: f"t{index}" for index, name in enumerate(needs, 1)}
    lines = ["---", f"title: {_quoted(one_line(title, 200))}", "---", "flowchart LR"]
    for name, own in ids.items():
        label = "".join(
            letter if letter.isalnum() or letter in " -_.,:/" else f"#{ord(letter)};" for letter in one_line(name, 120)
        )
        lines.append(f'    {own}["{label}"]')
    lines += [f"    {ids[dependency]} --> {ids[name]}" for name, wanted in needs.items() for dependency in wanted]
    return "\n".join(lines)


def as_dot(title: str, needs: Names) -> str:
    """A Graphviz digraph."""
    lines = [f"digraph {_quoted(one_line(title, 200))} {{", "    rankdir=LR;", "    node [shape=box];"]
    lines += [f"    {_quoted(name)};" for name in needs]
    edges = ((dependency, name) for name, dependencies in needs.items() for dependency in dependencies)
    lines += [f"    {_quoted(begin)} -> {_quoted(end)};" for begin, end in edges]
    return "\n".join([*lines, "}"])


def as_svg(title: str, needs: Names) -> str:
    """An SVG drawing."""
    columns = _columns(needs)
    tops = [_EDGE - min((item.middle - item.half for item in column), default=0) for column in columns]
    top = max(tops, default=_EDGE)
    places: dict[tuple[int, str], _Item] = {(x, item.name): item for x, column in enumerate(columns) for item in column}
    boxes = {item.name: x for (x, _), item in places.items() if item.is_box}
    width = 2 * _EDGE + max(0, len(columns) * (_WIDTH + _GAP_X) - _GAP_X)
    height = round(top + _EDGE + max((item.middle + item.half for column in columns for item in column), default=0))

    def y(column: int, name: str) -> int:
        return round(top + places[column, name].middle)

    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
        ' font-family="sans-serif" font-size="13">',
        f"<title>{_xml(one_line(title, 200))}</title>",
        '<defs><marker id="arrow" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        '<path d="M0 0L8 4L0 8z" fill="#555"/></marker></defs>',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
    ]
    for name, begin in boxes.items():  # the common part of all edges from here, once
        path, column = "", begin + 1
        while (column, name) in places:
            path += f"{_curve(column - 1, y(column - 1, name), column, y(column, name))}H{_left(column) + _WIDTH}"
            column += 1
        if path:
            lines.append(f'<path d="{_start(begin, y(begin, name))}{path}" fill="none" stroke="#555"/>')
    for name, wanted in needs.items():
        end = boxes[name]
        for dependency in wanted:
            begin = end - 1 if (end - 1, dependency) in places else boxes[dependency]
            path = _start(begin, y(begin, dependency)) + _curve(begin, y(begin, dependency), end, y(end, name))
            lines.append(f'<path d="{path}" fill="none" stroke="#555" marker-end="url(#arrow)"/>')
    for name, column in boxes.items():
        label, x, middle = one_line(name, 120), _left(column), y(column, name)
        lines.append(
            f'<g><title>{_xml(label)}</title><rect x="{x}" y="{middle - _HEIGHT // 2}" width="{_WIDTH}"'
            f' height="{_HEIGHT}" rx="6" fill="#eef3fb" stroke="#36c"/><text x="{x + _WIDTH // 2}" y="{middle + 4}"'
            f' text-anchor="middle" fill="#111">{_xml(_fitted(label, _WIDTH - 16))}</text></g>'
        )
    return "\n".join([*lines, "</svg>"])


FORMATS: Mapping[str, Callable[[str, Names], str]] = {
    "text": as_text,
    "mermaid": as_mermaid,
    "dot": as_dot,
    "svg": as_svg,
}


@dataclass(frozen=True, slots=True)
class _Item:
    """A cell of a column: a task box, or a dummy node that an edge to a later column passes through."""

    name: str
    is_box: bool
    middle: float

    @property
    def half(self) -> float:
        return (_HEIGHT if self.is_box else 0) / 2


def _columns(needs: Names) -> list[list[_Item]]:
    """A column for each step. Each is ordered by the positions of the dependencies, so that few edges cross.

    An edge that passes a column gets a dummy node there, one for all edges of a task. Through a box, it would look as
    if the box were part of the edge.
    """
    levels = graph.levels(needs)
    begins = {name: column for column, level in enumerate(levels) for name in level}
    ends = dict(begins)
    for name, wanted in needs.items():
        for dependency in wanted:
            ends[dependency] = max(ends[dependency], begins[name] - 1)
    if sum(ends.values()) - sum(begins.values()) > _MOST_PASSING:
        ends = begins
    columns: list[list[_Item]] = []
    middles: dict[str, float] = {}
    for column, level in enumerate(levels):
        passing = [item.name for item in columns[-1] if ends[item.name] >= column] if columns else []
        wish = {name: sum(middles[before] for before in needs[name]) / max(1, len(needs[name])) for name in level}
        names = [(wish[name], name, True) for name in level] + [(middles[name], name, False) for name in passing]
        names.sort(key=lambda item: item[0])  # equal ones keep the order of the file
        sizes = [_HEIGHT + _GAP_Y if is_box else _GAP_PASSING for _, _, is_box in names]
        at, items = -sum(sizes) / 2, list[_Item]()
        for (_, name, is_box), size in zip(names, sizes, strict=True):
            items.append(_Item(name, is_box, at + size / 2))
            at += size
        middles |= {item.name: item.middle for item in items}
        columns.append(items)
    return columns


def _left(column: int) -> int:
    return _EDGE + column * (_WIDTH + _GAP_X)


def _start(column: int, y: int) -> str:
    return f"M{_left(column) + _WIDTH} {y}"


def _curve(begin: int, start: int, end: int, at: int) -> str:
    """A curve from the right edge of one column to the left edge of another."""
    middle = (_left(begin) + _WIDTH + _left(end)) // 2
    return f"C{middle} {start} {middle} {at} {_left(end)} {at}"


def _fitted(text: str, pixels: int) -> str:
    """As much of `text` as fits. Without a font to measure, each letter counts as a wide one of its kind.

    >>> _fitted("tests", 164), _fitted("W" * 20, 164), _fitted("設計" * 10, 164)
    ('tests', 'WWWWWWWWWWWW…', '設計設計設計設計設計…')
    """
    if sum(map(_pixels, text)) <= pixels:
        return text
    widths = itertools.accumulate(map(_pixels, text), initial=_pixels("…"))
    return f"{text[: sum(width <= pixels for width in widths) - 1].rstrip()}…"


def _pixels(letter: str) -> float:
    if unicodedata.category(letter) in ("Mn", "Me", "Cf"):
        return 0.0
    if unicodedata.east_asian_width(letter) in "WF":
        return 15.0
    if letter in "WMmw@%…—":
        return 12.5
    return 9.0 if letter.isupper() or letter.isdigit() else 7.0


def _quoted(text: str) -> str:
    plain = one_line(text, 200).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{plain}"'


def _xml(text: str) -> str:
    return escape("".join(letter if letter.isprintable() else "\ufffd" for letter in text))
