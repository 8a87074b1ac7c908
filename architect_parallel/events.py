"""What happens during a run, as a closed set of frozen types, and their JSON form in the journal.

An event has no run, worker or time of its own: the `Recorded` envelope around it has. The codec is
`encode`/`decode`; decoding ignores unknown keys, so that an older program reads a newer journal as far as it can.
Replay of a run's events, in order, is the only way a `RunResult` comes about.
"""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from functools import cache
from typing import Any

from architect_parallel.domain import (
    Attempt,
    CheckResult,
    Diff,
    Escape,
    Judgement,
    Pause,
    Reason,
    RunPlan,
    RunStatus,
    Usage,
    WorkerResult,
    WorkerSpec,
)

KEY = "key"
"""Metadata of a field whose key in the journal is not its name: stored keys never change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted:
    """The plan is decided and its numbers are reserved; nothing has been made yet."""

    plan: RunPlan
    launcher_pid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResumed:
    """A later launcher goes on with this run; the workers named start again with the given attempt."""

    launcher_pid: int
    worker_ids: tuple[int, ...]
    workers: tuple[WorkerSpec, ...] = ()
    """Those of them that are told something new: each takes the place of its part of the plan."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunExtended:
    """Workers are added to the plan, their numbers reserved; nothing of them has been made yet."""

    workers: tuple[WorkerSpec, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowMoved:
    """A flow has come to a state, or to its end."""

    state: str
    """Name of the state, those of the flows around it before it."""
    machine: Mapping[str, Any]
    """All that its machine knows (`flows.machine`), from which it can go on."""
    workers: tuple[int, ...] = ()
    """Ids of the workers that do this state's jobs, in their order; empty: it has none."""
    pause: Pause | None = None
    """The pause of the state. `None` means that it does not wait."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerStarting:
    """Intent: the worker's branch and worktree are about to be made (or taken up again)."""

    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WorktreeReady:
    """Branch and worktree exist and the tree is checked out."""

    worktree_path: str
    branch: str
    base_commit: str
    admin_dir: str
    """git's directory of the linked worktree, absolute."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentStarted:
    """The agent's process runs under its supervisor."""

    supervisor_pid: int
    agent_pid: int
    argv: tuple[str, ...]
    """As started, without secrets; a long prompt is shortened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentOutput:
    """A line worth showing live. Not journaled: the log file has everything."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTaken:
    """The agent did a step (a model reply or a tool call, as the backend counts)."""

    steps: int
    """Total so far."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageReported:
    """Token totals so far and their price."""

    usage: Usage
    cost: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionKnown:
    """The backend named its session."""

    session_id: str
    model: str | None = None
    """The model the agent says it uses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimited:
    """The provider refused for now; the agent or the runner will try again."""

    message: str
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Warned:
    """Something the user should know that does not change how the worker ends."""

    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitReached:
    """A limit or a person decided to stop the worker; the stop ladder begins now."""

    reason: Reason
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentExited:
    """The agent's process tree is gone, as proven by its supervisor."""

    exit_code: int | None
    leaked: int | None
    peak_memory_bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """What is in the worktree stands in git now."""

    diff: Diff


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckFinished:
    """A check command ended."""

    check: CheckResult


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselineFinished:
    """The checks ran on the base commit; of the run as a whole, before its first agent."""

    checks: tuple[CheckResult, ...]
    error: str | None = None
    """Why there was no tree to run them in; only from a host, never recorded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Escaped:
    """The main checkout changed while workers ran; of the run as a whole. A later one takes an earlier one's place."""

    escape: Escape


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """The judge of a competition gave an answer, or failed to; of the run as a whole, after its `RunFinished`."""

    judgement: Judgement


@dataclass(frozen=True, slots=True, kw_only=True)
class DebuggerEnded:
    """A spec's debugger was asked about several failures; of the run as a whole. What it said is a `Warned`."""

    cost: float | None
    """USD; `None`: unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptEnded:
    """An attempt failed and the worker waits for its next one; the last attempt ends with `WorkerFinished`."""

    attempt: Attempt
    """With `next_in_seconds`: it may have to wait longer for its turn."""
    because: str
    """Why there is another one, in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerFinished:
    """The worker's final result. A host reports one per attempt, and the dispatcher makes it an `AttemptEnded` where
    another attempt follows."""

    result: WorkerResult
    retry_after_s: float | None = None
    """When the provider said to come back; `None`: it did not."""
    retryable: bool = field(default=True, metadata={KEY: "mendable"})
    """Another attempt may end better, as far as the backend can tell. Not so for a refused key or for bad input."""
    given_up: str | None = None
    """What a debugger said of the group that failed alike and is left to a person with this worker, maybe nothing;
    `None`: there is no such group."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFinished:
    """The run is over and nothing of it is left running."""

    status: RunStatus
    exit_code: int
    warnings: tuple[str, ...] = ()
    briefing: str | None = None
    """Of an escalated run: what was asked, what was tried, the choices."""


Event = (
    RunStarted
    | RunResumed
    | RunExtended
    | FlowMoved
    | WorkerStarting
    | WorktreeReady
    | AgentStarted
    | AgentOutput
    | StepTaken
    | UsageReported
    | SessionKnown
    | RateLimited
    | Warned
    | LimitReached
    | AgentExited
    | Collected
    | CheckFinished
    | BaselineFinished
    | Escaped
    | Judged
    | DebuggerEnded
    | AttemptEnded
    | WorkerFinished
    | RunFinished
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """An event in its place: which run and worker, when, and its number in the run's journal."""

    run_id: str
    seq: int
    """From 1 without gaps within a run; 0 for events that are shown live and not journaled."""
    time: datetime
    worker_id: int | None
    """`None`: of the run as a whole."""
    event: Event


EVENT_TYPES: Mapping[str, type[Any]] = types.MappingProxyType({cls.__name__: cls for cls in typing.get_args(Event)})


def encode(event: Event) -> tuple[str, str]:
    """The event as (type name, JSON text). Non-UTF-8 bytes in paths survive as escaped surrogates."""
    return type(event).__name__, json.dumps(to_plain(event), ensure_ascii=True, separators=(",", ":"))


def decode(name: str, text: str) -> Event:
    """The event back from `encode`.

    Raises:
        KeyError: For a type this version does not know.
        ValueError: For JSON that does not fit the type.
    """
    return typing.cast(Event, from_plain(EVENT_TYPES[name], json.loads(text)))


def to_plain(value: Any) -> Any:
    """Domain data as what `json.dumps` takes: enums as their values, times as ISO 8601 UTC, tuples as lists."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            spec.metadata.get(KEY, spec.name): to_plain(getattr(value, spec.name)) for spec in dataclasses.fields(value)
        }
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_plain(item) for item in value]
    return value


@cache
def _hints(cls: type[Any]) -> Mapping[str, Any]:
    return typing.get_type_hints(cls)


@cache
def _fields(cls: Any) -> Mapping[str, tuple[str, Any]]:
    """Stored key → field name and type. The type is `None` where plain data is the value.

    A result of 50,000 files has 700,000 such fields.
    """
    hints = _hints(cls)
    return {
        spec.metadata.get(KEY, spec.name): (spec.name, None if hints[spec.name] in _AS_IS else hints[spec.name])
        for spec in dataclasses.fields(cls)
    }


_AS_IS: tuple[Any, ...] = (str, int, bool, Any, str | None, int | None, bool | None)


def from_plain(kind: Any, value: Any) -> Any:
    """`to_plain` undone for the type `kind`; unknown keys are dropped, missing ones take their default."""
    if kind is Any or value is None:
        return value
    origin = typing.get_origin(kind)
    if origin in (types.UnionType, typing.Union):
        return from_plain(next(arm for arm in typing.get_args(kind) if arm is not type(None)), value)
    if origin is tuple:
        item = typing.get_args(kind)[0]
        return tuple(value) if item in _AS_IS else tuple(from_plain(item, each) for each in value)
    if origin is list:
        item = typing.get_args(kind)[0]
        return list(value) if item in _AS_IS else [from_plain(item, each) for each in value]
    if origin is not None:
        return value
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        if not isinstance(value, dict):
            raise ValueError(f"{kind.__name__} needs an object, not {type(value).__name__}")
        known = [(*_fields(kind)[key], item) for key, item in value.items() if key in _fields(kind)]
        return kind(**{name: item if of is None else from_plain(of, item) for name, of, item in known})
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind(value)
    if kind is datetime:
        return datetime.fromisoformat(value)
    if kind is float:
        return float(value)
    return value
