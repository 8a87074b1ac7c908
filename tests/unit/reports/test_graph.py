"""The drawing of a graph: nothing stands on something else, whatever the names and the lines."""

from __future__ import annotations

import itertools
import re
import xml.etree.ElementTree as ET

from hypothesis import given
from hypothesis import strategies as st

from architect_parallel.reports.graph import as_svg

SVG = "{http://www.w3.org/2000/svg}"


def drawn(
    needs: dict[str, list[str]],
) -> tuple[list[tuple[float, float, float, float]], list[list[tuple[float, float]]]]:
    """The boxes (left, top, right, bottom), and of each line the points it is drawn by."""
    root = ET.fromstring(as_svg("a graph", needs))
    boxes = []
    for each in root.iter(f"{SVG}g"):
        x, y, width, height = (
            float(each.findall(f"{SVG}rect")[0].attrib[key]) for key in ("x", "y", "width", "height")
        )
        boxes.append((x, y, x + width, y + height))
        assert x >= 0
        assert x + width <= float(root.attrib["width"])
        assert y >= 0
        assert y + height <= float(root.attrib["height"])
    lines = []
    for each in root.findall(f"{SVG}path"):
        points: list[tuple[float, float]] = []
        for kind, numbers in re.findall(r"([MCH])([^MCH]*)", each.attrib["d"]):
            values = [float(number) for number in numbers.split()]
            points.append((values[0], points[-1][1]) if kind == "H" else (values[-2], values[-1]))
        lines.append(points)
    return boxes, lines


@st.composite
def graphs(draw: st.DrawFn) -> dict[str, list[str]]:
    names = [f"t{index}" for index in range(draw(st.integers(1, 12)))]
    return {
        name: draw(st.lists(st.sampled_from(names[:index]), unique=True, max_size=3)) if index else []
        for index, name in enumerate(names)
    }


@given(graphs())
def test_no_line_leads_through_a_box_and_no_box_stands_on_another(needs: dict[str, list[str]]) -> None:
    boxes, lines = drawn(needs)
    for index, (left, top, right, bottom) in enumerate(boxes):
        for other in boxes[index + 1 :]:
            assert other[0] >= right or other[2] <= left or other[1] >= bottom or other[3] <= top
        for points in lines:
            for (x1, y1), (x2, y2) in itertools.pairwise(points):
                if y1 == y2:
                    assert x2 <= left or x1 >= right or not top < y1 < bottom
                else:  # a curve, which stays between columns
                    assert x2 <= left or x1 >= right


def test_every_dependency_has_its_arrow_and_a_graph_of_many_long_lines_stays_small() -> None:
    needs = {"t0": [], "t1": ["t0"], **{f"t{index}": [f"t{index - 1}", "t0"] for index in range(2, 300)}}
    text = as_svg("long", needs)
    assert text.count("marker-end") == sum(map(len, needs.values()))
    assert len(text) < 300_000
    everything = {f"t{index}": [f"t{other}" for other in range(index)] for index in range(250)}
    assert as_svg("all", everything).count("marker-end") == 250 * 249 / 2


def test_a_name_stays_in_its_box() -> None:
    for name in ("W" * 100, "設計" * 50, "😀" * 100, "i" * 100, "e\u0301" * 30):
        root = ET.fromstring(as_svg("names", {name: []}))
        ((shown,),) = ([each.text or ""] for each in root.iter(f"{SVG}text"))
        wide = {"W": 12.5, "設": 13, "計": 13, "😀": 14, "i": 3, "e": 7, "\u0301": 0, "…": 13}
        assert sum(wide[letter] for letter in shown) <= 172, shown
        assert [each.text for each in root.iter(f"{SVG}title")][1] == name
