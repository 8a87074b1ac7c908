"""Backend `acp:COMMAND`: any agent that speaks the Agent Client Protocol on its stdin and stdout.

The supervised program is our client (`supervision.acp_client`). It starts the agent, so that both are contained and
ended together. `backends.acp.command` in the configuration names the command of plain `acp`.

The protocol says nothing of keys, homes and hosts. Where the command is the ACP mode of an agent that has a backend
here, those of that backend are used. Any other agent gets the keys of all providers.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from signal import Signals
from typing import TypeAlias

from architect_parallel.backends.acp_reader import AcpReader
from architect_parallel.backends.architect import ArchitectBackend
from architect_parallel.backends.base import Availability, Capabilities, CommandLine, Request
from architect_parallel.backends.claude import ClaudeBackend
from architect_parallel.backends.codex import CodexBackend
from architect_parallel.backends.copilot import CopilotBackend
from architect_parallel.backends.gemini import GeminiBackend
from architect_parallel.backends.isolated_home import write_private
from architect_parallel.backends.opencode import OpencodeBackend
from architect_parallel.backends.program import locate, program_availability, program_prefix
from architect_parallel.backends.qwen import QwenBackend
from architect_parallel.domain import ACP, ACP_PREFIX, ApprovalMode, BackendSettings, SandboxMode
from architect_parallel.errors import UsageError

EXAMPLE = '--backend "acp:gemini --acp"'
_CLIENT = (sys.executable, "-P", "-m", "architect_parallel.supervision.acp_client")
_Relative: TypeAlias = ClaudeBackend | CodexBackend | CopilotBackend | GeminiBackend | OpencodeBackend | QwenBackend
_RELATIVES: Mapping[str, type[_Relative]] = {
    "claude-agent-acp": ClaudeBackend,
    "claude-code-acp": ClaudeBackend,
    "codex-acp": CodexBackend,
    "copilot": CopilotBackend,
    "gemini": GeminiBackend,
    "opencode": OpencodeBackend,
    "qwen": QwenBackend,
}
"""The backend whose keys and home an agent uses, by the name of its program or npm package."""
_OWN_FILES = (GeminiBackend, QwenBackend)
"""Agents that cannot make a new file through a client: a missing file is an error to them (seen with gemini 0.61.0)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AcpBackend:
    """An ACP agent."""

    settings: BackendSettings | None = None
    environ: Mapping[str, str]
    name: str = ACP

    @property
    def capabilities(self) -> Capabilities:
        relative = self._relative
        return Capabilities(
            sandbox_modes=frozenset({SandboxMode.DEFAULT, SandboxMode.FULL}),
            cost=not isinstance(relative, CodexBackend),  # it tells neither tokens nor cost (seen with 0.16.0)
            sessions=True,
            sessions_in_state=relative is not None and relative.capabilities.sessions_in_state,
        )

    @property
    def environment(self) -> tuple[str, ...]:
        return (*self._keys.environment, *(self.settings.env if self.settings else ()))

    @property
    def secrets(self) -> tuple[str, ...]:
        return self._keys.secrets

    def availability(self, environ: Mapping[str, str], *, model: str | None = None) -> Availability:
        if not self._prefix:
            return Availability(program=None, missing="acp needs a command", remedy=EXAMPLE)
        availability = program_availability(self._prefix, environ, install=f"install {self._prefix[0]}")
        if availability.missing is None:
            return availability
        return Availability(
            program=availability.program, missing=f"{self.name}: {availability.missing}", remedy=availability.remedy
        )

    def command(self, request: Request) -> CommandLine:
        relative, options = self._relative, ["--approval", str(request.approval_mode)]
        if request.sandbox_mode is SandboxMode.READ_ONLY:
            options.append("--reading")
        if isinstance(relative, _OWN_FILES):
            options.append("--own-files")
        if request.model is not None:
            options.append(f"--model={request.model}")
        if request.session_id is not None:
            options.append(f"--session={request.session_id}")
        if request.system_prompt:
            place = write_private(request.state_dir / "acp-instructions.md", request.system_prompt)
            options.append(f"--instructions={place}")
        warnings: tuple[str, ...] = ()
        if request.approval_mode is ApprovalMode.ALWAYS:
            warnings = (f"{self.name} cannot ask: with approval_mode always only reading is allowed",)
        return CommandLine(
            argv=(*_CLIENT, *options, "--", *locate(self._prefix or ("acp",), self.environ), *request.extra_argv),
            env=relative.command(request).env if relative is not None else {},
            stdin_file=request.prompt_file,
            polite_signal=Signals.SIGTERM,
            polite_wait_s=3.0,
            warnings=warnings,
        )

    def reader(self, request: Request) -> AcpReader:
        return AcpReader(model=request.model)

    def interactive(self, request: Request) -> CommandLine | None:
        return None

    @property
    def _prefix(self) -> tuple[str, ...]:
        """The words that start the agent. Empty means that none are configured."""
        if self.name != ACP:
            return command_words(self.name)
        if self.settings is None or self.settings.command is None:
            return ()
        return program_prefix(self.name, "", self.settings)

    @property
    def _relative(self) -> _Relative | None:
        relative = relative_of(self._prefix)
        return None if relative is None else relative(environ=self.environ)

    @property
    def _keys(self) -> _Relative | ArchitectBackend:
        """The backend whose keys the agent gets."""
        return self._relative or ArchitectBackend(environ=self.environ)


def command_words(name: str) -> tuple[str, ...]:
    """The words of the command in a name `acp:COMMAND`, split as a shell does.

    Raises:
        UsageError: There is no command, or its quotes are not closed.
    """
    try:
        words = tuple(shlex.split(name.removeprefix(ACP_PREFIX)))
    except ValueError as error:
        raise UsageError(f"backend {name!r}: {str(error).lower()}", hint=EXAMPLE) from None
    if not words or not words[0]:
        raise UsageError(f"backend {name!r} has no command", hint=EXAMPLE)
    return words


def relative_of(words: tuple[str, ...]) -> type[_Relative] | None:
    """The backend of the agent that a command starts. `None` means an agent without one.

    >>> relative_of(("npx", "-y", "@zed-industries/codex-acp@0.16.0")) is CodexBackend, relative_of(("goose", "acp"))
    (True, None)
    """
    names = (os.fspath(Path(word).name).partition("@")[0] for word in words)
    return next((_RELATIVES[name] for name in names if name in _RELATIVES), None)


def relative_name(name: str) -> str:
    """The backend whose hosts the backend called `name` uses.

    >>> relative_name("acp:gemini --acp"), relative_name("acp:goose acp"), relative_name("claude")
    ('gemini', 'acp', 'claude')
    """
    if not name.startswith(ACP_PREFIX):
        return name
    relative = relative_of(command_words(name))
    return ACP if relative is None else relative.name
