"""Models over all competitions: pass rate, median cost and time, rating. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from architect_parallel.domain import LeaderboardRow, RunResult, Status, WorkerResult
from architect_parallel.evaluation.pass_rates import counts, wilson_interval
from architect_parallel.evaluation.ranking import duels
from architect_parallel.evaluation.ratings import Rating, ratings

_Player = tuple[str, str]
"""Model and backend."""


def standings(competitions: Sequence[RunResult]) -> tuple[LeaderboardRow, ...]:
    """Every model that took part, best rating first, those without one last. Then by pass rate and name.

    Within a competition every result that counts meets every one of the other models (`ranking.duels`). Two models with
    several runs each meet as often as the one with fewer runs has runs. Their runs are independent and their pairs are
    not, so each pair counts for a part of a game.
    """
    results: dict[_Player, list[WorkerResult]] = {}
    wins: dict[tuple[_Player, _Player], float] = {}
    for run in competitions:
        counted = {result.worker_id: result for result in run.results if counts(result)}
        runs: dict[_Player, int] = {}
        for item in counted.values():
            results.setdefault(_player(item), []).append(item)
            runs[_player(item)] = runs.get(_player(item), 0) + 1
        for duel in duels(run.results, judged=run.judged):
            if duel.a not in counted or duel.b not in counted:
                continue
            a, b = _player(counted[duel.a]), _player(counted[duel.b])
            weight = 1 / max(runs[a], runs[b])
            for winner, loser, share in ((a, b, duel.share), (b, a, 1 - duel.share)):
                wins[winner, loser] = wins.get((winner, loser), 0.0) + weight * share
    rated = ratings(wins)
    rows = [_standing(player, own, rated.get(player)) for player, own in results.items()]
    return tuple(sorted(rows, key=lambda item: (*_from_the_top(item), item.model, item.backend)))


def _player(result: WorkerResult) -> _Player:
    return result.competitor, result.backend


def _from_the_top(standing: LeaderboardRow) -> tuple[bool, float, float]:
    return standing.rating is None, -(standing.rating or 0.0), -standing.pass_rate


def _standing(player: _Player, results: Sequence[WorkerResult], rating: Rating | None) -> LeaderboardRow:
    passed = sum(item.status is Status.SUCCESS for item in results)
    costs = [result.cost for result in results if result.cost is not None]
    return LeaderboardRow(
        model=player[0],
        backend=player[1],
        runs=len(results),
        pass_rate=passed / len(results),
        interval=wilson_interval(passed, len(results)),
        median_cost=statistics.median(costs) if costs else None,
        median_seconds=statistics.median(entry.duration for entry in results),
        rating=None if rating is None else rating.rating,
        rating_interval=None if rating is None else rating.interval,
    )
