"""Windows and buckets: what a provider's refusals and the configured rate do to starts."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from architect_parallel.domain import RateLimit
from architect_parallel.scheduling.rate_limits import SAME_REFUSAL_S, Bucket, Window


def test_nothing_is_held_back_before_the_first_refusal() -> None:
    assert Window().places == math.inf
    assert Window().served() == Window()


def test_one_wave_of_refusals_halves_once() -> None:
    window = Window()
    for late in range(6):
        window = window.refused(started_s=0.0, now_s=1.0 + late / 10, running=8 - late)
    assert window.places == 4


def test_those_who_began_after_a_halving_halve_again() -> None:
    window = Window().refused(started_s=0.0, now_s=1.0, running=8).refused(started_s=1.5, now_s=2.0, running=4)
    assert window.places == 2


def test_agents_that_are_refused_on_and_on_halve_again_after_a_while() -> None:
    window = Window().refused(started_s=0.0, now_s=1.0, running=8)
    assert window.refused(started_s=0.0, now_s=1.0 + SAME_REFUSAL_S, running=8).places == 2


@given(moves=st.lists(st.booleans(), max_size=200), running=st.integers(1, 1000))
def test_there_is_always_a_place(moves: list[bool], running: int) -> None:
    window = Window()
    for now_s, served in enumerate(moves):
        window = window.served() if served else window.refused(started_s=now_s, now_s=now_s + 0.5, running=running)
        assert window.places >= 1


def test_the_window_grows_by_one_per_round() -> None:
    window = Window(size=4.0)
    for _ in range(5):
        window = window.served()
    assert window.places == 5


@given(
    capacity=st.integers(1, 20),
    rate=st.floats(0.01, 100),
    pauses=st.lists(st.floats(0, 10), min_size=1, max_size=100),
)
def test_a_bucket_never_gives_more_than_its_rate_and_never_stalls(
    capacity: int, rate: float, pauses: list[float]
) -> None:
    bucket, now_s, starts = Bucket.full(RateLimit(capacity=capacity, refill_rate=rate), 0.0), 0.0, 0
    for pause in pauses:
        now_s = max(now_s + pause, bucket.ready_s(now_s + pause))
        assert bucket.ready_s(now_s) <= now_s + 1e-6  # at the time it names, it is ready
        bucket, starts = bucket.taken(now_s), starts + 1
    assert starts <= capacity + rate * now_s + 1e-3
