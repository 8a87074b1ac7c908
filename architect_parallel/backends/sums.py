"""Adding up what replies took."""

from __future__ import annotations

from architect_parallel.domain import Usage

NOTHING = Usage(input_tokens=0, cached_tokens=0, cache_write_tokens=0, output_tokens=0)


def plus(one: Usage, other: Usage) -> Usage:
    """The tokens of both; what is not told is none."""
    return Usage(
        input_tokens=(one.input_tokens or 0) + (other.input_tokens or 0),
        cached_tokens=(one.cached_tokens or 0) + (other.cached_tokens or 0),
        cache_write_tokens=(one.cache_write_tokens or 0) + (other.cache_write_tokens or 0),
        output_tokens=(one.output_tokens or 0) + (other.output_tokens or 0),
    )
