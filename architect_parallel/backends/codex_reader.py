"""Read what codex prints with `--json`, and its rollout file.

Success is `turn.completed` without a later failure. `error` events may be retries, `error` items are warnings.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

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
from architect_parallel.backends.codex_rollout import Rollout, thread_usage, token_usage
from architect_parallel.backends.provider_errors import may_pass, retry_after_s, says_later, status_of
from architect_parallel.backends.reader_tools import Json, UnreadText
from architect_parallel.domain import Outcome, Usage
from architect_parallel.text.sanitize import one_line, plain_text

_TOOLS = frozenset({"command_execution", "file_change", "mcp_tool_call", "web_search", "collab_tool_call"})
_MOST_WARNINGS = 10
_UNINTERESTING = (b'{"type":"item.updated"',)
"""Events that repeat the output so far."""


class CodexReader:
    """Reads `--json` events and the rollout file.

    A step is a model reply. stdout does not show replies: there each finished tool call and the completed turn count,
    in the rollout each growth of the thread's tokens. The larger number is closer to the truth.
    """

    def __init__(self, *, home: Path, resumed: str | None, model: str | None) -> None:
        self._model = model
        self._rollout = Rollout(home)
        self._before = self._rollout.skip(resumed) if resumed is not None else None
        self._session: str | None = None
        self._steps = 0
        self._stdout_steps = 0
        self._rollout_steps = 0
        self._total: Usage | None = None
        self._rollout_total: Usage | None = self._before
        self._text = ""
        self._understood = False
        self._completed = False
        self._failure: str | None = None
        self._last_error: str | None = None
        self._warnings: list[str] = []
        self._unread = UnreadText()

    def line(self, line: bytes) -> Iterable[AgentEvent]:
        if not line.startswith(b"{") or b'"type"' not in line:
            self._keep_raw(line)
            return ()
        if line.startswith(_UNINTERESTING):
            return ()
        event = read.parse_object(line)
        if event is None:
            self._keep_raw(line)
            return ()
        match event.get("type"):
            case "thread.started":
                return self._started(event)
            case "item.started":
                return self._shown(read.child(event, "item"))
            case "item.completed":
                return self._item(read.child(event, "item"))
            case "turn.started":
                self._understood, self._completed, self._failure = True, False, None
            case "turn.completed":
                return self._turn_completed(event)
            case "turn.failed":
                self._understood, self._completed = True, False
                self._failure = one_line(read.text(read.child(event, "error"), "message")) or "codex' turn failed"
            case "error":
                # Also "Reconnecting... 1/5": nothing is over before turn.failed.
                self._last_error = one_line(read.text(event, "message"))
                if self._last_error.startswith("Reconnecting") and says_later(self._last_error):
                    return (Throttled(message=self._last_error, retry_after_s=retry_after_s(self._last_error)),)
                return (Text(text=self._last_error),)
        return ()

    def filter_block(self, block: bytes) -> list[bytes]:
        return lines_without(block, _UNINTERESTING)

    def poll(self) -> Iterable[AgentEvent]:
        if self._session is None:
            return ()
        latest: Usage | None = None
        for entry in self._rollout.entries(self._session):
            if entry.get("type") == "turn_context":
                self._model = one_line(read.text(read.child(entry, "payload"), "model"), 200) or self._model
                continue
            usage = thread_usage(entry)
            if usage is not None and usage != self._rollout_total:  # each total is written twice
                self._rollout_total = latest = usage
                self._rollout_steps += 1
        if latest is None:
            return ()
        # The rollout may be read after stdout already told the turn's total: never go back.
        known = self._total.output_tokens if self._total is not None else None
        newer = (latest.output_tokens or 0) >= (known or 0)
        return (*self._steps_grew(), *(self._tokens(latest) if newer else ()))

    def ending(self, exit_code: int | None, stderr_tail: str) -> AgentReport:
        warnings = tuple(self._warnings)
        if self._failure is not None:
            # The status stands in its words, where it stands anywhere: "exceeded retry limit, last status: 429".
            later = says_later(self._failure)
            outcome = Outcome.RATE_LIMITED if later else Outcome.ERROR
            wait_s = retry_after_s(self._failure) if later else None
            return AgentReport(
                outcome=outcome,
                text=self._text,
                error=self._failure,
                retry_after_s=wait_s,
                retryable=may_pass(status_of(self._failure)),
                warnings=warnings,
            )
        if self._completed:
            return AgentReport(outcome=Outcome.COMPLETED, text=self._text, warnings=warnings)
        raw = self._unread.text
        if not self._understood and exit_code == 0 and raw:
            error = "codex printed nothing in its own format"
            return AgentReport(outcome=Outcome.UNREADABLE, text=raw, error=error, warnings=warnings)
        reason = self._last_error or _stderr_word(stderr_tail) or one_line(raw)
        error = "codex ended before its turn did" + (f": {reason}" if reason else "")
        # 2: it does not take these words as a command line.
        retryable = self._understood or exit_code != 2
        return AgentReport(
            outcome=Outcome.NO_FINAL_EVENT, text=self._text, error=error, retryable=retryable, warnings=warnings
        )

    def _started(self, event: Json) -> Iterable[AgentEvent]:
        self._understood = True
        session = one_line(read.text(event, "thread_id"), 200)
        if not session or session == self._session:
            return ()
        self._session = session
        return (Session(session_id=session, model=self._model),)

    def _item(self, item: Json) -> Iterable[AgentEvent]:
        self._understood = True
        kind = read.text(item, "type")
        if kind == "agent_message":
            self._text = plain_text(read.text(item, "text"))
            return (Text(text=one_line(self._text, 200)),)
        if kind == "error":
            warning = one_line(read.text(item, "message"))
            if warning not in self._warnings and len(self._warnings) < _MOST_WARNINGS:
                self._warnings.append(warning)
            return (Text(text=warning),)
        if kind in _TOOLS:
            self._stdout_steps += 1
            return self._steps_grew()
        return ()

    def _shown(self, item: Json) -> Iterable[AgentEvent]:
        match item.get("type"):
            case "command_execution":
                return (Text(text=one_line(read.text(item, "command"), 200)),)
            case "file_change":
                paths = " ".join(read.text(child, "path") for child in read.children(item, "changes"))
                return (Text(text=one_line(f"change {paths}", 200)),)
            case _:
                return ()

    def _turn_completed(self, event: Json) -> Iterable[AgentEvent]:
        self._understood, self._completed = True, True
        self._stdout_steps += 1
        live = self.poll() if self._model is None else ()  # a short turn: nobody has looked whose tokens these are
        usage = token_usage(read.child(event, "usage"))
        return (*live, *self._steps_grew(), *(self._tokens(usage) if usage is not None else ()))

    def _steps_grew(self) -> Iterable[AgentEvent]:
        steps = max(self._stdout_steps, self._rollout_steps)
        if steps <= self._steps:
            return ()
        self._steps = steps
        return (Step(count=steps),)

    def _tokens(self, total: Usage) -> Iterable[AgentEvent]:
        self._total = total
        return (Tokens(usage=_since(total, self._before), model=self._model),)

    def _keep_raw(self, line: bytes) -> None:
        if not self._understood:
            self._unread.add(line)


def _since(total: Usage, before: Usage | None) -> Usage:
    """Subtract earlier turns: a resumed thread continues their count, and an earlier attempt has paid for them."""
    if before is None:
        return total

    def less(now: int | None, then: int | None) -> int | None:
        return None if now is None else max(0, now - (then or 0))

    return Usage(
        input_tokens=less(total.input_tokens, before.input_tokens),
        cached_tokens=less(total.cached_tokens, before.cached_tokens),
        cache_write_tokens=less(total.cache_write_tokens, before.cache_write_tokens),
        output_tokens=less(total.output_tokens, before.output_tokens),
    )


def _stderr_word(stderr: str) -> str:
    noise = ("Reading additional input from stdin", "WARNING: proceeding")
    lines = [one_line(line) for line in stderr.splitlines() if line.strip() and not line.startswith(noise)]
    # A usage error is followed by advice; anything else says last what was wrong.
    return next((line for line in lines if line.startswith("error:")), lines[-1] if lines else "")
