"""All backends by name: the built-in ones, and those the configuration describes.

Built-in backends are imported here and not before; an entry under a built-in name may say where its program is and
which variables it gets, nothing else.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from architect_parallel.backends.base import Backend
from architect_parallel.domain import BackendSettings, Settings
from architect_parallel.text.suggest import require_known

BUILT_IN = ("architect", "claude", "codex", "gemini", "opencode", "qwen", "copilot", "aider", "shell")
"""In the order in which they are shown."""
AGENT_CLIS = tuple(name for name in BUILT_IN if name not in ("architect", "shell"))
"""Programs of others, each of which knows `--version`."""


def load_backends(settings: Settings, environ: Mapping[str, str] | None = None) -> dict[str, Backend]:
    """Every backend by name, the built-in ones first. `environ`: the launcher's environment; `None`: this process'.

    Raises:
        UsageError: When an entry of the configuration does not describe a backend.
    """
    environ = os.environ if environ is None else environ
    backends = {name: _built_in(name, settings.backends.get(name), environ) for name in BUILT_IN}
    for name, described in settings.backends.items():
        if name not in backends:
            from architect_parallel.backends.command import command_backend

            backends[name] = command_backend(name, described, environ)
    return backends


def require_backend(backends: Mapping[str, Backend], name: str) -> Backend:
    """The backend called `name`.

    Raises:
        UsageError: When there is none; the nearest name is offered.
    """
    require_known("backend", name, backends, hint="`architect backends` lists them")
    return backends[name]


def _built_in(name: str, settings: BackendSettings | None, environ: Mapping[str, str]) -> Backend:
    match name:
        case "architect":
            from architect_parallel.backends.architect import ArchitectBackend

            return ArchitectBackend(settings=settings, environ=environ)
        case "claude":
            from architect_parallel.backends.claude import ClaudeBackend

            return ClaudeBackend(settings=settings, environ=environ)
        case "codex":
            from architect_parallel.backends.codex import CodexBackend

            return CodexBackend(settings=settings, environ=environ)
        case "gemini":
            from architect_parallel.backends.gemini import GeminiBackend

            return GeminiBackend(settings=settings, environ=environ)
        case "opencode":
            from architect_parallel.backends.opencode import OpencodeBackend

            return OpencodeBackend(settings=settings, environ=environ)
        case "qwen":
            from architect_parallel.backends.qwen import QwenBackend

            return QwenBackend(settings=settings, environ=environ)
        case "copilot":
            from architect_parallel.backends.copilot import CopilotBackend

            return CopilotBackend(settings=settings, environ=environ)
        case "aider":
            from architect_parallel.backends.aider import AiderBackend

            return AiderBackend(settings=settings, environ=environ)
        case _:
            from architect_parallel.backends.shell import ShellBackend

            return ShellBackend(settings=settings, environ=environ)
