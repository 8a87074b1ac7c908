"""Ask on a terminal which agent is the default, and remember the answer in the user's configuration."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import TypeVar

from architect_parallel.cli.console import note
from architect_parallel.errors import NoBackendChosen

T = TypeVar("T")


def with_default_backend(begin: Callable[[], T]) -> T:
    """Call `begin`. If it needs a choice between several agents and a person is there, ask and call it again.

    Raises:
        NoBackendChosen: Nobody can be asked, or the answer is none of the agents.
    """
    try:
        return begin()
    except NoBackendChosen as problem:
        if not problem.ready or not can_ask():
            raise
        name = ask("Several agents are ready here. Which one is the default?", problem.ready)
        if name is None:
            raise
        remember(name)
    return begin()


def can_ask() -> bool:
    """A person is at the terminal."""
    return sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty() and not os.environ.get("CI")


def ask(question: str, choices: tuple[str, ...], *, default: int = 0) -> str | None:
    """The chosen one of `choices`, by number or text. `None` means that there was no valid answer.

    Args:
        default: Index of the choice that an empty answer means.
    """
    note(question)
    for number, choice in enumerate(choices, 1):
        note(f"  {number}  {choice}")
    answered = prompt(f"[{default + 1}] ")
    if answered is None:
        return None
    if not answered:
        return choices[default]
    if answered.isdecimal() and 1 <= int(answered) <= len(choices):
        return choices[int(answered) - 1]
    return answered if answered in choices else None


def prompt(text: str) -> str | None:
    """The line that the user types. `None` means the end of input."""
    sys.stderr.write(text)
    sys.stderr.flush()
    line = sys.stdin.readline()
    return line.strip() if line else None


def remember(backend: str) -> None:
    """Make `backend` the default in the user's configuration."""
    from architect_parallel.config.paths import USER_FILE, home_dir, user_config_dir
    from architect_parallel.config.writing import write_values

    path = user_config_dir(os.environ, home_dir()) / USER_FILE
    write_values(path, {("parallel_runs", "backend"): backend})
    note(f"{backend} is the default from now on: parallel_runs.backend in {path}")
