"""Backend `claude`: Claude Code, headless.

Observed with 2.1.197 and 2.1.329. The two differ in exit codes and in the order of JSON keys, so only parsed events
count. Money and success are in the `result` event: `subtype: "success"` comes with `is_error: true` after an HTTP
error. After SIGTERM there is no result at all, after SIGINT there is one with the cost: hence the polite signal.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from signal import Signals

from architect_parallel.backends.base import CANNOT_ASK, Availability, Capabilities, CommandLine, Request
from architect_parallel.backends.claude_reader import ClaudeReader
from architect_parallel.backends.isolated_home import home_of, own_home, write_private
from architect_parallel.backends.program import (
    BuiltIn,
    fits_argument,
    locate,
    plain_amount,
    program_availability,
    require_short,
)
from architect_parallel.domain import ApprovalMode, SandboxMode

_KEYS = ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN")
_CLOUDS = ("CLAUDE_CODE_USE_BEDROCK", "CLAUDE_CODE_USE_VERTEX", "CLAUDE_CODE_USE_FOUNDRY")

# No CLAUDE_*: a launcher that itself runs inside Claude Code must not hand its session's variables on.
_ENVIRONMENT = (
    *_KEYS,
    *_CLOUDS,
    *("ANTHROPIC_*", "CLAUDE_CONFIG_DIR", "CLAUDE_CODE_MAX_RETRIES", "CLAUDE_CODE_MAX_OUTPUT_TOKENS"),
    *("CLAUDE_CODE_EFFORT_LEVEL", "CLAUDE_CODE_SUBAGENT_MODEL", "CLAUDE_CODE_DISABLE_*", "CLAUDE_CODE_SHELL"),
    *("API_TIMEOUT_MS", "BASH_DEFAULT_TIMEOUT_MS", "BASH_MAX_TIMEOUT_MS", "MAX_THINKING_TOKENS", "MCP_TIMEOUT"),
)
_QUIET = {
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "DISABLE_AUTOUPDATER": "1",
    "DISABLE_TELEMETRY": "1",
    # Memory is keyed by the main repository, so workers of one run would write into each other's.
    "CLAUDE_CODE_DISABLE_AUTO_MEMORY": "1",
}

_LINKED = (
    *(".credentials.json", "CLAUDE.md", "agents", "commands", "skills", "plugins", "hooks", "output-styles"),
    *("rules", "keybindings.json"),
)
"""Entries of the user's configuration directory that are linked into that of a contained worker."""

