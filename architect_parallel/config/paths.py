"""Where configuration files are looked for, and where what outlasts a command is kept for the user."""

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
    """The user's home directory: what `HOME` names, else what the user database knows.

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
    """The user's own configuration directory; a relative `XDG_CONFIG_HOME` counts as none, as its standard says."""
    base = Path(environ.get("XDG_CONFIG_HOME", ""))
    return (base if base.is_absolute() else home / ".config") / "architect-parallel"


def user_state_dir(environ: Mapping[str, str], home: Path) -> Path:
    """Where state of the user's own is kept; a relative `XDG_STATE_HOME` counts as none."""
    base = Path(environ.get("XDG_STATE_HOME", ""))
    return (base if base.is_absolute() else home / ".local" / "state") / "architect-parallel"


def session_dir(environ: Mapping[str, str], home: Path) -> Path:
    """Where the embedded agent keeps its sessions: what `ARCHITECT_SESSION_DIR` names, else in the user's state."""
    named = environ.get("ARCHITECT_SESSION_DIR")
    return Path(named).absolute() if named else user_state_dir(environ, home) / "sessions"


def is_inside(directory: Path, checkout: Path | None) -> bool:
    """Whether an existing directory is the checkout or lies below it, links resolved."""
    return checkout is not None and Path(os.path.realpath(directory)).is_relative_to(checkout)
