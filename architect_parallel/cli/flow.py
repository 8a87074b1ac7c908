"""`architect flow run|validate FILE`: a state machine of commands and agents."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from architect_parallel.cli import options
from architect_parallel.cli.console import answer, answer_json, note, progress_report, warn
from architect_parallel.cli.fast_params import PlainCommand, PlainGroup
from architect_parallel.errors import UsageError

if TYPE_CHECKING:
    from architect_parallel.domain import RunResult
    from architect_parallel.flows.model import Demand, Flow
    from architect_parallel.reports.terminal import ProgressReport
    from architect_parallel.runs.options import ParallelConfig

app = typer.Typer(
    cls=PlainGroup,
    no_args_is_help=True,
    help="Run a flow: commands and agents, with loops and choices.",
)

TEXT_KEYS = ("command", "prompt", "question", "message", "workflow", "items", "value", "left")
"""Arguments that say what a tool does, at most one of each tool's."""

File = Annotated[Path, typer.Argument(metavar="FILE", help="A flow file, YAML or JSON.")]


@app.command(cls=PlainCommand)
@options.run_options(*options.CONTAINMENT, before="json")
def run(
    file: Annotated[Path | None, typer.Argument(metavar="FILE", help="A flow file, YAML or JSON.")] = None,
    resume: Annotated[
        str | None, typer.Option("--resume", metavar="RUN", help="Continue a flow from the state it stopped in.")
    ] = None,
    var: Annotated[
        list[str] | None, typer.Option("--var", metavar="NAME=VALUE", help="Set a variable of the flow; repeatable.")
    ] = None,
    reply: Annotated[
        str | None,
        typer.Option("--answer", metavar="TEXT", help="With --resume: answer the question the flow is paused in."),
    ] = None,
    budget: Annotated[str | None, typer.Option("--budget", metavar="USD", help="Cost limit of the whole run.")] = None,
    timeout: Annotated[
        str | None, typer.Option("--timeout", metavar="D", help="Time limit of the whole run: seconds, 30s, 5m, 1h.")
    ] = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    dry_run: options.DryRun = False,
    config: options.Config = None,
    **flags: Any,
) -> None:
    """Run a flow in the current directory.

    Commands and agents work in the repository as it is. Agents inside `parallel` get worktrees. The exit code is that
    of the state the flow ended in. A failure that `on-error` handled does not count.
    """
    if (file is None) == (resume is None):
        raise UsageError("give either a FILE or --resume RUN", hint="architect flow run --help")
    if reply is not None and resume is None:
        raise UsageError("--answer needs --resume RUN", hint="architect status")
    if file is not None:
        variables = dict(_assignment(text) for text in var or ())
        run_shown(
            file,
            variables,
            budget=budget,
            timeout=timeout,
            as_json=json,
            quiet=quiet,
            dry_run=dry_run,
            config=config,
            **flags,
        )
        return
    assert resume is not None
    if var or budget or timeout or dry_run:
        hint = "leave out --var, --budget, --timeout and --dry-run"
        raise UsageError("--resume keeps the settings of the run", hint=hint)
    words = options.request(flags)
    finish(resumed(resume, answer=reply, as_json=json, quiet=quiet, config=config, words=words), as_json=json)


def run_shown(
    file: Path,
    variables: Mapping[str, str],
    *,
    budget: str | None,
    timeout: str | None,
    as_json: bool,
    quiet: bool,
    dry_run: bool,
    config: Path | None,
    sandbox: str | None = None,
    network: str | None = None,
    allow_hosts: Sequence[str] | None = None,
) -> None:
    """Run the flow in `file`, show it live as far as the streams allow, and end with its exit code."""
    from architect_parallel.flows.plan import FlowConfig, plan_flow
    from architect_parallel.flows.runner import run_flow

    request = FlowConfig(
        file=file,
        variables=variables,
        budget=budget,
        timeout=timeout,
        sandbox=sandbox,
        network=network,
        allow_hosts=tuple(allow_hosts or ()),
        config_file=config,
    )
    if dry_run:
        _, flow, plan = plan_flow(request, Path.cwd())
        for warning in plan.warnings:
            warn(warning)
        _show(flow, as_json=as_json, whole=True)
        if not as_json:
            limit = "no limit" if plan.budget_usd is None else f"${plan.budget_usd:.2f}"
            answer(f"Cost ceiling: {limit}; nothing was started.")
        return
    report = progress_report(as_json=as_json, quiet=quiet)
    with report:
        result = run_flow(request, Path.cwd(), _asking(report), listeners=[report.take], started=report.begin)
    finish(result, as_json=as_json)


