"""A flow as data: its states and tasks, what they demand, and how those demands end. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from architect_parallel.errors import ArchitectParallelError, ExitCode

TIMED_OUT = 124
"""Exit code of a task that a time limit ended, as `timeout(1)` has it."""
MAX_TRANSITIONS = 1000
OUTPUT = "output"
"""The variable whose value is the output of a sub-flow."""
OTHERWISE = "_"

CONDITIONS: Mapping[str, Callable[[str, str], bool]] = {
    "if-equal": lambda left, right: left == right,
    "if-not-equal": lambda left, right: left != right,
    "if-contains": lambda left, right: right in left,
    "if-less": lambda left, right: _number(left) < _number(right),
    "if-greater": lambda left, right: _number(left) > _number(right),
    "if-empty": lambda left, right: not left,
}
"""Tool → what it holds `left` against `right` for."""
CONTROL = frozenset({"parallel", "switch", "for-each", "sub-flow", "ask-user", "pause", *CONDITIONS})
"""Tools that are the machine's own; every other one is `bash` or a backend."""
INTERACTIVE = frozenset({"ask-user", "pause"})
COMMANDS: Mapping[str, str] = {"bash": "command", "shell": "prompt"}
"""Tools whose text is run by a shell, and the argument it stands in."""


class Kind(StrEnum):
    """Where a task's output goes."""

    VAR = "var"
    FILE = "file"


@dataclass(frozen=True, slots=True)
class Destination:
    """`var(name)` or `file(path)`."""

    kind: Kind
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowTask:
    """One use of a tool."""

    tool: str
    arguments: Mapping[str, Any]
    output: Destination | None = None
    isolation: str | None = None
    """`worktree` or `none`; `None`: the tool's default where it stands."""
    tasks: tuple[FlowTask, ...] = ()
    """Of `parallel`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowState:
    """A state: its task and where its outcome leads."""

    name: str
    task: FlowTask
    next: str | None = None
    """`None`: the flow ends here."""
    on_error: Mapping[str, str] = field(default_factory=dict)
    """Exit code, or `_` for any other, → state."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """A flow file, checked: every name in it leads somewhere."""

    name: str
    start_at: str
    states: Mapping[str, FlowState]
    variables: Mapping[str, str] = field(default_factory=dict)
    max_transitions: int = MAX_TRANSITIONS
    flows: Mapping[str, Flow] = field(default_factory=dict)
    """Its sub-flows by what it calls them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A task ready to be run by somebody."""

    tool: str
    arguments: Mapping[str, Any]
    """Texts filled in; a command as it was written."""
    values: Mapping[str, str] = field(default_factory=dict)
    """Of a command: each placeholder in it, as written, and what it stands for."""
    isolated: bool = False
    """Whether it gets a worktree of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Jobs:
    """Work of one state; all of it starts at once unless `at_once` says otherwise."""

    state: str
    jobs: tuple[Job, ...]
    at_once: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SubFlow:
    """A flow to be run as one task of a `parallel` state; its end is that of the task."""

    flow: Flow
    variables: Mapping[str, str]
    """In place of the flow's own of the same names."""
    within: str
    """Where it runs: the states around it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SubFlows:
    """The tasks of a `parallel` state in which flows run; all begin at once unless `at_once` limits it."""

    state: str
    flows: tuple[SubFlow, ...]
    at_once: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Somebody has to answer; `choices` empty: anything."""

    state: str
    text: str
    choices: tuple[str, ...] = ()
    default: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Go on after so many seconds; `None`: when somebody says so."""

    state: str
    seconds: float | None
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The flow is over."""

    exit_code: int
    state: str
    """The one it ended in."""
    message: str = ""
    """Why, where that is not a task's failure."""


Demand = Jobs | SubFlows | Question | Wait | Ended


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """How a task ended: a job, or a flow inside `parallel`."""

    exit_code: int
    output: str = ""
    message: str = ""
    """Why it failed, where the exit code does not say it."""


class FlowFault(ArchitectParallelError):
    """A flow cannot go on: a variable without a value, a file that is not there."""

    exit_code = ExitCode.NOT_ALL_SUCCEEDED


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise FlowFault(f"{text[:40]!r} is not a number")
    return value
