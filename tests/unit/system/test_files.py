"""What is written where the user said: files as a whole, pipes and devices as they are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from architect_parallel.system.files import write_out


def test_a_pipe_is_written_to_and_refused_at_once_when_nothing_reads_it(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(OSError, match="No such device"):  # opening it the plain way would wait for a reader for ever
        write_out(pipe, b"lost")
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_out(pipe, b"read")
        assert os.read(reader, 100) == b"read"
    finally:
        os.close(reader)
    assert pipe.is_fifo()
    write_out(Path(os.devnull), b"gone")
