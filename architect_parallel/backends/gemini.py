"""Backend `gemini`: Google's Gemini CLI, headless, `-o stream-json`.

Observed with 0.61.0. stdout has tokens only at the end. Live ones stand in the session's file, which the reader
follows. Each worker has a GEMINI_CLI_HOME of its own with the user's login linked in and a copy of the user's settings,
into which goes what has no option: a quiet run, the turn limit. (A file of system defaults would be neater. It is
refused unless all directories above it are root's.) Its launcher process is skipped: signalled alone it never ends, and
it costs 150 MB. After SIGTERM or SIGINT it exits with 0 and without its final event, which is what
tells a stopped run from a finished one. SIGTERM is as quick and as silent as SIGINT. It has no budget. Its only sandbox
is a container.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from signal import Signals
from typing import Any

from architect_parallel.backends.base import CANNOT_ASK, Availability, Capabilities, CommandLine, Request
from architect_parallel.backends.gemini_reader import GeminiReader
from architect_parallel.backends.isolated_home import holds, home_of, own_home, worker_settings, write_private
from architect_parallel.backends.program import BuiltIn, fits_argument, locate, program_availability
from architect_parallel.domain import ApprovalMode, SandboxMode

_KEYS = ("GEMINI_API_KEY", "GOOGLE_API_KEY")
_ENVIRONMENT = (
    *_KEYS,
    *("GEMINI_MODEL", "GOOGLE_GEMINI_BASE_URL", "GOOGLE_VERTEX_BASE_URL", "GOOGLE_GENAI_USE_VERTEXAI"),
    *("GOOGLE_GENAI_USE_GCA", "GOOGLE_CLOUD_PROJECT", "GOOGLE_CLOUD_PROJECT_ID", "GOOGLE_CLOUD_LOCATION"),
    *("GOOGLE_APPLICATION_CREDENTIALS", "GEMINI_SYSTEM_MD"),
)
_LINKED = (
    *("oauth_creds.json", "google_accounts.json", "gemini-credentials.json", "mcp-oauth-tokens.json"),
    *("installation_id", "trustedFolders.json", ".env", "extensions", "commands", "skills", "agents", "policies"),
)
"""Entries of the user's ~/.gemini that are linked into the worker's. GEMINI.md, with the system prompt, is added."""
_ATTEMPTS = 3
"""Attempts of one model request. With the default of 10 a refused worker waits for minutes, instead of in our queue."""

_READING = """\
[[rule]]
toolName = "*"
decision = "deny"
priority = 998

[[rule]]
toolName = ["read_file", "read_many_files", "list_directory", "glob", "grep_search"]
decision = "allow"
priority = 999
"""
"""A policy for an agent that may only read.

