"""Where configuration files are looked for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

REPOSITORY_FILE = ".architect-parallel.yaml"
"""In the top directory of a checkout."""
USER_FILE = "config.yaml"
"""In the user's configuration directory."""


def user_config_dir(environ: Mapping[str, str], home: Path) -> Path:
    """The user's own configuration directory; a relative `XDG_CONFIG_HOME` counts as none, as its standard says."""
    base = Path(environ.get("XDG_CONFIG_HOME", ""))
    return (base if base.is_absolute() else home / ".config") / "architect-parallel"
