"""The proposed set is the largest without a conflict, whatever the conflicts are."""

from __future__ import annotations

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from architect_parallel.evaluation.merge_sets import EXACT_UP_TO, propose

Conflicts = dict[int, set[int]]


@st.composite
def situations(draw: st.DrawFn) -> tuple[list[int], Conflicts, set[int], list[frozenset[int]]]:
    workers = draw(st.permutations(list(range(1, draw(st.integers(0, 8)) + 1))))
    conflicts: Conflicts = {worker: set() for worker in workers}
    for one, other in combinations(workers, 2):
        if draw(st.booleans()):
            conflicts[one].add(other)
            conflicts[other].add(one)
    excluded = draw(st.sets(st.sampled_from(workers))) if workers else set()
    apart = []
    if len(workers) > 2:
        apart = draw(st.lists(st.frozensets(st.sampled_from(workers), min_size=3, max_size=4), max_size=3))
    return workers, conflicts, excluded, apart


def fits(chosen: tuple[int, ...], conflicts: Conflicts, excluded: set[int], apart: list[frozenset[int]]) -> bool:
    alone = not any(other in conflicts[one] for one, other in combinations(chosen, 2))
    return alone and not excluded & set(chosen) and not any(group <= set(chosen) for group in apart)


@given(situations())
def test_it_is_the_first_of_the_largest_sets(
    situation: tuple[list[int], Conflicts, set[int], list[frozenset[int]]],
) -> None:
    workers, conflicts, excluded, apart = situation
    proposed, order = propose(workers, conflicts, excluded=excluded, apart=apart)
    every = (some for size in range(len(workers), -1, -1) for some in combinations(workers, size))
    assert proposed == next(some for some in every if fits(some, conflicts, excluded, apart))
    assert order[: len(proposed)] == proposed
    assert sorted(order) == sorted(workers)


def test_what_conflicts_least_is_tried_first() -> None:
    conflicts: Conflicts = {1: {4, 5}, 2: {4}, 3: {4}, 4: {1, 2, 3}, 5: {1}, 6: set()}
    proposed, order = propose([1, 2, 3, 4, 5, 6], conflicts, excluded={6})
    assert proposed == (1, 2, 3)
    assert order == (1, 2, 3, 5, 4, 6), "one conflict before three, and what conflicts with the branch last"


def test_many_are_chosen_from_in_no_time_and_fit() -> None:
    workers = list(range(1, 3 * EXACT_UP_TO))
    conflicts: Conflicts = {each: {other for other in workers if abs(other - each) in (1, 7)} for each in workers}
    proposed, order = propose(workers, conflicts, apart=[frozenset({1, 3, 5})])
    assert fits(proposed, conflicts, set(), [frozenset({1, 3, 5})])
    assert len(proposed) > len(workers) // 3
    assert sorted(order) == workers
