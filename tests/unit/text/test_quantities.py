"""Counts, durations, sizes and money from what users write."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from architect_parallel.errors import ExitCode, UsageError
from architect_parallel.text.quantities import (
    LONGEST_S,
    parse_count,
    parse_duration,
    parse_size,
    parse_usd,
    quoted,
    show_size,
)

Parse = Callable[..., int | float]
PARSERS: list[Parse] = [parse_count, parse_duration, parse_size, parse_usd]

HARD = st.one_of(
    st.text(max_size=40),
    st.floats(),
    st.integers(),
    st.text(alphabet="0123456789.smhGMKiBe-+_ naif", max_size=12),
    st.booleans(),
)


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "nan", "11", "", " 3", "3 ", "1_0", "３", "1e1", "0x3", "9" * 5000])
def test_count_out_of_bounds_names_flag_value_and_bounds(text: str) -> None:
    with pytest.raises(UsageError) as raised:
        parse_count(text, "--workers", high=10, hint="raise workers_ceiling")
    assert raised.value.exit_code == ExitCode.USAGE
    assert raised.value.message.startswith(f"--workers {quoted(text)}: ")
    assert "from 1 to 10" in raised.value.message
    assert raised.value.hint == "raise workers_ceiling"


@pytest.mark.parametrize(("text", "count"), [("1", 1), ("10", 10), ("007", 7), (4, 4)])
def test_count_within_bounds(text: str | int, count: int) -> None:
    assert parse_count(text, "--workers", high=10) == count


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("300", 300), ("30s", 30), ("5m", 300), ("1h", 3600), ("1.5h", 5400), (".5", 0.5), (2.5, 2.5), (7, 7),
     ("168h", LONGEST_S)],
)  # fmt: skip
def test_durations(text: str | float, seconds: float) -> None:
    assert parse_duration(text, "--timeout") == seconds


@pytest.mark.parametrize(
    "text", ["0", "0s", "-5", "5d", "1h30m", "s", "", "inf", "nan", "169h", "5 m", "604801", "1e2", 0, -1.0, math.inf]
)
def test_refused_durations(text: str | float) -> None:
    with pytest.raises(UsageError, match=r"--timeout .*at most 7 days"):
        parse_duration(text, "--timeout")


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("2GiB", 2 * 1024**3),
        ("512MiB", 512 * 1024**2),
        ("1GB", 10**9),
        ("1gb", 10**9),
        ("67108864", 64 * 1024**2),
        ("100000000B", 10**8),
        (2**30, 2**30),
        ("0.5GiB", 2**29),
    ],
)
def test_sizes(text: str | int, size: int) -> None:
    assert parse_size(text, "--memory-per-worker") == size


@pytest.mark.parametrize("text", ["0", "63MiB", "64MB", "1", "2G", "GiB", "-1GiB", "nan", "1e9", "9999999TiB", ""])
def test_refused_sizes(text: str) -> None:
    with pytest.raises(UsageError, match="--memory-per-worker"):
        parse_size(text, "--memory-per-worker")


@pytest.mark.parametrize(("text", "amount"), [("2.0", 2.0), ("2", 2.0), (".25", 0.25), (0.1, 0.1), (1e-5, 1e-5)])
def test_money(text: str | float, amount: float) -> None:
    assert parse_usd(text, "--budget") == amount


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "-1", "0", "0.0", "", "$2", "1e3", "1_0", "²", math.nan, True])
def test_refused_money(text: str | float) -> None:
    with pytest.raises(UsageError, match=r"--budget .*above 0"):
        parse_usd(text, "--budget")


def test_pythons_own_float_would_take_what_is_refused() -> None:
    """The control: the naive way lets a budget of NaN in, and no cost is ever above it."""
    budget, cost = float("nan"), 100.0
    assert not cost > budget


@given(parse=st.sampled_from(PARSERS), value=HARD)
@settings(deadline=None)
def test_anything_is_a_finite_positive_number_or_a_usage_error(parse: Parse, value: str | float) -> None:
    outcome: float | UsageError
    try:
        outcome = parse(value, "--flag")
    except UsageError as error:
        outcome = error
    if isinstance(outcome, UsageError):
        assert outcome.message.startswith("--flag ")
        assert outcome.message.isprintable()
    else:
        assert 0 < outcome < math.inf


@given(st.floats(min_value=1e-6, max_value=LONGEST_S))
@settings(deadline=None)
def test_a_number_means_itself(seconds: float) -> None:
    assert parse_duration(seconds, "--timeout") == seconds


@given(st.integers(min_value=1, max_value=2**60))
@settings(deadline=None)
def test_a_shown_size_reads_back(size: int) -> None:
    text = show_size(size).removesuffix(" bytes").removesuffix(" byte")
    assert parse_size(text, "--size", low=1) == size


@given(st.text())
@settings(deadline=None)
def test_a_shown_value_is_short_and_printable(value: str) -> None:
    assert quoted(value).isprintable()
    assert len(quoted(value)) <= 60
