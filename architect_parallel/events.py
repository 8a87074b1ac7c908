"""The events of a run, as a closed set of frozen types.

An event itself has no run, worker or time: its envelope `Recorded` has them. A `RunResult` is made only by a replay of
the run's events in order. `event_json` has the form of events in the journal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
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
    """The plan is decided and its numbers are reserved. Nothing has been made yet."""

    plan: RunPlan
    launcher_pid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResumed:
    """A later launcher continues this run. The named workers start again with the given attempt."""

    launcher_pid: int
    worker_ids: tuple[int, ...]
    workers: tuple[WorkerSpec, ...] = ()
    """New specs of those workers whose spec changed. Each replaces its part of the plan."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunExtended:
    """Workers are added to the plan and their numbers reserved. Nothing of them has been made yet."""

    workers: tuple[WorkerSpec, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowMoved:
    """A flow has reached a state or its end."""

    state: str
    """Name of the state, after the names of the flows around it."""
    machine: Mapping[str, Any]
    """The complete state of its machine (`flows.machine`), from which it can continue."""
    workers: tuple[int, ...] = ()
    """Ids of the workers that do this state's jobs, in order. Empty means no jobs."""
    pause: Pause | None = None
    """The pause of the state. `None` means that it does not wait."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerPlaced:
    """Intent: the attempt is about to be ordered from a process of another machine."""

    attempt: int
    host: str
    """Name of the machine."""
    host_id: str
    address: str
    incarnation: str
    """The process that may carry out the order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerStarting:
    """Intent: the worker's branch and worktree are about to be made or reused."""

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
    """As started, without secrets. A long prompt is shortened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentOutput:
    """A line to show live. It is not stored in the journal: the log file has everything."""

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
    """The provider refused for now. The agent or the runner will retry."""

    message: str
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Warned:
    """A warning for the user that does not change how the worker ends."""

    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitReached:
    """A limit or a person decided to stop the worker. The stop begins now."""

    reason: Reason
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentExited:
    """The agent's process tree has ended, as proven by its supervisor."""

    exit_code: int | None
    leaked: int | None
    peak_memory_bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """The content of the worktree is now in git."""

    diff: Diff


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckFinished:
    """A check command ended."""

    check: CheckResult


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselineFinished:
    """The checks ran on the base commit, for the whole run and before its first agent."""

    checks: tuple[CheckResult, ...]
    error: str | None = None
    """The reason why they could not run. Only a host sends it, and it is never recorded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Escaped:
    """The main checkout changed while workers ran. It concerns the whole run, and replaces an earlier one."""

    escape: Escape


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """The judge of a competition gave an answer or failed to. It follows the `RunFinished` of the run."""

    judgement: Judgement


@dataclass(frozen=True, slots=True, kw_only=True)
class DebuggerEnded:
    """A spec's debugger was asked about several failures. Its answer is a `Warned`."""

    cost: float | None
    """USD. `None` means unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptEnded:
    """An attempt failed and the worker waits for its next one. The last attempt ends with `WorkerFinished`."""

    attempt: Attempt
    """Has `next_in_seconds`. The worker may have to wait longer for its turn."""
    because: str
    """The reason for another attempt, in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerFinished:
    """The worker's final result.

    A host reports one per attempt. If another attempt follows, the scheduler turns it into an `AttemptEnded`.
    """

    result: WorkerResult
    retry_after_s: float | None = None
    """Seconds to wait, as the provider said. `None` means that it did not."""
    retryable: bool = field(default=True, metadata={KEY: "mendable"})
    """Another attempt may end better, as far as the backend can tell. Not so for a refused key or for bad input."""
    given_up: str | None = None
    """The debugger's text about the group of workers that failed alike and is left to a person with this one.

    It may be empty. `None` means that there is no such group.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFinished:
    """The run is over and none of its processes is left."""

    status: RunStatus
    exit_code: int
    warnings: tuple[str, ...] = ()
    briefing: str | None = None
    """Of an escalated run: the question, what was tried, and the choices."""


Event = (
    RunStarted
    | RunResumed
    | RunExtended
    | FlowMoved
    | WorkerPlaced
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


Entry = tuple[int | None, Event]
"""An event to record, and the id of its worker. `None` means that it is the run's."""


@dataclass(frozen=True, slots=True)
class EventSource:
    """The position of an event in the journal of the host that reported it."""

    host_id: str
    seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """An event with its run, its worker, its time and its number in the run's journal."""

    run_id: str
    seq: int
    """From 1 without gaps within a run. 0 means an event that is shown live and not stored."""
    time: datetime
    worker_id: int | None
    """`None` means the whole run."""
    event: Event
