"""HTML from the files in `templates/`, in which all text is escaped.

Names, output, file names and patches of agents are hostile. Each value in a template passes through `shown`, then
through jinja2's escaping. A template must quote its attributes and must not use the filter `safe`.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from architect_parallel.reports.html import chart
from architect_parallel.reports.html import formatting as figures
from architect_parallel.reports.html.spans import totals
from architect_parallel.reports.text import reason_words
from architect_parallel.text.sanitize import one_line

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup


@cache
def environment() -> Environment:
    """The templates with their filters. jinja2 is imported here, because it takes longer than most commands."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader(__package__),
        autoescape=True,
        finalize=_finalize,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    functions = (
        *(figures.check_counts, figures.check_notes, figures.cost, figures.duration, figures.failure_reason),
        *(figures.mebibytes, figures.percent, figures.plural, figures.sentence, figures.size, figures.status_name),
        *(figures.thousands, figures.tokens, figures.tone),
        *(chart.at, chart.lane_summary, chart.span_title, chart.tick_label, chart.ticks),
        *(one_line, reason_words, totals),
    )
    environment.filters |= {function.__name__: function for function in functions}
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":")}
    return environment


def trusted(text: str) -> Markup:
    """Mark `text` as HTML that is inserted as it is: only for the page's own script and style, and for base64."""
    from markupsafe import Markup

    return Markup(text)


def _finalize(value: Any) -> Any:
    """Make a template's value safe to read. jinja2 escapes the result."""
    if value is None:
        return ""
    return value if hasattr(value, "__html__") else figures.shown(str(value))
