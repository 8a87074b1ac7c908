"""The nearest known name."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from architect_parallel.errors import UsageError
from architect_parallel.text.suggest import nearest, require_known

BACKENDS = ("architect", "claude", "codex", "shell")


@pytest.mark.parametrize(
    ("name", "found"), [("clade", "claude"), ("Claude", "claude"), ("codx", "codex"), ("zzz", None), ("", None)]
)
def test_nearest_name(name: str, found: str | None) -> None:
    assert nearest(name, BACKENDS) == found


def test_unknown_name_with_a_near_one_offers_it() -> None:
    with pytest.raises(UsageError, match="unknown backend 'clude'; did you mean 'claude'"):
        require_known("backend", "clude", BACKENDS)


def test_unknown_name_without_a_near_one_lists_all() -> None:
    with pytest.raises(UsageError, match="known: architect, claude, codex, shell"):
        require_known("backend", "zzz", BACKENDS)


def test_known_name_is_itself() -> None:
    assert require_known("backend", "codex", iter(BACKENDS)) == "codex"


@given(st.text(max_size=300))
@settings(deadline=None)
def test_any_name_gets_an_answer(name: str) -> None:
    assert nearest(name, BACKENDS) in (None, *BACKENDS)
