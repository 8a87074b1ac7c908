"""Secrets blanked out in what an agent prints: in every spelling that is read back as easily as the value itself.

The spellings are the value as it is, in JSON, in a URL, in hexadecimal digits, and in base64 at each of the three
positions that it can have in an encoded text. Each is also found with control sequences and line ends within it:
readers remove the former, and a terminal's width decides about the latter.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import quote_from_bytes

BLANK = b"[redacted]"
_SHORTEST_ENCODED = 7
"""A shorter part of an encoded value would redact ordinary words."""
_WIDEST = 12
"""Bytes for each character of a secret that is cut by the end of a chunk, with what a reader may leave out."""
_SHORTEST_BEGINNING = 4
"""A shorter beginning of a secret before a line end is not held back."""
_CONTROLS = bytes([*range(9), *range(10, 32), 127])
_IGNORED = (
    rb"(?:\x1b\[[0-?]*[ -/]*[@-~]|\x1b[\]PX^_][^\x07\x1b\n]*(?:\x07|\x1b\\)|\x1b[@-Z\\^_]"
    rb"|\\u001[bB]\[[0-9;?]*[A-Za-z]|\\[nr]|[\x00-\x08\x0a-\x1f\x7f])"
)
"""Everything that a reader of the text may leave out: control sequences, also as JSON spells them, and line ends."""
_IGNORED_PARTS = re.compile(_IGNORED)


_BEGUN = re.compile(
    rb"(?:\x1b(?:\[[0-?]*[ -/]*|[\]PX^_][^\x07\x1b\n]*\x1b?)?|\\(?:u(?:0(?:0(?:1(?:[bB](?:\[[0-9;?]*)?)?)?)?)?)?)\Z"
)
"""A control sequence that the end of the data cuts."""


def redact(data: bytes, secrets: Iterable[str]) -> bytes:
    """`data` with every secret redacted, in all spellings."""
    return _blanked(data, _spellings(tuple(secrets)))


def redact_text(text: str, secrets: Iterable[str]) -> str:
    """Text with every secret redacted, in all spellings."""
    secrets = tuple(secrets)
    return redact(text.encode(errors="surrogateescape"), secrets).decode(errors="surrogateescape") if secrets else text


def holds_secret(data: bytes, secrets: Iterable[str]) -> bool:
    """Return whether the data has a secret in any spelling."""
    return redact(data, secrets) != data


class Redactor:
    """`redact` for a stream, one per stream. A secret that is cut by the end of a chunk is found too.

    Only what may be the beginning of a secret is held back. `finish` returns it.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        self._spellings = _spellings(tuple(secrets))
        self._longest = max(map(len, self._spellings), default=0)
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """Add data and return what may be written now."""
        if not self._spellings:
            return data
        data = _blanked(self._held + data, self._spellings)
        keep = self._unfinished(data)
        self._held = data[len(data) - keep :]
        return data[: len(data) - keep]

    def finish(self) -> bytes:
        """Return the rest at the end of the stream."""
        rest, self._held = self._held, b""
        return rest

    def _unfinished(self, data: bytes) -> int:
        """Length of the longest end of `data` that begins a secret."""
        longest = self._beginning(data[-self._longest :])
        tail = data[-_WIDEST * self._longest :]
        begun = _BEGUN.search(tail)
        whole = tail[: begun.start()] if begun else tail
        plain = _read(whole)
        length = self._beginning(plain[-self._longest :])
        if plain == tail or not length:
            return longest
        start = len(whole) - length
        while start > 0 and _read(whole[start:]) != plain[-length:]:
            start -= 1
        if begun is None and length < _SHORTEST_BEGINNING and whole[start:].rstrip(b"\r\n") == plain[-length:]:
            return longest
        return max(longest, len(tail) - start)

    def _beginning(self, tail: bytes) -> int:
        """Length of the longest end of `tail` that begins a secret and is not the whole of it."""
        longest = 0
        for spelling in self._spellings:
            start = max(0, len(tail) - len(spelling) + 1)
            while (start := tail.find(spelling[:1], start)) >= 0 and len(tail) - start > longest:
                if spelling.startswith(tail[start:]):
                    longest = len(tail) - start
                    break
                start += 1
        return longest


def _read(data: bytes) -> bytes:
    """The data without what a reader may leave out."""
    if b"\x1b" in data or b"\\u001" in data:
        return _IGNORED_PARTS.sub(b"", data)
    if b"\\" in data:
        data = data.replace(b"\\n", b"").replace(b"\\r", b"")
    return data.translate(None, _CONTROLS)


def _blanked(data: bytes, spellings: tuple[bytes, ...]) -> bytes:
    for spelling in spellings:
        data = data.replace(spelling, BLANK)
    plain = _read(data)
    if plain != data and any(spelling in plain for spelling in spellings):
        for spelling in spellings:
            data = _spaced(spelling).sub(BLANK, data)
    return data


@lru_cache(maxsize=256)
def _spaced(spelling: bytes) -> re.Pattern[bytes]:
    """The spelling with anything between its characters that a reader may leave out."""
    return re.compile((_IGNORED + b"*").join(re.escape(bytes([byte])) for byte in spelling))


@lru_cache(maxsize=64)
def _spellings(secrets: tuple[str, ...]) -> tuple[bytes, ...]:
    """Longest first, so that a secret that contains another is redacted as a whole."""
    spellings: set[bytes] = set()
    for secret in secrets:
        value = secret.encode(errors="surrogateescape")
        spellings |= {value, json.dumps(secret)[1:-1].encode()}
        encoded = {quote_from_bytes(value, safe="").encode(), quote_from_bytes(value).encode()}
        encoded |= {value.hex().encode(), value.hex().upper().encode()}
        for offset in range(3):
            inner = _inner_base64(value, offset)
            encoded |= {inner, inner.translate(bytes.maketrans(b"+/", b"-_"))}
        spellings |= {spelling for spelling in encoded if len(spelling) >= _SHORTEST_ENCODED}
    return tuple(sorted(spellings - {b""}, key=lambda item: (-len(item), item)))


def _inner_base64(value: bytes, offset: int) -> bytes:
    """The digits of the value alone, where it begins `offset` bytes behind a group of three."""
    digits = base64.b64encode(bytes(offset) + value)
    end = (offset + len(value)) * 8 // 6
    return digits[-(-offset * 8 // 6) : end]
