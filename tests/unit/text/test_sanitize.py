"""Text from agents is made fit to be shown."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from architect_parallel.text.sanitize import one_line, plain_text

UNSAFE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
SPITEFUL = st.text(
    alphabet=st.one_of(
        st.sampled_from("\x1b[]0;m\x07\x9b\x90\\\r\n\t\u202e\u2066\x85ab31HJ"),
        st.characters(),
        st.integers(0xD800, 0xDFFF).map(chr),
    )
)


@given(SPITEFUL)
def test_nothing_unsafe_survives(text: str) -> None:
    assert UNSAFE.search(plain_text(text)) is None


@given(SPITEFUL)
def test_a_second_pass_changes_nothing(text: str) -> None:
    assert plain_text(plain_text(text)) == plain_text(text)


@given(st.text(alphabet=st.characters(categories=["L", "N", "P", "S", "Zs"]) | st.sampled_from("\n\t")))
def test_ordinary_text_is_left_alone(text: str) -> None:
    assert plain_text(text) == text


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("\x1b[1;31merror\x1b[0m", "error"),
        ("\x1b]8;;https://evil.example\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1bP$q\x1b\\after", "after"),
        ("\x9b31mred", "red"),
        ("10%\r20%\r\ndone", "10%\n20%\ndone"),
        ("a\x1b", "a"),
        ("user\u202egnp.exe", "usergnp.exe"),
        ("tab\tstays\nnewline too", "tab\tstays\nnewline too"),
        ("\x1b]0;an unended title\nnext line", "\nnext line"),
    ],
)
def test_sequences_go_and_words_stay(text: str, plain: str) -> None:
    assert plain_text(text) == plain


@given(SPITEFUL, st.integers(2, 50))
def test_one_line_is_one_line_within_its_limit(text: str, limit: int) -> None:
    line = one_line(text, limit)
    assert len(line) <= limit
    assert len(line.splitlines()) <= 1
