"""Backend `qwen`: Qwen Code, headless, `-o stream-json`.

Observed with 0.15.10 and 0.24.4. The older one ends with exit code 0, `subtype: "success"` and `is_error: false` when
the provider refused: the words `[API Error: …` of a reply without tokens are all there is. Refused requests are tried
again for two minutes and more without a word, so an idle timeout is the only early end. At the turn limit there is exit
code 53 and no final event. Its launcher process is skipped. A signal ends it without a final event, and with
exit code 0 or by the signal, so the result is what counts. Each worker has a QWEN_HOME of its own with the user's login
linked in and a copy of the user's settings, into which goes what has no option.
It has no budget, reports no money, and its only sandbox is a container.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from signal import Signals

from architect_parallel.backends.base import CANNOT_ASK, Availability, Capabilities, CommandLine, Request
from architect_parallel.backends.gemini import NOTHING_ADDED
from architect_parallel.backends.isolated_home import holds, home_of, own_home, worker_settings
from architect_parallel.backends.program import (
    BuiltIn,
    fits_argument,
    locate,
    program_availability,
    require_short,
)
from architect_parallel.backends.qwen_reader import QwenReader
from architect_parallel.domain import ApprovalMode, SandboxMode

_AUTH_TYPES = {"OPENAI_API_KEY": "openai", "ANTHROPIC_API_KEY": "anthropic", "GEMINI_API_KEY": "gemini"}
"""The login that a key stands for if the user's settings choose none. The first one that is set counts."""
_KEYS = (
    *_AUTH_TYPES,
    *("GOOGLE_API_KEY", "DASHSCOPE_API_KEY", "BAILIAN_CODING_PLAN_API_KEY", "OPENROUTER_API_KEY", "DEEPSEEK_API_KEY"),
)
_ENVIRONMENT = (
    *_KEYS,
    *("OPENAI_BASE_URL", "OPENAI_MODEL", "ANTHROPIC_BASE_URL", "ANTHROPIC_MODEL", "GEMINI_MODEL", "QWEN_MODEL"),
    *("GOOGLE_GEMINI_BASE_URL", "GOOGLE_GENAI_USE_VERTEXAI", "GOOGLE_CLOUD_PROJECT", "GOOGLE_CLOUD_LOCATION"),
    *("GOOGLE_APPLICATION_CREDENTIALS", "QWEN_CODE_API_TIMEOUT_MS", "QWEN_CODE_MAX_OUTPUT_TOKENS"),
)
_LINKED = (
    *("oauth_creds.json", "mcp-oauth-tokens.json", "installation_id", "trustedFolders.json", ".env"),
    *("QWEN.md", "AGENTS.md", "extensions", "commands", "skills", "agents", "output-language.md"),
)
_QUIET = {
    "general": {"enableAutoUpdate": False},
    "privacy": {"usageStatisticsEnabled": False},
    "telemetry": {"enabled": False},
    # Kept for the whole project, so workers would share it; and each turn costs a second, hidden request.
    "memory": {"enableManagedAutoMemory": False, "enableManagedAutoDream": False},
}

