"""`architect run TASK`: one task with one backend in the current directory, in the foreground.

stdout carries the answer (with `--json` exactly one object, however the run ends), stderr what happens meanwhile.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from architect_parallel.cli import options
from architect_parallel.cli.console import answer, note, warn
from architect_parallel.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from architect_parallel.agent.loop import Report
    from architect_parallel.agent.tools import ConfirmMode
    from architect_parallel.domain import AgentProfile, Limits, Settings
    from architect_parallel.runs.options import ParallelConfig

LONGEST_TASK_BYTES = 64 * 1024 * 1024


@options.run_options(
    *options.CONTAINMENT,
    before="config",
    sandbox="Contain the agent: auto, off, write or closed; it may write the current directory [off].",
    network="Network of a contained agent: open, hosts or none [as configured].",
)
def run(
    task: Annotated[str | None, typer.Argument(help="What to do; `-` reads it from stdin.", show_default=False)] = None,
    task_file: Annotated[
        Path | None, typer.Option("--task-file", metavar="FILE", help="Read the task from FILE.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Model: gpt-4o, claude-sonnet-4-6, provider:model, scripted:NAME …")
    ] = None,
    agent: Annotated[
        str, typer.Option(help="Profile: build, plan (reads only), review (reads only), or your own.")
    ] = "build",
    max_steps: Annotated[str, typer.Option(metavar="N", help="Limit of model replies.")] = "50",
    budget: Annotated[str | None, typer.Option(metavar="USD", help="Cost limit, in US dollars.")] = None,
    timeout: Annotated[str | None, typer.Option(metavar="D", help="Time limit: seconds, 30s, 5m, 1h.")] = None,
    api_base: Annotated[
        str | None,
        typer.Option(metavar="URL", envvar="ARCHITECT_API_BASE", help="Address of an OpenAI-compatible server."),
    ] = None,
    confirm_mode: Annotated[
        str,
        typer.Option(
            metavar="MODE",
            help="What the agent may do without asking. yolo: all that its profile may do; confirm-sensitive: change"
            " files, no shell; confirm-all: only read.",
        ),
    ] = "confirm-sensitive",
    backend: Annotated[
        str | None, typer.Option(metavar="NAME", help="Another agent CLI: claude, codex, … (architect backends).")
    ] = None,
    resume: Annotated[
        str | None,
        typer.Option(
            metavar="SESSION", help="Continue the session of an earlier run; its id is in the report of that run."
        ),
    ] = None,
    config: Annotated[Path | None, typer.Option("-c", "--config", metavar="FILE", help="Configuration file.")] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing but errors on stderr.")] = False,
    **flags: Any,
) -> int:
    """Run one task with one agent in the current directory.

    The embedded agent runs it unless --backend names another.
    """
    from architect_parallel.agent.tools import ConfirmMode
    from architect_parallel.config.paths import home_dir
    from architect_parallel.config.settings import load_settings
    from architect_parallel.domain import Limits
    from architect_parallel.text.names import read_session
    from architect_parallel.text.quantities import parse_count, parse_duration, parse_usd
    from architect_parallel.text.suggest import require_known

    if resume is not None:
        try:
            read_session(resume)
        except ValueError as error:
            raise UsageError(f"--resume: {error}") from None
    require_known("confirm mode", confirm_mode, tuple(ConfirmMode))
    here = Path.cwd()
    root = next((directory for directory in (here, *here.parents) if (directory / ".git").exists()), None)
    settings = load_settings(root, config, os.environ, home_dir())
    profile = settings.agents[require_known("agent", agent, settings.agents)]
    if prompt := os.environ.get("ARCHITECT_SYSTEM_PROMPT"):  # from the launcher, whose configuration may be another
        profile = dataclasses.replace(profile, system_prompt=prompt)
    order = _Order(
        task=_task(task, task_file),
        directory=here,
        profile=profile,
        model=model,
        mode=ConfirmMode(confirm_mode),
        limits=Limits(
            max_steps=parse_count(max_steps, "--max-steps"),
            budget_usd=None if budget is None else parse_usd(budget, "--budget"),
            timeout_s=None if timeout is None else parse_duration(timeout, "--timeout"),
        ),
        settings=settings,
        say=None if quiet else note,
        resume=resume,
    )
    given = {name: value for name, value in flags.items() if value}
    if backend is None and given in ({}, {"sandbox": "off"}):
        report, signal_number = _embedded(order, api_base)
    else:  # contained, the embedded agent is a process like that of any other agent
        words = options.request({"sandbox": "off", **given})
        report, signal_number = _other(order, backend or "architect", words, api_base)
    _print(report, json_output)
    if signal_number is not None:
        return 128 + signal_number
    return ExitCode.SUCCESS if report.status in ("success", "partial") else ExitCode.NOT_ALL_SUCCEEDED


@dataclass(frozen=True, slots=True, kw_only=True)
class _Order:
    task: str
    directory: Path
    profile: AgentProfile
    model: str | None
    mode: ConfirmMode
    limits: Limits
    settings: Settings
    say: Callable[[str], None] | None
    resume: str | None


def _embedded(order: _Order, api_base: str | None) -> tuple[Report, int | None]:
    from architect_parallel.agent.run import AgentRequest, run_embedded_agent
    from architect_parallel.config.paths import home_dir, session_dir

    request = AgentRequest(
        task=order.task,
        directory=order.directory,
        agent=order.profile,
        model=order.model,
        api_base=api_base,
        limits=order.limits,
        prices=order.settings.prices,
        confirm_mode=order.mode,
        session_dir=session_dir(os.environ, home_dir()),
        resume=order.resume,
    )
    return run_embedded_agent(request, os.environ, order.say)


def _other(order: _Order, backend: str, words: ParallelConfig, api_base: str | None) -> tuple[Report, int | None]:
    from architect_parallel.agent.tools import ConfirmMode
    from architect_parallel.api.in_place import InPlace, run_in_place
    from architect_parallel.domain import ApprovalMode

    approvals = {
        ConfirmMode.YOLO: ApprovalMode.NONE,
        ConfirmMode.SENSITIVE: ApprovalMode.AUTO,
        ConfirmMode.ALL: ApprovalMode.ALWAYS,
    }
    request = InPlace(
        task=order.task,
        backend=backend,
        directory=order.directory,
        agent=order.profile,
        model=order.model or order.profile.model,
        approval_mode=approvals[order.mode],
        limits=order.limits,
        resume=order.resume,
        words=words,
    )
    environ = {**os.environ, **({} if api_base is None else {"ARCHITECT_API_BASE": api_base})}
    return run_in_place(request, order.settings, environ, order.say)


def _task(task: str | None, task_file: Path | None) -> str:
    """The task's text from the one place it was given.

    Raises:
        UsageError: Not exactly one place, not UTF-8, empty, or with a NUL byte.
    """
    from architect_parallel.config.yaml_source import Faulty, read_bytes
    from architect_parallel.text.sanitize import require_utf8

    if (task is None) == (task_file is None):
        raise UsageError("give the task once: as TASK or with --task-file", hint='architect run "fix the tests"')
    if task_file is not None:
        try:
            data = read_bytes(task_file, pipe_allowed=True, largest=LONGEST_TASK_BYTES)
        except Faulty as error:
            raise UsageError(f"the task file {task_file} {error.faults[0].message}") from error
        if data is None:
            raise UsageError(f"the task file {task_file} does not exist")
        text = _decoded(data, str(task_file))
    elif task == "-":
        text = _decoded(sys.stdin.buffer.read(LONGEST_TASK_BYTES), "stdin")
    else:
        text = task or ""
    if not text.strip():
        raise UsageError("the task is empty", hint='architect run "fix the tests"')
    if "\0" in text:
        raise UsageError("the task contains a NUL byte", hint="write it as plain text")
    require_utf8(text, "the task")
    return text


def _decoded(data: bytes, origin: str) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"the task from {origin} is not UTF-8 (byte {error.start})", hint="convert it") from error


def _print(report: Report, json_output: bool) -> None:
    from architect_parallel.text.quantities import show_count
    from architect_parallel.text.sanitize import one_line, plain_text

    if json_output:
        # ASCII: a lone surrogate in a model's words must not lose the whole object.
        answer(json.dumps(report.to_json(), allow_nan=False))
    else:
        if report.output:
            answer(plain_text(report.output).rstrip())
        cost = "?" if report.cost is None else f"${report.cost:.4f}"
        words = f"{report.status} ({report.reason}), {show_count(report.steps, 'step')}, {cost}, {report.model}"
        note(f"{words}: {one_line(report.error)}" if report.error else words)
        for warning in report.warnings:
            warn(warning)
