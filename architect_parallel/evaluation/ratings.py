"""Bradley-Terry ratings: one number per player from wins and losses, with an interval. Pure.

A player of strength g beats one of strength h with probability g / (g + h) (R. A. Bradley and M. E. Terry, "Rank
analysis of incomplete block designs: I", Biometrika 39, 1952). The most likely strengths do not exist if a player only
won or only lost, or if two groups never met. So every player also has `prior` drawn games against an invisible player
of rating 1500. That pulls uncertain ratings towards the middle, makes the solution unique (the maximised function is
strictly concave), and fades as games come in.

Found by Newton's method on the logarithms of the strengths, each step halved until it is no loss. The interval is ±1.96
standard errors from the inverse of the information matrix. Games are assumed to be independent of each other.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from architect_parallel.evaluation.pass_rates import Z_95

MIDDLE, SCALE = 1500.0, 400 / math.log(10)
"""Elo's scale: 400 points more mean odds of 10 to 1."""
PRIOR_GAMES = 1.0

Player = TypeVar("Player", str, tuple[str, str])

_Matrix = list[list[float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rating:
    """Of one player."""

    rating: float
    interval: tuple[float, float]
    """The 95 % interval."""


def ratings(wins: Mapping[tuple[Player, Player], float], *, prior: float = PRIOR_GAMES) -> dict[Player, Rating]:
    """The rating of every player, sorted by name.

    Args:
        wins: (winner, loser) → games, as a fraction too. A draw is half a game for each. A pair of one and the same
            player is left out.
        prior: Games drawn against the invisible player, above 0.

    >>> found = ratings({("a", "b"): 3.0, ("b", "a"): 1.0})
    >>> [(name, round(rating.rating)) for name, rating in found.items()]
    [('a', 1582), ('b', 1418)]
    """
    games = {pair: count for pair, count in wins.items() if pair[0] != pair[1] and count > 0}
    names = sorted({name for pair in games for name in pair})
    if not names:
        return {}
    number = {name: index for index, name in enumerate(names)}
    won = [[0.0] * len(names) for _ in names]
    for (winner, loser), count in games.items():
        won[number[winner]][number[loser]] += count
    strengths = _most_likely(won, prior)
    _, information = _slope(won, prior, strengths)
    errors = [
        math.sqrt(_solved(information, [float(row == column) for row in range(len(names))])[column])
        for column in range(len(names))
    ]
    return {
        name: Rating(
            rating=MIDDLE + SCALE * strength,
            interval=(MIDDLE + SCALE * (strength - Z_95 * error), MIDDLE + SCALE * (strength + Z_95 * error)),
        )
        for name, strength, error in zip(names, strengths, errors, strict=True)
    }


def _most_likely(won: _Matrix, prior: float) -> list[float]:
    """Logarithms of the strengths."""
    strengths = [0.0] * len(won)
    likelihood = _likelihood(won, prior, strengths)
    for _ in range(100):
        gradient, information = _slope(won, prior, strengths)
        step = _solved(information, gradient)
        length = 1.0
        while length > 1e-9:
            tried = [strength + length * change for strength, change in zip(strengths, step, strict=True)]
            better = _likelihood(won, prior, tried)
            if better >= likelihood:
                break
            length /= 2
        else:
            return strengths
        strengths, likelihood = tried, better
        if max(abs(item) for item in step) < 1e-10:
            return strengths
    return strengths


def _likelihood(won: _Matrix, prior: float, strengths: Sequence[float]) -> float:
    total = 0.0
    for i, mine in enumerate(strengths):
        total += prior / 2 * (_log_chance(mine) + _log_chance(-mine))
        total += sum(count * _log_chance(mine - its) for count, its in zip(won[i], strengths, strict=True) if count)
    return total


def _slope(won: _Matrix, prior: float, strengths: Sequence[float]) -> tuple[list[float], _Matrix]:
    """The gradient of the likelihood and the information matrix (its negative second derivative)."""
    size = len(strengths)
    gradient = [prior * (0.5 - _chance(mine)) for mine in strengths]
    information = [[0.0] * size for _ in range(size)]
    for i, mine in enumerate(strengths):
        information[i][i] += prior * _chance(mine) * _chance(-mine)
        for j in range(i):
            games = won[i][j] + won[j][i]
            if not games:
                continue
            chance = _chance(mine - strengths[j])
            surplus, certainty = won[i][j] - games * chance, games * chance * (1 - chance)
            gradient[i] += surplus
            gradient[j] -= surplus
            information[i][i] += certainty
            information[j][j] += certainty
            information[i][j] -= certainty
            information[j][i] -= certainty
    return gradient, information


def _chance(difference: float) -> float:
    if difference >= 0:
        return 1 / (1 + math.exp(-difference))
    return math.exp(difference) / (1 + math.exp(difference))


def _log_chance(difference: float) -> float:
    return -math.log1p(math.exp(-difference)) if difference >= 0 else difference - math.log1p(math.exp(difference))


def _solved(matrix: _Matrix, right: Sequence[float]) -> list[float]:
    """Solve matrix · x = right for a symmetric and positive definite matrix, which needs no pivots."""
    rows = [[*row, value] for row, value in zip(matrix, right, strict=True)]
    size = len(rows)
    for i in range(size):
        for j in range(i + 1, size):
            factor = rows[j][i] / rows[i][i]
            if factor:
                rows[j] = [mine - factor * its for mine, its in zip(rows[j], rows[i], strict=True)]
    solution = [0.0] * size
    for i in reversed(range(size)):
        solution[i] = (rows[i][size] - sum(rows[i][j] * solution[j] for j in range(i + 1, size))) / rows[i][i]
    return solution
