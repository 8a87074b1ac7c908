"""An agent's log as entries for people: the agent's words, its tool calls with their results, and errors. Pure.

The readers of this room count and decide, and skip what costs time. These parsers keep what a person wants to read.
Each knows the output format of one agent. A line that is no event of the format stays as it is. The log is data of
unknown origin, so the text of every entry is sanitized.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from architect_parallel.backends import reader_tools as read
from architect_parallel.backends.reader_tools import Json
from architect_parallel.domain import backend_family
from architect_parallel.text.sanitize import one_line, plain_text

ARGUMENT_CHARACTERS = 400
_OWN_CALL = re.compile(r"  ([a-z_]+)(?: (.*))?")
"""A line of the embedded agent about a call."""
_OPEN_CALLS = 10_000


class EntryKind(StrEnum):
    """The kind of an entry."""

    WORDS = "words"
    """Text that the agent wrote for its user."""
    CALL = "call"
    RESULT = "result"
    """The output of a tool, after its call."""
    ERROR = "error"
    OUTPUT = "output"
    """A line in no known format: a text agent's output, or a line of stderr."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEntry:
    """One entry of a log."""

    kind: EntryKind
    text: str
    """Without control sequences. A call's text is its most telling argument, the others may have several lines."""
    tool: str = ""
    """Name of the tool, of a call only."""
    failed: bool = False
    """The tool reported a failure, of a result only."""


Entries = Iterator[LogEntry]


class LogParser:
    """Turns the lines of one agent's log into entries."""

    def __init__(self, backend: str, worktree: str | None = None) -> None:
        """Args:
        backend: Name of the backend that printed the log. With an unknown name every line is output.
        worktree: The agent's working directory, which is left out of paths. `None` means that paths stay whole.
        """
        format_ = _FORMATS.get(backend_family(backend))
        self._format = format_() if format_ is not None else None
        self._prefix = f"{worktree.rstrip('/')}/" if worktree else None
        self._last: LogEntry | None = None

    def line(self, line: bytes) -> list[LogEntry]:
        """The entries of a complete line without its newline."""
        if self._format is None:
            return list(self._clean([_output(line)]))
        event = read.parse_object(line) if line.lstrip().startswith(b"{") else None
        entries = self._format.text(line) if event is None else self._format.event(event)
        return list(self._clean(entries))

    def finish(self) -> list[LogEntry]:
        """The entries that waited for further lines."""
        return list(self._clean(self._format.rest())) if self._format is not None else []

    def _clean(self, entries: Iterable[LogEntry]) -> Entries:
        for entry in entries:
            text = plain_text(entry.text).expandtabs(4).strip("\n").rstrip()
            if self._prefix is not None and entry.kind is EntryKind.CALL:
                text = text.replace(self._prefix, "")
            cleaned = LogEntry(kind=entry.kind, text=text, tool=one_line(entry.tool, 60), failed=entry.failed)
            # The final event of most agents repeats their last words.
            last, spoken = self._last, (EntryKind.WORDS, EntryKind.ERROR)
            repeats = last is not None and cleaned.kind in spoken and last.kind in spoken and last.text == text
            may_be_empty = self._format is None or entry.kind in (EntryKind.CALL, EntryKind.RESULT)
            if not repeats and (text or may_be_empty):
                self._last = cleaned
                yield cleaned


class _Format:
    """The output format of one agent. `event` takes a line that is a JSON object, `text` any other."""

    def event(self, event: Json) -> Entries:
        raise NotImplementedError

    def text(self, line: bytes) -> Entries:
        yield _output(line)

    def rest(self) -> Entries:
        yield from ()


