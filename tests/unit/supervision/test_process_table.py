"""A process table as data."""

from __future__ import annotations

from architect_parallel.supervision.process_table import ProcessTable


def test_descendants_come_parents_first_without_the_root() -> None:
    table = ProcessTable({1: (2, 3), 2: (4,), 4: (5,)}, {})
    assert table.descendants(1) == (2, 3, 4, 5)
    assert table.descendants(3) == ()


def test_resident_sum_ignores_unknown_processes() -> None:
    assert ProcessTable({}, {1: 10, 2: 20}).resident_sum_bytes([1, 2, 3]) == 30
