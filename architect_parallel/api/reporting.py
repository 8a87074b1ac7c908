"""A run made into a report, from the journal: live or later, in any format."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from architect_parallel.journal import Journal
from architect_parallel.reports import html, json, junit, markdown, text
from architect_parallel.reports.material import Material
from architect_parallel.system.git import Repository

FORMATS: Mapping[str, Callable[[Material], str]] = {
    "text": lambda material: text.run_details(material.result),
    "json": lambda material: json.dumps(json.envelope(material.result)),
    "markdown": markdown.render,
    "junit": junit.render,
    "html": html.render,
}
"""Name of a format → its report, as text."""


def material(repository: Repository, journal: Journal, run: str) -> Material:
    """All that a report of `run` can show.

    Raises:
        NothingToDo: No such run.
    """
    run_id = journal.find(run)
    return Material(
        repository=repository, result=journal.result(run_id), recorded=tuple(journal.recorded(run_id))
    )  # fmt: skip
