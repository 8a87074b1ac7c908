"""Paths of configuration files and of the user's state."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from architect_parallel.errors import EnvironmentProblem

REPOSITORY_FILE = ".architect-parallel.yaml"
"""In the top directory of a checkout."""
USER_FILE = "config.yaml"
"""In the user's configuration directory."""


def home_dir() -> Path:
    """The user's home directory: `HOME`, else the entry of the user database.

    Raises:
        EnvironmentProblem: There is none.
    """
    home = os.path.expanduser("~")
    if not os.path.isabs(home):
        why = (
            f"HOME is {home!r}" if os.environ.get("HOME") else f"HOME is not set and user id {os.getuid()} has no name"
        )
        raise EnvironmentProblem(f"no home directory: {why}", hint="export HOME=/an/existing/directory")
    return Path(home)


def user_config_dir(environ: Mapping[str, str], home: Path) -> Path:
    """The user's configuration directory. A relative `XDG_CONFIG_HOME` is ignored, as its standard demands."""
    base = Path(environ.get("XDG_CONFIG_HOME", ""))
    return (base if base.is_absolute() else home / ".config") / "architect-parallel"


def user_state_dir(environ: Mapping[str, str], home: Path) -> Path:
    """The user's state directory. A relative `XDG_STATE_HOME` is ignored."""
    base = Path(environ.get("XDG_STATE_HOME", ""))
    return (base if base.is_absolute() else home / ".local" / "state") / "architect-parallel"


def session_dir(environ: Mapping[str, str], home: Path) -> Path:
    """The directory of the embedded agent's sessions: `ARCHITECT_SESSION_DIR`, else in the user's state."""
    named = environ.get("ARCHITECT_SESSION_DIR")
    return Path(named).absolute() if named else user_state_dir(environ, home) / "sessions"


def is_inside(directory: Path, checkout: Path | None) -> bool:
    """An existing directory is the checkout or lies below it, with links resolved."""
    return checkout is not None and Path(os.path.realpath(directory)).is_relative_to(checkout)
