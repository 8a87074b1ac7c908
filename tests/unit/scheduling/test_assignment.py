"""How many workers, and what each gets: the two paragraphs of the contract, line by line."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from architect_parallel.scheduling.assignment import Assign, assign_workers, parallel_count, worker_count

counts = st.integers(min_value=1, max_value=12)


@pytest.mark.parametrize(
    ("tasks", "models", "requested", "count"),
    [
        (1, 0, None, 3),
        (1, 1, None, 1),
        (2, 0, None, 2),
        (1, 2, None, 2),
        (5, 2, None, 5),
        (50, 0, None, 50),
        (1, 0, 1, 1),
        (1, 0, 7, 7),
        (5, 0, 2, 5),
        (1, 4, 2, 4),
    ],
)
def test_how_many_workers(tasks: int, models: int, requested: int | None, count: int) -> None:
    assert worker_count(tasks=tasks, models=models, requested=requested) == count


def test_one_model_is_one_worker() -> None:
    assert worker_count(tasks=1, models=1, requested=None) == 1
    assert worker_count(tasks=1, models=0, requested=None) == 3, "the control"
    assert worker_count(tasks=1, models=1, requested=2) == 2


def test_ceiling_bounds_the_default_and_not_the_tasks() -> None:
    assert worker_count(tasks=1, models=0, requested=None, ceiling=2) == 2
    assert worker_count(tasks=5, models=0, requested=None, ceiling=2) == 5
    assert parallel_count(max_parallel=None, workers=None, ceiling=2) == 2


@pytest.mark.parametrize(
    ("max_parallel", "workers", "count"), [(None, None, 3), (None, 5, 5), (2, 5, 2), (4, None, 4), (None, 1, 1)]
)
def test_how_many_at_a_time(max_parallel: int | None, workers: int | None, count: int) -> None:
    assert parallel_count(max_parallel=max_parallel, workers=workers) == count


def pairs(assign: Assign, tasks: int, models: list[str], workers: int) -> list[tuple[int, str | None]]:
    given = assign_workers(tasks=tasks, models=models, workers=workers, assign=assign)
    return [(each.task_index, each.model) for each in given]


def test_fill_repeats_the_first_task_and_leaves_further_models_to_the_backend() -> None:
    assert pairs(Assign.FILL, 2, ["a"], 4) == [(0, "a"), (1, None), (0, None), (0, None)]
    assert pairs(Assign.FILL, 1, ["a", "b", "c"], 3) == [(0, "a"), (0, "b"), (0, "c")]


def test_round_robin_begins_again_from_the_front() -> None:
    assert pairs(Assign.ROUND_ROBIN, 2, ["a", "b", "c"], 5) == [(0, "a"), (1, "b"), (0, "c"), (1, "a"), (0, "b")]
    assert pairs(Assign.ROUND_ROBIN, 2, [], 3) == [(0, None), (1, None), (0, None)]


def test_cross_gives_every_task_every_model() -> None:
    assert pairs(Assign.CROSS, 2, ["a", "b"], 4) == [(0, "a"), (0, "b"), (1, "a"), (1, "b")]


@given(assign=st.sampled_from(Assign), tasks=counts, models=st.integers(0, 8), requested=st.none() | counts)
@settings(deadline=None)
def test_nothing_asked_for_is_dropped(assign: Assign, tasks: int, models: int, requested: int | None) -> None:
    names = [f"m{number}" for number in range(models)]
    workers = worker_count(tasks=tasks, models=models, requested=requested, assign=assign)
    given = pairs(assign, tasks, names, workers)
    assert len(given) == workers >= (requested or 1)
    assert {task for task, _ in given} == set(range(tasks))
    assert {model for _, model in given if model} == set(names)
    if assign is Assign.CROSS and names:
        assert set(given) == {(task, model) for task in range(tasks) for model in names}
