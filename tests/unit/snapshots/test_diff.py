"""`worktrees.differences`: git's combined raw and numstat output becomes changes."""

from __future__ import annotations

import os

import pytest

from architect_parallel.domain import FileChange
from architect_parallel.snapshots.diff import diff_of, parse_changes

ZERO = "0" * 40
ONE = "1" * 40


def raw(*records: str) -> bytes:
    return b"".join(os.fsencode(record) + b"\0" for record in records)


def test_raw_records_and_counts_meet_by_path() -> None:
    output = raw(
        f":100644 100644 {ZERO} {ONE} M", "b", f":000000 100755 {ZERO} {ONE} A", "a", "3\t1\tb", "2\t0\ta"
    )  # fmt: skip
    found = parse_changes(output)
    assert [change.file for change in found] == [
        FileChange(path="a", status="A", insertions=2, deletions=0),
        FileChange(path="b", status="M", insertions=3, deletions=1),
    ]
    assert (found[0].old_mode, found[0].new_mode) == ("000000", "100755")


def test_a_rename_carries_both_paths_and_no_score() -> None:
    output = raw(f":100644 100644 {ZERO} {ONE} R087", "old\nname", "new name", "1\t2\t", "old\nname", "new name")
    (change,) = parse_changes(output)
    assert change.file == FileChange(path="new name", status="R", insertions=1, deletions=2, old_path="old\nname")


def test_counts_of_a_binary_file_are_unknown_not_zero() -> None:
    (change,) = parse_changes(raw(f":100644 100644 {ZERO} {ONE} M", "x", "-\t-\tx"))
    assert change.file.insertions is None
    assert change.file.deletions is None


@pytest.mark.parametrize(
    "path", ["tab\there", ":100644 100644 0 1 M", "1\t2\tx", "new\nline", os.fsdecode(b"\xff\xfe")]
)
def test_no_name_is_taken_for_syntax(path: str) -> None:
    (change,) = parse_changes(raw(f":100644 100644 {ZERO} {ONE} M", path, f"1\t1\t{path}"))
    assert change.file == FileChange(path=path, status="M", insertions=1, deletions=1)


@pytest.mark.parametrize("output", [raw("nonsense"), raw(f":100644 100644 {ZERO} {ONE} M"), raw("1\t1\tunheard-of")])
def test_other_output_is_an_error(output: bytes) -> None:
    with pytest.raises(ValueError, match="diff-tree"):
        parse_changes(output)


def test_no_output_is_no_change() -> None:
    assert parse_changes(b"") == ()


def test_totals_leave_unknown_counts_out() -> None:
    output = raw(f":100644 100644 {ZERO} {ONE} M", "x", f":100644 100644 {ZERO} {ONE} M", "y", "-\t-\tx", "4\t5\ty")
    diff = diff_of("base", "head", parse_changes(output))
    assert (diff.insertions, diff.deletions, len(diff.files)) == (4, 5, 2)
