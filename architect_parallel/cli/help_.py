"""`architect help [COMMAND]`: the help of a command, as `COMMAND --help` prints it, or the manual page."""

from __future__ import annotations

from typing import Annotated

import typer

from architect_parallel.cli.console import answer


def help_(
    context: typer.Context,
    words: Annotated[
        list[str] | None, typer.Argument(metavar="[COMMAND]...", help="A command, such as `merge` or `spec run`.")
    ] = None,
    man: Annotated[
        bool, typer.Option("--man", help="Print the manual page of all commands: architect help --man | man -l -")
    ] = False,
) -> None:
    """Show the help of a command."""
    from architect_parallel.text.suggest import require_known

    shown = context.find_root()
    if man:
        from architect_parallel.cli.reference import as_man

        answer(as_man(shown.command).rstrip("\n"))
        return
    for word in words or ():
        commands = getattr(shown.command, "commands", {})
        command = commands[require_known("command", word, commands, hint="architect --help")]
        shown = command.make_context(word, [], parent=shown, resilient_parsing=True)
    answer(shown.get_help())
