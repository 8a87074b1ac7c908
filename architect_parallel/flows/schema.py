"""The flow file and the chain as pydantic models: names, types and bounds.

Knows nothing of files or places. A task of a flow takes the arguments of its tool: the models form a union over `tool`,
in which every tool that is not named here is a backend.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Annotated, Any, Generic, TypeVar

from pydantic import BeforeValidator, Discriminator, Field, InstanceOf, Tag, ValidationInfo, field_validator

from architect_parallel.config.fields import Boolean, Count, Duration, Prompt, Section, Text, Usd
from architect_parallel.config.task_schema import snake_name
from architect_parallel.domain import ApprovalMode, Isolation, SandboxMode
from architect_parallel.flows.model import CONDITIONS, MAX_TRANSITIONS, OTHERWISE, Destination, Kind

PREVIOUS = "previous"
"""The name in a chain's step for the step before it."""

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}", re.ASCII)
_DESTINATION = re.compile(r"(var|file)\(\s*(.+?)\s*\)")
_EXIT_CODES = frozenset(map(str, range(1, 256)))


def _as_text(value: object) -> object:
    """Numbers and booleans as text: a flow hands on nothing but text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | float) else value


def _variable(value: object) -> str:
    if not isinstance(value, str) or not _VARIABLE.fullmatch(value):
        raise ValueError("must consist of letters, digits, _ and -, and not begin with a digit")
    return value


def _state_name(value: str) -> str:
    if not value.strip() or not value.isprintable():
        raise ValueError("must be text that can be shown")
    return value


def _target(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("must be the name of a state")
    return value


def _exit_code(value: str) -> str:
    if value != OTHERWISE and value not in _EXIT_CODES:
        raise ValueError(f"must be an exit code from 1 to 255, or {OTHERWISE}")
    return value


def _step_name(value: object) -> str:
    if value == PREVIOUS:
        raise ValueError(f"must not be {PREVIOUS!r}, which is the step before")
    return _variable(value)


def destination(value: object) -> Destination:
    """The place that `var(NAME)` or `file(PATH)` names. Raises `ValueError`."""
    match = _DESTINATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError("must be var(NAME) or file(PATH)")
    kind = Kind(match[1])
    return Destination(kind, _variable(match[2]) if kind is Kind.VAR else match[2])


TextOrNumber = Annotated[Text, BeforeValidator(_as_text)]
Filled = Annotated[Prompt, BeforeValidator(_as_text)]
Variable = Annotated[str, BeforeValidator(_variable)]
StateName = Annotated[str, BeforeValidator(_state_name)]
Target = Annotated[str, BeforeValidator(_target)]
"""The name of a state, whose existence `faults.graph_faults` checks."""
ExitCode = Annotated[str, BeforeValidator(_exit_code)]
Items = Annotated[
    Annotated[list[TextOrNumber], Tag("list")] | Annotated[TextOrNumber, Tag("text")],
    Discriminator(lambda value: "list" if isinstance(value, list) else "text"),
]
Output = Annotated[InstanceOf[Destination], BeforeValidator(destination)]


class AgentArguments(Section):
    """Arguments of a backend."""

    prompt: Filled
    model: Filled | None = None
    agent: Filled | None = None
    system_prompt: TextOrNumber | None = None
    approval_mode: ApprovalMode | None = None
    sandbox_mode: SandboxMode | None = None
    timeout: Duration | None = None
    budget: Usd | None = None
    max_turns: Count | None = None
    cwd: Filled | None = None
    extra: list[TextOrNumber] | None = None


class BashArguments(Section):
    command: Filled
    timeout: Duration | None = None
    cwd: Filled | None = None


class SwitchArguments(Section):
    value: TextOrNumber
    goto: dict[str, Target]


class ForEachArguments(Section):
    items: Items
    as_: Variable = Field(alias="as")
    goto: Target


class SubFlowArguments(Section):
    workflow: Filled
    variables: dict[Variable, TextOrNumber] | None = None


class AskUserArguments(Section):
    question: Filled
    choices: list[TextOrNumber] | None = None
    default: TextOrNumber | None = None

    @field_validator("default")
    @classmethod
    def _is_a_choice(cls, value: str, info: ValidationInfo) -> str:
        choices = info.data.get("choices")
        if choices and value not in choices and not any("{{" in text for text in [*choices, value]):
            raise ValueError("must be one of the choices")
        return value


class PauseArguments(Section):
    seconds: Duration | None = None
    message: TextOrNumber | None = None


class IfEmptyArguments(Section):
    left: TextOrNumber
    right: TextOrNumber | None = None
    then: Target
    else_: Target | None = Field(default=None, alias="else")


class ConditionArguments(IfEmptyArguments):
    right: TextOrNumber


Arguments = TypeVar("Arguments", bound=Section)


class FlowTaskSection(Section, Generic[Arguments]):
    """One use of a tool."""

    tool: str
    arguments: Arguments
    output: Output | None = None
    isolation: Isolation | None = None


def _kind(value: Mapping[str, Any]) -> str:
    tool = value["tool"]
    condition = tool in CONDITIONS and tool != "if-empty"
    return f"tool: {'condition' if condition else tool if tool in ARGUMENTS else 'agent'}"


ParallelTask = Annotated[
    Annotated[FlowTaskSection[AgentArguments], Tag("tool: agent")]
    | Annotated[FlowTaskSection[BashArguments], Tag("tool: bash")]
    | Annotated[FlowTaskSection[SubFlowArguments], Tag("tool: sub-flow")],
    Discriminator(_kind),
]


class ParallelArguments(Section):
    tasks: list[ParallelTask] = Field(min_length=1)
    max_parallel: Count | None = None


class StateSection(FlowTaskSection[Arguments], Generic[Arguments]):
    """A state: its task, and the states that follow."""

    next: Target | None = None
    on_error: dict[ExitCode, Target] = Field(default={})


State = Annotated[
    Annotated[StateSection[AgentArguments], Tag("tool: agent")]
    | Annotated[StateSection[BashArguments], Tag("tool: bash")]
    | Annotated[StateSection[ParallelArguments], Tag("tool: parallel")]
    | Annotated[StateSection[SwitchArguments], Tag("tool: switch")]
    | Annotated[StateSection[ForEachArguments], Tag("tool: for-each")]
    | Annotated[StateSection[SubFlowArguments], Tag("tool: sub-flow")]
    | Annotated[StateSection[AskUserArguments], Tag("tool: ask-user")]
    | Annotated[StateSection[PauseArguments], Tag("tool: pause")]
    | Annotated[StateSection[IfEmptyArguments], Tag("tool: if-empty")]
    | Annotated[StateSection[ConditionArguments], Tag("tool: condition")],
    Discriminator(_kind),
]


class FlowSection(Section):
    """A whole flow."""

    name: Filled | None = None
    start_at: Target | None = None
    variables: dict[Variable, TextOrNumber] = Field(default={})
    max_transitions: Count = MAX_TRANSITIONS
    states: dict[StateName, State] = Field(min_length=1)


class StepSection(AgentArguments):
    """One step of a chain."""

    name: Annotated[str, BeforeValidator(_step_name)] | None = None
    backend: Filled


class ChainSection(Section):
    """A whole chain."""

    name: Filled | None = None
    steps: list[StepSection] = Field(min_length=1)
    stop_on_failure: Boolean = True


ARGUMENTS: Mapping[str, type[Section]] = {
    "bash": BashArguments,
    "parallel": ParallelArguments,
    "switch": SwitchArguments,
    "for-each": ForEachArguments,
    "sub-flow": SubFlowArguments,
    "ask-user": AskUserArguments,
    "pause": PauseArguments,
    **dict.fromkeys(CONDITIONS, ConditionArguments),
    "if-empty": IfEmptyArguments,
}
"""Tool → its arguments. Every other tool is a backend, which takes `AgentArguments`."""


def own_key(key: str, known: Collection[str]) -> str:
    """Return the field that `key` is a name of, or another key as it is.

    >>> own_key("onError", ["on_error"]), own_key("on-error", ["on_error"]), own_key("if-less", ["on_error"])
    ('on_error', 'on_error', 'if-less')
    """
    own = snake_name(key).replace("-", "_")
    return own if own in known else key
