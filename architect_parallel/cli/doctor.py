"""`architect doctor`: what this machine can enforce, what is wrong, and how to repair it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from architect_parallel.cli import options
from architect_parallel.cli.console import answer, answer_json, display
from architect_parallel.errors import ExitCode

if TYPE_CHECKING:
    from architect_parallel.api.cluster import HostReport
    from architect_parallel.api.doctor import Finding
    from architect_parallel.text.display import Display


def doctor(
    sandbox: Annotated[
        bool, typer.Option("--sandbox", help="Try in a scratch place what a contained agent must not be able to do.")
    ] = False,
    hosts: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Ask the hosts of a cluster as well: ssh://HOST,HOST or dask://HOST:PORT."),
    ] = None,
    tls_dir: options.TlsDir = None,
    insecure: options.Insecure = False,
    json: options.Json = False,
    config: options.Config = None,
) -> None:
    """Check what this machine can do and what is wrong.

    It looks at git, the repository, supervision, containment, memory, disk and backends. The exit code is 3 if no
    run is possible.
    """
    from architect_parallel.api.cluster import finding_of, plain_report
    from architect_parallel.api.doctor import examine

    if sandbox:
        _try_sandbox(as_json=json)
        return
    findings = examine(Path.cwd(), config)
    reports = _ask_hosts(hosts, tls_dir, insecure=insecure) if hosts is not None else []
    findings += map(finding_of, reports)
    if json:
        plain = [
            {"check": finding.check, "level": finding.level, "text": finding.text, "remedy": finding.remedy}
            for finding in findings
        ]
        asked = {} if hosts is None else {"hosts": list(map(plain_report, reports))}
        answer_json({"findings": plain, **asked})
    else:
        answer("\n".join(line for finding in findings for line in _lines(finding, display())))
    if any(finding.level == "problem" for finding in findings):
        raise typer.Exit(ExitCode.ENVIRONMENT)


def _ask_hosts(url: str, tls_dir: Path | None, *, insecure: bool) -> list[HostReport]:
    from architect_parallel.api.cluster import examine_hosts

    return examine_hosts(url, options.link_options(tls_dir, insecure=insecure))


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


def _try_sandbox(*, as_json: bool) -> None:
    """Try the acts at the level `write`. Exit 1 if one that is possible without a sandbox is possible inside."""
    from architect_parallel.api.sandbox_trial import try_acts
    from architect_parallel.domain import SandboxLevel

    sandbox, trials = try_acts(os.environ, SandboxLevel.WRITE)
    through = [trial for trial in trials if trial.inside]
    if as_json:
        acts = [{"act": trial.act, "inside": trial.inside, "outside": trial.outside} for trial in trials]
        words = {"level": sandbox.level.value, "mechanism": sandbox.mechanism.value, "gaps": list(sandbox.gaps)}
        answer_json({"sandbox": words, "acts": acts})
    else:
        answer(f"{sandbox.level} by {sandbox.mechanism}: {len(trials) - len(through)} of {len(trials)} acts are held")
        for trial in trials:
            control = "" if trial.outside else " (not possible without a sandbox either)"
            answer(f"{'DONE' if trial.inside else 'held'}  {trial.act}{control}")
        for gap in sandbox.gaps:
            answer(f"gap   {gap}")
    if through and not sandbox.gaps:
        raise typer.Exit(ExitCode.NOT_ALL_SUCCEEDED)
