"""`architect doctor`: what this machine can enforce, what is wrong, and how to repair it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from architect_parallel.cli import options
from architect_parallel.cli.console import answer, answer_json, display
from architect_parallel.errors import ExitCode

if TYPE_CHECKING:
    from architect_parallel.api.doctor import Finding
    from architect_parallel.text.display import Display


def doctor(json: options.Json = False, config: options.Config = None) -> None:
    """Check what this machine can do and what is wrong.

    Git, the repository, supervision, memory, disk, backends; exit 3 when something makes runs impossible.
    """
    from architect_parallel.api.doctor import examine

    findings = examine(Path.cwd(), config)
    if json:
        answer_json(
            {
                "findings": [
                    {"check": finding.check, "level": finding.level, "text": finding.text, "remedy": finding.remedy}
                    for finding in findings
                ]
            }
        )
    else:
        answer("\n".join(line for finding in findings for line in _lines(finding, display())))
    if any(finding.level == "problem" for finding in findings):
        raise typer.Exit(ExitCode.ENVIRONMENT)


def _lines(finding: Finding, display: Display) -> list[str]:
    from architect_parallel.text.display import Style

    mark, style = {
        "ok": ("ok  ", Style.GOOD),
        "note": ("note", Style.CAREFUL),
        "problem": ("FAIL", Style.BAD),
    }[finding.level]
    indent = " " * (len(mark) + 2)
    first, *more = display.wrap(f"{finding.check}: {finding.text}", indent)
    remedy = display.wrap(f"try: {finding.remedy}", indent, hanging="  ") if finding.remedy else []
    return [display.paint(mark, style) + first[len(mark) :], *more, *remedy]
