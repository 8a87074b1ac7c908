"""All backends by name: the built-in ones, and those from the configuration.

Built-in backends are imported only here. A configuration entry under a built-in name may only set its program and its
variables.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from architect_parallel.backends.base import Backend
from architect_parallel.domain import ACP, ACP_PREFIX, BackendSettings, Settings
from architect_parallel.text.suggest import require_known

BUILT_IN = ("architect", "claude", "codex", "gemini", "opencode", "qwen", "copilot", "aider", "acp", "shell")
"""In the order in which they are shown."""
AGENT_CLIS = tuple(name for name in BUILT_IN if name not in ("architect", ACP, "shell"))
"""Programs of other projects, each of which knows `--version`."""


class Backends(dict[str, Backend]):
    """Backends by name. A name `acp:COMMAND` is one of them, but not listed."""

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or (isinstance(name, str) and name.startswith(ACP_PREFIX))

    def __missing__(self, name: str) -> Backend:
        from architect_parallel.backends.acp import AcpBackend, command_words

        if not name.startswith(ACP_PREFIX):
            raise KeyError(name)
        command_words(name)
        plain = self[ACP]
        assert isinstance(plain, AcpBackend)
        return AcpBackend(settings=plain.settings, environ=plain.environ, name=name)

    def get(self, name: str, default: Any = None) -> Any:
        """The backend called `name`, else `default`."""
        if name not in self:
            return default
        return self[name]


def load_backends(settings: Settings, environ: Mapping[str, str] | None = None) -> dict[str, Backend]:
    """Every backend by name, the built-in ones first.

    Args:
        environ: The launcher's environment. `None` means that of this process.

    Raises:
        UsageError: An entry of the configuration does not describe a backend.
    """
    environ = os.environ if environ is None else environ
    backends = Backends({name: _built_in(name, settings.backends.get(name), environ) for name in BUILT_IN})
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
    if name not in backends:
        require_known("backend", name, backends, hint="`architect backends` lists them")
    return backends[name]


def _built_in(name: str, settings: BackendSettings | None, environ: Mapping[str, str]) -> Backend:
    """Import one built-in backend: a run of one agent loads no other."""
    module = import_module(f"architect_parallel.backends.{name}")
    backend: Backend = getattr(module, f"{name.capitalize()}Backend")(settings=settings, environ=environ)
    return backend
