"""Ranking: what decides, in which order, and that nothing else does."""

from __future__ import annotations

import random
import re
from dataclasses import replace
from itertools import pairwise, permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.made_results import run_of, spec

from architect_parallel.domain import (
    CheckChange,
    CheckResult,
    Diff,
    Judgement,
    Reason,
    Score,
    Status,
    WorkerResult,
)
from architect_parallel.evaluation.facts import bands, preferences
from architect_parallel.evaluation.ranking import duels, points, rank, ranking_of, rankings_of, tiers

BROKEN, MENDED, BEFORE, SAME = (
    CheckChange.NEWLY_BROKEN,
    CheckChange.MENDED,
    CheckChange.BROKEN_BEFORE,
    CheckChange.UNCHANGED,
)


def check(command: str, change: CheckChange | None = SAME, *, passed: bool | None = None) -> CheckResult:
    good = change in (SAME, MENDED) if passed is None else passed
    return CheckResult(command=command, passed=good, exit_code=0 if good else 1, duration_seconds=1.0, change=change)


def result(worker_id: int, *checks: CheckResult, **facts: object) -> WorkerResult:
    base = WorkerResult(
        worker_id=worker_id,
        branch=f"architect/parallel-{worker_id}",
        model=f"model-{worker_id}",
        status=Status.SUCCESS,
        steps=4,
        cost=0.1,
        duration=10.0,
        files_modified=["a"],
        worktree_path="",
        reason=Reason.COMPLETED,
        checks=list(checks),
        diff=Diff(base="0" * 40, head=f"{worker_id:040x}", insertions=5, deletions=5),
    )
    return replace(base, **facts)  # type: ignore[arg-type]  # names and values are those of WorkerResult


def order(*results: WorkerResult, **how: object) -> list[int]:
    return [place.worker_id for place in rank(results, **how)]  # type: ignore[arg-type]  # passed on as they are


def answer(a: int, b: int, best: int | None) -> Judgement:
    return Judgement(a=a, b=b, best=best, backend="judge")


def test_each_criterion_beats_all_that_follow() -> None:
    """The first of each pair is better in one criterion and worse in everything below it."""
    cheap = {"cost": 0.0, "duration": 1.0, "diff": None}
    dear = {"cost": 9.0, "duration": 99.0, "diff": Diff(base="", head="", insertions=999)}
    better_first = [
        (result(1, check("a", BEFORE), check("b", BEFORE), **dear), result(2, check("a", BROKEN), check("b"), **cheap)),
        (result(1, check("a"), check("b", BEFORE), **dear), result(2, check("a", BEFORE), check("b", BEFORE), **cheap)),
        (result(1, check("a", MENDED), **dear), result(2, check("a", None, passed=True), **cheap)),
        (result(1, **dear), result(2, status=Status.PARTIAL, reason=Reason.BUDGET, **cheap)),
        (result(1, **dear), result(2, reason=Reason.NO_CHANGES, **cheap)),
        (result(1, cost=0.1, duration=99.0), result(2, cost=0.2, duration=1.0)),
        (result(1, cost=9.0, duration=99.0), result(2, cost=None, duration=1.0)),
        (result(1, duration=1.0), result(2, duration=2.0, diff=None)),
        (result(1, diff=Diff(base="", head="", insertions=1)), result(2, diff=Diff(base="", head="", deletions=2))),
        (result(2, model="a"), result(1, model="b")),
    ]
    for better, worse in better_first:
        assert order(worse, better) == order(better, worse) == [better.worker_id, worse.worker_id]


def test_a_worker_that_crashed_before_its_checks_stands_behind_one_that_failed_some() -> None:
    crashed = result(1, status=Status.FAILED, reason=Reason.CRASHED, cost=0.0, duration=0.1)
    failed = result(
        2, check("a"), check("b", BROKEN), check("c"), status=Status.FAILED, reason=Reason.CHECK_FAILED, cost=5.0
    )
    assert order(crashed, failed) == [2, 1]


