"""`make coverage` fails when a room that can lose work has too few of its branches covered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.coverage_rooms import KEEPING, report

PACKAGE = Path(__file__).resolve().parents[2] / "architect_parallel"


def measured(**branches: int) -> dict[str, Any]:
    """What `coverage json` writes: two files per room with ten branches each, so many of them covered in the second."""
    files = {
        f"architect_parallel/{room}/{name}.py": {
            "summary": {"covered_lines": 1, "num_statements": 4, "covered_branches": covered, "num_branches": 10}
        }
        for room in (*KEEPING, "reports")
        for name, covered in (("one", 10), ("two", branches.get(room, 10)))
    }
    return {"files": files}


def test_keeping_rooms_exist() -> None:
    assert [room for room in KEEPING if not (PACKAGE / room).is_dir()] == []


def test_each_room_is_shown_with_its_sums() -> None:
    lines, faults = report(measured(reports=0))

    assert faults == []
    assert [line.split() for line in lines if line.startswith("reports")] == [["reports", "25.0", "50.0", "20"]]


@pytest.mark.parametrize(("covered", "fails"), [(8, False), (7, True)])
def test_ninety_percent_of_the_branches_are_enough(covered: int, fails: bool) -> None:
    expected = ["landing: 85.0 % of its branches are covered, at least 90 % must be"] if fails else []
    assert report(measured(landing=covered))[1] == expected


def test_a_room_that_was_not_measured_fails() -> None:
    data = measured()
    data["files"] = {path: file for path, file in data["files"].items() if "/journal/" not in path}

    assert report(data)[1] == ["journal: no file was measured"]