`--approval-mode plan` does not serve (seen with 0.61.0). It ran commands and tools of MCP servers that the user's own
settings or policies allow, and the model was told to write its plan to a file.
"""
NOTHING_ADDED = ("--allowed-mcp-server-names", "no-server-for-one-that-reads", "--extensions", "none")
"""Start no MCP server and load no extension (qwen has the same options). Without an option for none, a name that no
server has is allowed.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class GeminiBackend(BuiltIn):
    """Gemini CLI (`npm install -g @google/gemini-cli`)."""

    name = "gemini"
    variables = _ENVIRONMENT
    secrets = _KEYS

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            sandbox_modes=frozenset({SandboxMode.DEFAULT, SandboxMode.READ_ONLY, SandboxMode.FULL}),
            max_steps=True,
            cost=True,
            sessions=True,
            sessions_in_state=True,
        )

    def availability(self, environ: Mapping[str, str], *, model: str | None = None) -> Availability:
        availability = program_availability(self.prefix, environ, install="npm install -g @google/gemini-cli")
        if not availability.ready or any(environ.get(name) for name in (*_KEYS, "GOOGLE_GENAI_USE_VERTEXAI")):
            return availability
        home = _user_home(environ)
        logins = ("oauth_creds.json", "gemini-credentials.json")
        # Another way to log in is named in the settings; a key may stand in the home's .env.
        if any((home / name).is_file() for name in logins) or holds(home / "settings.json", b'"selectedType"'):
            return availability
        if holds(home / ".env", b"_API_KEY"):
            return availability
        return Availability(
            program=availability.program,
            missing="gemini has no login and no key",
            remedy="run `gemini` once to log in, or set GEMINI_API_KEY",
        )

    def command(self, request: Request) -> CommandLine:
        inline = fits_argument(request.prompt)
        mode, warnings = _approval(request)
        argv = [*locate(self.prefix, self.environ), *(["-p", request.prompt] if inline else [])]
        argv += ["-o", "stream-json", "--approval-mode", mode]
        if request.model is not None:
            argv += ["-m", request.model]
        if request.session_id is not None:
            argv += ["--resume", request.session_id]
        home = request.state_dir / "gemini"
        self._prepare_home(home, request)
        if request.sandbox_mode is SandboxMode.READ_ONLY:
            policy = os.fspath(write_private(request.state_dir / "gemini-reading.toml", _READING))
            # The first goes before all that the user allows, but counts for nothing where an administrator's policies
            # are. The second is left there, in place of the user's own policies.
            argv += ["--admin-policy", policy, "--policy", policy, *NOTHING_ADDED]
        return CommandLine(
            argv=(*argv, *request.extra_argv),
            env={
                "GEMINI_CLI_HOME": os.fspath(home),
                "GEMINI_CLI_TRUST_WORKSPACE": "true",
                "GEMINI_CLI_NO_RELAUNCH": "true",
            },
            stdin_file=None if inline else request.prompt_file,
            polite_signal=Signals.SIGTERM,
            warnings=warnings,
        )

    def reader(self, request: Request) -> GeminiReader:
        return GeminiReader(home=request.state_dir / "gemini" / ".gemini", model=request.model)

    def interactive(self, request: Request) -> CommandLine | None:
        if request.session_id is None:
            return None
        return self._session_command(self.command(request), "--resume", request.session_id)

    def _prepare_home(self, home: Path, request: Request) -> None:
        user_home = _user_home(self.environ)
        place = own_home(home / ".gemini", user_home, _LINKED)
        worker_settings(
            place / "settings.json", user_home / "settings.json", under=self._defaults(), over=_forced(request)
        )
        # GEMINI.md of the home is read into every conversation: the place for a text that adds to the system prompt.
        texts = []
        if (user_home / "GEMINI.md").is_file():
            texts.append((user_home / "GEMINI.md").read_text(encoding="utf-8", errors="replace"))
        if request.system_prompt:
            texts.append(request.system_prompt)
        if texts:
            write_private(place / "GEMINI.md", "\n\n".join(texts))

    def _defaults(self) -> dict[str, Any]:
        defaults: dict[str, Any] = {"general": {"maxAttempts": _ATTEMPTS}}
        # With a base URL and no chosen login it takes an auth type that headless runs refuse (exit code 41).
        if any(self.environ.get(name) for name in ("GOOGLE_GENAI_USE_VERTEXAI", "GOOGLE_API_KEY")):
            defaults["security"] = {"auth": {"selectedType": "vertex-ai"}}
        if self.environ.get("GEMINI_API_KEY"):
            defaults["security"] = {"auth": {"selectedType": "gemini-api-key"}}
        return defaults


def _forced(request: Request) -> dict[str, Any]:
    forced: dict[str, Any] = {
        "general": {"enableAutoUpdate": False, "enableAutoUpdateNotification": False},
        "privacy": {"usageStatisticsEnabled": False},
        "telemetry": {"enabled": False},
    }
    if request.max_steps is not None:
        forced["model"] = {"maxSessionTurns": request.max_steps}
    return forced


def _user_home(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("GEMINI_CLI_HOME") or home_of(environ)) / ".gemini"


def _approval(request: Request) -> tuple[str, tuple[str, ...]]:
    match request.sandbox_mode:
        case SandboxMode.READ_ONLY:
            return "default", ()
        case SandboxMode.WORKSPACE:
            warning = (
                "gemini has no sandbox without a container: with sandbox_mode workspace it edits, but runs nothing"
            )
            return "auto_edit", (warning,)
        case SandboxMode.DEFAULT | SandboxMode.FULL:
            pass
    match request.approval_mode:
        case ApprovalMode.NONE:
            return "yolo", ()
        case ApprovalMode.AUTO:
            return "auto_edit", ()
        case ApprovalMode.DEFAULT:
            return "default", ()
        case ApprovalMode.ALWAYS:
            return "default", (f"gemini {CANNOT_ASK}",)
