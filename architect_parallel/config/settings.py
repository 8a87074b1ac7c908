"""Settings for commands that run something.

When no configuration file and no `ARCHITECT_*` variable exists, the built-in defaults are used without importing
pydantic or YAML, which is a third of the start-up time. A test holds these defaults equal to those of `loader.load`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

from architect_parallel.config.defaults import BUILT_IN_AGENTS, OTHER_VARIABLES, VARIABLE_PREFIX
from architect_parallel.config.paths import REPOSITORY_FILE, USER_FILE, user_config_dir
from architect_parallel.domain import AgentProfile, InterfaceSettings, Settings, WorktreeSettings
from architect_parallel.options import KEYS, RunOptions


def load_settings(root: Path | None, config_file: Path | None, environ: Mapping[str, str], home: Path) -> Settings:
    """The effective configuration.

    Args:
        root: The repository's root. `None` means outside any repository.
        config_file: The file named with `-c`, instead of the repository's. `None` means that none is named.
        environ: The environment of the process.
        home: The user's home directory.

    Raises:
        UsageError: Every fault in every layer, one on each line, with file, line and column.
    """
    files = [user_config_dir(environ, home) / USER_FILE]
    if config_file is not None:
        files.append(config_file)
    elif root is not None:
        files.append(root / REPOSITORY_FILE)
    variables = any(name.startswith(VARIABLE_PREFIX) and name not in OTHER_VARIABLES for name in environ)
    if config_file is None and not variables and all(map(_absent, files)):
        return default_settings()
    from architect_parallel.config.loader import load

    return load(root, config_file, environ, home).settings


def default_settings() -> Settings:
    """The settings without any file or variable."""
    return Settings(
        parallel=RunOptions(),
        agents={name: AgentProfile(name=name, **entry) for name, entry in BUILT_IN_AGENTS.items()},
        backends={},
        prices={},
        worktrees=WorktreeSettings(),
        origins=dict.fromkeys(_keys(), "default"),
        warnings=(),
    )


def _keys() -> list[str]:
    """Every key that has a default, under its name in the configuration file."""
    keys = ["backends", "prices", "providers", "on_finish"]
    keys += [f"parallel_runs.{name}" for name in KEYS]
    keys += [f"worktrees.{field.name}" for field in fields(WorktreeSettings)]
    keys += [f"ui.{field.name}" for field in fields(InterfaceSettings)]
    for name, entry in BUILT_IN_AGENTS.items():
        keys += [f"agents.{name}.{key}" for key in entry] or [f"agents.{name}"]
    return keys


def _absent(path: Path) -> bool:
    """The path certainly does not exist. A path that cannot be examined may exist."""
    try:
        os.lstat(path)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return False
