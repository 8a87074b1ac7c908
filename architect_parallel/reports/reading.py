"""The reader of an envelope: `result.json` of another machine, which may lie.

`events.from_plain` trusts our own journal. Here nothing is taken on trust: every field must fit its type, numbers are
finite and not negative, times are aware, names are those that this program gives. The content may still be wrong, so
`api.import_run` takes from git what git has.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
import types
import typing
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import Enum
from functools import cache
from typing import Any

from architect_parallel.domain import CheckResult, RunResult, RunStatus, WorkerResult
from architect_parallel.reports.json import SCHEMA_VERSION
from architect_parallel.text.names import is_run_id, parse_branch_number, read_branch

LIMIT_BYTES = 64 * 2**20
"""The size limit. A thousand workers with long outputs stay far below."""
_MOST_WORKERS = 10_000
_LARGEST = 1e15
_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")


def read_envelope(data: bytes) -> RunResult:
    """The run of an envelope, with `planned` empty.

    Raises:
        ValueError: The first fault and its place (`results[2].cost: must be a number`).
    """
    if len(data) > LIMIT_BYTES:
        raise ValueError(f"{len(data)} bytes are too many to be a result")
    try:
        loaded = json.loads(data, parse_constant=_no_constant)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"not JSON: {error}") from None
    fields = _object(loaded, "the file")
    if fields.get("schema_version") != SCHEMA_VERSION:
        raise ValueError(f"schema_version: must be {SCHEMA_VERSION}; another version of this program wrote it")
    run_id = _checked(str, fields.get("run_id"), "run_id")
    if not is_run_id(run_id):
        raise ValueError("run_id: is not a run id")
    base = _commit(fields.get("base_commit"), "base_commit")
    listed = fields.get("results")
    if not isinstance(listed, list) or len(listed) > _MOST_WORKERS:
        raise ValueError(f"results: must be a list of at most {_MOST_WORKERS}")
    results = [_worker(item, f"results[{place}]") for place, item in enumerate(listed)]
    for what, names in (
        ("worker_id", [result.worker_id for result in results]),
        ("branch", [result.branch for result in results if result.branch]),
    ):
        if len(set(names)) != len(names):
            raise ValueError(f"results: two have the same {what}")
    return RunResult(
        run_id=run_id,
        status=_checked(RunStatus, fields.get("status"), "status"),
        exit_code=_checked(int | None, fields.get("exit_code"), "exit_code"),
        base_commit=base,
        base_ref=base[:12],
        started_at=_checked(datetime, fields.get("started_at"), "started_at"),
        finished_at=_checked(datetime | None, fields.get("finished_at"), "finished_at"),
        total_duration_seconds=_checked(float, fields.get("total_duration_seconds"), "total_duration_seconds"),
        max_parallel=max(1, len(results)),
        warnings=_checked(list[str], fields.get("warnings", []), "warnings"),
        results=sorted(results, key=lambda item: item.worker_id),
        baseline=_checked(list[CheckResult], fields.get("baseline", []), "baseline"),
    )


def _worker(value: Any, place: str) -> WorkerResult:
    result: WorkerResult = _checked(WorkerResult, value, place)
    if not 1 <= result.worker_id <= _MOST_WORKERS:
        raise ValueError(f"{place}.worker_id: must be from 1 to {_MOST_WORKERS}")
    number = parse_branch_number(result.branch)
    if number is not None and number >= 10**9:
        raise ValueError(f"{place}.branch: the number is too long")
    if result.branch:
        try:
            read_branch(result.branch)
        except ValueError as error:
            raise ValueError(f"{place}.branch: {error}") from None
    if result.diff is not None:
        _commit(result.diff.head, f"{place}.diff.head")
        _commit(result.diff.base, f"{place}.diff.base")
    return result


def _commit(value: Any, place: str) -> str:
    if not isinstance(value, str) or not _COMMIT.fullmatch(value):
        raise ValueError(f"{place}: must be a full commit id")
    return value


def _no_constant(word: str) -> Any:
    raise ValueError(f"{word} is not a number")


def _object(value: Any, place: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{place}: must be an object")
    return value


@cache
def _hints(cls: Any) -> Mapping[str, Any]:
    return typing.get_type_hints(cls)


def _checked(kind: Any, value: Any, place: str) -> Any:
    """Convert `value` to `kind`, or raise ValueError. Unknown keys are dropped, and missing ones get their default."""
    origin = typing.get_origin(kind)
    if kind is Any:
        return value
    if origin in (types.UnionType, typing.Union):
        arms = typing.get_args(kind)
        if value is None and type(None) in arms:
            return None
        return _checked(next(arm for arm in arms if arm is not type(None)), value, place)
    if origin in (tuple, list):
        if not isinstance(value, list):
            raise ValueError(f"{place}: must be a list")
        of = typing.get_args(kind)[0]
        items = [_checked(of, item, f"{place}[{index}]") for index, item in enumerate(value)]
        return tuple(items) if origin is tuple else items
    if origin is not None:  # a mapping of anything
        return dict(_object(value, place))
    if dataclasses.is_dataclass(kind):
        return _instance(kind, _object(value, place), place)
    return _scalar(kind, value, place)


def _instance(kind: Any, value: Mapping[str, Any], place: str) -> Any:
    hints, given = _hints(kind), {}
    for spec in dataclasses.fields(kind):
        if spec.name in value:
            given[spec.name] = _checked(hints[spec.name], value[spec.name], f"{place}.{spec.name}")
        elif spec.default is dataclasses.MISSING and spec.default_factory is dataclasses.MISSING:
            raise ValueError(f"{place}.{spec.name}: is missing")
    return kind(**given)


def _scalar(kind: Any, value: Any, place: str) -> Any:
    if kind is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        if not (math.isfinite(value) and 0 <= value <= _LARGEST):
            raise ValueError(f"{place}: must be a number from 0 to {_LARGEST:g}")
        return float(value)
    if kind is int and isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _LARGEST:
        return value
    if kind is bool and isinstance(value, bool):
        return value
    if kind is str and isinstance(value, str):
        return value
    if isinstance(value, str) and kind is datetime:
        return _time(value, place)
    if isinstance(value, str) and isinstance(kind, type) and issubclass(kind, Enum):
        try:
            return kind(value)
        except ValueError:
            raise ValueError(f"{place}: unknown {value[:40]!r}") from None
    names = {float: "a number", int: "a whole number", bool: "true or false", datetime: "a time"}
    raise ValueError(f"{place}: must be {names.get(kind, 'text')}")


def _time(value: str, place: str) -> datetime:
    try:
        time = datetime.fromisoformat(value)
        if time.tzinfo is None or not 2000 <= time.year <= 9000:
            raise ValueError
        return time.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(f"{place}: must be a time with its zone") from None
