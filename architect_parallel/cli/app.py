"""The table of commands, and the one place where an error becomes a line and an exit code.

Nothing heavy is imported here or at the top of a command's module (no git, pydantic, rich, model SDKs): `--help`
must stay cheap. A new command is one file and one row.
"""

from __future__ import annotations

import errno
import os
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Protocol, runtime_checkable

import typer

from architect_parallel import __version__
from architect_parallel.cli import (
    backends,
    cancel,
    chain,
    cleanup,
    compare,
    compare_backends,
    completion,
    demo,
    diff,
    doctor,
    flow,
    help_,
    host,
    import_,
    init,
    leaderboard,
    logs,
    mcp,
    merge,
    parallel,
    place,
    report,
    resume,
    retry,
    send,
    serve,
    spec,
    status,
    undo,
    watch,
)
from architect_parallel.cli import config as config_command
from architect_parallel.cli import eval as evaluation
from architect_parallel.cli import run as run_command
from architect_parallel.cli.console import (
    ReaderGone,
    answer,
    choose_display,
    display,
    note,
    open_closed_streams,
    settle_streams,
)
from architect_parallel.cli.error_log import DetailsFile
from architect_parallel.cli.fast_params import PlainCommand, PlainGroup
from architect_parallel.errors import ArchitectParallelError, EnvironmentProblem, ExitCode
from architect_parallel.text.display import Style

COMMANDS: Mapping[str, Sequence[tuple[str, Callable[..., Any] | typer.Typer]]] = {
    "Run tasks": (
        ("parallel", parallel.parallel),
        ("eval", evaluation.evaluate),
        ("spec", spec.app),
        ("flow", flow.app),
        ("chain", chain.chain),
        ("demo", demo.demo),
    ),
    "Look at runs": (
        ("status", status.status),
        ("watch", watch.watch),
        ("logs", logs.logs),
        ("diff", diff.diff),
        ("compare", compare.compare),
        ("report", report.report),
        ("serve", serve.serve),
        ("leaderboard", leaderboard.leaderboard),
    ),
    "Go to a worker": (
        ("path", place.path),
        ("open", place.open_),
        ("shell", place.shell),
        ("attach", place.attach),
    ),
    "Go on with a run": (
        ("send", send.send),
        ("retry", retry.retry),
        ("resume", resume.resume),
        ("cancel", cancel.cancel),
    ),
    "Land and clean up": (
        ("merge", merge.merge),
        ("clean", cleanup.parallel_cleanup),
        ("parallel-cleanup", cleanup.parallel_cleanup),
        ("undo", undo.undo),
        ("import", import_.import_),
    ),
    "Set up": (
        ("init", init.init),
        ("backends", backends.backends),
        ("doctor", doctor.doctor),
        ("config", config_command.app),
        ("host", host.app),
        ("run", run_command.run),
        ("compare-backends", compare_backends.compare_backends),
        ("mcp", mcp.mcp),
        ("completion", completion.completion),
        ("help", help_.help_),
    ),
}
"""Every command below the heading under which the help shows it, in the order in which a user needs them."""


SHOW_OTHERS = ("help", "completion")
"""Commands that show the others."""


