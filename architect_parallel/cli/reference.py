"""The commands with their arguments and options, read from the program: as Markdown, and as a manual page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from architect_parallel.cli.fast_params import shown_argument

RUN_AND_N = (
    "RUN is a run's id, the start of its id, at least four characters of its end, or `latest`; without it, the newest"
    " run. N is a worker's number, name or branch; a number of up to three digits in the place of RUN is a worker of"
    " the newest run."
)
COMMON = (
    "Every command takes `--color auto|always|never` and `--wide`, before or after its name. A terminal shows tables in"
    " its width, the most important columns first; `--wide` shows all columns and texts in full. A pipe gets one fixed"
    " form."
)
UNITS = "Durations are seconds or `30s`, `5m`, `1h`; sizes are bytes or `512MiB`, `2GiB`."
EXIT_CODES = (
    (0, "Every worker succeeded (or, with --allow-partial, at least one)."),
    (1, "Some worker did not succeed."),
    (2, "Something that you typed or wrote is wrong. Nothing was started."),
    (3, "The machine or the repository does not allow it."),
    (4, "There is nothing to do: no such run, nothing to merge or resume."),
    (5, "A merge conflict left something out. It is named."),
    (70, "A bug of this program. The message names the log."),
    (130, "Interrupted by Ctrl-C; 143 by SIGTERM. Nothing is left running, and everything is recorded."),
)
FILES = (
    ("~/.config/architect-parallel/config.yaml", "The user's configuration (`architect config schema`)."),
    (".architect-parallel.yaml", "The repository's configuration (`architect config trust`)."),
    (".git/architect", "Runs, logs and everything else that the program keeps."),
)


def leaves(root: Any) -> Iterator[tuple[str, Any]]:
    """Every command that has no commands of its own, with its words after `architect`, sorted."""
    for name, command in sorted(root.commands.items()):
        if hasattr(command, "commands"):
            yield from ((f"{name} {below}", leaf) for below, leaf in leaves(command))
        else:
            yield name, command


def as_markdown(root: Any) -> str:
    """The command reference `docs/cli.md`."""
    generated = "Generated from the program by `make docs`; do not edit."
    head = f"# Command reference\n\n{generated} {UNITS}\n{RUN_AND_N}\n\n{COMMON}\n"
    return "\n".join([head, *(_markdown_section(path, command) for path, command in leaves(root))])


def as_man(root: Any) -> str:
    """The manual page `architect.1`, for `man`."""
    lines = ['.TH ARCHITECT 1 "" "architect\\-parallel" "User Commands"', ".SH NAME"]
    lines += ["architect \\- run coding agents in parallel git worktrees", ".SH SYNOPSIS"]
    lines += [".B architect", "[OPTIONS] COMMAND [ARGS]...", ".br", ".B architect", '"TASK ..." [OPTIONS]']
    lines += [".SH DESCRIPTION", *_roff(root.help or ""), ".PP", *_roff(RUN_AND_N), ".PP", *_roff(UNITS)]
    for heading, commands in root.by_heading().items():
        lines.append(f".SH {heading.upper()}")
        for name, command in commands:
            named = (
                [(f"{name} {below}", leaf) for below, leaf in leaves(command)] if hasattr(command, "commands") else []
            )
            for path, leaf in named or [(name, command)]:
                lines += _man_section(path, leaf)
    lines.append(".SH EXIT STATUS")
    lines += [line for code, text in EXIT_CODES for line in (".TP", f".B {code}", *_roff(text))]
    lines.append(".SH FILES")
    lines += [line for path, text in FILES for line in (".TP", f".I {_escaped(path)}", *_roff(text))]
    return "\n".join([*lines, ".SH SEE ALSO", ".BR git (1),", ".BR git\\-worktree (1)", ""])


def _markdown_section(path: str, command: Any) -> str:
    arguments, options = _parameters(command)
    lines = [f"## `architect {path}`", "", "```", usage(path, command), "```", "", _text(command).strip(), ""]
    if arguments or options:
        lines += ["| | |", "|---|---|"]
        lines += [f"| `{shown_argument(argument)}` | {_cell(argument.help)} |" for argument in arguments]
        lines += [f"| {_markdown_names(option)} | {_cell(option.help)} |" for option in options]
        lines.append("")
    return "\n".join(lines)


def _man_section(path: str, command: Any) -> list[str]:
    arguments, options = _parameters(command)
    lines = [f".SS {_escaped(usage(path, command))}", *_roff(_text(command))]
    for argument in arguments:
        lines += [".TP", f".I {_escaped(shown_argument(argument))}", *_roff(argument.help or "")]
    for option in options:
        names = ", ".join(f"\\fB{_escaped(name)}\\fR" for name in (*option.opts, *option.secondary_opts))
        value = "" if option.is_flag else f" \\fI{_escaped(option.metavar or 'TEXT')}\\fR"
        lines += [".TP", f"{names}{value}", *_roff(option.help or "")]
    return lines


def usage(path: str, command: Any) -> str:
    """The command with its arguments: `architect path [RUN] N [OPTIONS]`."""
    arguments, options = _parameters(command)
    return " ".join([f"architect {path}", *map(shown_argument, arguments), *(["[OPTIONS]"] if options else [])])


def _parameters(command: Any) -> tuple[list[Any], list[Any]]:
    """Arguments and options, without --help and what is hidden."""
    shown = [parameter for parameter in command.params if not getattr(parameter, "hidden", False)]
    arguments = [parameter for parameter in shown if parameter.param_type_name == "argument"]
    return arguments, [item for item in shown if item.param_type_name == "option" and item.name != "help"]


def _text(command: Any) -> str:
    return "\n".join(line.strip() for line in (command.help or "").splitlines())


def _markdown_names(option: Any) -> str:
    names = ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))
    return names if option.is_flag else f"{names} `{option.metavar or 'TEXT'}`"


def _cell(text: str | None) -> str:
    return (text or "").replace("|", "\\|")


def _roff(text: str) -> list[str]:
    """Paragraphs of text as lines of roff, words in backquotes in bold."""
    paragraphs = [" ".join(part.split()) for part in re.split(r"\n\s*\n", text) if part.strip()]
    lines: list[str] = []
    for paragraph in paragraphs:
        escaped = re.sub(r"`([^`]*)`", r"\\fB\1\\fR", _escaped(paragraph))
        lines += [*([".PP"] if lines else []), escaped]
    return lines


def _escaped(text: str) -> str:
    r"""Text in which nothing is a command of roff.

    >>> _escaped("-n \\x"), _escaped(".architect")
    ('\\-n \\ex', '\\&.architect')
    """
    plain = text.replace("\\", "\\e").replace("-", "\\-").replace("…", "...")
    return f"\\&{plain}" if plain.startswith((".", "'")) else plain