_NO_TOOLS_FOUND = {"tools": {"discoveryCommand": "", "callCommand": ""}}
"""Tools that a command of the user names may have any name."""
_READING = ("read_file", "list_directory", "glob", "grep_search")
_BESIDE = (
    *("edit", "write_file", "run_shell_command", "monitor", "save_memory", "web_fetch", "todo_write", "lsp"),
    *("cron_create", "cron_list", "cron_delete", "agent", "task", "skill", "send_message", "task_stop", "tool_search"),
    *("exit_plan_mode", "ask_user_question"),
)
"""All other tools by name: the allow-list holds only for some tools."""
_READING_OPTIONS = (
    *(word for tool in _READING for word in ("--core-tools", tool)),
    *(word for tool in _BESIDE for word in ("--exclude-tools", tool)),
    *NOTHING_ADDED,
)
"""Arguments of an agent that may only read.

Not `--approval-mode plan`: files were written there, and commands and tools of MCP servers ran that the user's own
settings allow (seen with 0.15.10).
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class QwenBackend(BuiltIn):
    """Qwen Code (`npm install -g @qwen-code/qwen-code`)."""

    name = "qwen"
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
        availability = program_availability(self.prefix, environ, install="npm install -g @qwen-code/qwen-code")
        home = _user_home(environ)
        logged_in = (home / "oauth_creds.json").is_file() or holds(home / ".env", b"_API_KEY")
        if not availability.ready or logged_in or any(environ.get(name) for name in _KEYS):
            return availability
        if holds(home / "settings.json", b'"selectedType"') or holds(home / "settings.json", b'"apiKey"'):
            return availability
        return Availability(
            program=availability.program,
            missing="qwen has no login and no key",
            remedy="run `qwen` once to log in, or set OPENAI_API_KEY (and OPENAI_BASE_URL)",
        )

    def command(self, request: Request) -> CommandLine:
        inline = fits_argument(request.prompt)
        mode, warnings = _approval(request)
        argv = [*locate(self.prefix, self.environ), *(["-p", request.prompt] if inline else [])]
        argv += ["-o", "stream-json", "--approval-mode", mode, *self._auth_type()]
        reads = request.sandbox_mode is SandboxMode.READ_ONLY
        if reads:
            argv += _READING_OPTIONS
            warnings += _rewritten(request.worktree)
        if request.model is not None:
            argv += ["-m", request.model]
        if request.system_prompt:
            argv += ["--append-system-prompt", require_short(request.system_prompt, "the system prompt", request)]
        if request.max_steps is not None:
            argv += ["--max-session-turns", str(request.max_steps)]
        if request.session_id is not None:
            argv += ["--resume", request.session_id]
        user_home = _user_home(self.environ)
        home = own_home(request.state_dir / "qwen", user_home, _LINKED)
        worker_settings(
            home / "settings.json",
            user_home / "settings.json",
            under={},
            over=_QUIET | (_NO_TOOLS_FOUND if reads else {}),
        )
        return CommandLine(
            argv=(*argv, *request.extra_argv),
            env={
                "QWEN_HOME": os.fspath(home),
                "QWEN_RUNTIME_DIR": os.fspath(home),
                "QWEN_CODE_NO_RELAUNCH": "true",
                "QWEN_CODE_SUPPRESS_YOLO_WARNING": "1",
            },
            stdin_file=None if inline else request.prompt_file,
            polite_signal=Signals.SIGTERM,
            warnings=warnings,
        )

    def reader(self, request: Request) -> QwenReader:
        return QwenReader(resumed=request.session_id is not None)

    def interactive(self, request: Request) -> CommandLine | None:
        if request.session_id is None:
            return None
        return self._session_command(self.command(request), "--resume", request.session_id)

    def _auth_type(self) -> tuple[str, ...]:
        """A headless run needs a chosen login. A choice in the user's settings takes precedence."""
        if holds(_user_home(self.environ) / "settings.json", b'"selectedType"'):
            return ()
        chosen = next((kind for key, kind in _AUTH_TYPES.items() if self.environ.get(key)), None)
        return ("--auth-type", chosen) if chosen is not None else ()


def _user_home(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("QWEN_HOME") or home_of(environ) / ".qwen")


def _rewritten(worktree: Path) -> tuple[str, ...]:
    """Warn about what the program itself changes in a repository when it starts. No option prevents it."""
    settings = worktree / ".qwen" / "settings.json"
    if not settings.is_file() or holds(settings, b'"$version"'):
        return ()
    return ("qwen brings the repository's .qwen/settings.json into its newest form, though it may only read",)


def _approval(request: Request) -> tuple[str, tuple[str, ...]]:
    match request.sandbox_mode:
        case SandboxMode.READ_ONLY:
            return "default", ()
        case SandboxMode.WORKSPACE:
            warning = "qwen has no sandbox without a container: with sandbox_mode workspace it edits, but runs nothing"
            return "auto-edit", (warning,)
        case SandboxMode.DEFAULT | SandboxMode.FULL:
            pass
    match request.approval_mode:
        case ApprovalMode.NONE:
            return "yolo", ()
        case ApprovalMode.AUTO:
            return "auto-edit", ()
        case ApprovalMode.DEFAULT:
            return "default", ()
        case ApprovalMode.ALWAYS:
            return "default", (f"qwen {CANNOT_ASK}",)
