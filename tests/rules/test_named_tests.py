"""The tests that the design notes name as proof exist."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOTES = sorted((ROOT / "docs" / "design").glob("issue-*.md"))
NAMED = re.compile(r"`(?P<file>[\w/]+\.py|…)(?:::(?P<name>[\w…]+))?`")
"""A file below `tests`, or `…` for the one named last; with a test or not. `…` within its name: what is left out."""


def missing(text: str) -> Iterator[str]:
    """What a note names and is not there."""
    last = None
    for found in NAMED.finditer(text):
        if not re.search(r"test_|…", found[0]):
            continue  # a file of the program
        file = found["file"] if found["file"] != "…" else last
        place = ROOT / "tests" / (file or "")
        if not place.is_file():
            yield found[0]
            continue
        last = file
        name = re.escape(found["name"] or "").replace("…", r"\w*")
        if name and not re.search(rf"^def {name}\(", place.read_text(encoding="utf-8"), re.MULTILINE):
            yield f"{found[0]} ({file})"


@pytest.mark.parametrize("note", NOTES, ids=[note.name for note in NOTES])
def test_every_test_a_note_names_exists(note: Path) -> None:
    assert list(missing(note.read_text(encoding="utf-8"))) == []


def test_what_is_not_there_is_found() -> None:
    here = "`rules/test_named_tests.py::test_what_is_…`, `…::test_every_test_…_exists`"
    assert list(missing(here)) == []
    assert list(missing(f"{here}, `…::test_nothing`, `rules/test_nothing.py`, `…::test_every_…`")) == [
        "`…::test_nothing` (rules/test_named_tests.py)",
        "`rules/test_nothing.py`",
    ]
    assert len(NOTES) >= 3
