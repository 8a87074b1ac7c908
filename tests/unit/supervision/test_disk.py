"""The agent that is stopped when the disk fills up."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from architect_parallel.domain import Reason
from architect_parallel.supervision.disk import LONGEST_S, SHORTEST_S, DiskWatch, written_bytes

MIB = 1 << 20
LEAST = 8 * MIB
"""An eighth of it is the least that a stopped agent has written."""


@dataclass
class Writer:
    place: Path
    began_at_s: float = field(default_factory=lambda: time.time() - 5)
    is_stopped: bool = False
    told: str = ""

    @property
    def places(self) -> Sequence[Path]:
        return [self.place]

    def end(self, reason: Reason, detail: str) -> None:
        assert reason is Reason.DISK
        self.is_stopped, self.told = True, detail


@pytest.fixture
def writers(tmp_path: Path) -> list[Writer]:
    """Three agents that wrote 1, 3 and 2 MiB."""
    for name, size in (("a", 1), ("b", 3), ("c", 2)):
        (tmp_path / name / "deep").mkdir(parents=True)
        (tmp_path / name / "deep" / "file").write_bytes(os.urandom(size * MIB))
    return [Writer(tmp_path / name) for name in "abc"]


def test_the_one_that_wrote_most_is_stopped_and_no_other_meanwhile(tmp_path: Path, writers: list[Writer]) -> None:
    free = LEAST
    watch = DiskWatch(tmp_path, LEAST, lambda path: free)
    assert watch.look(writers) == SHORTEST_S
    assert not any(writer.is_stopped for writer in writers)
    free = LEAST - MIB
    watch.look(writers)
    assert writers[1].told == "7 MiB of disk free, limit 8 MiB, and it wrote 3 MiB"
    free = 0
    watch.look(writers)
    assert [writer.is_stopped for writer in writers] == [False, True, False], "its end is waited for"
    left = [writers[0], writers[2]]
    watch.look(left)
    assert [writer.is_stopped for writer in left] == [False, True]


def test_another_one_is_stopped_only_when_much_more_has_gone(tmp_path: Path, writers: list[Writer]) -> None:
    free = LEAST - MIB
    watch = DiskWatch(tmp_path, LEAST, lambda path: free)
    watch.look(writers)
    left = [writers[0], writers[2]]
    free -= MIB
    watch.look(left)
    assert not any(writer.is_stopped for writer in left)


def test_who_wrote_little_is_not_stopped_for_a_disk_that_others_fill(tmp_path: Path, writers: list[Writer]) -> None:
    watch = DiskWatch(tmp_path, 64 * MIB, lambda path: 0)
    watch.look(writers)
    assert not any(writer.is_stopped for writer in writers)


def test_it_looks_the_more_often_the_less_is_free(tmp_path: Path) -> None:
    assert DiskWatch(tmp_path, LEAST, lambda path: 1 << 40).look([]) == LONGEST_S
    assert SHORTEST_S < DiskWatch(tmp_path, LEAST, lambda path: 1 << 30).look([]) < LONGEST_S
    assert DiskWatch(tmp_path, 0, lambda path: 0).look([]) == LONGEST_S


def test_only_what_changed_since_the_start_counts_and_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "old").write_bytes(os.urandom(MIB))
    (tmp_path / "link").symlink_to(tmp_path)
    device = tmp_path.stat().st_dev
    assert MIB <= written_bytes([tmp_path], 0, device) < 2 * MIB
    assert written_bytes([tmp_path], time.time() + 5, device) == 0
    assert written_bytes([tmp_path], 0, device + 1) == 0
