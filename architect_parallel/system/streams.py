"""The surface that a standard stream writes to, as the options of the command line and the terminal have it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import TextIO

from architect_parallel.text.display import Display


@dataclass(slots=True)
class _Choice:
    """The choice of this process's user."""

    color: str | None = None
    """`auto`, `always` or `never`. `None` means that the configuration decides."""
    is_wide: bool = False
    configured: Callable[[], str] = lambda: "auto"


_CHOICE = _Choice()


def choose_display(color: str | None, *, wide: bool, configured: Callable[[], str]) -> None:
    """Take the options of the command line for what is printed.

    Args:
        color: `auto`, `always` or `never`. `None` means that the environment and the configuration decide.
        configured: Returns the color of the configuration. It is asked for a terminal only.
    """
    _CHOICE.color, _CHOICE.is_wide, _CHOICE.configured = color, wide, configured


def display(stream: TextIO) -> Display:
    """The surface that a stream writes to.

    Only a terminal has a width. NO_COLOR and a terminal without colours are obeyed unless the user asks for colours.
    """
    on_terminal = stream.isatty()
    width = shutil.get_terminal_size().columns if on_terminal and not _CHOICE.is_wide else None
    return Display(width=width, color=_has_colors(on_terminal), wide=_CHOICE.is_wide)


def harmless(text: str) -> str:
    """The text without commands for the CI service that reads it. Agents' words are in most of what is printed."""
    if not os.environ.get("CI"):
        return text
    from architect_parallel.text.sanitize import without_ci_commands

    return without_ci_commands(text)


def _has_colors(on_terminal: bool) -> bool:
    if _CHOICE.color is None and on_terminal:
        _CHOICE.color = _CHOICE.configured()
    if _CHOICE.color in ("always", "never"):
        return _CHOICE.color == "always"
    return on_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM", "dumb") != "dumb"
