"""Bradley-Terry ratings, against a published example and by what must hold of any."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from architect_parallel.evaluation.ratings import MIDDLE, SCALE, ratings

JOURNALS = ("Biometrika", "Comm Statist", "JASA", "JRSS-B")
CITED = ((714, 730, 498, 221), (33, 425, 68, 17), (320, 813, 1072, 142), (284, 276, 325, 188))
"""How often the journal of the row was cited by that of the column: S. M. Stigler, "Citation patterns in the journals
of statistics and probability", Statistical Science 9 (1994), as in H. Turner and D. Firth, "Bradley-Terry models in R:
the BradleyTerry2 package", Journal of Statistical Software 48 (2012), section 2."""


def test_the_strengths_are_the_published_ones() -> None:
    wins = {(a, b): float(CITED[i][j]) for i, a in enumerate(JOURNALS) for j, b in enumerate(JOURNALS)}
    found = ratings(wins, prior=1e-9)
    against_first = [(found[name].rating - found[JOURNALS[0]].rating) / SCALE for name in JOURNALS]
    assert against_first == pytest.approx([0.0, -2.94907, -0.47957, 0.26895], abs=1e-5)
    # The prior that is used hardly shows where there is so much to go by.
    usual = ratings(wins)
    assert [(usual[name].rating - usual[JOURNALS[0]].rating) / SCALE for name in JOURNALS] == pytest.approx(
        against_first, abs=0.02
    )


def test_two_players_with_a_known_answer() -> None:
    """Without a prior the odds are the games: 3 to 1; the error of a log odds is √(1/3 + 1/1), of each half of it."""
    found = ratings({("a", "b"): 3.0, ("b", "a"): 1.0}, prior=1e-9)
    assert found["a"].rating - found["b"].rating == pytest.approx(SCALE * math.log(3), abs=1e-3)
    assert (found["a"].rating + found["b"].rating) / 2 == pytest.approx(MIDDLE)


def test_there_is_an_answer_where_somebody_only_won_and_groups_never_met() -> None:
    found = ratings({("a", "b"): 50.0, ("c", "d"): 1.0, ("d", "c"): 1.0})
    assert found["a"].rating > MIDDLE > found["b"].rating
    assert found["c"].rating == pytest.approx(found["d"].rating) == pytest.approx(MIDDLE)
    assert all(math.isfinite(value) for each in found.values() for value in (each.rating, *each.interval))
    assert ratings({}) == {}
    assert ratings({("a", "a"): 5.0}) == {}


_GAMES = st.dictionaries(
    st.tuples(st.sampled_from("abcde"), st.sampled_from("abcde")).filter(lambda pair: pair[0] != pair[1]),
    st.integers(1, 20).map(float),
    min_size=1,
)


@settings(deadline=None)
@given(_GAMES, st.randoms(use_true_random=False))
def test_ratings_depend_on_the_games_alone(wins: dict[tuple[str, str], float], chance: random.Random) -> None:
    found = ratings(wins)
    assert list(found) == sorted({name for pair in wins for name in pair})
    for each in found.values():
        assert each.interval[0] < each.rating < each.interval[1]
    shuffled = list(wins.items())
    chance.shuffle(shuffled)
    assert ratings(dict(shuffled)) == found
    turned = ratings({(loser, winner): count for (winner, loser), count in wins.items()})
    for name, each in found.items():
        assert turned[name].rating == pytest.approx(2 * MIDDLE - each.rating, abs=1e-3)


@settings(deadline=None)
@given(_GAMES, st.data())
def test_a_further_win_is_worth_something_and_more_games_make_surer(
    wins: dict[tuple[str, str], float], data: st.DataObject
) -> None:
    winner, loser = data.draw(st.sampled_from(sorted(wins)))
    before, after = ratings(wins), ratings({**wins, (winner, loser): wins[winner, loser] + 1})
    assert after[winner].rating > before[winner].rating
    assert after[loser].rating < before[loser].rating
    again = ratings({pair: count * 10 for pair, count in wins.items()}, prior=10.0)
    for name, each in before.items():
        assert again[name].rating == pytest.approx(each.rating, abs=1e-3)
        assert again[name].interval[1] - again[name].interval[0] < each.interval[1] - each.interval[0]


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    """200 tournaments of four players of known strength, 30 games a pair, by a fixed seed."""
    chance, names, truth = random.Random(5), "abcd", (0.6, 0.2, -0.2, -0.6)
    held = 0
    for _ in range(200):
        wins: dict[tuple[str, str], float] = {}
        for i in range(4):
            for j in range(i):
                for _ in range(30):
                    first = chance.random() < 1 / (1 + math.exp(truth[j] - truth[i]))
                    pair = (names[i], names[j]) if first else (names[j], names[i])
                    wins[pair] = wins.get(pair, 0.0) + 1
        found = ratings(wins)
        held += sum(
            found[name].interval[0] <= MIDDLE + SCALE * strength <= found[name].interval[1]
            for name, strength in zip(names, truth, strict=True)
        )
    assert held / 800 >= 0.95
