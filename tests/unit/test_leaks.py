"""The helper that finds what a block leaves open."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from support.leaks import nothing_left_open


def test_a_descriptor_that_stays_is_found(tmp_path: Path) -> None:
    with pytest.raises(AssertionError), nothing_left_open():
        left = os.open(tmp_path, os.O_RDONLY)
    os.close(left)


def test_a_thread_that_stays_is_found() -> None:
    end = threading.Event()
    left = threading.Thread(target=end.wait)
    with pytest.raises(AssertionError), nothing_left_open():
        left.start()
    end.set()
    left.join()


def test_descriptors_and_threads_of_others_may_end_meanwhile(tmp_path: Path) -> None:
    earlier = os.open(tmp_path, os.O_RDONLY)
    with nothing_left_open():
        os.close(earlier)
