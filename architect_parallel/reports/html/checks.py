"""Checks with what they printed."""

from __future__ import annotations

from collections.abc import Sequence

from architect_parallel.domain import CheckResult
from architect_parallel.reports.html import formatting
from architect_parallel.reports.html.markup import Markup, element, hidden


def check_list(checks: Sequence[CheckResult], of: str) -> Markup:
    """A line per check, in order; what it printed is folded behind it."""
    return element("ul", [element("li", _check(check, f"{of}-check-{n}")) for n, check in enumerate(checks)],
                   class_="check-list")  # fmt: skip


def _check(check: CheckResult, identifier: str) -> Markup:
    tone, sign, word = ("good", "✓", "passed: ") if check.passed else ("bad", "✗", "failed: ")
    notes = [formatting.CHANGE_WORDS[check.change]] if check.change is not None else []
    notes += ["flaky"] if check.flaky else []
    notes += ["timed out"] if check.timed_out else []
    if not check.passed and not check.timed_out and check.exit_code is not None:
        notes.append(f"exit code {check.exit_code}")
    line = (
        element("span", sign, class_=tone, aria_hidden="true"), hidden(word), " ", element("code", check.command), " ",
        element("small", ", ".join([formatting.duration(check.duration_seconds), *(note for note in notes if note)])),
    )  # fmt: skip
    if not check.output_tail.strip():
        return element("div", line, class_="line")
    return element("details", element("summary", line), element("pre", check.output_tail, class_="output", tabindex=0),
                   id=identifier)  # fmt: skip
