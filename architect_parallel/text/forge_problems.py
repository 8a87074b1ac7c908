"""Failures of `gh` and `glab` in one line, with a remedy. Pure.

Both print several lines, of which neither the first nor the last always says what failed (seen with gh 2.23).
"""

from __future__ import annotations

import re

from architect_parallel.text.sanitize import one_line

_SIGNS = (
    (r"rate limit|\b429\b", "is rate limited: {line}", "wait, or give {forge} a token of your own: {forge} auth login"),
    (r"no git remotes|none of the git remotes", "finds no remote of a known forge", "--repo owner/name"),
    (r"auth login|\b401\b|bad credentials|not logged in", "is not logged in", "{forge} auth login"),
    (r"error connecting|dial tcp|no such host|network is unreachable|timed? ?out", "reaches no server: {line}", ""),
)
_MISSING = re.compile(r"could not resolve to an? (?:issue|pullrequest)|\b404\b|could not be found", re.IGNORECASE)


def forge_problem(forge: str, output: str) -> tuple[str, str]:
    """Return the failure in one line, and the remedy. The remedy is empty if none is known.

    >>> forge_problem("gh", "To get started with GitHub CLI, please run:  gh auth login\\nAlternatively, …")
    ('gh is not logged in', 'gh auth login')
    >>> forge_problem("gh", "a newer version is there\\nGraphQL: no such field")
    ('gh failed: GraphQL: no such field', '')
    """
    lines = [one_line(line, 200) for line in output.splitlines() if line.strip()]
    for pattern, words, hint in _SIGNS:
        line = next((line for line in lines if re.search(pattern, line, re.IGNORECASE)), None)
        if line is not None:
            return f"{forge} {words.format(line=line)}", hint.format(forge=forge)
    return f"{forge} failed: {lines[-1] if lines else 'it printed nothing'}", ""


def says_missing(output: str) -> bool:
    """Tell whether the forge does not have what was asked for.

    >>> says_missing("GraphQL: Could not resolve to an Issue with the number of 99. (repository.issue)")
    True
    """
    return _MISSING.search(output) is not None
