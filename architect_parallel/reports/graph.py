"""A task graph as text, Mermaid, dot or SVG. Arrows go from what comes first to what waits for it.

The SVG is laid out here, in layers by the longest chain before each task: it needs no program, no script and no font.
Names are people's: whatever is in them is shown, and nothing in them is obeyed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape

from architect_parallel.planning import graph
from architect_parallel.planning.plain_text import one_line

Names = Mapping[str, Sequence[str]]
"""Name → names it depends on."""

_WIDTH, _HEIGHT, _GAP_X, _GAP_Y, _EDGE = 180, 36, 70, 18, 12


def as_text(title: str, needs: Names) -> str:
    """A line per task, by steps, and the chain that decides how long it takes."""
    lines = [one_line(title, 200)]
    for number, level in enumerate(graph.levels(needs), 1):
        lines.append(f"Step {number}")
        for name in level:
            after = f"  ← {', '.join(one_line(each, 120) for each in needs[name])}" if needs[name] else ""
            lines.append(f"  {one_line(name, 120)}{after}")
    chain = graph.critical_path(needs)
    lines.append(f"Longest chain ({len(chain.names)}): {' → '.join(one_line(each, 120) for each in chain.names)}")
    return "\n".join(lines)


def as_mermaid(title: str, needs: Names) -> str:
    """A Mermaid flowchart."""
    ids = {name: f"t{index}" for index, name in enumerate(needs, 1)}
    lines = ["---", f"title: {_quoted(one_line(title, 200))}", "---", "flowchart LR"]
    for name, own in ids.items():
        label = "".join(
            each if each.isalnum() or each in " -_.,:/" else f"#{ord(each)};" for each in one_line(name, 120)
        )
        lines.append(f'    {own}["{label}"]')
    lines += [f"    {ids[each]} --> {ids[name]}" for name, wanted in needs.items() for each in wanted]
    return "\n".join(lines)


def as_dot(title: str, needs: Names) -> str:
    """A Graphviz digraph."""
    lines = [f"digraph {_quoted(one_line(title, 200))} {{", "    rankdir=LR;", "    node [shape=box];"]
    lines += [f"    {_quoted(name)};" for name in needs]
    lines += [f"    {_quoted(each)} -> {_quoted(name)};" for name, wanted in needs.items() for each in wanted]
    return "\n".join([*lines, "}"])


def as_svg(title: str, needs: Names) -> str:
    """A drawing of its own."""
    layers = _layers(needs)
    tallest = max((len(each) for each in layers), default=0)
    places: dict[str, tuple[int, int]] = {}
    for column, layer in enumerate(layers):
        top = _EDGE + (tallest - len(layer)) * (_HEIGHT + _GAP_Y) // 2
        for row, name in enumerate(layer):
            places[name] = (_EDGE + column * (_WIDTH + _GAP_X), top + row * (_HEIGHT + _GAP_Y))
    width = 2 * _EDGE + max(0, len(layers) * (_WIDTH + _GAP_X) - _GAP_X)
    height = 2 * _EDGE + max(0, tallest * (_HEIGHT + _GAP_Y) - _GAP_Y)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
        ' font-family="sans-serif" font-size="13">',
        f"<title>{_xml(one_line(title, 200))}</title>",
        '<defs><marker id="arrow" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        '<path d="M0 0L8 4L0 8z" fill="#555"/></marker></defs>',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
    ]
    for name, wanted in needs.items():
        for each in wanted:
            (x1, y1), (x2, y2) = places[each], places[name]
            start, end, middle = x1 + _WIDTH, x2, (x1 + _WIDTH + x2) // 2
            y1, y2 = y1 + _HEIGHT // 2, y2 + _HEIGHT // 2
            path = f"M{start} {y1}C{middle} {y1} {middle} {y2} {end} {y2}"
            lines.append(f'<path d="{path}" fill="none" stroke="#555" marker-end="url(#arrow)"/>')
    for name, (x, y) in places.items():
        label = one_line(name, 120)
        shown = label if len(label) <= 24 else f"{label[:23]}…"
        lines.append(
            f'<g><title>{_xml(label)}</title><rect x="{x}" y="{y}" width="{_WIDTH}" height="{_HEIGHT}" rx="6"'
            f' fill="#eef3fb" stroke="#36c"/><text x="{x + _WIDTH // 2}" y="{y + _HEIGHT // 2 + 4}"'
            f' text-anchor="middle" fill="#111">{_xml(shown)}</text></g>'
        )
    return "\n".join([*lines, "</svg>"])


FORMATS: Mapping[str, Callable[[str, Names], str]] = {
    "text": as_text, "mermaid": as_mermaid, "dot": as_dot, "svg": as_svg,
}  # fmt: skip


def _layers(needs: Names) -> list[list[str]]:
    """The steps, each ordered by where the things it waits for stand, so that few lines cross."""
    layers: list[list[str]] = []
    rows: dict[str, float] = {}
    for level in graph.levels(needs):
        first = {name: index for index, name in enumerate(level)}
        middle = {name: sum(rows[each] for each in needs[name]) / max(1, len(needs[name])) for name in level}
        layer = sorted(level, key=lambda name: (middle[name], first[name]))
        rows |= {name: index - len(layer) / 2 for index, name in enumerate(layer)}
        layers.append(layer)
    return layers


def _quoted(text: str) -> str:
    plain = one_line(text, 200).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{plain}"'


def _xml(text: str) -> str:
    return escape("".join(each if each.isprintable() else "\ufffd" for each in text))
