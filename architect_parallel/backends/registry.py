"""All backends by name: the built-in ones, and those from the configuration.

Built-in backends are imported only here. A configuration entry under a built-in name may only set its program and its
variables.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import import_module

from architect_parallel.backends.base import Backend
from architect_parallel.domain import BackendSettings, Settings
from architect_parallel.text.suggest import require_known

BUILT_IN = ("architect", "claude", "codex", "gemini", "opencode", "qwen", "copilot", "aider", "shell")
"""In the order in which they are shown."""
AGENT_CLIS = tuple(name for name in BUILT_IN if name not in ("architect", "shell"))
"""Programs of other projects, each of which knows `--version`."""


def load_backends(settings: Settings, environ: Mapping[str, str] | None = None) -> dict[str, Backend]:
    """Every backend by name, the built-in ones first.

    Args:
        environ: The launcher's environment. `None` means that of this process.

    Raises:
        UsageError: An entry of the configuration does not describe a backend.
    """
    environ = os.environ if environ is None else environ
    backends = {name: _built_in(name, settings.backends.get(name), environ) for name in BUILT_IN}
    for name, described in settings.backends.items():
        if name not in backends:
            from architect_parallel.backends.command import command_backend

            backends[name] = command_backend(name, described, environ)
    return backends


def require_backend(backends: Mapping[str, Backend], name: str) -> Backend:
    """Return the backend called `name`.

    Raises:
        UsageError: There is none. The message offers the nearest name.
    """
    require_known("backend", name, backends, hint="`architect backends` lists them")
    return backends[name]


def _built_in(name: str, settings: BackendSettings | None, environ: Mapping[str, str]) -> Backend:
    """Import one built-in backend: a run of one agent loads no other."""
    module = import_module(f"architect_parallel.backends.{name}")
    backend: Backend = getattr(module, f"{name.capitalize()}Backend")(settings=settings, environ=environ)
    return backend
