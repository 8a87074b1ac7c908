"""Backend `copilot`: GitHub Copilot CLI, `--output-format json`, with a GitHub login or a provider of the user's own.

Observed with 1.0.102 and a provider of the user, not with GitHub's. stdout has no tokens. They come from the file that
its OpenTelemetry exporter writes, one entry per model call, which the reader follows. Each worker has a
COPILOT_HOME of its own with the user's login and settings linked in. The program that it unpacks for itself (235 MB)
stays in the user's cache. After SIGTERM it still prints a result that claims success with exit code 0: an `abort`
event before it tells the truth. It reports no money, has no step or budget limit (its credits do not count an own
provider's), and its sandbox cannot be chosen for a single run.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from signal import Signals

from architect_parallel.backends.base import Availability, Capabilities, CommandLine, Request
from architect_parallel.backends.copilot_reader import CopilotReader
from architect_parallel.backends.isolated_home import holds, home_of, own_home, write_private
from architect_parallel.backends.program import BuiltIn, fits_argument, locate, program_availability
from architect_parallel.domain import ApprovalMode, SandboxMode

_KEYS = (
    *("COPILOT_PROVIDER_API_KEY", "COPILOT_PROVIDER_BEARER_TOKEN", "COPILOT_PROVIDER_HEADERS"),
    "COPILOT_GITHUB_TOKEN",
)
_PROVIDER = (
    *("COPILOT_PROVIDER_BASE_URL", "COPILOT_PROVIDER_TYPE", "COPILOT_PROVIDER_WIRE_API", "COPILOT_PROVIDER_TRANSPORT"),
    *("COPILOT_PROVIDER_AZURE_API_VERSION", "COPILOT_PROVIDER_MODEL_ID", "COPILOT_PROVIDER_WIRE_MODEL"),
    *("COPILOT_PROVIDER_MAX_PROMPT_TOKENS", "COPILOT_PROVIDER_MAX_OUTPUT_TOKENS", "COPILOT_PROVIDER_API_KEY_COMMAND"),
)
_ENVIRONMENT = (*_KEYS, *_PROVIDER, "COPILOT_MODEL", "COPILOT_OFFLINE", "COPILOT_GH_HOST", "GH_HOST")
_LINKED = (
    *("config.json", "settings.json", "mcp-config.json", "lsp-config.json", "permissions-config.json"),
    *("agents", "skills", "instructions", "hooks", "installed-plugins"),
)
"""Entries of the user's COPILOT_HOME that are linked into the worker's, in addition to copilot-instructions.md."""
_READING = ("view", "glob", "rg", "grep")
"""All tools of an agent that may only read (`rg` or `grep`, depending on the model).

Denying writes and commands is not enough: tools of the user's MCP servers ran all the same (seen with 1.0.102).
"""
_INSTRUCTIONS = "copilot-instructions.md"


@dataclass(frozen=True, slots=True, kw_only=True)
class CopilotBackend(BuiltIn):
    """GitHub Copilot CLI (`npm install -g @github/copilot`)."""

    name = "copilot"
    variables = _ENVIRONMENT
    secrets = _KEYS

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            sandbox_modes=frozenset({SandboxMode.DEFAULT, SandboxMode.READ_ONLY, SandboxMode.FULL}),
            cost=True,
            sessions=True,
            sessions_in_state=True,
        )

    def availability(self, environ: Mapping[str, str], *, model: str | None = None) -> Availability:
        availability = program_availability(self.prefix, environ, install="npm install -g @github/copilot")
        if not availability.ready or environ.get("COPILOT_GITHUB_TOKEN") or _logged_in(environ):
            return availability
        if environ.get("COPILOT_PROVIDER_BASE_URL"):
            if model or environ.get("COPILOT_MODEL") or environ.get("COPILOT_PROVIDER_MODEL_ID"):
                return availability
            missing, remedy = "copilot with a provider of your own wants a model", "name one, or set COPILOT_MODEL"
            return Availability(program=availability.program, missing=missing, remedy=remedy)
        return Availability(
            program=availability.program,
            missing="copilot has no login and no provider",
            remedy="run `copilot login`, or set COPILOT_GITHUB_TOKEN or COPILOT_PROVIDER_BASE_URL",
        )

    def command(self, request: Request) -> CommandLine:
        inline = fits_argument(request.prompt)
        mode, warnings = _permissions(request)
        argv = [*locate(self.prefix, self.environ), *(["-p", request.prompt] if inline else [])]
        argv += ["--output-format", "json", "--no-color", "--no-ask-user", "--no-auto-update", "--no-remote"]
        argv += ["--disable-client-telemetry", "--log-level", "error", *mode]
        if request.model is not None:
            argv += ["--model", request.model]
        if request.session_id is not None:
            argv += [f"--resume={request.session_id}"]
        return CommandLine(
            argv=(*argv, *request.extra_argv),
            env={
                "COPILOT_HOME": os.fspath(self._home(request)),
                "COPILOT_AUTO_UPDATE": "false",
                "COPILOT_OTEL_FILE_EXPORTER_PATH": os.fspath(_calls_file(request)),
            },
            stdin_file=None if inline else request.prompt_file,
            polite_signal=Signals.SIGTERM,
            warnings=warnings,
        )

    def reader(self, request: Request) -> CopilotReader:
        return CopilotReader(calls_file=_calls_file(request), model=request.model)

    def interactive(self, request: Request) -> CommandLine | None:
        if request.session_id is None:
            return None
        return self._session_command(self.command(request), f"--resume={request.session_id}")

    def _home(self, request: Request) -> Path:
        user_home = _user_home(self.environ)
        home = own_home(request.state_dir / "copilot", user_home, _LINKED)
        texts = []
        if (user_home / _INSTRUCTIONS).is_file():
            texts.append((user_home / _INSTRUCTIONS).read_text(encoding="utf-8", errors="replace"))
        if request.system_prompt:
            texts.append(request.system_prompt)
        if texts:
            write_private(home / _INSTRUCTIONS, "\n\n".join(texts))
        return home


def _calls_file(request: Request) -> Path:
    return request.state_dir / "copilot-calls.jsonl"


def _user_home(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("COPILOT_HOME") or home_of(environ) / ".copilot")


def _logged_in(environ: Mapping[str, str]) -> bool:
    # The token itself is in the keyring or here; who is logged in stands here in both cases.
    config = _user_home(environ) / "config.json"
    return any(holds(config, word) for word in (b"loggedInUsers", b"lastLoggedInUser", b"logged_in_users"))


def _permissions(request: Request) -> tuple[list[str], tuple[str, ...]]:
    edits, denied = ["--allow-tool=write"], ["--deny-tool=write", "--deny-tool=shell"]
    match request.sandbox_mode:
        case SandboxMode.READ_ONLY:
            return [*denied, f"--available-tools={','.join(_READING)}", "--disable-builtin-mcps"], ()
        case SandboxMode.WORKSPACE:
            warning = (
                "copilot's sandbox is not used: with sandbox_mode workspace it may edit files, but not run commands"
            )
            return [*edits, "--deny-tool=shell"], (warning,)
        case SandboxMode.DEFAULT | SandboxMode.FULL:
            pass
    match request.approval_mode:
        case ApprovalMode.NONE:
            return ["--allow-all"], ()
        case ApprovalMode.AUTO:
            return edits, ()
        case ApprovalMode.DEFAULT:
            return [], ()
        case ApprovalMode.ALWAYS:
            return denied, ("copilot cannot ask: with approval_mode always, edits and commands are denied",)
