"""The leaderboard: what counts, what is met, and how models stand."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from architect_parallel.domain import Competition, Judgement, LeaderboardRow, RunResult, RunStatus, Status, WorkerResult
from architect_parallel.evaluation.leaderboard import standings
from architect_parallel.evaluation.ratings import ratings

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


def outcome(
    model: str, status: Status = Status.SUCCESS, cost: float | None = 0.1, seconds: float = 1.0
) -> WorkerResult:
    return WorkerResult(
        worker_id=0, branch="", model=model, status=status, steps=1, cost=cost, duration=seconds, files_modified=[],
        worktree_path="", backend="claude", started_at=BEGAN,
    )  # fmt: skip


def competition(*results: WorkerResult, judged: tuple[Judgement, ...] = ()) -> RunResult:
    for index, each in enumerate(results):
        each.worker_id = index + 1
    return RunResult(
        run_id="r", status=RunStatus.SUCCESS, exit_code=0, base_commit="", base_ref="", started_at=BEGAN,
        finished_at=BEGAN, total_duration_seconds=1.0, max_parallel=1, results=list(results),
        competition=Competition(), judged=list(judged),
    )  # fmt: skip


def by_model(*runs: RunResult) -> dict[str, LeaderboardRow]:
    return {each.model: each for each in standings(runs)}


def test_rates_and_medians_are_over_all_competitions() -> None:
    found = by_model(
        competition(outcome("a", cost=0.1, seconds=1), outcome("b", Status.FAILED, cost=None, seconds=9)),
        competition(outcome("a", cost=0.3, seconds=3), outcome("b", cost=None, seconds=7)),
        competition(outcome("a", Status.CANCELED, cost=9.0, seconds=99)),
    )
    assert (found["a"].runs, found["a"].pass_rate) == (2, 1.0)
    assert found["a"].median_cost == pytest.approx(0.2)
    assert found["a"].median_seconds == 2.0
    assert (found["b"].runs, found["b"].pass_rate, found["b"].median_cost) == (2, 0.5, None)
    assert found["a"].backend == "claude"


def test_the_rating_is_from_who_was_better_and_cheaper_is_not_better() -> None:
    cheaper = by_model(competition(outcome("a", cost=0.1), outcome("b", cost=9.0)))
    assert cheaper["a"].rating == cheaper["b"].rating == pytest.approx(1500)
    better = by_model(competition(outcome("a", cost=9.0), outcome("b", Status.FAILED, cost=0.1)))
    assert (better["a"].rating or 0) > 1500 > (better["b"].rating or 0)
    says_b = tuple(Judgement(a=a, b=3 - a, best=2, backend="j") for a in (1, 2))
    judged = by_model(competition(outcome("a"), outcome("b"), judged=says_b))
    assert (judged["b"].rating or 0) > 1500 > (judged["a"].rating or 0)


def test_several_runs_of_a_model_are_not_as_many_games_as_pairs() -> None:
    three = [outcome("a") for _ in range(3)] + [outcome("b", Status.FAILED) for _ in range(3)]
    found = by_model(competition(*three))
    assert found["a"].rating == pytest.approx(ratings({("a", "b"): 3.0})["a"].rating)


def test_who_met_nobody_has_no_rating_and_stands_last() -> None:
    found = standings(
        [
            competition(outcome("alone"), outcome("alone")),
            competition(outcome("worse", Status.FAILED), outcome("better")),
            competition(outcome("stopped", Status.CANCELED), outcome("better")),
        ]
    )
    assert [each.model for each in found] == ["better", "worse", "alone"]
    assert (found[2].rating, found[2].rating_interval) == (None, None)
    assert standings([]) == ()