def test_reasons_say_what_decided() -> None:
    results = [
        result(1, check("a"), check("b"), check("c", MENDED), cost=0.30),
        result(2, check("a"), check("b"), check("c", MENDED), cost=0.32),
        result(3, check("a"), check("b"), check("c", BEFORE), status=Status.FAILED, reason=Reason.CHECK_FAILED),
        result(4, status=Status.FAILED, reason=Reason.CRASHED),
    ]
    assert [place.reason for place in rank(results)] == [
        "passes 3 of 3 checks; same checks and status as worker 2, $0.02 cheaper",
        "passes 3 of 3 checks; same checks and status as worker 1, $0.02 dearer",
        "passes 2 of 3 checks; one fewer than worker 2",
        "failed (crashed) before any check ran; worker 3 passes 2 of 3 checks",
    ]
    assert rank(results[2:])[0].reason == "passes 2 of 3 checks; no check of worker 4 ran"
    assert rank([result(1)])[0].reason == "succeeded; the only result"
    assert rank([]) == ()


def reason(worker_id: int, *results: WorkerResult) -> str:
    return next(place.reason for place in rank(results) if place.worker_id == worker_id)


def test_differences_below_the_noise_are_no_reason() -> None:
    """The control: the naive order, the least figure first, would have each of these the other way round."""
    slow, quick = result(1, cost=1.0, duration=20.0), result(2, cost=1.01, duration=10.0)
    assert order(slow, quick) == [2, 1]
    assert reason(2, slow, quick) == "succeeded; same status as worker 1, equal cost, 10 s faster"
    large = result(1, duration=10.0, diff=Diff(base="", head="", insertions=9))
    small = result(2, duration=11.0, diff=Diff(base="", head="", insertions=1))
    assert order(large, small) == [2, 1]
    assert reason(2, large, small).endswith("equal cost and time, smaller change (1 line, not 9)")
    same = [result(2, model="b", cost=1.0), result(1, model="a", cost=1.005)]
    assert order(*same) == [1, 2]
    assert "equal cost and time" in reason(1, *same)
    assert order(result(1, cost=1.0, duration=20.0), result(2, cost=1.02, duration=10.0)) == [1, 2]
    assert points([slow, quick])[2] == points([slow, quick])[1]
    # Unknown costs are equal to each other, and to no known one.
    unknown = [result(1, cost=None, duration=20.0), result(2, cost=None, duration=10.0), result(3, cost=9.0)]
    assert order(*unknown) == [3, 2, 1]


def test_the_reason_of_a_band_names_a_difference_above_the_noise() -> None:
    """Worker 2 costs 0.8 % more than worker 3, which precedes it: the comparison is with the cheapest, worker 1."""
    results = [result(1, cost=1.0), result(3, cost=1.008, duration=1.0), result(2, cost=1.016)]
    assert order(*results) == [3, 1, 2]
    assert reason(2, *results).endswith("same status as worker 1, $0.02 dearer")


def test_only_workers_of_the_same_task_are_ranked() -> None:
    tasks = ["a", "b", "a", "b"]
    results = [result(n, task=task, cost=float(n)) for n, task in enumerate(tasks, start=1)]
    run = run_of(*results)
    run.planned = tuple(spec(n, prompt=task) for n, task in enumerate(tasks, start=1))
    assert [[each.worker_id for each in places] for places in rankings_of(run)] == [[1, 3], [2, 4]]
    assert [(each.place, each.worker_id) for each in ranking_of(run)] == [(1, 1), (2, 3), (1, 2), (2, 4)]
    # A worker that goes on with further instructions is still at its task.
    again = replace(run.planned[2], prompt="go on", first_prompt="a")
    run.planned = (*run.planned[:2], again, run.planned[3])
    assert [[each.worker_id for each in places] for places in rankings_of(run)] == [[1, 3], [2, 4]]
    # The same words about another directory are another task.
    run.planned = tuple(spec(n, prompt="a", subdirectory=f"d{n % 2}") for n in range(1, 5))
    assert [[each.worker_id for each in places] for places in rankings_of(run)] == [[1, 3], [2, 4]]
    run.planned = tuple(spec(n, prompt=str(n)) for n in range(1, 5))
    assert ranking_of(run) == (), "each worker had a task to itself"


