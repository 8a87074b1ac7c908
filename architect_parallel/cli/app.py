"""The roof: the table of commands and the one place where errors become a line and an exit code.

Nothing heavy is imported here or at the top of a command's module (no git, pydantic, rich, model SDKs): `--help`
must stay cheap. A new command is one file and one row.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

from architect_parallel import __version__
from architect_parallel.cli import (
    backends,
    cancel,
    chain,
    cleanup,
    compare,
    compare_backends,
    demo,
    diff,
    doctor,
    flow,
    import_,
    leaderboard,
    logs,
    merge,
    parallel,
    report,
    resume,
    serve,
    spec,
    status,
    undo,
    watch,
)
from architect_parallel.cli import config as config_command
from architect_parallel.cli import eval as evaluation
from architect_parallel.cli import run as run_command
from architect_parallel.cli.details import DetailsFile
from architect_parallel.cli.plain_values import PlainCommand, PlainGroup
from architect_parallel.errors import ArchitectParallelError, ExitCode

# Typer carries its own copy of click, which is private; these are its errors by way of public names.
ClickUsageError: type[Any] = typer.BadParameter.__mro__[1]
ClickException: type[Any] = typer.BadParameter.__mro__[2]

COMMANDS: tuple[tuple[str, Callable[..., Any]], ...] = (
    ("parallel", parallel.parallel),
    ("eval", evaluation.evaluate),
    ("leaderboard", leaderboard.leaderboard),
    ("parallel-cleanup", cleanup.parallel_cleanup),
    ("status", status.status),
    ("logs", logs.logs),
    ("diff", diff.diff),
    ("compare", compare.compare),
    ("report", report.report),
    ("serve", serve.serve),
    ("watch", watch.watch),
    ("merge", merge.merge),
    ("undo", undo.undo),
    ("import", import_.import_),
    ("resume", resume.resume),
    ("cancel", cancel.cancel),
    ("run", run_command.run),
    ("chain", chain.chain),
    ("compare-backends", compare_backends.compare_backends),
    ("demo", demo.demo),
    ("backends", backends.backends),
    ("doctor", doctor.doctor),
)

GROUPS: tuple[tuple[str, typer.Typer], ...] = (("spec", spec.app), ("flow", flow.app), ("config", config_command.app))
"""Commands with commands of their own."""


def build_app() -> typer.Typer:
    """The Typer application with every command of the table."""
    app = typer.Typer(
        name="architect",
        cls=PlainGroup,
        help="Run coding agents in parallel, each in its own git worktree, and land the best of what they did.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_common)
    for name, function in COMMANDS:
        app.command(name, cls=PlainCommand)(function)
    for name, group in GROUPS:
        app.add_typer(group, name=name)
    return app


def _show_version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"architect-parallel {__version__}\n")
        raise typer.Exit


def _common(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version and exit.")
    ] = False,
) -> None:
    """What stands before every command."""


def main() -> None:
    """Entry point of the console scripts; ends the process with the exit code of the contract."""
    with DetailsFile():
        code = run(sys.argv[1:])
    sys.exit(code)


def run(argv: list[str]) -> int:
    """Runs one command line and returns its exit code; prints at most one line about an error."""
    try:
        outcome = build_app()(args=argv, standalone_mode=False)
        return outcome if isinstance(outcome, int) else ExitCode.SUCCESS
    except typer.Exit as stop:
        return stop.exit_code
    except ClickUsageError as error:
        return _fail(error.format_message(), f"{error.ctx.command_path} --help" if error.ctx else None, ExitCode.USAGE)
    except ClickException as error:
        return _fail(error.format_message(), None, ExitCode.USAGE)
    except ArchitectParallelError as error:
        return _fail(error.message, error.hint, error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        # The reader of our stdout went away (`architect logs 1 | head`); nothing is wrong with us.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.SUCCESS
    except Exception as error:
        return _report_bug(error)


def _fail(message: str, hint: str | None, code: int) -> int:
    # Several faults of one file come as several lines; within a line, blanks of any kind are one.
    text = "\n  ".join(line for part in message.split("\n") if (line := " ".join(part.split())))
    sys.stderr.write(f"architect: {text}" + (f"\n  try: {hint}" if hint else "") + "\n")
    return int(code)


def _report_bug(error: Exception) -> int:
    import tempfile
    import traceback

    with tempfile.NamedTemporaryFile("w", prefix="architect-bug-", suffix=".log", delete=False) as log:
        log.write("".join(traceback.format_exception(error)))
    return _fail(f"internal error: {type(error).__name__}: {error}", f"the details are in {log.name}", ExitCode.BUG)
