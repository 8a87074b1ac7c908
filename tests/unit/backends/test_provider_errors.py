"""How a provider's *not now* is told from a plain no, and when to come back."""

from __future__ import annotations

import doctest

import pytest

from architect_parallel.backends import provider_errors
from architect_parallel.backends.provider_errors import retry_after_s, says_later


def test_the_examples_hold() -> None:
    assert doctest.testmod(provider_errors).failed == 0


@pytest.mark.parametrize(
    "text",
    [
        "exceeded retry limit, last status: 429 Too Many Requests",
        "API Error: 529 overloaded_error",
        "[API Error: You have exhausted your daily quota on this model.]",
        '{"error":{"code":429,"status":"RESOURCE_EXHAUSTED"}}',
        "You've hit your usage limit. Upgrade to Pro",
        "litellm.RateLimitError: RateLimitError: OpenAIException - slow down",
    ],
)
def test_words_of_a_limit_are_known(text: str) -> None:
    assert says_later(text)


@pytest.mark.parametrize(
    "text", ["401 Unauthorized", "500 Internal Server Error", "port 4290 refused", "", "error 4291"]
)
def test_other_errors_are_not_limits(text: str) -> None:
    assert not says_later(text)


def test_a_known_status_beats_words() -> None:
    assert not says_later("this mentions a rate limit and quota", 401)
    assert says_later("nothing of the kind", 503)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("Please try again in 1.242s. Visit the site", 1.242),
        ("Please retry in 34.074824224s.", 34.074824224),
        ('"retryDelay": "34s"', 34.0),
        ("Rate limit reached, try again in 620ms", 0.62),
        ("try again in 2 minutes", 120.0),
        ("Your limit will reset after 3h", 10800.0),
        ("Retry after 20 seconds", 20.0),
        ("try again later", None),
        ("retry 3 of 10", None),
        ("try again in 999999h", None),
    ],
)
def test_the_wait_is_read_where_it_is_told(text: str, seconds: float | None) -> None:
    assert retry_after_s(text) == (pytest.approx(seconds) if seconds is not None else None)
