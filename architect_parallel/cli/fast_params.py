"""Commands that convert only those parameters that need it.

Typer (0.29) passes every value to pydantic, even text that stays text and options that are not given: 80 ms of imports
and schemas before any command begins. These classes of commands ask typer only for values that have to become
something else (numbers, paths). An empty word is refused before that.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from typer.core import TyperCommand, TyperGroup

from architect_parallel.errors import UsageError


class PlainCommand(TyperCommand):
    """A command whose absent and textual values pass as they are."""

    def get_params(self, ctx: Any) -> list[Any]:
        return [_spare_conversion(parameter) for parameter in super().get_params(ctx)]


class PlainGroup(TyperGroup):
    """The same for a group of commands. The help lists them below their headings."""

    def get_params(self, ctx: Any) -> list[Any]:
        return [_spare_conversion(parameter) for parameter in super().get_params(ctx)]

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        width = max(len(name) for name in self.commands)
        for heading, commands in self.by_heading().items():
            with formatter.section(heading):
                rows = [(name, command.get_short_help_str(formatter.width - 6 - width)) for name, command in commands]
                formatter.write_dl([(name.ljust(width), text) for name, text in rows])

    def by_heading(self) -> dict[str, list[tuple[str, Any]]]:
        """The commands below each heading, in their order."""
        headings: dict[str, list[tuple[str, Any]]] = {}
        for name, command in self.commands.items():
            heading = getattr(command, "rich_help_panel", None)
            headings.setdefault(heading if isinstance(heading, str) else "Commands", []).append((name, command))
        return headings


def shown_argument(argument: Any) -> str:
    """An argument as the help and the reference show it: its metavar, in brackets if it may be left out."""
    shown: str = argument.metavar or str(argument.name).upper()
    return shown if argument.required or shown.startswith("[") else f"[{shown}]"


def _spare_conversion(parameter: Any) -> Any:
    if parameter.param_type_name == "argument":
        # Typer would show `[[RUN] [N]...]...` with the type `<list[str]>`.
        parameter.get_usage_pieces = lambda ctx: [shown_argument(parameter)]
        parameter.get_help_record = lambda ctx: (shown_argument(parameter), parameter.help or "")
    # On the object, because typer chooses the classes of parameters itself.
    if "process_value" not in vars(parameter):
        parameter.process_value = functools.partial(_value, parameter, parameter.process_value)
    return parameter


def _require_not_blank(parameter: Any, value: Any) -> None:
    """Raise `UsageError` for an empty value. Mostly it is a variable of a script that is not set."""
    for word in value if isinstance(value, tuple | list) else (value,):
        if isinstance(word, str) and not word.strip():
            is_option = parameter.param_type_name == "option"
            name = max(parameter.opts, key=len) if is_option else parameter.metavar or parameter.name.upper()
            raise UsageError(f"{name} {word!r}: must not be empty")


def _value(parameter: Any, converted: Callable[[Any, Any], Any], context: Any, value: Any) -> Any:
    _require_not_blank(parameter, value)
    several = parameter.multiple or parameter.nargs == -1
    declared = getattr(getattr(parameter, "type_descriptor", None), "annotation", None)
    if value is None and not parameter.required:
        plain: Any = () if several else None
    elif declared is str and type(value) is str and not several:
        plain = value
    elif (
        declared == list[str] and value and isinstance(value, tuple | list) and all(type(word) is str for word in value)
    ):
        plain = list(value)
    else:
        return converted(context, value)
    return plain if parameter.callback is None else parameter.callback(context, parameter, plain)
