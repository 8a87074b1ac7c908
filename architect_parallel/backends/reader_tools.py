"""Tools for the readers of agents' output: JSON values, growing files, token sums, unread text.

No function here raises on any input. A value of the wrong kind is read as `None`, for example a text where a number
belongs, a negative count, or a number that is not finite.
"""

from __future__ import annotations

import json
import math
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from architect_parallel.domain import Usage
from architect_parallel.text.sanitize import one_line, plain_text

Json = Mapping[str, Any]

CHUNK_BYTES = 4 * 2**20
"""Bytes that `FollowedLines` reads per call at most. A longer line is skipped."""
UNREAD_BYTES = 16 * 1024
"""Bytes that `UnreadText` keeps."""
NO_USAGE = Usage(input_tokens=0, cached_tokens=0, cache_write_tokens=0, output_tokens=0)

_NOTHING: Json = {}
_MAX_COUNT = 2**53


def parse_object(data: bytes | str) -> Json | None:
    """Return the JSON object in `data`. `None` means that `data` is anything else, or nested too deeply to read."""
    text = data.decode("utf-8", errors="replace") if isinstance(data, bytes) else data
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def child(parent: Json, key: str) -> Json:
    """Return the object under `key`, or an empty one."""
    value = parent.get(key)
    return value if isinstance(value, dict) else _NOTHING


def children(parent: Json, key: str) -> list[Json]:
    """Return the objects in the list under `key`."""
    value = parent.get(key)
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def text(parent: Json, key: str) -> str:
    """Return the text under `key`, or an empty string."""
    value = parent.get(key)
    return value if isinstance(value, str) else ""


def count(value: object) -> int | None:
    """Return a whole number of at least 0. `None` means that `value` is anything else."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MAX_COUNT:
        return None
    return value


def money(value: object) -> float | None:
    """Return an amount in USD, finite and not negative. `None` means anything else: `json` reads NaN and 1e999."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        amount = float(value)
    except OverflowError:
        return None
    return amount if math.isfinite(amount) and amount >= 0 else None


def dotted(parent: Json, path: str) -> object:
    """Return the value under a dotted key such as `costs.total_cost_usd`. `None` means that a part is missing."""
    value: object = parent
    for key in path.split("."):
        if not isinstance(value, dict) or key not in value:
            return None
        value = value[key]
    return value


def add_usage(first: Usage, second: Usage) -> Usage:
    """Add the tokens of two usages. A missing count is 0."""
    return Usage(
        input_tokens=(first.input_tokens or 0) + (second.input_tokens or 0),
        cached_tokens=(first.cached_tokens or 0) + (second.cached_tokens or 0),
        cache_write_tokens=(first.cache_write_tokens or 0) + (second.cache_write_tokens or 0),
        output_tokens=(first.output_tokens or 0) + (second.output_tokens or 0),
    )


def block_line(block: Json) -> str:
    """A content block of a message as one line: its text, or its tool call. Empty for other kinds."""
    match block.get("type"):
        case "text":
            return one_line(text(block, "text"), 200)
        case "tool_use":
            return tool_line(text(block, "name"), child(block, "input"))
        case _:
            return ""


def tool_line(name: str, arguments: Json) -> str:
    """A tool call as one line: the tool's name and its most telling argument."""
    keys = ("command", "file_path", "path", "pattern", "prompt")
    argument = next((text(arguments, key) for key in keys if text(arguments, key)), "")
    return one_line(f"{name} {argument}", 200)


def denied_tools(result: Json) -> tuple[str, ...]:
    """Names of the tools that the agent was denied, sorted, from a final event's `permission_denials`."""
    denials = children(result, "permission_denials")
    return tuple(sorted({one_line(text(denial, "tool_name"), 60) or "a tool" for denial in denials}))


class UnreadText:
    """The first `UNREAD_BYTES` of the lines that a reader could not read.

    It is the only message there is when nothing else was understood.
    """

    def __init__(self) -> None:
        self._lines: list[bytes] = []
        self._free = UNREAD_BYTES

    def add(self, line: bytes) -> None:
        """Add a line without its newline. Drop what no longer fits."""
        if self._free > 0:
            self._lines.append(line[: self._free])
            self._free -= len(line) + 1

    @property
    def text(self) -> str:
        """The text without control sequences."""
        return plain_text(b"\n".join(self._lines).decode(errors="replace")).strip()


class FollowedLines:
    """A file of JSON lines that an agent writes while it works, read as it grows. It need not exist yet.

    The agent can write there too: the file may be anything but a regular one, and a read never blocks.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.offset = 0
        """Bytes read so far."""

    def objects(self, *markers: bytes) -> Iterator[Json]:
        """Yield the new objects whose line contains one of `markers`."""
        data = _read_from(self._path, self.offset)
        end = data.rfind(b"\n") + 1
        if end == 0:
            self.offset += len(data) if len(data) >= CHUNK_BYTES else 0
            return
        self.offset += end
        for line in data[:end].split(b"\n"):
            if any(marker in line for marker in markers):
                value = parse_object(line)
                if value is not None:
                    yield value

    def skip(self) -> None:
        """Skip the lines that an earlier attempt wrote."""
        try:
            self.offset = os.stat(self._path, follow_symlinks=False).st_size
        except OSError:
            self.offset = 0


def _read_from(path: Path, offset: int) -> bytes:
    """Read at most `CHUNK_BYTES` of a regular file from `offset` on. Empty when there is nothing to read."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags)
    except OSError:
        return b""
    try:
        return os.pread(descriptor, CHUNK_BYTES, offset) if stat.S_ISREG(os.fstat(descriptor).st_mode) else b""
    except OSError:
        return b""
    finally:
        os.close(descriptor)