class _Anthropic(_Format):
    """The stream-json of claude, and of qwen."""

    def event(self, event: Json) -> Entries:
        message = read.child(event, "message")
        match event.get("type"):
            case "assistant":
                is_error = read.text(message, "model") == "<synthetic>"
                for block in read.children(message, "content"):
                    if block.get("type") == "text":
                        yield (_error if is_error else _words)(read.text(block, "text"))
                    elif block.get("type") == "tool_use":
                        yield _call(read.text(block, "name"), block.get("input"))
            case "user":
                for block in read.children(message, "content"):
                    if block.get("type") == "tool_result":
                        yield _result(block.get("content"), failed=block.get("is_error") is True)
            case "system" if event.get("subtype") == "api_retry":
                yield _error(f"HTTP {event.get('error_status')} {read.text(event, 'error')}: the agent tries again")
            case "result" if event.get("is_error"):
                errors = event.get("errors")
                reason = read.text(read.child(event, "error"), "message") or read.text(event, "result")
                reason = reason or (_content(errors) if isinstance(errors, list) else "")
                yield _error(reason or read.text(event, "subtype").replace("_", " "))


class _Codex(_Format):
    """The items of `codex exec --json`."""

    def __init__(self) -> None:
        self._open: set[str] = set()

    def event(self, event: Json) -> Entries:
        item = read.child(event, "item")
        match event.get("type"):
            case "item.started":
                yield from self._begin(item)
            case "item.completed":
                yield from self._end(item)
            case "error":
                yield _error(read.text(event, "message"))
            case "turn.failed":
                yield _error(read.text(read.child(event, "error"), "message"))

    def _begin(self, item: Json) -> Entries:
        match item.get("type"):
            case "command_execution":
                call = _call("shell", {"command": _inner_command(read.text(item, "command"))})
            case "mcp_tool_call":
                name = ".".join(filter(None, (read.text(item, "server"), read.text(item, "tool"))))
                call = _call(name, item.get("arguments"))
            case "web_search":
                call = _call("web search", {"query": read.text(item, "query")})
            case "file_change":
                changes = read.children(item, "changes")
                call = _call("change", {"path": ", ".join(read.text(change, "path") for change in changes)})
            case _:
                return
        if len(self._open) < _OPEN_CALLS:
            self._open.add(read.text(item, "id"))
        yield call

    def _end(self, item: Json) -> Entries:
        failed = item.get("status") == "failed"
        if read.text(item, "id") not in self._open:
            yield from self._begin(item)
        self._open.discard(read.text(item, "id"))
        match item.get("type"):
            case "agent_message":
                yield _words(read.text(item, "text"))
            case "error":
                yield LogEntry(kind=EntryKind.OUTPUT, text=read.text(item, "message"))
            case "command_execution":
                yield _result(item.get("aggregated_output"), failed=failed or item.get("exit_code") not in (0, None))
            case "mcp_tool_call":
                error = read.text(read.child(item, "error"), "message")
                yield _result(error or read.child(item, "result").get("content"), failed=failed)
            case "file_change" if failed:
                yield _result("the change was not applied", failed=True)


class _Gemini(_Format):
    """The stream-json of gemini. A message comes in pieces."""

    def __init__(self) -> None:
        self._pieces: list[str] = []

    def event(self, event: Json) -> Entries:
        kind = event.get("type")
        if kind == "message":
            if event.get("role") == "assistant":
                self._pieces.append(read.text(event, "content"))
            return
        yield from self.rest()
        error = read.text(read.child(event, "error"), "message")
        match kind:
            case "tool_use":
                yield _call(read.text(event, "tool_name"), event.get("parameters"))
            case "tool_result":
                yield _result(event.get("output") or error, failed=event.get("status") == "error")
            case "error":
                yield _error(read.text(event, "message"))
            case "result" if event.get("status") != "success":
                yield _error(error)

    def rest(self) -> Entries:
        if self._pieces:
            yield _words("".join(self._pieces))
            self._pieces.clear()


class _Opencode(_Format):
    """The events of `opencode run --format json`. A call comes together with its result."""

    def event(self, event: Json) -> Entries:
        part, error = read.child(event, "part"), read.child(event, "error")
        state = read.child(part, "state")
        match event.get("type"):
            case "text":
                yield _words(read.text(part, "text"))
            case "tool_use":
                yield _call(read.text(part, "tool"), state.get("input"))
                yield _result(state.get("output") or state.get("error"), failed=state.get("status") == "error")
            case "error":
                yield _error(read.text(read.child(error, "data"), "message") or read.text(error, "name"))


