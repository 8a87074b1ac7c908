"""JSON by way of the YAML builder: the same data as the standard library reads, or one fault with its place."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from architect_parallel.config.yaml_source import DEEPEST, Faulty, Position, read_data

LEAVES = st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text('abc\n"\\é', max_size=4), inner)
)


def faults(text: str | bytes) -> list[str]:
    with pytest.raises(Faulty) as caught:
        read_data(text if isinstance(text, bytes) else text.encode(), as_json=True)
    return [f"{fault.place} {fault.message}" for fault in caught.value.faults]


@given(VALUES, st.sampled_from([None, 1, "\t"]), st.booleans())
def test_what_the_standard_library_writes_is_read_back(
    value: object, indent: int | str | None, ascii_only: bool
) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    assert read_data(text.encode(), as_json=True).data == value


@given(st.text('{}[]:,"\\ \n1-.eE tfnul', max_size=30))
def test_it_takes_exactly_what_the_standard_library_takes(text: str) -> None:
    try:
        expected = json.loads(text, object_pairs_hook=lambda pairs: pairs)
    except ValueError:
        expected = None
        assert faults(text)
    else:
        repeated = json.dumps(expected).count("[") > DEEPEST
        try:
            document = read_data(text.encode(), as_json=True)
        except Faulty:
            assert repeated
        else:
            # A key that stands twice is a fault, and the data is for further checks only.
            assert document.faults or document.data is not None or expected is None


@given(st.binary(max_size=200))
def test_any_bytes_are_data_or_faults(data: bytes) -> None:
    with contextlib.suppress(Faulty):
        read_data(data, as_json=True)


def test_keys_and_members_have_places() -> None:
    places = read_data(b'{"a": [1,\n  {"b": 2}]}', as_json=True).places
    assert places[("a",)] == Position(1, 2)
    assert places[("a", 0)] == Position(1, 8)
    assert places[("a", 1)] == Position(2, 3)
    assert places[("a", 1, "b")] == Position(2, 4)


def test_what_yaml_cannot_read_of_json_is_read() -> None:
    text = b'{\n\t"a\\/b": "\\ud83d\\ude00"}'
    assert read_data(text, as_json=True).data == {"a/b": "\U0001f600"}
    # The control: as YAML the same text is a fault.
    with pytest.raises(Faulty):
        read_data(text)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "1:1 is not JSON: expected a value, found its end"),
        ('{"a": NaNs}', "1:7 is not JSON: expected a value, found 'NaNs'"),
        ("[1,\n]", "2:1 is not JSON: expected a value, found ']'"),
        ('{"a": 1,}', "1:9 is not JSON: expected a key in double quotes, found '}'"),
        ('{"a" 1}', "1:6 is not JSON: expected `:`, found '1'"),
        ("[1 2]", "1:4 is not JSON: expected `,` or `]`, found '2'"),
        ("[01]", "1:2 is not JSON: expected a value, found '01'"),
        ("{} x", "1:4 is not JSON: expected the end, found 'x'"),
        ('["a', "1:2 is not JSON: a string begins here and does not end"),
        ('["a\nb"]', "1:4 is not JSON: Invalid control character at"),
        ("[" * 100_000, f"1:{DEEPEST + 1} is nested deeper than {DEEPEST} levels"),
    ],
)
def test_the_first_fault_is_named_with_its_place(text: str, fault: str) -> None:
    assert faults(text) == [fault]


def test_a_key_that_stands_twice_is_named() -> None:
    document = read_data(b'{"a": 1,\n "a": 2}', as_json=True)
    assert [str(fault.place) for fault in document.faults] == ["2:2"]


def test_what_is_no_number_is_named_and_reading_goes_on() -> None:
    document = read_data(b'{"a": NaN, "b": -Infinity,\n "c": 1}', as_json=True)
    assert [(str(fault.place), fault.message) for fault in document.faults] == [
        ("1:7", "'NaN' is not a JSON value"),
        ("1:17", "'-Infinity' is not a JSON value"),
    ]
    assert document.data["c"] == 1


def test_a_long_line_costs_no_more_per_token_than_a_short_one() -> None:
    # Places are counted forward only: looking back for the line's begin would be 10^11 steps here.
    text = b"[" + b"1," * 400_000 + b"1]"
    assert len(read_data(text, as_json=True).data) == 400_001
