"""Read aider's output and the log of events that it writes.

Success needs a `message_send` for every `message_send_starting`, and an `exit` because the message was completed. The
exit code is 0 in any case. Text alone decides only the words of an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from architect_parallel.backends import reader_tools as read
from architect_parallel.backends.base import AgentEvent, AgentReport, Step, Text, Throttled, Tokens
from architect_parallel.backends.provider_errors import retry_after_s, says_later
from architect_parallel.backends.reader_tools import FollowedLines
from architect_parallel.backends.shell import LastLines
from architect_parallel.domain import CostBasis, Outcome, Usage
from architect_parallel.text.sanitize import one_line, plain_text

_ERROR = re.compile(r"litellm\.(\w+)")
_LATER = frozenset({"RateLimitError", "ServiceUnavailableError"})
_NEVER = frozenset({"AuthenticationError", "BadRequestError", "NotFoundError", "PermissionDeniedError"})
"""litellm's names for permanent refusals."""
_NOISE = (
    *(b"Aider v", b"Main model:", b"Weak model:", b"Editor model:", b"Git repo:", b"Repo-map:", b"Tokens:"),
    *(b"Update git ", b"HTTPSConnectionPool(", b"Added ", b"Warning: Input is not a terminal"),
)
"""Lines about aider itself. The rest is the answer."""
_RETRYING = re.compile(rb"Retrying in (\d{1,4}(?:\.\d+)?) seconds")


class AiderReader:
    """Reads text for people and events for programs. A step is a model reply."""

    def __init__(self, *, events_file: Path, model: str | None) -> None:
        self._model = model
        self._events = FollowedLines(events_file)
        self._events.skip()
        self._tail = LastLines()
        self._steps = self._asked = 0
        self._given = self._out = 0
        self._paid: float | None = None
        self._ended = False
        self._error = ""

    def line(self, line: bytes) -> Iterable[AgentEvent]:
        if line.startswith(_NOISE):
            return ()
        self._tail.add(line)
        error = _ERROR.search(line[:400].decode(errors="replace")) if line.startswith(b"litellm.") else None
        if error is not None:
            self._error = one_line(line.decode(errors="replace"))
            return (Text(text=self._error),)
        waiting = _RETRYING.match(line)
        if waiting is not None and self._says_later():
            return (Throttled(message=self._error, retry_after_s=float(waiting[1])),)
        shown = one_line(line.decode(errors="replace"), 200)
        return (Text(text=shown),) if shown else ()

    def poll(self) -> Iterable[AgentEvent]:
        replies = 0
        for entry in self._events.objects(b'"message_send', b'"exit"'):
            properties = read.child(entry, "properties")
            match entry.get("event"):
                case "message_send_starting":
                    self._asked += 1
                case "message_send":
                    replies += 1
                    self._given += read.count(properties.get("prompt_tokens")) or 0
                    self._out += read.count(properties.get("completion_tokens")) or 0
                    # The session's total; 0 is what it says of a model whose price it does not know.
                    self._paid = read.money(properties.get("total_cost")) or None
                case "exit":
                    self._ended = read.text(properties, "reason") == "Completed --message"
        if not replies:
            return ()
        self._steps += replies
        self._error = ""  # what came before was tried again and went well
        basis = CostBasis.UNKNOWN if self._paid is None else CostBasis.REPORTED
        # It does not tell how many were cached, so its own figure, which knows, is kept beside.
        usage = Usage(input_tokens=self._given, output_tokens=self._out, reported_cost=self._paid, cost_basis=basis)
        return (Step(count=self._steps), Tokens(usage=usage, model=self._model))

    def ending(self, exit_code: int | None, stderr_tail: str) -> AgentReport:
        text = plain_text(self._tail.raw).strip()
        if self._ended and self._steps and self._steps >= self._asked and exit_code == 0:
            return AgentReport(outcome=Outcome.COMPLETED, text=text)
        if self._error:
            later = self._says_later()
            return AgentReport(
                outcome=Outcome.RATE_LIMITED if later else Outcome.ERROR,
                text=text,
                error=self._error,
                retry_after_s=retry_after_s(self._error) if later else None,
                retryable=self._kind not in _NEVER,
            )
        reason = one_line(stderr_tail[-2000:]) or self._tail.last
        if self._ended:
            return AgentReport(outcome=Outcome.ERROR, text=text, error=f"aider got no answer: {reason}")
        error = "aider ended before its message was answered" + (f": {reason}" if reason else "")
        return AgentReport(outcome=Outcome.NO_FINAL_EVENT, text=text, error=error)

    @property
    def _kind(self) -> str:
        kind = _ERROR.match(self._error)
        return kind[1] if kind is not None else ""

    def _says_later(self) -> bool:
        return self._kind in _LATER or (self._kind == "APIError" and says_later(self._error))
