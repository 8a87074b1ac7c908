"""The session file of codex, followed while codex writes it.

The agent can write there too, so nothing here is trusted to be a plain file or JSON, and a read never blocks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from architect_parallel.backends import json_output as read
from architect_parallel.backends.followed import CHUNK_BYTES, read_from
from architect_parallel.backends.json_output import Json
from architect_parallel.domain import Usage

_MARKERS = (b'"token_usage_record"', b'"token_count"', b'"turn_context"')


class Rollout:
    """Follows `sessions/YYYY/MM/DD/rollout-<time>-<session>.jsonl` under one CODEX_HOME."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._path: Path | None = None
        self._offset = 0

    def entries(self, session: str) -> Iterator[Json]:
        """Entries with tokens or the model's name that are new since the last call."""
        path = self._find(session)
        data = read_from(path, self._offset) if path is not None else b""
        end = data.rfind(b"\n") + 1
        if end == 0:
            self._offset += len(data) if len(data) >= CHUNK_BYTES else 0
            return
        self._offset += end
        for line in data[:end].split(b"\n"):
            if any(marker in line for marker in _MARKERS):
                entry = read.parse_object(line)
                if entry is not None:
                    yield entry

    def skip(self, session: str) -> Usage | None:
        """Goes to the end of what is there; the tokens the thread had used by then."""
        usage: Usage | None = None
        while True:
            start = self._offset
            for entry in self.entries(session):
                usage = thread_usage(entry) or usage
            if self._offset == start:
                return usage

    def _find(self, session: str) -> Path | None:
        if self._path is None and re.fullmatch(r"[0-9A-Za-z-]{8,64}", session):
            found = sorted((self._home / "sessions").glob(f"*/*/*/rollout-*-{session}.jsonl"))
            self._path = found[-1] if found else None
        return self._path


def token_usage(counted: Json) -> Usage | None:
    """codex' token counts; `input_tokens` includes the cached, `output_tokens` the reasoning ones."""
    if not counted:
        return None
    return Usage(
        input_tokens=read.count(counted.get("input_tokens")),
        cached_tokens=read.count(counted.get("cached_input_tokens")),
        cache_write_tokens=read.count(counted.get("cache_write_input_tokens")),
        output_tokens=read.count(counted.get("output_tokens")),
    )


def thread_usage(entry: Json) -> Usage | None:
    """The thread's tokens so far, when the entry tells them (`token_usage_record`; in older versions `token_count`)."""
    payload = read.child(entry, "payload")
    counted = read.child(read.child(payload, "info"), "total_token_usage")
    return token_usage(read.child(payload, "thread_token_usage") or counted)
