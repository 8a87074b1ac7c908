"""Read the JSON that a tool described in YAML prints.

Only values under the configured names are read, and only if they have the right type.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping

from architect_parallel.backends import reader_tools as read
from architect_parallel.backends.base import AgentEvent, AgentReport, Session, Step, Text, Tokens
from architect_parallel.backends.reader_tools import Json
from architect_parallel.backends.shell import LastLines, by_exit_code
from architect_parallel.domain import CostBasis, Outcome, Usage
from architect_parallel.text.sanitize import one_line, plain_text

FIELDS: Mapping[str, str] = {
    "output": "result",
    "cost": "total_cost_usd",
    "steps": "num_turns",
    "session_id": "session_id",
    "is_error": "is_error",
    "error": "error",
    "input_tokens": "usage.input_tokens",
    "cached_tokens": "usage.cached_tokens",
    "output_tokens": "usage.output_tokens",
}
"""Our field → the dotted key it is read from, unless `fields` names another."""

_JSON_BYTES = 2**20
"""Bytes of stdout kept to find the last JSON object in."""


class JsonReader:
    """Reads `output: json` (the last JSON object on stdout) or `jsonl` (an object per line, the last value counts)."""

    def __init__(self, *, what: str, fields: Mapping[str, str], lines: bool) -> None:
        self._what = what
        self._fields = fields
        self._lines = lines
        self._tail = LastLines(_JSON_BYTES)
        self._said: dict[str, object] = {}
        self._found = False
        self._object_ended = False

    def line(self, line: bytes) -> Iterable[AgentEvent]:
        self._tail.add(line)
        if not self._lines:
            self._object_ended = self._object_ended or line.rstrip().endswith(b"}")
            return ()
        value = read.parse_object(line) if line.lstrip().startswith(b"{") else None
        return self._take(value) if value is not None else ()

    def filter_block(self, block: bytes) -> list[bytes]:
        if b"{" not in block and not (b"}" in block and not self._lines):
            self._tail.extend(block)
            return []
        return block[:-1].split(b"\n")

    def poll(self) -> Iterable[AgentEvent]:
        if not self._object_ended:
            return ()
        self._object_ended = False
        value = last_object(self._tail.raw)
        return self._take(value) if value is not None else ()

    def ending(self, exit_code: int | None, stderr_tail: str) -> AgentReport:
        raw = self._tail.raw
        by_code = by_exit_code(self._what, exit_code, stderr_tail, plain_text(raw[-16384:]).strip())
        if not self._found:
            if by_code.outcome is not Outcome.COMPLETED:
                return by_code
            return AgentReport(
                outcome=Outcome.UNREADABLE, text=by_code.text, error=f"{self._what} printed no JSON object"
            )
        text = plain_text(self._words("output"))
        flag = self._said.get("is_error")
        if flag is not None and flag is not False:
            error = one_line(self._words("error") or text) or f"{self._what} reported an error"
            return AgentReport(outcome=Outcome.ERROR, text=text, error=error)
        return AgentReport(outcome=by_code.outcome, text=text, error=by_code.error)

    def facts(self) -> Iterable[AgentEvent]:
        """Everything known so far."""
        steps = read.count(self._said.get("steps"))
        if steps is not None:
            yield Step(count=steps)
        session = self._said.get("session_id")
        if isinstance(session, str) and session:
            yield Session(session_id=one_line(session, 200))
        cost = read.money(self._said.get("cost"))
        usage = Usage(
            input_tokens=read.count(self._said.get("input_tokens")),
            cached_tokens=read.count(self._said.get("cached_tokens")),
            output_tokens=read.count(self._said.get("output_tokens")),
            reported_cost=cost,
            cost_basis=CostBasis.UNKNOWN if cost is None else CostBasis.REPORTED,
        )
        if usage != Usage():
            yield Tokens(usage=usage)

    def _take(self, value: Json) -> Iterable[AgentEvent]:
        self._found = True
        for field, path in self._fields.items():
            value_at_path = read.dotted(value, path)
            if value_at_path is not None:
                self._said[field] = value_at_path
        output = self._words("output") if self._lines else ""
        return (*self.facts(), *([Text(text=one_line(output, 200))] if output else []))

    def _words(self, field: str) -> str:
        value = self._said.get(field)
        if value is None or isinstance(value, str):
            return value or ""
        return json.dumps(value, ensure_ascii=False)


def last_object(text: str) -> Json | None:
    """Return the last JSON object in `text` that begins a line. It may span lines."""
    decoder = json.JSONDecoder()
    last: Json | None = None
    position, tries = 0, 0
    for match in re.finditer(r"^[ \t]*(?=\{)", text, re.MULTILINE):
        if match.end() < position:
            continue
        tries += 1
        if tries > 2_000:  # a flood of braces is no answer
            break
        try:
            value, position = decoder.raw_decode(text, match.end())
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            last = value
    return last
