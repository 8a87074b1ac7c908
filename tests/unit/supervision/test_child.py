"""The parts of the supervisor that need no process."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from architect_parallel.supervision.child.channel import Channel, Config
from architect_parallel.supervision.child.procfs import below
from architect_parallel.supervision.messages import Launch
from architect_parallel.supervision.process import _configuration
from architect_parallel.supervision.sweep import COOKIE


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


LAUNCH = Launch(
    argv=("x", "\udcff", "", "a b\nc"),
    cwd=Path("/some where"),
    env={"KEY": "s\n", "EMPTY": ""},
    polite_signal=signal.SIGINT,
    polite_wait_s=0.1,
    grace_s=1e-7,
    cookie="c",
)


def test_a_configuration_arrives_byte_for_byte() -> None:
    line = _configuration(LAUNCH)
    assert line.count(b"\n") == 1
    config = Config(line.decode().removesuffix("\n"))
    assert config.argv == [b"x", b"\xff", b"", b"a b\nc"]
    assert config.env == {b"KEY": b"s\n", b"EMPTY": b"", COOKIE.encode(): b"c"}
    assert (config.cwd, config.cookie) == (b"/some where", COOKIE.encode() + b"=c")
    assert (config.nice, config.polite_signal, config.polite_wait_s, config.grace_s) == (5, 2, 0.1, 1e-7)


def test_a_configuration_forgets_what_may_hold_secrets() -> None:
    config = Config(_configuration(LAUNCH).decode().removesuffix("\n"))
    assert config.env
    config.forget()
    assert (config.argv, config.env) == ([], {})


@pytest.mark.parametrize("kept", [0, 3, 6, 7, 9, 12])
def test_an_incomplete_configuration_is_refused(kept: int) -> None:
    words = _configuration(LAUNCH).decode().removesuffix("\n").split(" ")
    with pytest.raises(ValueError):
        Config(" ".join(words[:kept]))


def test_facts_travel_as_words() -> None:
    ours, theirs = os.pipe()
    channel = Channel(theirs)
    channel.report("gone", None, 3)
    channel.report("spawn_failed", "no ä\nb")
    os.close(theirs)
    assert os.read(ours, 4096).decode() == f"gone - 3\nspawn_failed {'no ä'.encode().hex()}0a62\n"
    os.close(ours)
