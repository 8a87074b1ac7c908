"""The encoding of messages, and what of it is refused."""

import io

import pytest

from architect_parallel.hosts import wire


def test_a_message_comes_back_as_it_was() -> None:
    message = {"text": "é\ud800", "n": 3, "x": 1.5, "none": None, "data": b"\0\xff", "list": [b"", {"deep": b"12"}]}
    assert wire.unpack(wire.pack(message)) == message


def test_bytes_cost_no_more_than_they_are() -> None:
    assert len(wire.pack({"data": bytes(1 << 20)})) < (1 << 20) + 64


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0\0",
        wire.pack({"data": b"1234"})[:-1],
        wire.pack({"data": b"1234"}) + b"5",
        wire.pack({"n": 1}).replace(b"1", b"["),
        b"\0\0\0\x02[]",
        b"\0\0\0\x10" + b'{"\\u0000bytes":9}',
        b"\0\1\x86\xa0" + b"[" * 100_000,
    ],
)
def test_what_is_no_message_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        wire.unpack(data)


def test_frames_follow_each_other_in_a_stream() -> None:
    stream = io.BytesIO()
    wire.write_frame(stream, b"one")
    wire.write_frame(stream, b"")
    stream.seek(0)
    assert [wire.read_frame(stream) for _ in range(3)] == [b"one", b"", None]


@pytest.mark.parametrize("data", [b"\0\0", b"\0\0\0\x05abc", b"\xff\xff\xff\xff"])
def test_a_stream_that_ends_within_a_frame_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        wire.read_frame(io.BytesIO(data))
