"""What was typed, as names of keys."""

from __future__ import annotations

import pytest

from architect_parallel.system.terminal import split_keys


@pytest.mark.parametrize(
    ("data", "keys"),
    [
        (b"", []),
        (b"jk", ["j", "k"]),
        (b"\x1b", ["escape"]),
        (b"\x1b[A\x1b[B\x1bOA", ["up", "down", "up"]),
        (b"\x1b[5~\x1b[6~\x1b[H\x1b[4~", ["page up", "page down", "home", "end"]),
        (b"\x1b[99;2~c", ["c"]),
        (b"\x1b[200~q\x1b[201~", ["q"]),
        (b"\x1b\x1b[A", ["escape", "up"]),
        (b"\r\n\x7f", ["enter", "enter", "backspace"]),
        (b"\x1b[", []),
    ],
)
def test_keys(data: bytes, keys: list[str]) -> None:
    assert split_keys(data) == keys


def test_any_bytes_are_some_keys() -> None:
    assert len(split_keys(bytes(range(0x20, 0x100)))) <= 0xE0
