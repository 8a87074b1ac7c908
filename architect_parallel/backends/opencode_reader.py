"""Read what opencode prints with `--format json`.

There is no final event. The last step's reason, the absence of an error and the exit code together decide the outcome.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from architect_parallel.backends import reader_tools as read
from architect_parallel.backends.base import AgentEvent, AgentReport, Session, Step, Text, Tokens
from architect_parallel.backends.provider_errors import may_pass, retry_after_s, says_later
from architect_parallel.backends.reader_tools import Json, UnreadText
from architect_parallel.domain import CostBasis, Outcome, Usage
from architect_parallel.text.sanitize import one_line, plain_text

_REJECTED = "rejected permission"
_NEVER = ("ProviderAuthError", "ProviderModelNotFoundError")
"""Names of permanent errors."""
_FORBIDDEN = "specified a rule which prevents"


class OpencodeReader:
    """Reads the events. Totals are sums over the finished steps. A step is a model reply."""

    def __init__(self, *, model: str | None) -> None:
        self._model = model
        self._session: str | None = None
        self._steps = 0
        self._given = self._cached = self._written = self._out = 0
        self._paid: float | None = 0.0
        self._text = ""
        self._last_reason = ""
        self._rejected = ""
        self._denied: set[str] = set()
        self._error: Json | None = None
        self._understood = False
        self._unread = UnreadText()

    def line(self, line: bytes) -> Iterable[AgentEvent]:
        event = read.parse_object(line) if line.startswith(b"{") else None
        if event is None:
            self._keep_raw(line)
            return ()
        part = read.child(event, "part")
        facts = list(self._known_session(event))
        match event.get("type"):
            case "step_start":
                self._understood, self._last_reason = True, ""
            case "text":
                self._understood = True
                self._text = plain_text(read.text(part, "text")) or self._text
                facts.append(Text(text=one_line(self._text, 200)))
            case "tool_use":
                self._understood = True
                facts += self._tool_use(part)
            case "step_finish":
                self._understood = True
                facts += self._step_finished(part)
            case "error":
                self._understood, self._error = True, read.child(event, "error")
                facts.append(Text(text=_message(self._error)))
        return facts

    def poll(self) -> Iterable[AgentEvent]:
        return ()

    def ending(self, exit_code: int | None, stderr_tail: str) -> AgentReport:
        denied = tuple(sorted(self._denied))
        if self._error is not None:
            return self._refused(self._error, denied)
        if self._last_reason == "stop" and exit_code == 0:
            return AgentReport(outcome=Outcome.COMPLETED, text=self._text, denied=denied)
        if self._rejected and exit_code == 0:
            error = f"opencode stopped in the middle: nobody could allow {self._rejected}"
            return AgentReport(outcome=Outcome.BLOCKED, text=self._text, error=error, denied=denied)
        raw = self._unread.text
        if not self._understood and exit_code == 0 and raw:
            error = "opencode printed nothing in its own format"
            return AgentReport(outcome=Outcome.UNREADABLE, text=raw, error=error, denied=denied)
        reason = _last_line(stderr_tail) or one_line(raw)
        error = "opencode ended before its last step did" + (f": {reason}" if reason else "")
        return AgentReport(outcome=Outcome.NO_FINAL_EVENT, text=self._text, error=error, denied=denied)

    def _refused(self, details: Json, denied: tuple[str, ...]) -> AgentReport:
        data = read.child(details, "data")
        error, status = _message(details), read.count(data.get("statusCode"))
        later = says_later(error, status) if status is not None or details.get("name") == "APIError" else False
        headers = read.child(data, "responseHeaders")
        seconds = read.text(headers, "retry-after")
        wait_s = float(seconds) if re.fullmatch(r"\d{1,6}(\.\d+)?", seconds) else retry_after_s(error)
        return AgentReport(
            outcome=Outcome.RATE_LIMITED if later else Outcome.ERROR,
            text=self._text,
            error=error,
            retry_after_s=wait_s if later else None,
            retryable=may_pass(status) and details.get("name") not in _NEVER,
            denied=denied,
        )

    def _known_session(self, event: Json) -> Iterable[AgentEvent]:
        session = one_line(read.text(event, "sessionID"), 200)
        if not session or session == self._session:
            return ()
        self._session = session
        return (Session(session_id=session, model=self._model),)

    def _tool_use(self, part: Json) -> Iterable[AgentEvent]:
        state, name = read.child(part, "state"), one_line(read.text(part, "tool"), 60)
        error = read.text(state, "error")
        if state.get("status") == "error" and (_REJECTED in error or _FORBIDDEN in error):
            self._denied.add(name or "a tool")
            if _REJECTED in error:
                self._rejected = name or "a tool"
        title = read.text(state, "title")
        return (Text(text=one_line(f"{name} {title}", 200)),)

    def _step_finished(self, part: Json) -> Iterable[AgentEvent]:
        self._steps += 1
        self._last_reason = read.text(part, "reason")
        tokens = read.child(part, "tokens")
        cache = read.child(tokens, "cache")
        cached, written = read.count(cache.get("read")) or 0, read.count(cache.get("write")) or 0
        self._given += (read.count(tokens.get("input")) or 0) + cached + written
        self._cached += cached
        self._written += written
        self._out += (read.count(tokens.get("output")) or 0) + (read.count(tokens.get("reasoning")) or 0)
        paid = read.money(part.get("cost"))
        # 0 is what it says of a model whose price it does not know.
        self._paid = None if not paid or self._paid is None else self._paid + paid
        usage = Usage(
            input_tokens=self._given,
            cached_tokens=self._cached,
            cache_write_tokens=self._written,
            output_tokens=self._out,
            reported_cost=self._paid,
            cost_basis=CostBasis.UNKNOWN if self._paid is None else CostBasis.REPORTED,
        )
        return (Step(count=self._steps), Tokens(usage=usage, model=self._model))

    def _keep_raw(self, line: bytes) -> None:
        if not self._understood:
            self._unread.add(line)


def _message(error: Json) -> str:
    message = read.text(read.child(error, "data"), "message") or read.text(error, "name")
    status = read.count(read.child(error, "data").get("statusCode"))
    return (
        one_line(f"{status} {message}" if status is not None and str(status) not in message else message) or "an error"
    )


def _last_line(stderr: str) -> str:
    lines = [one_line(line) for line in stderr.splitlines() if line.strip()]
    return lines[-1] if lines else ""
