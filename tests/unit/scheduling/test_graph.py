"""The task graph: orders, cycles and chains, against their definitions."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from architect_parallel.scheduling import graph

Names = dict[int, tuple[int, ...]]


@st.composite
def graphs(draw: st.DrawFn, *, cyclic: bool) -> Names:
    count = draw(st.integers(1, 7))
    order = draw(st.permutations(range(count)))
    made: Names = {}
    for place, name in enumerate(order):
        among = order if cyclic else order[:place]
        made[name] = tuple(draw(st.lists(st.sampled_from(among), max_size=3, unique=True))) if among else ()
    return {name: made[name] for name in sorted(made)}


@given(graphs(cyclic=False))
def test_an_order_has_each_after_what_it_depends_on_and_the_longest_chain_is_one(needs: Names) -> None:
    order = graph.topological(needs)
    assert sorted(order) == sorted(needs)
    assert all(order.index(each) < order.index(name) for name, wanted in needs.items() for each in wanted)
    assert graph.cycles(needs) == []
    chain = graph.critical_path(needs).names
    assert all(before in needs[after] for before, after in itertools.pairwise(chain))
    assert len(chain) == len(graph.levels(needs)) == max(graph.heights(needs).values())
    for number, level in enumerate(graph.levels(needs)):
        assert all(any(each in graph.levels(needs)[number - 1] for each in needs[name]) for name in level if number)


@given(graphs(cyclic=True))
def test_every_cycle_is_real_and_there_is_none_where_there_is_an_order(needs: Names) -> None:
    found = graph.cycles(needs)
    for ring in found:
        assert ring[0] == ring[-1]
        assert all(after in needs[before] for before, after in itertools.pairwise(ring))
    broken = {name: tuple(each for each in wanted) for name, wanted in needs.items()}
    if not found:
        graph.topological(broken)
    else:
        with pytest.raises(ValueError):
            graph.topological(broken)


def test_every_knot_is_named_and_what_only_waits_for_one_is_not() -> None:
    needs = {"a": ["b", "x"], "b": ["a"], "x": ["y"], "y": ["x"], "z": ["z"], "w": ["z"]}
    assert graph.cycles(needs) == [("a", "b", "a"), ("x", "y", "x"), ("z", "z")]


def test_a_chain_of_ten_thousand_is_no_deeper_than_any() -> None:
    needs = {number: (number - 1,) if number else () for number in range(10_000)}
    assert graph.critical_path(needs).weight == 10_000
    assert graph.closure(needs, [9_999]) == set(needs)
