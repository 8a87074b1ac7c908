"""The parts of the supervisor that need no process."""

from __future__ import annotations

import json
import os

import pytest

from architect_parallel.workers.supervision.channel import Channel, Config
from architect_parallel.workers.supervision.procfs import below


def test_below_finds_grandchildren_whatever_the_order() -> None:
    parent_of = {1: 0, 9: 5, 5: 3, 3: 2, 2: 1, 7: 1, 8: 7, 4: 9}
    assert set(below(3, parent_of)) == {5, 9, 4}
    assert below(8, parent_of) == {}


def test_below_leaves_the_root_out_even_in_a_circle() -> None:
    assert below(2, {2: 2, 3: 2}) == {3: 2}


def test_a_channel_cuts_orders_at_newlines_and_tells_its_end() -> None:
    ours, theirs = os.pipe()
    channel = Channel(ours)
    os.write(theirs, b"stop 1.0\nki")
    assert channel.lines() == ["stop 1.0"]
    os.write(theirs, b"ll\n")
    assert channel.lines() == ["kill"]
    os.close(theirs)
    assert channel.lines() is None
    os.close(ours)


def test_a_configuration_forgets_what_may_hold_secrets() -> None:
    given = {"argv": ["x", "\xff"], "env": {"KEY": "s"}, "cwd": "/", "cookie": "C=1", "nice": 5}
    config = Config(json.dumps(given | {"polite_signal": 15, "polite_wait_s": 1, "grace_s": 2}))
    assert config.argv == [b"x", b"\xff"]
    config.forget()
    assert (config.argv, config.env) == ([], {})


@pytest.mark.parametrize("missing", ["argv", "cwd", "cookie", "grace_s"])
def test_an_incomplete_configuration_is_refused(missing: str) -> None:
    given = {"argv": ["x"], "env": {}, "cwd": "/", "cookie": "C=1", "nice": 5, "polite_signal": 15}
    whole = given | {"polite_wait_s": 1, "grace_s": 2}
    del whole[missing]
    with pytest.raises(KeyError):
        Config(json.dumps(whole))
