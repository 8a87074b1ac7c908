"""The program of a backend: where it is, which variables it gets, how a prompt and a number are passed to it.

Reads files and starts nothing.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from architect_parallel.backends.base import Availability, CommandLine, Request
from architect_parallel.backends.reader_tools import parse_object, text
from architect_parallel.domain import BackendSettings
from architect_parallel.errors import UsageError

LONG_PROMPT_BYTES = 64 * 1024
"""A longer prompt is passed by stdin or file: Linux takes at most 128 KiB in one argument, and `ps` shows it to
everyone.
"""
LONGEST_ARGUMENT_BYTES = 128 * 1024 - 1
"""Linux's MAX_ARG_STRLEN without the closing NUL."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltIn:
    """A built-in backend. The configuration may name its program and further variables."""

    settings: BackendSettings | None = None
    environ: Mapping[str, str]
    """The launcher's environment."""

    name: ClassVar[str]
    program: ClassVar[str] = ""
    """The program to start without configuration. Empty means `name`."""
    variables: ClassVar[tuple[str, ...]] = ()
    """Variables of this backend, keys included."""
    secrets: ClassVar[tuple[str, ...]] = ()

    @property
    def environment(self) -> tuple[str, ...]:
        return (*self.variables, *(self.settings.env if self.settings else ()))

    @property
    def prefix(self) -> tuple[str, ...]:
        """The words that start its program."""
        return program_prefix(self.name, self.program or self.name, self.settings)

    def interactive(self, request: Request) -> CommandLine | None:
        return None

    def _session_command(self, command: CommandLine, *words: str) -> CommandLine:
        """The program with `words`, in the environment of `command`, at the user's terminal."""
        return CommandLine(argv=(*locate(self.prefix, self.environ), *words), env=command.env)


def fits_argument(prompt: str) -> bool:
    """Tell whether a prompt may be an argument: short, and not to be mistaken for an option."""
    return not prompt.startswith("-") and len(prompt.encode(errors="surrogateescape")) <= LONG_PROMPT_BYTES


def program_prefix(name: str, default: str, settings: BackendSettings | None) -> tuple[str, ...]:
    """The words that start a built-in backend's program: the configured ones, otherwise `default`.

    Raises:
        UsageError: The configuration has a template instead of plain words.
    """
    if settings is None or settings.command is None:
        return (default,)
    words = tuple(word for word in settings.command if isinstance(word, str))
    if len(words) != len(settings.command) or not words or not words[0]:
        raise UsageError(
            f"backends.{name}.command: a built-in backend takes the program to start and nothing else",
            hint=f'for example `command: ["/opt/{name}/bin/{name}"]`, or give your backend another name',
        )
    return words


def locate(prefix: Sequence[str], environ: Mapping[str, str]) -> tuple[str, ...]:
    """`prefix` with its program as an absolute path if PATH has it, otherwise unchanged.

    A relative path with a slash stays relative: it is looked up in the worktree, where the program starts.
    """
    program = shutil.which(prefix[0], path=_absolute_path_entries(environ)) if "/" not in prefix[0] else None
    return (program or prefix[0], *prefix[1:])


def program_availability(prefix: Sequence[str], environ: Mapping[str, str], *, install: str) -> Availability:
    """Tell whether the program exists and may be started. `install` is the remedy if it is missing."""
    program = locate(prefix, environ)[0]
    if not os.path.isabs(program):
        if "/" in program:
            return Availability(program=program)
        return Availability(program=None, missing=f"the program {program} is not on PATH", remedy=install)
    if not Path(program).is_file():
        return Availability(program=None, missing=f"there is no program {program}", remedy=install)
    if not os.access(program, os.X_OK):
        return Availability(program=None, missing=f"{program} is not executable", remedy=f"chmod +x {program}")
    return Availability(program=program)


def packaged_version(program: Path) -> str | None:
    """The version of the npm package that `program` belongs to. `None` means that it belongs to none."""
    try:
        for directory in program.resolve().parents[:4]:
            if (directory / "package.json").is_file():
                package = parse_object((directory / "package.json").read_bytes()) or {}
                return text(package, "version") or None
    except OSError:
        return None
    return None


def plain_amount(amount: float) -> str:
    """Format a number without an exponent and without trailing zeros."""
    return f"{amount:.10f}".rstrip("0").rstrip(".")


def require_short(text: str, what: str, request: Request) -> str:
    """Return `text`, which must fit in one argument.

    Raises:
        UsageError: It is too long for that.
    """
    if len(text.encode(errors="surrogateescape")) > LONGEST_ARGUMENT_BYTES:
        raise UsageError(f"{what} of worker {request.worker_id} is longer than 128 KiB", hint="shorten it")
    return text


def _absolute_path_entries(environ: Mapping[str, str]) -> str:
    """PATH without relative entries: in a worktree they would start whatever an agent put there."""
    entries = environ.get("PATH", os.defpath).split(os.pathsep)
    return os.pathsep.join(entry for entry in entries if os.path.isabs(entry))