_FIGURES = st.lists(
    st.floats(0, 1e6, allow_subnormal=False) | st.sampled_from([1.0, 1.01, 1.0100001, 1.02]), max_size=9
)


@settings(deadline=None)
@given(_FIGURES, st.sampled_from([0.01, 0.1]), st.randoms(use_true_random=False))
def test_bands_are_an_order_of_their_own(figures: list[float], noise: float, chance: random.Random) -> None:
    found = bands(figures, noise)
    shuffled = list(figures)
    chance.shuffle(shuffled)
    assert bands(shuffled, noise) == found
    assert set(found) == set(figures)
    for figure, smallest in found.items():
        assert smallest <= figure <= smallest * (1 + noise) * (1 + 1e-8)
        assert found[smallest] == smallest
    starts = sorted(set(found.values()))
    assert all(after > before * (1 + noise) for before, after in pairwise(starts))
    assert [found[each] for each in sorted(found)] == sorted(found.values()), "bands do not overlap"


def test_the_judge_decides_between_equals_and_only_there() -> None:
    equals = [result(1, check("a"), cost=0.1), result(2, check("a"), cost=0.9)]
    worse = result(3, check("a", BROKEN), status=Status.FAILED, reason=Reason.CHECK_FAILED)
    both = [answer(1, 2, 2), answer(2, 1, 2)]
    assert order(*equals, worse, judged=both) == [2, 1, 3]
    assert "preferred by the judge" in rank(equals, judged=both)[0].reason
    assert "the judge preferred that one" in rank(equals, judged=both)[1].reason
    # Preferring what fails a check changes nothing.
    assert order(*equals, worse, judged=[answer(1, 3, 3), answer(3, 1, 3)])[-1] == 3


def test_a_judge_going_round_in_circles_leaves_the_order_to_the_price() -> None:
    results = [result(1, cost=0.3), result(2, cost=0.2), result(3, cost=0.1), result(4, cost=0.4)]
    wins = [(1, 2), (2, 3), (3, 1)]
    circle = [answer(a, b, winner) for winner, loser in wins for a, b in ((winner, loser), (loser, winner))]
    assert order(*results, judged=circle) == [3, 2, 1, 4]
    clear = [*circle[:4], answer(3, 1, 1), answer(1, 3, 1)]
    assert order(*results, judged=clear) == [1, 2, 4, 3]
    assert [place.reason.partition(", ")[2] for place in rank(results, judged=clear)] == [
        "preferred by the judge",
        "the judge preferred that one",
        "$0.20 dearer",
        "the judge's answers speak less for it",
    ]


@pytest.mark.parametrize(
    "answers",
    [
        [answer(1, 2, 2), answer(2, 1, 1)],
        [answer(1, 2, 2), answer(2, 1, None)],
        [answer(1, 2, 2)],
        [answer(1, 2, 2), answer(1, 2, 2)],
        [answer(1, 2, 7), answer(2, 1, 7)],
    ],
    ids=["always the second", "unreadable", "asked once", "the same order twice", "a stranger"],
)
def test_a_judge_that_is_not_sure_has_no_say(answers: list[Judgement]) -> None:
    """The control: the naive way, the first answer counts, would let worker 2 win."""
    assert answers[0].best != 1
    assert preferences(answers) == {}
    assert order(result(1, cost=0.1), result(2, cost=0.9), judged=answers) == [1, 2]
    # Nor does it matter that others were not shown to it.
    assert order(result(1, cost=0.1), result(2, cost=0.9), result(3, cost=0.05), judged=answers) == [3, 1, 2]


def test_points_are_those_of_the_documentation() -> None:
    results = [
        result(1, check("a"), check("b"), steps=4, cost=0.20),
        result(2, check("a"), check("b"), steps=8, cost=0.10),
        result(3, check("a"), check("b", BROKEN), steps=1, cost=0.0, status=Status.FAILED),
        result(4, check("a"), check("b"), steps=4, cost=None, reason=Reason.NO_CHANGES),
        result(5, check("a"), check("b"), steps=1, cost=0.0, status=Status.PARTIAL),
    ]
    assert points(results) == {1: 95.0, 2: 90.0, 3: 20.0, 4: 80.0, 5: 55.0}
    assert order(*results, score=Score.WEIGHTED) == [1, 2, 4, 5, 3]
    assert [place.score for place in rank(results, score=Score.WEIGHTED)] == [95.0, 90.0, 80.0, 55.0, 20.0]
    assert all(place.score is None for place in rank(results))


