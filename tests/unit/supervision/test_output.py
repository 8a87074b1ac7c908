"""Output on its way in: lines, bounds, the log."""

from __future__ import annotations

import itertools
import os
import stat
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from architect_parallel.supervision.output import LineSplitter, LogFile, Tail


@given(data=st.binary(max_size=300), cuts=st.lists(st.integers(0, 300), max_size=8))
def test_lines_do_not_depend_on_how_the_bytes_arrive(data: bytes, cuts: list[int]) -> None:
    splitter = LineSplitter()
    places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    lines = [line for start, end in itertools.pairwise(places) for line in splitter.feed(data[start:end])]

    *complete, rest = data.split(b"\n")
    assert lines == complete
    assert splitter.rest() == ([rest] if rest else [])


@given(data=st.binary(max_size=300), cuts=st.lists(st.integers(0, 300), max_size=8))
def test_blocks_hold_the_same_lines(data: bytes, cuts: list[int]) -> None:
    splitter = LineSplitter()
    places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    blocks = [splitter.feed_block(data[start:end]) for start, end in itertools.pairwise(places)]

    *complete, rest = data.split(b"\n")
    assert b"".join(blocks) == b"".join(line + b"\n" for line in complete)
    assert all(block.endswith(b"\n") for block in blocks if block)
    assert splitter.rest() == ([rest] if rest else [])


def test_an_endless_line_is_cut_in_a_block_too() -> None:
    splitter = LineSplitter(limit=10)

    assert splitter.feed_block(b"x" * 1000) == b""
    assert splitter.feed_block(b"y" * 1000 + b"\nnext\n") == b"x" * 10 + b"\nnext\n"


def test_an_endless_line_is_cut_and_the_next_one_is_whole() -> None:
    splitter = LineSplitter(limit=10)

    assert splitter.feed(b"x" * 1000) == []
    assert splitter.feed(b"y" * 1000 + b"\nnext\n") == [b"x" * 10, b"next"]


def test_the_log_holds_whole_lines_of_both_streams_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "log")
    for stream, data in (("stdout", b"one "), ("stderr", b"error\n"), ("stdout", b"two\n"), ("stdout", b"end")):
        log.write(stream, data)
    log.close()

    assert log.path.read_bytes() == b"error\none two\nend\n"
    assert stat.S_IMODE(log.path.stat().st_mode) == 0o600


def test_a_flood_ends_the_log_and_says_so(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "log", limit=100)
    for _ in range(50):
        log.write("stdout", b"ninechars\n")
    log.close()

    text = log.path.read_bytes()
    assert text.startswith(b"ninechars\n" * 10)
    assert text.endswith(b"the log ends here, the output went on]\n")
    assert len(text) < 200


def test_the_tail_is_the_last_bytes_as_text() -> None:
    tail = Tail(limit=8)
    tail.feed(b"0123456789")
    tail.feed(b"ab\xff")

    assert tail.text == "56789ab\ufffd"


def test_a_disk_without_room_ends_the_log_and_nothing_else(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "log")
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, log._file.fileno())
    os.close(full)
    log.write("stdout", b"a line\n")
    log.write("stdout", b"another\n")
    log.close()
    assert log.problem == "No space left on device"
