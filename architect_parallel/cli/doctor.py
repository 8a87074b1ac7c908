"""`architect doctor`: what this machine can enforce, what is wrong, and how to repair it."""

from __future__ import annotations

from pathlib import Path

import typer

from architect_parallel.cli import options
from architect_parallel.cli.console import answer, answer_json
from architect_parallel.errors import ExitCode


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
        marks = {"ok": "ok  ", "note": "note", "problem": "FAIL"}
        for finding in findings:
            answer(
                f"{marks[finding.level]}  {finding.check}: {finding.text}"
                + (f"\n      try: {finding.remedy}" if finding.remedy else "")
            )
    if any(finding.level == "problem" for finding in findings):
        raise typer.Exit(ExitCode.ENVIRONMENT)
