"""Read what Copilot CLI prints with `--output-format json`, and its export of model calls.

Success is a `result` with exit code 0 and neither an error nor an `abort` before it. Most lines are deltas and progress
of tools, megabytes of them, and are dropped unread.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from architect_parallel.backends import reader_tools as read
from architect_parallel.backends.base import AgentEvent, AgentReport, Session, Step, Text, Throttled, Tokens
from architect_parallel.backends.provider_errors import may_pass, retry_after_s, says_later
from architect_parallel.backends.reader_tools import NO_USAGE, FollowedLines, Json, UnreadText, add_usage
from architect_parallel.domain import Outcome, Usage
from architect_parallel.text.sanitize import one_line, plain_text

_INTERESTING = re.compile(
    rb'\{"type":"(?:assistant\.message"|tool\.execution_(?:start|complete)"|model\.call_failure"|session\.error"'
    rb'|abort"|result")'
)
_MOST_TOOLS = 10_000


class CopilotReader:
    """Reads the events and follows the export. A step is a model reply: a complete `assistant.message`."""

    def __init__(self, *, calls_file: Path, model: str | None) -> None:
        self._model = model
        self._calls = FollowedLines(calls_file)
        self._calls.skip()
        self._session: str | None = None
        self._steps = 0
        self._total = NO_USAGE
        self._text = ""
        self._tools: dict[str, str] = {}
        self._denied: set[str] = set()
        self._aborted = False
        self._error: Json | None = None
        self._last_failure = ""
        self._understood = False
        self._result: Json | None = None
        self._unread = UnreadText()

    def line(self, line: bytes) -> Iterable[AgentEvent]:
        if _INTERESTING.match(line) is None:
            self._skip(line)
            return ()
        event = read.parse_object(line)
        if event is None:
            return ()
        self._understood = True
        data = read.child(event, "data")
        match event.get("type"):
            case "assistant.message":
                return self._message(data)
            case "tool.execution_start":
                return self._tool_started(data)
            case "tool.execution_complete":
                self._tool_ended(data)
            case "model.call_failure":
                return self._failed_call(data)
            case "session.error":
                self._error = data
                return (Text(text=one_line(read.text(data, "message"), 200)),)
            case "abort":
                self._aborted = True
            case "result":
                self._result = event
                return self._known_session(read.text(event, "sessionId"))
        return ()

    def poll(self) -> Iterable[AgentEvent]:
        facts: list[AgentEvent] = []
        calls = 0
        for entry in self._calls.objects(b'"gen_ai.usage.output_tokens"'):
            attributes = read.child(entry, "attributes")
            # The same figures stand, added up, on the spans around the calls.
            if attributes.get("gen_ai.operation.name") != "chat":
                continue
            calls += 1
            self._model = one_line(read.text(attributes, "gen_ai.request.model"), 200) or self._model
            facts += self._known_session(read.text(attributes, "gen_ai.conversation.id"))
            self._total = add_usage(self._total, _used(attributes))
        return [*facts, Tokens(usage=self._total, model=self._model)] if calls else facts

    def ending(self, exit_code: int | None, stderr_tail: str) -> AgentReport:
        denied = tuple(sorted(self._denied))
        if self._error is not None:
            error, status = one_line(read.text(self._error, "message")), read.count(self._error.get("statusCode"))
            kind = read.text(self._error, "errorType")
            later = kind in ("rate_limit", "quota") or says_later(error, status)
            return AgentReport(
                outcome=Outcome.RATE_LIMITED if later else Outcome.ERROR,
                text=self._text,
                error=error or f"copilot reported {kind or 'an error'}",
                retry_after_s=retry_after_s(self._last_failure) or retry_after_s(error) if later else None,
                retryable=may_pass(status),
                denied=denied,
            )
        result = self._result
        if result is not None and not self._aborted and read.count(result.get("exitCode")) == 0:
            return AgentReport(outcome=Outcome.COMPLETED, text=self._text, denied=denied)
        if result is not None:
            error = "copilot was interrupted" if self._aborted else f"copilot ended with {result.get('exitCode')!r}"
            outcome = Outcome.NO_FINAL_EVENT if self._aborted else Outcome.ERROR
            return AgentReport(outcome=outcome, text=self._text, error=one_line(error, 200), denied=denied)
        raw = self._unread.text
        if not self._understood and exit_code == 0 and raw:
            return AgentReport(outcome=Outcome.UNREADABLE, text=raw, error="copilot printed nothing in its own format")
        reason = _first_line(stderr_tail) or self._last_failure or one_line(raw)
        error = "copilot ended without a result" + (f": {reason}" if reason else "")
        return AgentReport(outcome=Outcome.NO_FINAL_EVENT, text=self._text, error=error, denied=denied)

    def _known_session(self, session: str) -> Iterable[AgentEvent]:
        session = one_line(session, 200)
        if not session or session == self._session:
            return ()
        self._session = session
        return (Session(session_id=session, model=self._model),)

    def _message(self, data: Json) -> Iterable[AgentEvent]:
        self._steps += 1
        self._model = one_line(read.text(data, "model"), 200) or self._model
        text = plain_text(read.text(data, "content"))
        if text and not data.get("parentToolCallId"):  # a sub-agent's words are not the answer
            self._text = text
        shown = one_line(text, 200)
        return (Step(count=self._steps), *((Text(text=shown),) if shown else ()))

    def _tool_started(self, data: Json) -> Iterable[AgentEvent]:
        name, given = one_line(read.text(data, "toolName"), 60), read.child(data, "arguments")
        if len(self._tools) < _MOST_TOOLS:
            self._tools[read.text(data, "toolCallId")] = name
        what = next(
            (read.text(given, key) for key in ("command", "path", "pattern", "prompt") if read.text(given, key)), ""
        )
        return (Text(text=one_line(f"{name} {what}", 200)),)

    def _tool_ended(self, data: Json) -> None:
        if read.text(read.child(data, "error"), "code") == "denied":
            self._denied.add(self._tools.get(read.text(data, "toolCallId"), "") or "a tool")

    def _failed_call(self, data: Json) -> Iterable[AgentEvent]:
        status, attempt = read.count(data.get("statusCode")), read.count(data.get("retryAttempt"))
        reason = read.text(data, "errorMessage")
        details = read.parse_object(reason)
        reason = read.text(details, "message") or reason if details is not None else reason
        self._last_failure = message = one_line(f"HTTP {status} {reason}, try {(attempt or 0) + 1}", 300)
        if says_later(reason, status):
            return (Throttled(message=message, retry_after_s=retry_after_s(reason)),)
        return (Text(text=message),)

    def _skip(self, line: bytes) -> None:
        if self._understood:
            return
        if line.startswith(b'{"type":"'):
            self._understood = True
        else:
            self._unread.add(line)


def _used(attributes: Json) -> Usage:
    """Attributes as https://opentelemetry.io/docs/specs/semconv/gen-ai/: input tokens include the cached ones."""

    def count(name: str) -> int:
        return read.count(attributes.get(f"gen_ai.usage.{name}")) or 0

    return Usage(
        input_tokens=count("input_tokens"),
        cached_tokens=count("cache_read.input_tokens"),
        cache_write_tokens=count("cache_creation.input_tokens"),
        output_tokens=count("output_tokens"),
    )


def _first_line(stderr: str) -> str:
    return next((one_line(line) for line in stderr.splitlines() if line.strip()), "")
