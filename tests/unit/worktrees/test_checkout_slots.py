"""The turns of checkouts: the first one alone, then one per core, whatever became of the first."""

from __future__ import annotations

import threading
from contextlib import ExitStack

import pytest

from architect_parallel.worktrees.checkout_slots import CheckoutSlots


def enters(slots: CheckoutSlots) -> threading.Event:
    """An event that is set once another thread has held a slot."""
    entered = threading.Event()

    def enter() -> None:
        with slots.one():
            entered.set()

    threading.Thread(target=enter, daemon=True).start()
    return entered


def test_the_first_checkout_runs_alone_and_the_others_follow() -> None:
    slots = CheckoutSlots(2)
    with slots.one():
        other = enters(slots)
        assert not other.wait(0.05)
    assert other.wait(60)
    with slots.one():  # control: from now on there is room for two
        assert enters(slots).wait(60)


def test_a_first_checkout_that_fails_lets_the_others_through() -> None:
    slots = CheckoutSlots(3)
    with pytest.raises(OSError), slots.one():
        raise OSError
    with ExitStack() as held:
        held.enter_context(slots.one())
        held.enter_context(slots.one())
        assert enters(slots).wait(60)


def test_never_more_than_the_count_run_at_once() -> None:
    slots = CheckoutSlots(2)
    with slots.one():
        pass
    with slots.one(), slots.one():
        third = enters(slots)
        assert not third.wait(0.05)
    assert third.wait(60)


def test_one_core_has_one_slot() -> None:
    slots = CheckoutSlots(1)
    with slots.one():
        pass
    with slots.one():
        second = enters(slots)
        assert not second.wait(0.05)
    assert second.wait(60)