def test_tiers_are_what_only_a_judge_could_order() -> None:
    results = [result(1, cost=0.3), result(2, cost=0.1), result(3, status=Status.PARTIAL), result(4, cost=None)]
    assert tiers(results) == ((2, 1, 4), (3,))


def test_duels_are_won_by_checks_status_and_judge_and_not_by_price() -> None:
    results = [result(1, cost=0.1), result(2, cost=0.9), result(3, status=Status.PARTIAL)]
    assert [(each.a, each.b, each.share) for each in duels(results)] == [(1, 2, 0.5), (1, 3, 1.0), (2, 3, 1.0)]
    judged = [answer(1, 2, 2), answer(2, 1, 2)]
    assert [each.share for each in duels(results, judged=judged)] == [0.0, 1.0, 1.0]


_CHECKS = st.lists(
    st.builds(check, st.sampled_from("abc"), st.sampled_from([None, *CheckChange])),
    max_size=3,
    unique_by=lambda each: each.command,
)
_RESULTS = st.lists(
    st.builds(
        lambda checks, facts: (checks, facts),
        _CHECKS,
        st.fixed_dictionaries(
            {
                "task": st.sampled_from(["x", "y"]),
                "model": st.sampled_from(["m", "n"]),
                "status": st.sampled_from(list(Status)),
                "reason": st.sampled_from([Reason.COMPLETED, Reason.NO_CHANGES, Reason.CRASHED]),
                "steps": st.integers(0, 3),
                "cost": st.none() | st.sampled_from([0.0, 0.1, 0.1008, 0.1016, 0.2]),
                "duration": st.sampled_from([0.0, 1.0, 1.06, 1.12]),
                "diff": st.none() | st.builds(Diff, base=st.just(""), head=st.sampled_from("ab")),
            }
        ),
    ),
    max_size=6,
).map(lambda each: [result(index + 1, *checks, **facts) for index, (checks, facts) in enumerate(each)])
_JUDGED = st.lists(
    st.builds(answer, st.integers(1, 6), st.integers(1, 6), st.none() | st.integers(1, 6)), max_size=8
).map(lambda each: [one for one in each if one.a != one.b])


@settings(deadline=None)
@given(_RESULTS, _JUDGED, st.sampled_from(Score), st.randoms(use_true_random=False))
def test_a_ranking_is_total_and_does_not_depend_on_the_order_of_its_results(
    results: list[WorkerResult], judged: list[Judgement], score: Score, chance: random.Random
) -> None:
    ranking = rank(results, score=score, judged=judged)
    assert [place.place for place in ranking] == list(range(1, len(results) + 1))
    assert sorted(place.worker_id for place in ranking) == [each.worker_id for each in results]
    shuffled = list(results)
    chance.shuffle(shuffled)
    assert rank(shuffled, score=score, judged=judged) == ranking
    assert all(place.reason for place in ranking)
    assert not re.search(r"\$0\.000[0-9]* (dearer|cheaper)", " ".join(place.reason for place in ranking)), "noise"
    if score is Score.WEIGHTED:
        scores = [place.score or 0.0 for place in ranking]
        assert all(0 <= each <= 100 for each in scores)
        assert all(better >= worse for better, worse in pairwise(scores))


@settings(deadline=None)
@given(_RESULTS)
def test_duels_are_transitive_and_agree_with_the_ranking(results: list[WorkerResult]) -> None:
    position = {place.worker_id: place.place for place in rank(results)}
    share = {(each.a, each.b): each.share for each in duels(results)}
    share |= {(b, a): 1 - won for (a, b), won in share.items()}
    for (a, b), won in share.items():
        assert won == 0.5 or (position[a] < position[b]) == (won == 1.0)
    for a, b, c in permutations(position, 3):
        if share[a, b] >= 0.5 and share[b, c] >= 0.5:
            assert share[a, c] >= 0.5
            assert share[a, c] == max(share[a, b], share[b, c])