_READING = "Read,Grep,Glob"
"""All tools of an agent that may only read.

`--permission-mode plan` does not serve (seen with 2.1.329). Commands that the user's own settings allow still run
there. A plan file is written to the user's home, and the model ends its turn with a tool call instead of an answer.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaudeBackend(BuiltIn):
    """Claude Code (`npm install -g @anthropic-ai/claude-code`)."""

    name = "claude"
    variables = _ENVIRONMENT
    secrets = (*_KEYS, "ANTHROPIC_CUSTOM_HEADERS")

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            sandbox_modes=frozenset({SandboxMode.DEFAULT, SandboxMode.READ_ONLY, SandboxMode.FULL}),
            max_steps=True,
            budget=True,
            cost=True,
            sessions=True,
        )

    def availability(self, environ: Mapping[str, str], *, model: str | None = None) -> Availability:
        availability = program_availability(self.prefix, environ, install="npm install -g @anthropic-ai/claude-code")
        if not availability.ready or any(environ.get(name) for name in (*_KEYS, *_CLOUDS)) or _logged_in(environ):
            return availability
        return Availability(
            program=availability.program,
            missing="claude has no login and no key",
            remedy="run `claude` once to log in, or set ANTHROPIC_API_KEY",
        )

    def command(self, request: Request) -> CommandLine:
        inline = fits_argument(request.prompt)
        mode, warnings = _permissions(request)
        argv = [*locate(self.prefix, self.environ), "-p", *([request.prompt] if inline else [])]
        # --verbose: without it -p refuses stream-json; partial messages: only they carry live output tokens.
        argv += ["--output-format", "stream-json", "--verbose", "--include-partial-messages", *mode]
        if request.model is not None:
            argv += ["--model", request.model]
        if request.system_prompt:
            argv += ["--append-system-prompt", require_short(request.system_prompt, "the system prompt", request)]
        if request.max_steps is not None:
            argv += ["--max-turns", str(request.max_steps)]
        if request.budget_usd is not None:
            argv += ["--max-budget-usd", plain_amount(request.budget_usd)]
        if request.session_id is not None:
            argv += ["--resume", request.session_id]
        return CommandLine(
            argv=(*argv, *request.extra_argv),
            env=_QUIET | ({"IS_SANDBOX": "1"} if os.geteuid() == 0 else {}) | self._home(request),
            stdin_file=None if inline else request.prompt_file,
            polite_signal=Signals.SIGINT,
            polite_wait_s=3.0,
            warnings=warnings,
        )

    def _home(self, request: Request) -> dict[str, str]:
        """The variable that names the home of a contained worker, which is made at the first call.

        It is a directory of its own because claude makes `.lock` and `.tmp` files beside `.claude.json`.
        """
        if not request.contained:
            return {}
        user_dir = _user_dir(self.environ)
        home = own_home(request.state_dir / "claude", user_dir, _LINKED)
        for users in (_account_file(self.environ), user_dir / "settings.json"):
            if users.is_file() and not (home / users.name).exists():
                write_private(home / users.name, users.read_text(encoding="utf-8", errors="replace"))
        return {"CLAUDE_CONFIG_DIR": os.fspath(home)}

    def reader(self, request: Request) -> ClaudeReader:
        return ClaudeReader(resumed=request.session_id is not None)

    def interactive(self, request: Request) -> CommandLine | None:
        if request.session_id is None:
            return None
        return self._session_command(self.command(request), "--resume", request.session_id)


def _permissions(request: Request) -> tuple[list[str], tuple[str, ...]]:
    match request.sandbox_mode:
        case SandboxMode.READ_ONLY:
            return ["--permission-mode", "default", "--tools", _READING, "--strict-mcp-config"], ()
        case SandboxMode.WORKSPACE:
            warning = "claude has no sandbox: with sandbox_mode workspace it may edit files, but not run commands"
            return ["--permission-mode", "acceptEdits"], (warning,)
        case SandboxMode.DEFAULT | SandboxMode.FULL:
            pass
    match request.approval_mode:
        case ApprovalMode.NONE:
            return ["--dangerously-skip-permissions"], ()
        case ApprovalMode.AUTO:
            return ["--permission-mode", "acceptEdits"], ()
        case ApprovalMode.DEFAULT:
            return ["--permission-mode", "default"], ()
        case ApprovalMode.ALWAYS:
            warning = f"claude {CANNOT_ASK}"
            return ["--permission-mode", "default"], (warning,)


def _user_dir(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("CLAUDE_CONFIG_DIR") or home_of(environ) / ".claude")


def _account_file(environ: Mapping[str, str]) -> Path:
    configured = environ.get("CLAUDE_CONFIG_DIR")
    return (Path(configured) if configured else home_of(environ)) / ".claude.json"


def _logged_in(environ: Mapping[str, str]) -> bool:
    directory = _user_dir(environ)
    if (directory / ".credentials.json").is_file():
        return True
    # On macOS the login is in the keychain; a key helper is named in the settings. Both leave these traces.
    return _mentions(_account_file(environ), b'"oauthAccount"') or _mentions(
        directory / "settings.json", b'"apiKeyHelper"'
    )


def _mentions(path: Path, word: bytes) -> bool:
    try:
        return word in path.read_bytes()
    except OSError:
        return False
