"""Read what Gemini CLI prints with `-o stream-json`, and its session file.

Success is a `result` with `status: "success"`. Without a result the run was cut short, whatever the exit code. After an
API error that code is the HTTP status modulo 256, and the status is nowhere else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import reduce
from pathlib import Path

from architect_parallel.backends import reader_tools as read
from architect_parallel.backends.base import AgentEvent, AgentReport, Session, Step, Text, Tokens
from architect_parallel.backends.provider_errors import LATER, may_pass, retry_after_s, says_later
from architect_parallel.backends.reader_tools import NO_USAGE, FollowedLines, Json, UnreadText, add_usage
from architect_parallel.domain import Outcome, Usage
from architect_parallel.text.sanitize import one_line, plain_text

_REFUSED_ITSELF = frozenset({41, 42})
"""Exit codes before any request: login or settings, input or session."""
_TURN_LIMIT = 53
_DENIED = re.compile(r"(?<!permission )denied|not permitted by policy|rejected", re.IGNORECASE)
"""The words with which a tool says that it was denied. "permission denied" comes from the operating system."""
_NEVER = frozenset(status % 256 for status in range(400, 500) if not may_pass(status))
"""Exit codes of permanent refusals."""
_NOISE = ("Warning: 256-color", "YOLO mode", "Ripgrep is not", "[STARTUP]", "    at ", "Loaded cached credentials")
_TEXT_LIMIT = 4 * 2**20
_MOST_REPLIES = 100_000
_MOST_MODELS = 20


class GeminiReader:
    """Reads stream-json and the session file, which has each reply's tokens as soon as it is complete.

    A step is a model reply: in the session file an entry with tokens, on stdout the events between two tool results.
    """

    def __init__(self, *, home: Path, model: str | None) -> None:
        self._chats = _Chats(home)
        self._model = model
        self._session: str | None = None
        self._steps = 0
        self._stdout_steps = 0
        self._replying = False
        self._text: list[str] = []
        self._text_room = _TEXT_LIMIT
        self._denied: set[str] = set()
        self._tools: dict[str, str] = {}
        self._understood = False
        self._result: Json | None = None
        self._error = ""
        self._unread = UnreadText()

    def line(self, line: bytes) -> Iterable[AgentEvent]:
        event = read.parse_object(line) if line.startswith(b"{") else None
        if event is None:
            self._keep_raw(line)
            return ()
        self._understood = True
        match event.get("type"):
            case "init":
                return self._started(event)
            case "message":
                return self._message(event)
            case "tool_use":
                return self._tool_use(event)
            case "tool_result":
                return self._tool_result(event)
            case "error":
                self._error = one_line(read.text(event, "message"))
                return (Text(text=self._error),)
            case "result":
                return self._final(event)
            case _:
                return ()

    def poll(self) -> Iterable[AgentEvent]:
        usage = self._chats.new_total()
        if usage is None:
            return ()
        self._model = self._chats.model or self._model
        return (*self._steps_grew(), Tokens(usage=usage, model=self._model))

    def ending(self, exit_code: int | None, stderr_tail: str) -> AgentReport:
        text = plain_text("".join(self._text)).strip()
        denied = tuple(sorted(self._denied))
        if self._result is None:
            return self._without_result(exit_code, stderr_tail, text)
        if self._result.get("status") == "success":
            return AgentReport(outcome=Outcome.COMPLETED, text=text, denied=denied)
        details = read.child(self._result, "error")
        error = one_line(read.text(details, "message")) or self._error or "gemini reported an error"
        if read.text(details, "type") == "FatalTurnLimitedError" or exit_code == _TURN_LIMIT:
            return AgentReport(outcome=Outcome.MAX_STEPS, text=text, error=error, denied=denied)
        later = error.startswith("[API Error") and says_later(error, _http_status(exit_code))
        outcome = Outcome.RATE_LIMITED if later else Outcome.ERROR
        wait_s = retry_after_s(error) or retry_after_s(stderr_tail) if later else None
        return AgentReport(
            outcome=outcome,
            text=text,
            error=error,
            retry_after_s=wait_s,
            retryable=exit_code not in _NEVER,
            denied=denied,
        )

    def _without_result(self, exit_code: int | None, stderr_tail: str, text: str) -> AgentReport:
        raw = self._unread.text
        if not self._understood and exit_code == 0 and raw:
            return AgentReport(outcome=Outcome.UNREADABLE, text=raw, error="gemini printed nothing in its own format")
        reason = self._error or _stderr_word(stderr_tail) or one_line(raw)
        if exit_code in _REFUSED_ITSELF and reason:
            return AgentReport(outcome=Outcome.ERROR, text=text, error=reason, retryable=False)
        error = "gemini ended without a result" + (f": {reason}" if reason else "")
        return AgentReport(outcome=Outcome.NO_FINAL_EVENT, text=text, error=error)

    def _started(self, event: Json) -> Iterable[AgentEvent]:
        session = one_line(read.text(event, "session_id"), 200)
        self._model = one_line(read.text(event, "model"), 200) or self._model
        if not session or session == self._session:
            return ()
        self._session = session
        return (Session(session_id=session, model=self._model),)

    def _message(self, event: Json) -> Iterable[AgentEvent]:
        if event.get("role") != "assistant":
            return ()
        facts = list(self._reply_begins())
        text = read.text(event, "content")
        if self._text_room > 0:
            self._text.append(text[: self._text_room])
            self._text_room -= len(text)
        if shown := one_line(text, 200):
            facts.append(Text(text=shown))
        return facts

    def _tool_use(self, event: Json) -> Iterable[AgentEvent]:
        facts = list(self._reply_begins())
        name, given = one_line(read.text(event, "tool_name"), 60), read.child(event, "parameters")
        if len(self._tools) < _MOST_REPLIES:
            self._tools[read.text(event, "tool_id")] = name
        return [*facts, Text(text=read.tool_line(name, given))]

    def _tool_result(self, event: Json) -> Iterable[AgentEvent]:
        self._replying = False
        output = read.text(event, "output") or read.text(read.child(event, "error"), "message")
        if event.get("status") == "error" and _DENIED.search(output[:400]):
            self._denied.add(self._tools.get(read.text(event, "tool_id"), "") or "a tool")
        return ()

    def _reply_begins(self) -> Iterable[AgentEvent]:
        if self._replying:
            return ()
        self._replying = True
        self._text.clear()  # the final text is the last reply's
        self._text_room = _TEXT_LIMIT
        self._stdout_steps += 1
        return self._steps_grew()

    def _steps_grew(self) -> Iterable[AgentEvent]:
        steps = max(self._stdout_steps, self._chats.replies)
        if steps <= self._steps:
            return ()
        self._steps = steps
        return (Step(count=steps),)

    def _final(self, event: Json) -> Iterable[AgentEvent]:
        self._result = event
        facts = list(self.poll())  # what its replies took: the rest it spent beside them (choosing a model, say)
        stats = read.child(event, "stats")
        models = {one_line(name, 200): model for name, model in read.child(stats, "models").items()}
        parts = {name: _used(model) for name, model in models.items() if isinstance(model, dict)}
        if not any(parts.values()):
            parts = {self._model or "": _used(stats)}
        for name, usage in list(parts.items())[:_MOST_MODELS]:
            if usage is not None and self._chats.at_least(name, usage):
                facts.append(Tokens(usage=self._chats.total, model=name or None))
        return facts

    def _keep_raw(self, line: bytes) -> None:
        if not self._understood:
            self._unread.add(line)


class _Chats:
    """The tokens of all replies in the sessions of one home, by model, without those of earlier attempts."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._files: dict[Path, FollowedLines] = {}
        self._seen: set[str] = set()
        self._replied = dict[str, Usage]()
        self._told = dict[str, Usage]()
        """Totals of the final event."""
        self.replies = 0
        self.model: str | None = None
        while list(self._entries()):  # an earlier attempt's, also where a resumed session writes them anew
            pass

    @property
    def total(self) -> Usage:
        """The total: for each model the larger of its replies in the file and the final event's figure."""
        every = [_larger(self._replied.get(name), self._told.get(name)) for name in {**self._replied, **self._told}]
        return reduce(add_usage, every, NO_USAGE)

    def new_total(self) -> Usage | None:
        """The total if it has grown since the last call."""
        before = _output(self.total)
        for used in self._entries():
            self.replies += 1
            name = (self.model if len(self._replied) < _MOST_MODELS else None) or ""
            self._replied[name] = add_usage(self._replied.get(name, NO_USAGE), used)
        return self.total if _output(self.total) > before else None

    def at_least(self, model: str, usage: Usage) -> bool:
        """Take the final event's figure for `model`. Returns whether it is larger than the file's."""
        self._told[model] = usage
        return _output(usage) > _output(self._replied.get(model, NO_USAGE))

    def _entries(self) -> Iterator[Usage]:
        """Entries of the replies not seen before."""
        for path in sorted(self._home.glob("tmp/*/chats/**/*.jsonl")):
            followed = self._files.setdefault(path, FollowedLines(path))
            for entry in followed.objects(b'"tokens"'):
                for item in (entry, *read.children(read.child(entry, "$set"), "messages")):
                    tokens, name = read.child(item, "tokens"), read.text(item, "id")
                    if not tokens or not name or name in self._seen or len(self._seen) >= _MOST_REPLIES:
                        continue
                    self._seen.add(name)
                    self.model = one_line(read.text(item, "model"), 200) or self.model
                    given = (read.count(tokens.get("input")) or 0) + (read.count(tokens.get("tool")) or 0)
                    out = (read.count(tokens.get("output")) or 0) + (read.count(tokens.get("thoughts")) or 0)
                    cached = read.count(tokens.get("cached")) or 0
                    yield Usage(input_tokens=given, cached_tokens=cached, output_tokens=out)


def _used(stats: Json) -> Usage | None:
    """Usage from the final event's figures. `None` means that it has none."""
    given, out = read.count(stats.get("input_tokens")), read.count(stats.get("output_tokens"))
    if not given or out is None:
        return None
    # Thoughts are paid for as output; the total has them, `output_tokens` has not.
    out = max(out, (read.count(stats.get("total_tokens")) or 0) - given)
    return Usage(input_tokens=given, cached_tokens=read.count(stats.get("cached")), output_tokens=out)


def _larger(one: Usage | None, other: Usage | None) -> Usage:
    return max(one or NO_USAGE, other or NO_USAGE, key=_output)


def _output(usage: Usage) -> int:
    return usage.output_tokens or 0


def _http_status(exit_code: int | None) -> int | None:
    """The status that an exit code means. `None` means no temporary refusal."""
    return next((status for status in LATER if status % 256 == exit_code), None)


def _stderr_word(stderr: str) -> str:
    lines = [one_line(line) for line in stderr.splitlines() if line.strip() and not line.startswith(_NOISE)]
    # What is wrong comes before the advice how to use the program.
    return lines[0] if lines else ""
