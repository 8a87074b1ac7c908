"""The model as the agent's loop sees it: it is given a task or tool results, and it replies.

One protocol with two implementations: a provider's model (`provider.py`, pydantic-ai) and a scripted one
(`scripted.py`, a file). The loop cannot tell them apart, so what the offline demo and the tests show holds for real
models too.
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
    """`None` means that the model did not send a JSON object."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolResult:
    """The result of a tool call, as text for the model."""

    call: ToolCall
    text: str
    failed: bool = False


class Finish(StrEnum):
    """The reason for a stop before the end of the reply."""

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
    """Usage of this reply alone."""
    cost: float | None = None
    """USD for this reply. `None` means unknown."""
    finish: Finish = Finish.DONE


class Conversation(Protocol):
    """A model and the messages so far."""

    @property
    def model(self) -> str:
        """The model's name for reports."""
        ...

    async def start(self, task: str) -> Reply:
        """Give the task to the model.

        Raises:
            ModelFailure: There is no reply.
        """
        ...

    async def proceed(self, results: tuple[ToolResult, ...]) -> Reply:
        """Give the model the results of all calls of its last reply. Raises like `start`."""
        ...

    def saved(self) -> Any:
        """The messages up to the last reply, as JSON data. Raises `ValueError` if they cannot be JSON."""
        ...

    def take_up(self, saved: Any) -> None:
        """Continue after the messages of `saved`. Call before `start`. Raises `ValueError` if they are not of this kind
        of model.
        """
        ...


class ModelFailure(Exception):
    """The model gave no reply. This is data for the report, not a crash.

    Args:
        message: One line, without secrets.
        rate_limited: The provider refused for now.
        retry_after_s: Seconds to wait. `None` means that the provider named none.
    """

    def __init__(self, message: str, *, rate_limited: bool = False, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.rate_limited = rate_limited
        self.retry_after_s = retry_after_s
