"""Follow the session file of codex while codex writes it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from architect_parallel.backends import reader_tools as read
from architect_parallel.backends.reader_tools import FollowedLines, Json
from architect_parallel.domain import Usage

_MARKERS = (b'"token_usage_record"', b'"token_count"', b'"turn_context"')


class Rollout:
    """Follows `sessions/YYYY/MM/DD/rollout-<time>-<session>.jsonl` under one CODEX_HOME."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._file: FollowedLines | None = None

    def entries(self, session: str) -> Iterable[Json]:
        """Yield the new entries with tokens or the model's name."""
        file = self._find(session)
        return file.objects(*_MARKERS) if file is not None else ()

    def skip(self, session: str) -> Usage | None:
        """Skip to the end of the file. Return the tokens that the thread had used by then."""
        usage: Usage | None = None
        file, before = self._find(session), -1
        while file is not None and file.offset != before:
            before = file.offset
            for entry in file.objects(*_MARKERS):
                usage = thread_usage(entry) or usage
        return usage

    def _find(self, session: str) -> FollowedLines | None:
        if self._file is None and re.fullmatch(r"[0-9A-Za-z-]{8,64}", session):
            rollouts = sorted((self._home / "sessions").glob(f"*/*/*/rollout-*-{session}.jsonl"))
            self._file = FollowedLines(rollouts[-1]) if rollouts else None
        return self._file


def token_usage(counted: Json) -> Usage | None:
    """Codex's token counts. `input_tokens` includes cached tokens, `output_tokens` reasoning tokens."""
    if not counted:
        return None
    return Usage(
        input_tokens=read.count(counted.get("input_tokens")),
        cached_tokens=read.count(counted.get("cached_input_tokens")),
        cache_write_tokens=read.count(counted.get("cache_write_input_tokens")),
        output_tokens=read.count(counted.get("output_tokens")),
    )


def thread_usage(entry: Json) -> Usage | None:
    """The thread's tokens so far, if the entry has them (`token_usage_record`, in older versions `token_count`)."""
    payload = read.child(entry, "payload")
    counted = read.child(read.child(payload, "info"), "total_token_usage")
    return token_usage(read.child(payload, "thread_token_usage") or counted)
