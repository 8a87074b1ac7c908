"""A reader that skims blocks learns the same as one that sees every line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from architect_parallel.backends.base import AgentEvent, BlockFilter, Reader
from architect_parallel.backends.claude_reader import ClaudeReader
from architect_parallel.backends.codex_reader import CodexReader
from architect_parallel.backends.command_reader import FIELDS, JsonReader
from architect_parallel.backends.shell import TAIL_BYTES, LastLines, OutputReader

NOWHERE = Path("/nowhere")
READERS: dict[str, Callable[[], Reader]] = {
    "claude": ClaudeReader,
    "codex": lambda: CodexReader(home=NOWHERE, resumed=None, model=None),
    "shell": lambda: OutputReader(what="it", free=False),
    "json": lambda: JsonReader(what="it", fields=FIELDS, lines=False),
    "jsonl": lambda: JsonReader(what="it", fields=FIELDS, lines=True),
}
LINES = (
    b"", b"  ", b"plain words", b"{", b"}", b'{"result": "ok",', b'"num_turns": 3}', b"\xff\xfe", b" }  ",
    b'{"type":"stream_event","event":{"type":"content_block_delta","index":0,"delta":{"text":"x"}}}',
    b'{"type":"user","message":{"content":"result"}}',
    b'{"type":"system","subtype":"init","session_id":"s-1","model":"m"}',
    b'{"type":"assistant","message":{"id":"1","model":"m","usage":{"input_tokens":5,"output_tokens":2},"content":[]}}',
    b'{"type":"result","subtype":"success","is_error":false,"result":"fine","num_turns":1,"total_cost_usd":0.5}',
    b'{"type":"item.updated","item":{"id":"i","type":"command_execution","aggregated_output":"..."}}',
    b'{"type":"item.completed","item":{"type":"agent_message","text":"hello"}}',
    b'{"type":"turn.completed","usage":{"input_tokens":7,"cached_input_tokens":1,"output_tokens":2}}',
    b'  {"result": "indented", "session_id": "s-2"}',
)  # fmt: skip


@pytest.mark.parametrize("name", READERS)
@given(blocks=st.lists(st.lists(st.sampled_from(LINES), min_size=1, max_size=12), max_size=4))
def test_skimming_learns_what_reading_every_line_does(name: str, blocks: list[list[bytes]]) -> None:
    skimming, reading = READERS[name](), READERS[name]()
    assert isinstance(skimming, BlockFilter)
    for block in blocks:
        skimmed: list[AgentEvent] = []
        for line in skimming.filter_block(b"".join(line + b"\n" for line in block)):
            skimmed += skimming.line(line)
        read = [fact for line in block for fact in reading.line(line)]
        assert skimmed == read
        assert list(skimming.poll()) == list(reading.poll())
    assert skimming.ending(0, "") == reading.ending(0, "")


@pytest.mark.parametrize("name", READERS)
@given(data=st.binary(min_size=1, max_size=400))
def test_skimming_never_fails_on_any_bytes(name: str, data: bytes) -> None:
    reader = READERS[name]()
    assert isinstance(reader, BlockFilter)
    for line in reader.filter_block(data + b"\n"):
        assert b"\n" not in line
        list(reader.line(line))


def test_of_a_flood_the_end_is_kept_whole() -> None:
    tail = LastLines()
    for start in range(0, 50_000, 5_000):
        tail.extend(b"".join(b"line %d\n" % number for number in range(start, start + 5_000)))
    kept = tail.raw.split("\n")
    assert kept[-1] == tail.last == "line 49999"
    assert kept == [f"line {number}" for number in range(50_000 - len(kept), 50_000)]
    assert TAIL_BYTES / 2 < len(tail.raw) <= TAIL_BYTES
