"""Read the facts that our ACP client (`supervision.acp_client`) prints."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from architect_parallel.backends import reader_tools as read
from architect_parallel.backends.base import AgentEvent, AgentReport, Session, Step, Text, Tokens
from architect_parallel.backends.provider_errors import may_pass, retry_after_s, says_later, status_of
from architect_parallel.backends.reader_tools import Json, UnreadText
from architect_parallel.domain import CostBasis, Outcome, Usage
from architect_parallel.text.sanitize import one_line, plain_text

_TEXT_LIMIT = 4 * 2**20
_MOST_WARNINGS = 20
_STOPPED = {
    "end_turn": Outcome.COMPLETED,
    "max_turn_requests": Outcome.MAX_STEPS,
    "max_tokens": Outcome.PARTIAL,
    "cancelled": Outcome.PARTIAL,
}
_REASONS = {
    "max_turn_requests": "the agent reached its limit of requests",
    "max_tokens": "the agent reached its limit of tokens",
    "cancelled": "the agent was told to stop",
    "refusal": "the agent refused to go on",
}


class AcpReader:
    """Reads one turn. A step is a model reply: what the agent says or calls between two tool results."""

    def __init__(self, *, model: str | None) -> None:
        self._model = model
        self._steps = 0
        self._is_replying = False
        self._text: list[str] = []
        self._text_room = _TEXT_LIMIT
        self._usage = Usage()
        self._denied: set[str] = set()
        self._warnings: list[str] = []
        self._final: Json | None = None
        self._unread = UnreadText()

    def line(self, line: bytes) -> Iterable[AgentEvent]:
        fact = read.parse_object(line) if line.startswith(b"{") else None
        if fact is None:
            self._unread.add(line)
            return ()
        match fact.get("type"):
            case "init":
                return self._started(fact)
            case "thought":
                return self._reply_begins()
            case "message":
                return (*self._reply_begins(), *self._said(read.text(fact, "content")))
            case "tool_use":
                words = read.tool_line(read.text(fact, "tool_name"), read.child(fact, "parameters"))
                return (*self._reply_begins(), *([Text(text=words)] if words else []))
            case "tool_result":
                self._is_replying = False
            case "usage":
                return self._used(fact)
            case "denied":
                self._is_replying = False
                self._denied.add(one_line(read.text(fact, "tool"), 60) or "a tool")
            case "warning" if len(self._warnings) < _MOST_WARNINGS:
                self._warnings.append(one_line(read.text(fact, "message")))
            case "result" | "ended":
                self._final = fact
        return ()

    def poll(self) -> Iterable[AgentEvent]:
        return ()

    def ending(self, exit_code: int | None, stderr_tail: str) -> AgentReport:
        text = plain_text("".join(self._text)).strip()
        report = AgentReport(
            outcome=Outcome.NO_FINAL_EVENT, text=text, denied=tuple(sorted(self._denied)), warnings=(*self._warnings,)
        )
        final = self._final
        if final is None or final.get("type") == "ended":
            lines = [line for line in stderr_tail.splitlines() if line.strip()]
            words = one_line(lines[-1], 300) if lines else one_line(self._unread.text)
            code = read.count(final.get("exit_code")) if final is not None else None
            how = f"the agent ended with exit code {code}" if code is not None else "the agent ended without a result"
            return replace(report, error=f"{how}: {words}" if words else how)
        stopped = read.text(final, "stop_reason")
        if stopped in _STOPPED:
            return replace(report, outcome=_STOPPED[stopped], error=_REASONS.get(stopped))
        error = one_line(read.text(read.child(final, "error"), "message")) or _REASONS.get(stopped)
        error = error or f"the agent stopped for an unknown reason {one_line(stopped, 60)!r}"
        if says_later(error, status_of(error)):
            return replace(report, outcome=Outcome.RATE_LIMITED, error=error, retry_after_s=retry_after_s(error))
        retryable = final.get("retryable") is not False and may_pass(status_of(error))
        return replace(report, outcome=Outcome.ERROR, error=error, retryable=retryable)

    def _started(self, fact: Json) -> Iterable[AgentEvent]:
        session = one_line(read.text(fact, "session_id"), 200)
        self._model = one_line(read.text(fact, "model"), 200) or self._model
        return (Session(session_id=session, model=self._model),) if session else ()

    def _reply_begins(self) -> Iterable[AgentEvent]:
        if self._is_replying:
            return ()
        self._is_replying = True
        self._text.clear()  # the final text is the last reply's
        self._text_room = _TEXT_LIMIT
        self._steps += 1
        return (Step(count=self._steps),)

    def _said(self, words: str) -> Iterable[AgentEvent]:
        if self._text_room > 0:
            self._text.append(words[: self._text_room])
            self._text_room -= len(words)
        shown = one_line(words, 200)
        return (Text(text=shown),) if shown else ()

    def _used(self, fact: Json) -> Iterable[AgentEvent]:
        self._is_replying = False
        counts: dict[str, Any] = {
            key: value
            for key in ("input_tokens", "cached_tokens", "cache_write_tokens", "output_tokens")
            if (value := read.count(fact.get(key))) is not None
        }
        cost = read.money(fact.get("cost"))
        if cost is not None:
            counts |= {"reported_cost": cost, "cost_basis": CostBasis.REPORTED}
        usage = replace(self._usage, **counts)
        if usage == self._usage or (usage.output_tokens or 0) < (self._usage.output_tokens or 0):
            return ()
        self._usage = usage
        return (Tokens(usage=usage, model=one_line(read.text(fact, "model"), 200) or self._model),)
