"""A competition in words."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from architect_parallel.domain import Competition, Judgement, LeaderboardRow, RunResult, RunStatus, Status, WorkerResult
from architect_parallel.evaluation.ranking import ranking_of
from architect_parallel.reports.competition import additions, as_text, judgement_line, leaderboard

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


def run(*judged: Judgement, competition: Competition | None) -> RunResult:
    results = [
        WorkerResult(
            worker_id=number, branch="", model=f"m-{number}", status=Status.SUCCESS, steps=1, cost=0.1 * number,
            duration=1.0, files_modified=[], worktree_path="",
        )
        for number in (1, 2)
    ]  # fmt: skip
    return RunResult(
        run_id="r", status=RunStatus.SUCCESS, exit_code=0, base_commit="", base_ref="", started_at=BEGAN,
        finished_at=BEGAN, total_duration_seconds=1.0, max_parallel=1, results=results, competition=competition,
        judged=list(judged),
    )  # fmt: skip


def answer(a: int, b: int, best: int | None, error: str | None = None, cost: float | None = 0.01) -> Judgement:
    return Judgement(a=a, b=b, best=best, backend="claude", error=error, cost=cost, duration=1.5)


def test_a_run_that_is_no_competition_has_nothing_to_add() -> None:
    result = run(competition=None)
    assert as_text(result, ranking_of(result), ()) == ""
    assert additions(result, ranking_of(result), ()) == {}


@pytest.mark.parametrize(
    ("judged", "last"),
    [
        ([], "Judge claude: not asked, because no two different successes are equally best in checks"),
        ([answer(1, 2, 2), answer(2, 1, 2)], "  1 or 2: 2, in both orders"),
        ([answer(1, 2, 2), answer(2, 1, 1)], "  1 or 2: no preference: another answer in the other order"),
        ([answer(1, 2, None)], "  1 or 2: no preference: its answer could not be read"),
        ([answer(1, 2, 2)], "  1 or 2: no preference: asked in one order only"),
        ([answer(1, 2, None, "no\x1b[2J key")], "  1 or 2: no answer: no key"),
    ],
)
def test_what_came_of_the_judge_is_said(judged: list[Judgement], last: str) -> None:
    result = run(*judged, competition=Competition(judge="claude"))
    assert as_text(result, ranking_of(result), ()).splitlines()[-1] == last


def test_a_judge_of_unknown_cost_is_not_free() -> None:
    result = run(answer(1, 2, 2), answer(2, 1, 2, cost=None), competition=Competition(judge="claude"))
    assert "Judge claude: asked 2 times, ?" in as_text(result, ranking_of(result), ())
    assert judgement_line(answer(2, 1, 1)) == "judge claude: 2 or 1? 1 ($0.0100, 1.5s)"


def test_the_leaderboard_shows_what_is_unknown_as_such() -> None:
    unknown = LeaderboardRow(
        model="m", backend="codex", runs=1, pass_rate=1.0, interval=(0.2, 1.0), median_cost=None, median_seconds=2.0,
        rating=None, rating_interval=None,
    )  # fmt: skip
    assert leaderboard([unknown]).splitlines()[1].split() == [
        "1", "m", "codex", "1", "100%", "20%", "to", "100%", "?", "2.0s", "-", "-",
    ]  # fmt: skip
