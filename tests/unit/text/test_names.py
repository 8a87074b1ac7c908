"""Names given and names taken."""

from __future__ import annotations

import contextlib
import re
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from architect_parallel.errors import UsageError
from architect_parallel.text import names as naming
from architect_parallel.text.place_names import DEFAULT_BRANCH, fill

HOSTILE = [
    "a b",
    "a;b",
    "$(id)",
    "`id`",
    "a|b",
    "a&b",
    "a>b",
    "-m",
    "--model",
    "a\nb",
    "a\0b",
    "é",
    "a'b",
    'a"b',
    "a\\b",
    "x" * 129,
    "a*",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_model_names_with_shell_characters_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="must be a model name"):
        naming.split_models(f"gpt-4o,{name}")


@pytest.mark.parametrize(
    "name",
    [
        "gpt-4o",
        "claude-opus-4-5-20251101",
        "openrouter/deepseek-chat:free",
        "m@1",
        "x[1m]",
        "a+b",
        "s:right",
        "x" * 128,
    ],
)
def test_model_names_in_use_are_taken(name: str) -> None:
    assert naming.split_models(name) == (name,)


@pytest.mark.parametrize(("csv", "place"), [("", 1), (" ", 1), ("a,,b", 2), ("a,", 2), (",a", 1), ("a, ,b", 2)])
def test_empty_entries_are_errors_with_their_place(csv: str, place: int) -> None:
    with pytest.raises(UsageError, match=f"entry {place} is empty"):
        naming.split_models(csv)


def test_spaces_are_trimmed_and_repetitions_kept() -> None:
    assert naming.split_models(" a , b,a ") == ("a", "b", "a")


@given(st.text())
@settings(deadline=None)
def test_any_text_is_models_or_a_usage_error(text: str) -> None:
    names: tuple[str, ...] = ()
    with contextlib.suppress(UsageError):
        names = naming.split_models(text)
    assert all(re.fullmatch(r"[A-Za-z0-9._:/@+\[\]-]{1,128}", name) and name[0] != "-" for name in names)


@given(st.integers(min_value=1, max_value=10**18 - 1))
@settings(deadline=None)
def test_numbers_survive_their_names(number: int) -> None:
    assert naming.parse_branch_number(fill(DEFAULT_BRANCH, {"n": str(number)})) == number


@given(st.from_regex(r"architect/parallel-\S{0,6}", fullmatch=True))
@settings(deadline=None)
def test_a_number_is_read_only_from_the_name_it_gives(branch: str) -> None:
    number = naming.parse_branch_number(branch)
    assert number is None or fill(DEFAULT_BRANCH, {"n": str(number)}) == branch


@pytest.mark.parametrize("end", ["experiment", "007x", "٣", "1\n", "-1", "1/2", "+1", "1" * 19])
def test_foreign_branches_have_no_number(end: str) -> None:
    assert naming.parse_branch_number(f"architect/parallel-{end}") is None


def test_run_ids_are_utc_and_sort_by_time() -> None:
    east = datetime(2026, 1, 1, 1, 0, tzinfo=timezone(timedelta(hours=5)))
    west = datetime(2026, 1, 1, 1, 0, tzinfo=UTC)
    assert naming.run_id(east, "zzzz") == "20251231-200000-zzzz"
    assert naming.run_id(east, "zzzz") < naming.run_id(west, "aaaa")
    assert naming.is_run_id(naming.run_id(west, "0a9z"))


@pytest.mark.parametrize("text", ["", "abc", "abcde", "AB12", "a/b1", "a b1"])
def test_run_ids_take_no_other_random_text(text: str) -> None:
    with pytest.raises(ValueError):
        naming.run_id(datetime(2026, 1, 1, tzinfo=UTC), text)