def finish(result: RunResult, *, as_json: bool) -> NoReturn:
    """Print the answer and end with the exit code of the flow."""
    from architect_parallel.cli.parallel import print_result

    print_result(result, as_json=as_json)
    raise typer.Exit(result.exit_code or 0)


def resumed(
    run: str,
    *,
    answer: str | None = None,
    as_json: bool,
    quiet: bool,
    config: Path | None,
    words: ParallelConfig | None = None,
) -> RunResult:
    """Continue a flow and show it live. `answer` and `words` as for `resume_flow`."""
    from architect_parallel.flows.runner import resume_flow

    report = progress_report(as_json=as_json, quiet=quiet)
    with report:
        return resume_flow(
            Path.cwd(),
            run,
            _asking(report),
            answer=answer,
            config_file=config,
            listeners=[report.take],
            started=report.begin,
            words=words,
        )


def _asking(report: ProgressReport) -> Callable[[Demand], str | None]:
    def ask(demand: Demand) -> str | None:
        with report.aside():
            return ask_person(demand)

    return ask


@app.command(cls=PlainCommand)
def validate(file: File, json: options.Json = False, config: options.Config = None) -> None:
    """Check a flow and its sub-flows, and list all faults."""
    from architect_parallel.flows.plan import read_flow
    from architect_parallel.runs.workspace import load_workspace

    _show(read_flow(file, load_workspace(Path.cwd(), config)), as_json=json)


def _show(flow: Flow, *, as_json: bool, whole: bool = False) -> None:
    """Print the states of a flow and their transitions. `whole` adds the text of each task."""
    from architect_parallel.text.quantities import show_count
    from architect_parallel.text.sanitize import one_line

    if as_json:
        answer_json({"name": flow.name, "start_at": flow.start_at, "states": list(flow.states)})
        return
    answer(f"{flow.name}: {show_count(len(flow.states), 'state')}, from {flow.start_at}")
    for state in flow.states.values():
        ways = [f"→ {state.next}"] if state.next else []
        ways += [f"{code} → {target}" for code, target in state.on_error.items()]
        answer(f"  {state.name} ({state.task.tool}) {', '.join(ways)}".rstrip())
        for task in (state.task.tasks or (state.task,)) if whole else ():
            text = next((task.arguments[key] for key in TEXT_KEYS if key in task.arguments), None)
            if text is not None:
                answer(f"      {f'{task.tool}: ' if state.task.tasks else ''}{one_line(str(text), 200)}")


def _assignment(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise UsageError(f"--var {text!r} is not NAME=VALUE", hint="architect flow run FILE --var name=value")
    return name, value


def ask_person(demand: Demand) -> str | None:
    """Ask on the terminal. Return `None` if there is none."""
    from architect_parallel.flows.model import Question, Wait
    from architect_parallel.text.sanitize import plain_text

    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return None
    if isinstance(demand, Wait):
        note(plain_text(demand.text) or "The flow is paused.")
        sys.stderr.write("Enter to go on: ")
        sys.stderr.flush()
        return "" if sys.stdin.readline() else None
    if not isinstance(demand, Question):
        return None
    while True:
        note(plain_text(demand.text))
        if demand.choices:
            note(f"  {' / '.join(map(plain_text, demand.choices))}")
        default = "" if demand.default is None else f" [{plain_text(demand.default)}]"
        sys.stderr.write(f"answer{default}: ")
        sys.stderr.flush()
        line = sys.stdin.readline()
        if not line:
            return None
        reply = line.strip() or (demand.default or "")
        if not demand.choices or reply in demand.choices:
            return reply
        warn(f"{reply!r} is not one of the choices")
