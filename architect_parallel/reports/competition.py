"""A competition in words: the ranking with its reasons, what the judge said, how often models pass; the leaderboard."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from architect_parallel.domain import Judgement, LeaderboardRow, ModelRate, Rank, RunResult, total_usd
from architect_parallel.evaluation.ranking import preferences
from architect_parallel.events import to_plain
from architect_parallel.reports.text import STATUS_WORDS, cost_text
from architect_parallel.text.sanitize import one_line

_Row = tuple[str, ...]


def additions(result: RunResult, ranking: Sequence[Rank], rates: Sequence[ModelRate]) -> dict[str, Any]:
    """What the envelope of a competition has beyond that of another run."""
    if result.competition is None:
        return {}
    shown = {
        "competition": to_plain(result.competition),
        "ranking": to_plain(ranking),
        "judged": to_plain(result.judged),
    }
    return shown | ({"models": to_plain(rates)} if rates else {})


def as_text(result: RunResult, ranking: Sequence[Rank], rates: Sequence[ModelRate]) -> str:
    """What stands below the results of a competition; empty for another run."""
    if result.competition is None or not ranking:
        return ""
    status = {each.worker_id: STATUS_WORDS[each.status] for each in result.results}
    scored = any(place.score is not None for place in ranking)
    rows: list[_Row] = [("PLACE", "WORKER", "MODEL", "STATUS", *(("POINTS",) if scored else ()), "WHY")]
    for place in ranking:
        points = () if place.score is None else (f"{place.score:.2f}",)
        rows.append(
            (str(place.place), str(place.worker_id), place.model, status[place.worker_id], *points, place.reason)
        )
    lines = ["", "Ranking", "=" * 60, *_table(rows), *_judge_lines(result)]
    if rates:
        lines += ["", *_table([("MODEL", "RUNS", "PASSED", "95 % INTERVAL"), *map(_rate_row, rates)])]
    return "\n".join(lines)


def leaderboard(standings: Sequence[LeaderboardRow]) -> str:
    """The leaderboard for people."""
    if not standings:
        return 'No competitions yet. Hold one: architect eval "what to do" --models a,b --check "make test"'
    rows: list[_Row] = [
        ("#", "MODEL", "BACKEND", "RUNS", "PASSED", "95 % INTERVAL", "MEDIAN COST", "MEDIAN TIME", "RATING", "95 %")
    ]
    for index, each in enumerate(standings, start=1):
        rating = "-" if each.rating is None else f"{each.rating:.0f}"
        around = "-" if each.rating_interval is None else "{:.0f} to {:.0f}".format(*each.rating_interval)
        time = "-" if each.median_seconds is None else f"{each.median_seconds:.1f}s"
        rows.append(
            (
                str(index), each.model, each.backend, str(each.runs), f"{each.pass_rate:.0%}", _interval(each.interval),
                cost_text(each.median_cost), time, rating, around,
            )
        )  # fmt: skip
    return "\n".join(_table(rows))


def leaderboard_data(standings: Sequence[LeaderboardRow]) -> dict[str, Any]:
    """The leaderboard for `--json`."""
    return {"models": to_plain(standings)}


def judgement_line(judgement: Judgement) -> str:
    """One answer of the judge as it comes."""
    between = f"judge {judgement.backend}: {judgement.a} or {judgement.b}?"
    if judgement.error is not None:
        return f"{between} no answer: {one_line(judgement.error, 200)}"
    chosen = "its answer cannot be read" if judgement.best is None else str(judgement.best)
    return f"{between} {chosen} ({cost_text(judgement.cost)}, {judgement.duration:.1f}s)"


def _judge_lines(result: RunResult) -> list[str]:
    competition, judged = result.competition, result.judged
    if competition is None or competition.judge is None:
        return []
    if not judged:
        return [f"Judge {competition.judge}: not asked; no two different successes are best and even in checks"]
    times = "once" if len(judged) == 1 else f"{len(judged)} times"
    lines = [f"Judge {competition.judge}: asked {times}, {cost_text(total_usd(each.cost for each in judged))}"]
    preferred = preferences(judged)
    for pair in dict.fromkeys(frozenset((each.a, each.b)) for each in judged):
        a, b = sorted(pair)
        answers = [each for each in judged if {each.a, each.b} == pair]
        lines.append(f"  {a} or {b}: {_preference(preferred.get(pair), answers)}")
    return lines


def _preference(best: int | None, answers: Sequence[Judgement]) -> str:
    if best is not None:
        return f"{best}, in both orders"
    failed = next((each.error for each in answers if each.error is not None), None)
    if failed is not None:
        return f"no answer: {one_line(failed, 200)}"
    if any(each.best is None for each in answers):
        return "no preference: its answer could not be read"
    return f"no preference: {'asked in one order only' if len(answers) == 1 else 'another answer in the other order'}"


def _rate_row(rate: ModelRate) -> _Row:
    return rate.model, str(rate.runs), f"{rate.pass_rate:.0%}" if rate.runs else "-", _interval(rate.interval)


def _interval(interval: tuple[float, float]) -> str:
    return f"{interval[0]:.0%} to {interval[1]:.0%}"


def _table(rows: Sequence[_Row]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
