"""Coverage by room, from `coverage json`: `make coverage`. Fails when a room that can lose work has too little."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

KEEPING = ("scheduling", "snapshots", "landing", "journal")
"""The rooms in which a wrong branch can lose work."""
LEAST_PERCENT = 90.0
"""Of the branches in each of these rooms."""
COUNTED = ("covered_lines", "num_statements", "covered_branches", "num_branches")


def percent(covered: int, total: int) -> float:
    return 100.0 * covered / total if total else 100.0


def by_room(data: Mapping[str, Any]) -> dict[str, Counter[str]]:
    """Room or module at the top → sums of lines and branches."""
    rooms: dict[str, Counter[str]] = {}
    for path, file in data["files"].items():
        parts = Path(path).parts
        room = parts[parts.index("architect_parallel") + 1].removesuffix(".py")
        summary = {key: file["summary"][key] for key in COUNTED}
        rooms.setdefault(room, Counter()).update(summary)
    return rooms


def report(data: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """The table's lines, and what is wrong."""
    rooms = by_room(data)
    lines = [f"{'room':15} {'lines %':>8} {'branches %':>11} {'branches':>9}"]
    for room, sums in sorted(rooms.items()):
        of_lines = percent(sums["covered_lines"], sums["num_statements"])
        of_branches = percent(sums["covered_branches"], sums["num_branches"])
        lines.append(f"{room:15} {of_lines:8.1f} {of_branches:11.1f} {sums['num_branches']:9}")
    faults = [f"{room}: no file was measured" for room in KEEPING if room not in rooms]
    for room in KEEPING:
        if room in rooms:
            reached = percent(rooms[room]["covered_branches"], rooms[room]["num_branches"])
            if reached < LEAST_PERCENT:
                faults.append(
                    f"{room}: {reached:.1f} % of its branches are covered, at least {LEAST_PERCENT:g} % must be"
                )
    return lines, faults


if __name__ == "__main__":
    table, wrong = report(json.loads(Path(sys.argv[1]).read_text()))
    print("\n".join(table))
    sys.exit("\n".join(wrong) or None)
