"""A result read back: what this program writes is taken as it is, and no lie is."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.made_results import result, run_of

from architect_parallel.domain import CheckResult, Diff, FileChange, Status, Usage
from architect_parallel.reports.json import dumps, envelope
from architect_parallel.reports.reading import LIMIT_BYTES, read_envelope


def written() -> dict[str, Any]:
    diff = Diff(base="b" * 40, head="c" * 40, files=(FileChange(path="caf\udce9", status="A"),))
    check = CheckResult(command="pytest", passed=True, exit_code=0, duration_seconds=1.0)
    first = result(1, diff=diff, checks=[check], meta={"k": [1, None]}, usage=Usage(input_tokens=3))
    return json.loads(dumps(envelope(run_of(first, result(2, Status.FAILED, cost=None)))))  # type: ignore[no-any-return]  # an object


def test_what_was_written_is_read_back_as_it_was() -> None:
    plain = written()

    assert json.loads(dumps(envelope(read_envelope(json.dumps(plain).encode()))))["results"] == plain["results"]


@pytest.mark.parametrize(
    ("place", "lie", "told"),
    [
        (["schema_version"], 2, "schema_version"),
        (["run_id"], "../../x", "run_id"),
        (["run_id"], None, "run_id"),
        (["base_commit"], "--upload-pack=x", "base_commit"),
        (["status"], "splendid", "unknown 'splendid'"),
        (["started_at"], "yesterday", "started_at"),
        (["started_at"], "2026-01-01T00:00:00", "with its zone"),
        (["total_duration_seconds"], 1e300, "total_duration_seconds"),
        (["results"], {}, "results"),
        (["results", 0], 1, "results[0]"),
        (["results", 0, "worker_id"], 0, "worker_id"),
        (["results", 0, "worker_id"], 2, "two have the same worker_id"),
        (["results", 0, "worker_id"], True, "whole number"),
        (["results", 0, "branch"], "refs/heads/main", "cannot be a branch"),
        (["results", 0, "branch"], "../main", "cannot be a branch"),
        (["results", 0, "branch"], "architect/parallel-1\n", "cannot be a branch"),
        (["results", 0, "branch"], "architect/parallel-99999999999", "the number is too long"),
        (["results", 0, "branch"], "architect/parallel-2", "two have the same branch"),
        (["results", 0, "cost"], "free", "results[0].cost: must be a number"),
        (["results", 0, "cost"], -1, "results[0].cost"),
        (["results", 0, "duration"], None, "results[0].duration"),
        (["results", 0, "files_modified"], "a.py", "must be a list"),
        (["results", 0, "diff", "head"], "HEAD", "full commit id"),
        (["results", 0, "diff", "base"], "HEAD", "full commit id"),
        (["results", 0, "checks", 0, "passed"], "yes", "true or false"),
    ],
)
def test_a_lie_is_named_with_its_place(place: list[Any], lie: object, told: str) -> None:
    plain = written()
    parent = plain
    for key in place[:-1]:
        parent = parent[key]
    parent[place[-1]] = lie

    with pytest.raises(ValueError) as raised:
        read_envelope(json.dumps(plain).encode())

    assert told in str(raised.value)


@pytest.mark.parametrize(
    "data",
    [b"", b"\xff\xfe", b"{", b"[]", b"null", b'{"x": NaN}', b"[" * 100_000, b'{"a": 1' + b"0" * 5000 + b"}",
     json.dumps(written()).replace("0.0123", "Infinity").encode(), b" " * (LIMIT_BYTES + 1)],
    ids=["empty", "binary", "cut", "list", "null", "nan", "deep", "digits", "infinity", "huge"],
)  # fmt: skip
def test_what_is_no_result_is_one_value_error(data: bytes) -> None:
    with pytest.raises(ValueError):
        read_envelope(data)


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)  # fmt: skip


def places(value: Any, *path: Any) -> list[tuple[Any, ...]]:
    """The path to everything in a document."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, each in inner for found in places(each, *path, key))]


@settings(deadline=None, max_examples=100)
@given(st.sampled_from(places(written())[1:]), VALUES)
def test_any_value_in_any_place_is_taken_or_refused_and_never_breaks(path: tuple[Any, ...], value: object) -> None:
    plain: Any = written()
    parent = plain
    for key in path[:-1]:
        parent = parent[key]
    parent[path[-1]] = value

    with contextlib.suppress(ValueError):
        read_envelope(json.dumps(plain).encode())
