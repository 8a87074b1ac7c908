"""A flow as data: its states and tasks, what they demand, and how those demands end. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from architect_parallel.errors import ArchitectParallelError, ExitCode

TIMED_OUT = 124
"""Exit code of a task that a time limit ended, as of `timeout(1)`."""
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
"""Tool → its comparison of `left` and `right`."""
CONTROL = frozenset({"parallel", "switch", "for-each", "sub-flow", "ask-user", "pause", *CONDITIONS})
"""Tools of the machine itself. Every other tool is `bash` or a backend."""
INTERACTIVE = frozenset({"ask-user", "pause"})
COMMANDS: Mapping[str, str] = {"bash": "command", "shell": "prompt"}
"""Tools whose text a shell runs, and the argument that holds it."""


class Kind(StrEnum):
    """The kinds of places for a task's output."""

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
    """`worktree` or `none`. `None` means the default of the tool at its place."""
    tasks: tuple[FlowTask, ...] = ()
    """The tasks of `parallel`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowState:
    """A state: its task, and the states that follow."""

    name: str
    task: FlowTask
    next: str | None = None
    """`None` means that the flow ends here."""
    on_error: Mapping[str, str] = field(default_factory=dict)
    """Exit code → state. `_` is any other code."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """A checked flow: every name in it exists."""

    name: str
    start_at: str
    states: Mapping[str, FlowState]
    variables: Mapping[str, str] = field(default_factory=dict)
    max_transitions: int = MAX_TRANSITIONS
    flows: Mapping[str, Flow] = field(default_factory=dict)
    """Its sub-flows, by the name in `workflow`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A task that is ready to run."""

    tool: str
    arguments: Mapping[str, Any]
    """The texts are filled in, but a command is as it is written."""
    values: Mapping[str, str] = field(default_factory=dict)
    """Each placeholder of a command, as it is written → its value."""
    isolated: bool = False
    """True for a job that runs in its own worktree."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Jobs:
    """The jobs of one state. At most `at_once` of them run at the same time. `None` means no limit."""

    state: str
    jobs: tuple[Job, ...]
    at_once: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SubFlow:
    """A flow that runs as one task of a `parallel` state."""

    flow: Flow
    variables: Mapping[str, str]
    """Values that replace those of the flow's own variables."""
    within: str
    """The states around it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SubFlows:
    """The flows of one `parallel` state. At most `at_once` of them run at the same time. `None` means no limit."""

    state: str
    flows: tuple[SubFlow, ...]
    at_once: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A question to a person. Without `choices` any answer will do."""

    state: str
    text: str
    choices: tuple[str, ...] = ()
    default: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """A pause of some seconds. `None` means until a person goes on."""

    state: str
    seconds: float | None
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The end of the flow."""

    exit_code: int
    state: str
    """The state it ended in."""
    message: str = ""
    """The reason, where it is not the failure of a task."""


Demand = Jobs | SubFlows | Question | Wait | Ended


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """The end of a task: a job, or a flow inside `parallel`."""

    exit_code: int
    output: str = ""
    message: str = ""
    """The reason of a failure that the exit code does not give."""


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
