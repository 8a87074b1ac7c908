"""What the agent's loop knows of a model: it is asked with a task or with tool results, and it replies.

One protocol, two kinds: a provider's model (`provider.py`, pydantic-ai) and a scripted one (`scripted.py`, a file). The
loop cannot tell them apart, so what the offline demo and the tests show holds for real models too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from architect_parallel.domain import Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """A tool the model wants to use."""

    id: str
    tool: str
    arguments: Mapping[str, Any] | None
    """`None`: what the model sent is not a JSON object."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolResult:
    """What a tool call gave, as text for the model."""

    call: ToolCall
    text: str
    failed: bool = False


class Finish(StrEnum):
    """Why the model stopped in the middle of its own words."""

    DONE = "done"
    CUT = "cut"
    """At the model's own output limit."""
    REFUSED = "refused"
    """By the provider's content filter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One model reply: a step. Without calls it is the last."""

    text: str = ""
    calls: tuple[ToolCall, ...] = ()
    usage: Usage = field(default_factory=Usage)
    """Of this reply alone."""
    cost: float | None = None
    """USD of this reply; `None`: unknown."""
    finish: Finish = Finish.DONE


class Conversation(Protocol):
    """A model and all that was said so far."""

    @property
    def model(self) -> str:
        """The model's name for reports."""
        ...

    async def start(self, task: str) -> Reply:
        """Puts the task to the model.

        Raises:
            ModelFailure: When there is no reply.
        """
        ...

    async def proceed(self, results: tuple[ToolResult, ...]) -> Reply:
        """Gives the model the results of all calls of its last reply; raises like `start`."""
        ...

    def said(self) -> Any:
        """All that was said up to the last reply, as JSON data; raises `ValueError` when it cannot be that."""
        ...

    def take_up(self, said: Any) -> None:
        """Before `start`: goes on after what `said` gave; raises `ValueError` when it is not of this kind of model."""
        ...


class ModelFailure(Exception):
    """The model gave no reply; data for the report, not a crash.

    Args:
        message: One line, without secrets.
        rate_limited: Whether the provider said *later*.
        retry_after_s: When to try again, if it said so.
    """

    def __init__(self, message: str, *, rate_limited: bool = False, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.rate_limited = rate_limited
        self.retry_after_s = retry_after_s