class _Copilot(_Format):
    """The events of `copilot --output-format json`. Most lines are pieces of later events."""

    def event(self, event: Json) -> Entries:
        data = read.child(event, "data")
        error = read.text(read.child(data, "error"), "message")
        match event.get("type"):
            case "assistant.message":
                yield _words(read.text(data, "content"))
            case "tool.execution_start":
                yield _call(read.text(data, "toolName"), data.get("arguments"))
            case "tool.execution_complete":
                output = read.child(data, "result").get("content")
                yield _result(output or error, failed=data.get("success") is False)
            case "model.call_failure":
                yield _error(f"HTTP {data.get('statusCode')} {_plain_message(read.text(data, 'errorMessage'))}")
            case "session.error":
                yield _error(read.text(data, "message"))


class _Architect(_Format):
    """The embedded agent: a line per text and per call on stderr, one object at its end on stdout."""

    def event(self, event: Json) -> Entries:
        if "status" in event:
            yield _words(read.text(event, "output"))
            yield _error(read.text(event, "error"))

    def text(self, line: bytes) -> Entries:
        text = line.decode(errors="replace")
        call = _OWN_CALL.fullmatch(text)
        yield _words(text) if call is None else LogEntry(kind=EntryKind.CALL, tool=call[1], text=call[2] or "")


_FORMATS: Mapping[str, Callable[[], _Format]] = {
    "acp": _Gemini,
    "architect": _Architect,
    "claude": _Anthropic,
    "codex": _Codex,
    "copilot": _Copilot,
    "gemini": _Gemini,
    "opencode": _Opencode,
    "qwen": _Anthropic,
}
"""Backends that print events. All others print text."""


def _words(text: str) -> LogEntry:
    return LogEntry(kind=EntryKind.WORDS, text=text)


def _error(text: str) -> LogEntry:
    return LogEntry(kind=EntryKind.ERROR, text=text)


def _output(line: bytes) -> LogEntry:
    return LogEntry(kind=EntryKind.OUTPUT, text=line.decode(errors="replace"))


def _call(tool: str, arguments: object) -> LogEntry:
    return LogEntry(kind=EntryKind.CALL, tool=tool or "tool", text=_argument(arguments))


def _result(content: object, *, failed: bool) -> LogEntry:
    return LogEntry(kind=EntryKind.RESULT, text=_content(content), failed=failed)


_TELLING = (
    *("command", "file_path", "filePath", "absolute_path", "path", "dir_path", "pattern", "query", "url"),
    *("description", "prompt"),
)
"""Names of arguments that tell the most, in order."""


def _argument(arguments: object) -> str:
    """The most telling argument of a call on one line, with the number of lines that an edit writes."""
    if isinstance(arguments, str):
        return one_line(arguments, ARGUMENT_CHARACTERS)
    if not isinstance(arguments, dict) or not arguments:
        return ""
    telling = next((read.text(arguments, key) for key in _TELLING if read.text(arguments, key)), "")
    if not telling:
        telling = json.dumps(arguments, ensure_ascii=False, default=str)
    removed, added = _lines(arguments, "old_string", "oldString"), _lines(arguments, "new_string", "newString")
    written = _lines(arguments, "content")
    size = f" (+{added} -{removed})" if added or removed else f" (+{written})" if written else ""
    return one_line(telling, ARGUMENT_CHARACTERS) + size


def _lines(arguments: Json, *keys: str) -> int:
    return sum(len(read.text(arguments, key).splitlines()) for key in keys)


def _content(content: object) -> str:
    """The text of a tool's result: text, or a list of text blocks."""
    if isinstance(content, list):
        return "\n".join(read.text(item, "text") if isinstance(item, dict) else str(item) for item in content)
    return content if isinstance(content, str) else ""


def _inner_command(command: str) -> str:
    """The command inside `bash -lc '...'`."""
    try:
        words = shlex.split(command)
    except ValueError:
        return command
    return words[2] if len(words) == 3 and words[1] in ("-c", "-lc") else command


def _plain_message(text: str) -> str:
    """The message of an error that is a JSON object, else the text itself."""
    content = read.parse_object(text)
    return (read.text(content, "message") or text) if content is not None else text
