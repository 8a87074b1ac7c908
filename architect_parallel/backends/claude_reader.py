"""Read what Claude Code prints with `--output-format stream-json`.

Only the `result` event and its error flag decide the outcome. The number of remembered messages is bounded.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

from architect_parallel.backends import reader_tools as read
from architect_parallel.backends.base import (
    AgentEvent,
    AgentReport,
    Session,
    Step,
    Text,
    Throttled,
    Tokens,
    lines_without,
)
from architect_parallel.backends.provider_errors import LATER, may_pass, retry_after_s
from architect_parallel.backends.reader_tools import Json, UnreadText
from architect_parallel.domain import CostBasis, Outcome, Usage
from architect_parallel.text.sanitize import one_line, plain_text

_UNINTERESTING = (b'{"type":"stream_event","event":{"type":"content_block_', b'{"type":"user"')
"""The beginnings of most lines: text deltas and tool results. With their keys in another order they are only slower."""
_SUBSCRIPTION_LIMIT = re.compile(r"(Claude( AI)?|Session|Weekly|Your) (usage )?limit reached", re.IGNORECASE)
"""The message of a monthly login whose hours are used up. It has no status."""
_REMEMBERED_MESSAGES = 64
"""An event repeats its message's id soon or never. The bound keeps a flood of ids from filling the launcher's
memory.
"""


class ClaudeReader:
    """Reads stream-json. The same message id comes once per content block, so usage is stored per message."""

    def __init__(self, *, resumed: bool = False) -> None:
        self._resumed = resumed
        self._session: str | None = None
        self._model: str | None = None
        self._messages: OrderedDict[str, tuple[_Spent, str]] = OrderedDict()
        """Usage of each message, and the model that wrote it: sub-agents have models of their own."""
        self._steps = 0
        self._total = _Spent()
        self._streaming = ""
        self._text = ""
        self._retrying = ""
        self._understood = False
        self._result: Json | None = None
        self._unread = UnreadText()

    def line(self, line: bytes) -> Iterable[AgentEvent]:
        if line.startswith(_UNINTERESTING):
            return ()
        event = read.parse_object(line) if line.startswith(b"{") else None
        if event is None:
            self._keep_raw(line)
            return ()
        match event.get("type"):
            case "system":
                return self._system(event)
            case "assistant":
                return self._assistant(event)
            case "stream_event":
                return self._stream_event(event)
            case "result":
                return self._final(event)
            case _:
                return ()

    def filter_block(self, block: bytes) -> list[bytes]:
        return lines_without(block, _UNINTERESTING)

    def poll(self) -> Iterable[AgentEvent]:
        return ()

    def ending(self, exit_code: int | None, stderr_tail: str) -> AgentReport:
        result = self._result
        if result is None:
            return self._without_result(exit_code, stderr_tail)
        text = plain_text(read.text(result, "result"))
        subtype = read.text(result, "subtype")
        denied = read.denied_tools(result)
        if subtype == "success" and result.get("is_error") is False:
            return AgentReport(outcome=Outcome.COMPLETED, text=text, denied=denied)
        status = read.count(result.get("api_error_status"))
        outcome = Outcome.ERROR
        if subtype == "error_max_turns":
            outcome = Outcome.MAX_STEPS
        elif subtype == "error_max_budget_usd":
            outcome = Outcome.BUDGET
        elif status in LATER or _SUBSCRIPTION_LIMIT.match(text):
            outcome = Outcome.RATE_LIMITED
        error = one_line(text or _errors(result) or self._retrying or f"claude reported {subtype or 'an error'}")
        return AgentReport(
            outcome=outcome,
            text=text or self._text,
            error=error,
            retry_after_s=retry_after_s(error) if outcome is Outcome.RATE_LIMITED else None,
            retryable=may_pass(status),
            denied=denied,
        )

    def _without_result(self, exit_code: int | None, stderr_tail: str) -> AgentReport:
        raw = self._unread.text
        if not self._understood and exit_code == 0 and raw:
            return AgentReport(outcome=Outcome.UNREADABLE, text=raw, error="claude printed nothing in its own format")
        reason = one_line(stderr_tail[-2000:]) or one_line(raw) or self._retrying
        error = "claude ended without a result" + (f": {reason}" if reason else "")
        return AgentReport(outcome=Outcome.NO_FINAL_EVENT, text=self._text, error=error)

    def _system(self, event: Json) -> Iterable[AgentEvent]:
        self._understood = True
        if event.get("subtype") == "api_retry":
            status = read.count(event.get("error_status"))
            attempt, most = read.count(event.get("attempt")), read.count(event.get("max_retries"))
            self._retrying = message = one_line(f"HTTP {status} {read.text(event, 'error')}, retry {attempt} of {most}")
            delay = read.money(event.get("retry_delay_ms"))
            if status in LATER:
                return (Throttled(message=message, retry_after_s=None if delay is None else delay / 1000),)
            return (Text(text=message),)
        return self._known_session(event, read.text(event, "model"))

    def _known_session(self, event: Json, model: str) -> Iterable[AgentEvent]:
        session = one_line(read.text(event, "session_id"), 200)
        model = one_line(model, 200)
        if not session or (session == self._session and (not model or model == self._model)):
            return ()
        self._session, self._model = session, model or self._model
        return (Session(session_id=session, model=self._model),)

    def _assistant(self, event: Json) -> Iterable[AgentEvent]:
        self._understood = True
        message = read.child(event, "message")
        model = one_line(read.text(message, "model"), 200)
        if model == "<synthetic>":  # an API error worded as a reply: no step, no tokens
            return (Text(text=one_line(_content_text(message))),)
        facts: list[AgentEvent] = list(self._known_session(event, model))
        facts += self._spend(read.text(message, "id"), read.child(message, "usage"), model, final=False)
        for block in read.children(message, "content"):
            if block.get("type") == "text" and event.get("parent_tool_use_id") is None:
                self._text = plain_text(read.text(block, "text")) or self._text
            shown = read.block_line(block)
            if shown:
                facts.append(Text(text=shown))
        return facts

    def _stream_event(self, event: Json) -> Iterable[AgentEvent]:
        inner = read.child(event, "event")
        match inner.get("type"):
            case "message_start":
                message = read.child(inner, "message")
                self._streaming = read.text(message, "id")
                usage, model = read.child(message, "usage"), read.text(message, "model")
                return self._spend(self._streaming, usage, model, final=False)
            case "message_delta":
                # Sub-agents stream at the same time; newer versions say which message a delta belongs to.
                message_id = read.text(event, "api_message_id") or self._streaming
                return self._spend(message_id, read.child(inner, "usage"), "", final=True)
            case _:
                return ()

    def _spend(self, message_id: str, usage: Json, model: str, *, final: bool) -> Iterable[AgentEvent]:
        """Add a message's usage. With `final` it replaces the known figures, otherwise it only fills the unknown
        ones.
        """
        if not message_id or not usage:
            return ()
        facts: list[AgentEvent] = []
        old = self._messages.get(message_id)
        if old is None:
            self._steps += 1
            self._retrying = ""
            facts.append(Step(count=self._steps))
            while len(self._messages) >= _REMEMBERED_MESSAGES:
                self._messages.popitem(last=False)
        elif not final:
            return ()
        spent, writer = old or (_Spent(), "")
        model = one_line(model, 200) or writer or self._model or ""
        new = _Spent.of(usage)
        self._messages[message_id] = (new, model)
        self._total = self._total.plus(new, spent)
        facts.append(Tokens(usage=self._total.usage(), model=model or None))
        return facts

    def _final(self, event: Json) -> Iterable[AgentEvent]:
        self._understood = True
        self._result = event
        facts: list[AgentEvent] = list(self._known_session(event, ""))
        reported = read.money(event.get("total_cost_usd"))
        models = {name: usage for name, usage in read.child(event, "modelUsage").items() if isinstance(usage, dict)}
        # A resumed session's totals hold what earlier attempts paid for; the messages seen here do not.
        if self._resumed:
            return facts
        if not models:
            # After an error that no model saw the list is there and empty, and the cost is 0.
            if reported is not None and (reported > 0 or "modelUsage" not in event):
                facts.append(Tokens(usage=self._usage_without_models(event, reported)))
            return facts
        # Summed over the models: after a budget stop `usage` lacks the last turn, `modelUsage` has it.
        total = _Spent()
        for model in models.values():
            total = total.plus(_Spent.of_model(model), _Spent())
        dearest = max(models, key=lambda name: read.money(models[name].get("costUSD")) or 0.0)
        # Versions that say so mark a guessed price; the guess (opus' price for anything unknown) is not a cost.
        trusted = reported is not None and all(item.get("costBasis") == "list" for item in models.values())
        basis = CostBasis.REPORTED if trusted else CostBasis.UNKNOWN
        facts.append(Tokens(usage=total.usage(reported, basis), model=one_line(dearest, 200) or None))
        return facts

    def _usage_without_models(self, event: Json, reported: float) -> Usage:
        """The tokens of the messages, otherwise those of the result. No field says how the cost was computed."""
        spent = self._total if self._total != _Spent() else _Spent.of(read.child(event, "usage"))
        return Usage(reported_cost=reported) if spent == _Spent() else spent.usage(reported)

    def _keep_raw(self, line: bytes) -> None:
        if not self._understood:
            self._unread.add(line)


@dataclass(frozen=True, slots=True)
class _Spent:
    fresh: int = 0
    """Input tokens that were neither read from a cache nor written to it."""
    read: int = 0
    written: int = 0
    output: int = 0

    @classmethod
    def of(cls, usage: Json) -> _Spent:
        """Read the API's `usage`, where `input_tokens` leaves out the cached ones."""
        return cls(
            read.count(usage.get("input_tokens")) or 0,
            read.count(usage.get("cache_read_input_tokens")) or 0,
            read.count(usage.get("cache_creation_input_tokens")) or 0,
            read.count(usage.get("output_tokens")) or 0,
        )

    @classmethod
    def of_model(cls, usage: Json) -> _Spent:
        """Read an entry of `modelUsage`."""
        return cls(
            read.count(usage.get("inputTokens")) or 0,
            read.count(usage.get("cacheReadInputTokens")) or 0,
            read.count(usage.get("cacheCreationInputTokens")) or 0,
            read.count(usage.get("outputTokens")) or 0,
        )

    def plus(self, new: _Spent, old: _Spent) -> _Spent:
        """This total with `new` in place of `old`."""
        return _Spent(
            self.fresh + new.fresh - old.fresh,
            self.read + new.read - old.read,
            self.written + new.written - old.written,
            self.output + new.output - old.output,
        )

    def usage(self, reported_cost: float | None = None, basis: CostBasis = CostBasis.UNKNOWN) -> Usage:
        return Usage(
            input_tokens=self.fresh + self.read + self.written,
            cached_tokens=self.read,
            cache_write_tokens=self.written,
            output_tokens=self.output,
            reported_cost=reported_cost,
            cost_basis=basis,
        )


def _errors(result: Json) -> str:
    errors = result.get("errors")
    messages = [error for error in errors if isinstance(error, str)] if isinstance(errors, list) else []
    # After a signal claude names its inner state only: `[ede_diagnostic] result_type=user …`.
    return "; ".join(item for item in messages if not item.startswith("["))


def _content_text(message: Json) -> str:
    return " ".join(read.text(block, "text") for block in read.children(message, "content"))
