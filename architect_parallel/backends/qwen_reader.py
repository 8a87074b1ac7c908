"""Read what Qwen Code prints with `-o stream-json`.

The events look like claude's and mean less. `is_error: false` may come with a refused request (0.15), and `usage` of a
message is filled on its last event only. So an answer that reads `[API Error` and used no token is an error.
"""

from __future__ import annotations

from collections.abc import Iterable

from architect_parallel.backends import reader_tools as read
from architect_parallel.backends.base import AgentEvent, AgentReport, Session, Step, Text, Tokens
from architect_parallel.backends.provider_errors import may_pass, retry_after_s, says_later, status_of
from architect_parallel.backends.reader_tools import NO_USAGE, Json, UnreadText, add_usage
from architect_parallel.domain import Outcome, Usage
from architect_parallel.text.sanitize import one_line, plain_text

_UNINTERESTING = (b'{"type":"user"', b'{"type":"stream_event"')
_API_ERROR = "[API Error"
_TURN_LIMIT = 53
_NOISE = ("Ripgrep not available", "Warning: running headless", "Warning: 256-color", "YOLO mode")


class QwenReader:
    """Reads stream-json. A step is a model reply: an assistant event whose usage is filled."""

    def __init__(self, *, resumed: bool = False) -> None:
        self._resumed = resumed
        self._session: str | None = None
        self._model: str | None = None
        self._steps = 0
        self._total = NO_USAGE
        self._text = ""
        self._last_was_free = False
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
                self._understood = True
                return self._known_session(event, read.text(event, "model"))
            case "assistant":
                return self._assistant(event)
            case "result":
                return self._final(event)
            case _:
                return ()

    def poll(self) -> Iterable[AgentEvent]:
        return ()

    def ending(self, exit_code: int | None, stderr_tail: str) -> AgentReport:
        if exit_code == _TURN_LIMIT:
            reason = _stderr_word(stderr_tail) or "qwen reached its turn limit"
            return AgentReport(outcome=Outcome.MAX_STEPS, text=self._text, error=reason)
        result = self._result
        if result is None:
            return self._without_result(exit_code, stderr_tail)
        text = plain_text(read.text(result, "result"))
        message = one_line(read.text(read.child(result, "error"), "message"))
        denied = read.denied_tools(result)
        refused = message or (one_line(text) if text.startswith(_API_ERROR) and self._last_was_free else "")
        if read.text(result, "subtype") == "success" and result.get("is_error") is False and not refused:
            return AgentReport(outcome=Outcome.COMPLETED, text=text, denied=denied)
        error = refused or one_line(text) or f"qwen reported {read.text(result, 'subtype') or 'an error'}"
        later = error.startswith(_API_ERROR) and says_later(error, status_of(error))
        return AgentReport(
            outcome=Outcome.RATE_LIMITED if later else Outcome.ERROR,
            text=text or self._text,
            error=error,
            retry_after_s=retry_after_s(error) if later else None,
            retryable=not error.startswith(_API_ERROR) or may_pass(status_of(error)),
            denied=denied,
        )

    def _without_result(self, exit_code: int | None, stderr_tail: str) -> AgentReport:
        raw = self._unread.text
        if not self._understood and exit_code == 0 and raw:
            return AgentReport(outcome=Outcome.UNREADABLE, text=raw, error="qwen printed nothing in its own format")
        reason = _stderr_word(stderr_tail) or one_line(raw)
        error = "qwen ended without a result" + (f": {reason}" if reason else "")
        return AgentReport(outcome=Outcome.NO_FINAL_EVENT, text=self._text, error=error)

    def _known_session(self, event: Json, model: str) -> Iterable[AgentEvent]:
        session, model = one_line(read.text(event, "session_id"), 200), one_line(model, 200)
        if not session or (session == self._session and (not model or model == self._model)):
            return ()
        self._session, self._model = session, model or self._model
        return (Session(session_id=session, model=self._model),)

    def _assistant(self, event: Json) -> Iterable[AgentEvent]:
        self._understood = True
        message = read.child(event, "message")
        facts: list[AgentEvent] = list(self._known_session(event, read.text(message, "model")))
        used = _usage(read.child(message, "usage"))
        self._last_was_free = used is None
        if used is not None:
            self._steps += 1
            self._total = add_usage(self._total, used)
            facts += [Step(count=self._steps), Tokens(usage=self._total, model=self._model)]
        for block in read.children(message, "content"):
            if block.get("type") == "text" and event.get("parent_tool_use_id") is None:
                self._text = plain_text(read.text(block, "text")) or self._text
            if shown := read.block_line(block):
                facts.append(Text(text=shown))
        return facts

    def _final(self, event: Json) -> Iterable[AgentEvent]:
        self._understood = True
        self._result = event
        facts = list(self._known_session(event, ""))
        used = _usage(read.child(event, "usage"))
        # It also knows of requests that no event shows; of a resumed session it counts what was paid for before.
        if used is not None and not self._resumed and (used.output_tokens or 0) >= (self._total.output_tokens or 0):
            self._total = used
            facts.append(Tokens(usage=used, model=self._model))
        return facts

    def _keep_raw(self, line: bytes) -> None:
        if not self._understood:
            self._unread.add(line)


def _usage(usage: Json) -> Usage | None:
    """`input_tokens` includes the cached ones. All zero means that nothing was reported."""
    given, out = read.count(usage.get("input_tokens")), read.count(usage.get("output_tokens"))
    if not given and not out:
        return None
    cached, written = read.count(usage.get("cache_read_input_tokens")), usage.get("cache_creation_input_tokens")
    return Usage(
        input_tokens=given or 0,
        cached_tokens=cached or 0,
        cache_write_tokens=read.count(written),
        output_tokens=out or 0,
    )


def _stderr_word(stderr: str) -> str:
    lines = [one_line(line) for line in stderr.splitlines() if line.strip() and not line.startswith(_NOISE)]
    return lines[0] if lines else ""