def build_app(only: str | None = None) -> typer.Typer:
    """The Typer application with every command of the table.

    Args:
        only: The one command that is needed: all of them cost 60 ms. `None` means all, as for a name that shows others.
    """
    app = typer.Typer(
        name="architect",
        cls=RootGroup,
        help="Run coding agents in parallel, each in its own git worktree, and land the best of what they did.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_common)
    for heading, commands in COMMANDS.items():
        for name, command in commands:
            if only not in (None, name):
                continue
            if isinstance(command, typer.Typer):
                app.add_typer(command, name=name, rich_help_panel=heading)
            else:
                app.command(name, cls=PlainCommand, rich_help_panel=heading)(command)
    return app


class RootGroup(PlainGroup):
    """All commands. A first word with white space in it is a task: a mistyped command must not start paid agents."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        if len(args[0].split(maxsplit=1)) > 1 and args[0] not in self.commands:
            return "parallel", self.commands["parallel"], args
        return super().resolve_command(ctx, args)


@runtime_checkable
class ParserError(Protocol):
    """An error of typer's parser. Typer does not export the base class of these errors."""

    def format_message(self) -> str: ...


def _show_version(is_requested: bool) -> None:
    if is_requested:
        answer(f"architect-parallel {__version__}")
        raise typer.Exit


def _common(
    version: Annotated[
        bool, typer.Option("--version", "-V", is_eager=True, callback=_show_version, help="Show the version and exit.")
    ] = False,
    color: Annotated[
        str | None, typer.Option(metavar="WHEN", help="Use colours: auto, always or never; also after a command.")
    ] = None,
    wide: Annotated[
        bool,
        typer.Option("--wide", help="Show tables and texts in full; also after a command."),
    ] = False,
) -> None:
    """Options before every command."""
    if color is not None:
        from architect_parallel.text.suggest import require_known

        require_known("--color", color, ("auto", "always", "never"))
    choose_display(color, wide=wide)


def _with_common_first(argv: list[str]) -> list[str]:
    """`argv` with `--color` and `--wide` before the command, wherever they are written before `--`."""
    end = argv.index("--") if "--" in argv else len(argv)
    first, rest, words = list[str](), list[str](), iter(argv[:end])
    for word in words:
        if word == "--wide" or word.startswith("--color="):
            first.append(word)
        elif word == "--color":
            first += [word, *([value] if (value := next(words, None)) is not None else [])]
        else:
            rest.append(word)
    return [*first, *rest, *argv[end:]]


def main() -> None:
    """Run the command line of this process and exit with its code."""
    open_closed_streams()
    _keep_own_rights()
    if not {"-h", "--help", "--version"} & set(sys.argv):
        _guard_this_process()
    with DetailsFile():
        code = run(sys.argv[1:])
    settle_streams()
    sys.exit(code)


def _guard_this_process() -> None:
    """Hide the keys in this process from agents, and become the parent of what outlives its supervisors."""
    from architect_parallel.supervision.child.tree import become_subreaper, hide_memory

    hide_memory()
    become_subreaper()


def _keep_own_rights() -> None:
    """Keep the umask from taking rights of the owner: the files that git and agents make would be of no use."""
    mask = os.umask(0o077)
    os.umask(mask & 0o077)


def _sole_command(argv: list[str]) -> str | None:
    """The command that `argv` names, if no other one is needed for it."""
    names = {name for commands in COMMANDS.values() for name, _ in commands}.difference(SHOW_OTHERS)
    return argv[0] if argv and argv[0] in names else None


def run(argv: list[str]) -> int:
    """Run one command line and return its exit code. An error becomes one message on stderr."""
    try:
        app = build_app(_sole_command(argv))
        outcome = app(args=_with_common_first(argv), standalone_mode=False)
        return outcome if isinstance(outcome, int) else ExitCode.SUCCESS
    except typer.Exit as stop:
        return stop.exit_code
    except ArchitectParallelError as error:
        return _fail(error.message, error.hint, error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        return ExitCode.INTERRUPTED
    except (ReaderGone, SystemExit):  # typer exits by itself when the reader of a help text has left
        return ExitCode.SUCCESS
    except Exception as error:
        if isinstance(error, ParserError):
            context = getattr(error, "ctx", None)
            if context is not None and type(error).__name__ == "NoArgsIsHelpError":  # typer does not export it
                answer(context.get_help())
                return ExitCode.SUCCESS
            return _fail(error.format_message(), f"{context.command_path} --help" if context else None, ExitCode.USAGE)
        problem = _problem_of_the_machine(error)
        return _report_bug(error) if problem is None else _fail(problem.message, problem.hint, problem.exit_code)


MACHINE_ERRORS = {
    errno.ENOSPC: "df -h; make room",
    errno.EDQUOT: "quota; make room",
    errno.EMFILE: "ulimit -n 1024",
    errno.ENFILE: "close other programs",
    errno.EAGAIN: "ulimit -u; close other programs",
    errno.ENOMEM: "close other programs",
    errno.EACCES: "ls -ld",
    errno.EPERM: "ls -ld",
    errno.EROFS: "mount it for writing",
    errno.EIO: "dmesg",
    **dict.fromkeys((errno.EFBIG, errno.ELOOP, errno.ENAMETOOLONG, errno.ENOLCK, errno.ESTALE)),
}
"""Error number → what to type. These causes are outside this program. Any other error counts as a bug."""


def _problem_of_the_machine(error: BaseException | None) -> EnvironmentProblem | None:
    """The error or its cause as a problem of the machine. `None` means that it is a bug of this program."""
    if error is None:
        return None
    try:
        os.getcwd()
    except FileNotFoundError:
        return EnvironmentProblem("the current directory has been removed", hint="cd to your repository")
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and "start new thread" in str(error)):
        return EnvironmentProblem("out of memory or processes", hint="ulimit -a; close other programs")
    if isinstance(error, FileNotFoundError) and "temporary directory" in str(error):
        return EnvironmentProblem(f"{error.strerror}", hint="export TMPDIR=/a/writable/directory")
    if not isinstance(error, OSError) or error.errno not in MACHINE_ERRORS:
        return _problem_of_the_machine(error.__cause__)
    place, hint = error.filename, MACHINE_ERRORS[error.errno]
    path = os.fsdecode(place) if isinstance(place, str | bytes) else None
    if hint == "ls -ld":
        hint = path and f"ls -ld {shlex.quote(path)}"
    return EnvironmentProblem(f"{path}: {error.strerror}" if path else os.strerror(error.errno), hint=hint)


def _fail(message: str, hint: str | None, code: int) -> int:
    # Several faults of one file are several lines. Within a line any white space becomes one blank. The hint stays one
    # line: people copy it.
    surface = display(sys.stderr)
    faults = [line for part in message.split("\n") if (line := " ".join(part.split()))]
    first, *more = surface.wrap(f"architect: {faults[0] if faults else ''}", hanging="  ")
    more += [line for fault in faults[1:] for line in surface.wrap(fault, "  ", hanging="  ")]
    name, _, rest = first.partition(" ")
    lines = [f"{surface.paint(name, Style.BAD)} {rest}", *more, *([f"  try: {hint}"] if hint else [])]
    note("\n".join(lines))
    return int(code)


def _report_bug(error: Exception) -> int:
    import tempfile
    import traceback

    text = "".join(traceback.format_exception(error))
    try:
        with tempfile.NamedTemporaryFile("w", prefix="architect-bug-", suffix=".log", delete=False) as log:
            log.write(text)
        where = f"the details are in {log.name}"
    except OSError:
        where = f"the place is {' '.join(text.splitlines()[-3].split())}"
    return _fail(f"internal error: {type(error).__name__}: {error}", where, ExitCode.BUG)
