"""The installed version of an agent CLI, for `architect backends` only.

A package names its version in a file. Only a program without one is started, with `--version`, under supervision and
with a short time limit. Nothing here raises: an unknown version is `None`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

from architect_parallel.backends.base import Availability, Backend
from architect_parallel.backends.environment import filtered_environment
from architect_parallel.backends.program import packaged_version
from architect_parallel.backends.registry import AGENT_CLIS
from architect_parallel.domain import BackendSettings
from architect_parallel.supervision.consume import run_command

LIMIT_S = 10.0
_VERSION = re.compile(r"\b(\d+\.\d+(?:\.\d+)?(?:[-+][0-9A-Za-z.-]+)?)\b")


def agent_version(
    backend: Backend, availability: Availability, settings: BackendSettings | None, environ: Mapping[str, str]
) -> str | None:
    """The version of `backend`'s program. `None` means unknown: not reported, not installed, or no known
    `--version`.
    """
    configured = settings.command if settings is not None else None
    if backend.name == "architect" and configured is None:
        return metadata.version("architect-parallel")
    if backend.name not in AGENT_CLIS or availability.program is None:
        return None
    words = tuple(word for word in (configured or ()) if isinstance(word, str))
    if len(words) <= 1:
        packaged = packaged_version(Path(availability.program))
        if packaged is not None:
            return packaged
    outcome = run_command(
        (availability.program, *words[1:], "--version"),
        cwd=Path("/"),
        env=filtered_environment(backend, environ),
        timeout_s=LIMIT_S,
    )
    version = _VERSION.search(outcome.output)
    return version[1] if outcome.exit_code == 0 and version is not None else None
