"""Make a run into a report, from the journal: live or later, in any format."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from architect_parallel.api.competition import rates_of
from architect_parallel.domain import Comparison, RunResult
from architect_parallel.errors import ArchitectParallelError
from architect_parallel.evaluation.ranking import ranking_of
from architect_parallel.journal import Journal
from architect_parallel.landing.compare import compare
from architect_parallel.reports import competition, html, json, junit, markdown, run_text
from architect_parallel.reports.material import Material
from architect_parallel.system.git import Repository


def _text(material: Material) -> str:
    more = competition.as_text(material.result, material.ranking, material.rates)
    return "\n".join([run_text.run_details(material.result), *([more] if more else [])])


def _json(material: Material) -> str:
    more = competition.additions(material.result, material.ranking, material.rates)
    return json.dumps(json.envelope(material.result) | more)


FORMATS: Mapping[str, Callable[[Material], str]] = {
    "text": _text,
    "json": _json,
    "markdown": markdown.render,
    "junit": junit.render,
    "html": html.render,
}
"""Name of a format → the function that renders it as text."""


def material(repository: Repository, journal: Journal, run: str, workers: Collection[int] = ()) -> Material:
    """Collect all that a report of `run` can show.

    Args:
        workers: Ids of the workers to show. An empty one means all.

    Raises:
        NothingToDo: No such run.
    """
    run_id = journal.find(run)
    result, plan = journal.result(run_id, workers), journal.plan(run_id)
    parts = plan.is_graph or plan.flow is not None  # of one whole: none is better than another
    return Material(
        repository=repository,
        result=result,
        recorded=tuple(journal.recorded(run_id, workers=workers)),
        ranking=() if parts else ranking_of(result),
        rates=rates_of(result),
        comparison=_comparison(repository, result),
    )


def _comparison(repository: Repository, result: RunResult) -> Comparison | None:
    if not any(item.files_modified for item in result.results):
        return None
    try:
        return compare(repository, result)
    except ArchitectParallelError:  # a git that is too old to compare can still report
        return None
