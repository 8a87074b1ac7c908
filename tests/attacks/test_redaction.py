"""Attacks on the redaction: an agent prints its key in another spelling, or in parts."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from itertools import pairwise
from urllib.parse import quote

import pytest

from architect_parallel.backends.redaction import BLANK, Redactor, redact_text
from architect_parallel.text.sanitize import plain_text

KEY = 'sk-ant-oat/01+abcDEF"0123456789_xyz'
Spelling = Callable[[str], str]


def base64_behind(prefix: str, encode: Callable[[bytes], bytes] = base64.b64encode) -> Spelling:
    return lambda key: encode(f"{prefix}{key} and more".encode()).decode()


SPELLINGS: dict[str, Spelling] = {
    "as-it-is": str,
    "json": json.dumps,
    "url": lambda key: quote(key, safe=""),
    "path-of-a-url": quote,
    "hex": lambda key: key.encode().hex(),
    "hex-upper": lambda key: key.encode().hex().upper(),
    "base64": lambda key: base64.b64encode(key.encode()).decode(),
    "base64-behind-1": base64_behind("x"),
    "base64-behind-2": base64_behind("xy"),
    "base64-behind-3": base64_behind("key"),
    "base64-for-urls": base64_behind("x", base64.urlsafe_b64encode),
    "basic-authorization": base64_behind("user:"),
    "coloured": lambda key: "\x1b[31m".join(key),
    "coloured-in-json": lambda key: json.dumps("\x1b[31m".join(key)),
    "with-a-title-within": lambda key: f"{key[:9]}\x1b]0;title\x07{key[9:]}",
    "over-lines": lambda key: "\n".join(key[start : start + 6] for start in range(0, len(key), 6)),
    "over-lines-of-windows": lambda key: f"{key[:12]}\r\n{key[12:]}",
    "over-lines-in-json": lambda key: json.dumps(f"{key[:12]}\n{key[12:]}"),
    "base64-over-lines": lambda key: base64.encodebytes(f"{'x' * 40}{key}".encode()).decode(),
    "with-nul": lambda key: "\0".join(key),
    "with-backspace": lambda key: f"{key[:9]}\x08{key[9:]}",
    "with-delete": lambda key: "\x7f".join(key),
}


def plain(text: str) -> str:
    """What a reader makes of it: without control sequences, in one line."""
    return plain_text(text).replace("\n", "").replace("\\n", "").replace("\\u001b[31m", "")


@pytest.mark.parametrize("name", SPELLINGS)
@pytest.mark.parametrize("chunk", [1, 7, 4096])
def test_a_key_is_printed(name: str, chunk: int) -> None:
    shown = SPELLINGS[name](KEY)
    data = f"before {shown} behind\n".encode()
    redactor = Redactor((KEY,))
    parts = range(0, len(data) + chunk, chunk)
    out = b"".join(redactor.feed(data[start:end]) for start, end in pairwise(parts)) + redactor.finish()
    assert BLANK in out
    assert out.startswith(b"before ")
    for spelling in (KEY, shown, plain(shown)):
        assert plain(spelling) not in plain(out.decode())
    assert plain(shown) in plain(data.decode()), "the control: it is there, and a reader sees it"


@pytest.mark.parametrize("text", ["a\nb", "sk-ant", "c2s=", "plain words\n", "\x1b[31mred\x1b[0m", "736b"])
def test_control_other_output_stays(text: str) -> None:
    redactor = Redactor((KEY,))
    assert redactor.feed(text.encode()) + redactor.finish() == text.encode()
    assert redact_text(text, (KEY,)) == text
