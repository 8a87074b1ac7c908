"""Tables for people: as wide as their contents on a pipe, and never wider than the terminal on one.

A terminal shows the columns in the order of their importance. Where they do not fit, texts that may be shortened are
shortened first, then the least important columns are left out. `--wide` shows everything in full.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from architect_parallel.text.display import PIPE, Display, Style, columns, shorten

Cell = str | tuple[str, Style | None]
"""A text, or a text with its style."""

_GAP = 2
_ALWAYS_SHOWN = 2
"""The most important columns, which are never left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableColumn:
    """A column of a table."""

    title: str
    rank: float = 0
    """The place on a terminal, where the highest is the first to be left out."""
    least: int | None = None
    """Width down to which its texts may be shortened. `None` means that they are never shortened."""
    is_extra: bool = False
    """It is shown on a terminal only where no text has to be shortened for it."""
    on_pipe: bool = True
    on_terminal: bool = True


def render(cols: Sequence[TableColumn], rows: Sequence[Sequence[Cell]], display: Display = PIPE) -> list[str]:
    """A heading and a line per row.

    Args:
        rows: Cells in the order of `cols`. `-` or an empty text means no value. On a terminal, a column without any
            value is left out.
    """
    on_pipe = display.is_pipe
    order = range(len(cols)) if on_pipe else sorted(range(len(cols)), key=lambda place: cols[place].rank)
    shown = [place for place in order if (cols[place].on_pipe if on_pipe else _is_filled(cols[place], rows, place))]
    natural = {place: max(columns(cols[place].title), *(columns(_text(row[place])) for row in rows)) for place in shown}
    widths = natural if display.width is None else _fitting(cols, natural, shown, display.width)
    heading: list[Cell] = [(cols[place].title, Style.STRONG) for place in widths]
    lines: list[list[Cell]] = [heading, *([row[place] for place in widths] for row in rows)]
    return [_line(cells, list(widths.values()), display) for cells in lines]


def _is_filled(column: TableColumn, rows: Sequence[Sequence[Cell]], place: int) -> bool:
    return column.on_terminal and (not rows or any(_text(row[place]) not in ("", "-") for row in rows))


def _fitting(cols: Sequence[TableColumn], natural: dict[int, int], shown: list[int], room: int) -> dict[int, int]:
    """The columns that fit, with their widths."""
    shown = list(shown)

    def least(place: int) -> int:
        limit = cols[place].least
        return natural[place] if limit is None else min(natural[place], max(limit, len(cols[place].title)))

    def needed(place: int) -> int:
        return natural[place] if cols[last].is_extra else least(place)

    while len(shown) > _ALWAYS_SHOWN:
        last = max(shown, key=lambda place: cols[place].rank)
        if sum(map(needed, shown)) + _GAP * (len(shown) - 1) <= room:
            break
        shown.remove(last)
    widths = {place: least(place) for place in shown}
    spare = room - sum(widths.values()) - _GAP * (len(widths) - 1)
    for place in shown:
        more = max(0, min(spare, natural[place] - widths[place]))
        widths[place] += more
        spare -= more
    return widths


def _line(cells: Sequence[Cell], widths: Sequence[int], display: Display) -> str:
    parts, blanks = [], ""
    for cell, width in zip(cells, widths, strict=True):
        text = shorten(_text(cell), width)
        if text:
            parts.append(blanks + display.paint(text, cell[1] if isinstance(cell, tuple) else None))
            blanks = ""
        blanks += " " * (width - columns(text) + _GAP)
    return "".join(parts)


def _text(cell: Cell) -> str:
    return cell[0] if isinstance(cell, tuple) else cell
