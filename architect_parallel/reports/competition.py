"""A competition as text: the ranking with reasons, the judge's answers, the pass rates of models. The leaderboard."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from architect_parallel.domain import Judgement, LeaderboardRow, ModelRate, Rank, RunResult, total_usd
from architect_parallel.evaluation.facts import preferences
from architect_parallel.event_json import to_plain
from architect_parallel.reports.table import Cell, TableColumn, render
from architect_parallel.reports.text import STATUS_STYLES, STATUS_WORDS, cost_text
from architect_parallel.text.display import PIPE, Display
from architect_parallel.text.sanitize import one_line

_RANK_COLUMNS = (
    TableColumn(title="PLACE", rank=0),
    TableColumn(title="WORKER", rank=1),
    TableColumn(title="MODEL", rank=2, least=28),
    TableColumn(title="STATUS", rank=5, is_extra=True),
    TableColumn(title="POINTS", rank=3),
    TableColumn(title="WHY", rank=4, least=24),
)
_RATE_COLUMNS = (
    TableColumn(title="MODEL", rank=0, least=28),
    TableColumn(title="RUNS", rank=2),
    TableColumn(title="PASSED", rank=1),
    TableColumn(title="95 % INTERVAL", rank=3),
)
_STANDING_COLUMNS = (
    TableColumn(title="#", rank=0),
    TableColumn(title="MODEL", rank=1, least=28),
    TableColumn(title="BACKEND", rank=8, is_extra=True),
    TableColumn(title="RUNS", rank=3),
    TableColumn(title="PASSED", rank=2),
    TableColumn(title="95 % INTERVAL", rank=7),
    TableColumn(title="MEDIAN COST", rank=5),
    TableColumn(title="MEDIAN TIME", rank=6),
    TableColumn(title="RATING", rank=4),
    TableColumn(title="95 %", rank=9),
)
_Row = tuple[Cell, ...]


def additions(result: RunResult, ranking: Sequence[Rank], rates: Sequence[ModelRate]) -> dict[str, Any]:
    """The additional fields in the envelope of a competition."""
    if result.competition is None:
        return {}
    shown = {
        "competition": to_plain(result.competition),
        "ranking": to_plain(ranking),
        "judged": to_plain(result.judged),
    }
    return shown | ({"models": to_plain(rates)} if rates else {})


def as_text(result: RunResult, ranking: Sequence[Rank], rates: Sequence[ModelRate], display: Display = PIPE) -> str:
    """The text below the results of a competition. It is empty for another run."""
    if result.competition is None or not ranking:
        return ""
    status = {worker.worker_id: worker.status for worker in result.results}
    scored = any(place.score is not None for place in ranking)
    rows: list[_Row] = [
        (
            str(place.place),
            str(place.worker_id),
            place.model,
            (STATUS_WORDS[status[place.worker_id]], STATUS_STYLES[status[place.worker_id]]),
            *((f"{place.score or 0:.2f}",) if scored else ()),
            place.reason,
        )
        for place in ranking
    ]
    columns = [column for column in _RANK_COLUMNS if scored or column.title != "POINTS"]
    heading = ["", "Ranking", *(["=" * 60] if display.is_pipe else [])]
    lines = [*heading, *render(columns, rows, display)]
    lines += [part for line in _judge_lines(result) for part in display.wrap(line, hanging="    ")]
    if rates:
        lines += ["", *render(_RATE_COLUMNS, [_rate_row(rate) for rate in rates], display)]
    return "\n".join(lines)


def leaderboard(standings: Sequence[LeaderboardRow], display: Display = PIPE) -> str:
    """The leaderboard for people."""
    if not standings:
        return 'No competitions yet. Start one: architect eval "what to do" --models a,b --check "make test"'
    rows: list[_Row] = []
    for index, rank in enumerate(standings, start=1):
        rating = "-" if rank.rating is None else f"{rank.rating:.0f}"
        around = "-" if rank.rating_interval is None else "{:.0f} to {:.0f}".format(*rank.rating_interval)
        time = "-" if rank.median_seconds is None else f"{rank.median_seconds:.1f}s"
        passed = (str(rank.runs), f"{rank.pass_rate:.0%}", _interval(rank.interval))
        rows.append((str(index), rank.model, rank.backend, *passed, cost_text(rank.median_cost), time, rating, around))
    return "\n".join(render(_STANDING_COLUMNS, rows, display))


def leaderboard_data(standings: Sequence[LeaderboardRow]) -> dict[str, Any]:
    """The leaderboard for `--json`."""
    return {"models": to_plain(standings)}


def judgement_line(judgement: Judgement) -> str:
    """The line for one answer of the judge."""
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
        return [f"Judge {competition.judge}: not asked, because no two different successes are equally best in checks"]
    times = "once" if len(judged) == 1 else f"{len(judged)} times"
    lines = [
        f"Judge {competition.judge}: asked {times}, {cost_text(total_usd(judgement.cost for judgement in judged))}"
    ]
    preferred = preferences(judged)
    for pair in dict.fromkeys(frozenset((judgement.a, judgement.b)) for judgement in judged):
        a, b = sorted(pair)
        answers = [judgement for judgement in judged if {judgement.a, judgement.b} == pair]
        lines.append(f"  {a} or {b}: {_preference(preferred.get(pair), answers)}")
    return lines


def _preference(best: int | None, answers: Sequence[Judgement]) -> str:
    if best is not None:
        return f"{best}, in both orders"
    failed = next((answer.error for answer in answers if answer.error is not None), None)
    if failed is not None:
        return f"no answer: {one_line(failed, 200)}"
    if any(answer.best is None for answer in answers):
        return "no preference: its answer could not be read"
    return f"no preference: {'asked in one order only' if len(answers) == 1 else 'another answer in the other order'}"


def _rate_row(rate: ModelRate) -> _Row:
    return rate.model, str(rate.runs), f"{rate.pass_rate:.0%}" if rate.runs else "-", _interval(rate.interval)


def _interval(interval: tuple[float, float]) -> str:
    return f"{interval[0]:.0%} to {interval[1]:.0%}"
