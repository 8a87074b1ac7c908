"""Backend `opencode`: `opencode run --format json`.

Observed with 1.18.33. It has no final event: a run is complete when its last step ended with `stop` and the program
with 0. Refused requests (429, 500) are tried again for a minute and more without a word, so an idle timeout is the only
early end. A permission that it would have to ask for ends the run in the middle, with exit code 0. The prompt always
goes by stdin: words in argv would come out quoted. Each worker has a database of its own (sessions, messages). The
user's configuration and login are read where they are, because another data directory would reach the tools that the
agent starts. SIGTERM and SIGINT end it at once and without a word. It has no sandbox, and no step or budget limit.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from signal import Signals
from typing import Any

from architect_parallel.backends import reader_tools as read
from architect_parallel.backends.base import CANNOT_ASK, Availability, Capabilities, CommandLine, Request
from architect_parallel.backends.isolated_home import holds, home_of, link_all, own_home, write_private
from architect_parallel.backends.opencode_reader import OpencodeReader
from architect_parallel.backends.program import BuiltIn, locate, program_availability
from architect_parallel.domain import ApprovalMode, SandboxMode
from architect_parallel.errors import UsageError

_KEYS = (
    *("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GEMINI_API_KEY", "GOOGLE_GENERATIVE_AI_API_KEY", "GOOGLE_API_KEY"),
    *("OPENROUTER_API_KEY", "DEEPSEEK_API_KEY", "GROQ_API_KEY", "MISTRAL_API_KEY", "XAI_API_KEY", "AZURE_API_KEY"),
    *("OPENCODE_API_KEY", "OPENCODE_AUTH_CONTENT", "CEREBRAS_API_KEY", "TOGETHER_API_KEY", "DASHSCOPE_API_KEY"),
)
_ENVIRONMENT = (
    *_KEYS,
    *(
        "OPENCODE_CONFIG",
        "OPENCODE_CONFIG_CONTENT",
        "OPENCODE_CONFIG_DIR",
        "OPENCODE_EXPERIMENTAL*",
        "OPENCODE_MODELS_*",
    ),
    *("OPENAI_BASE_URL", "ANTHROPIC_BASE_URL", "AZURE_RESOURCE_NAME", "GOOGLE_CLOUD_PROJECT", "GOOGLE_VERTEX_*"),
)
_QUIET = {
    # Its list of models comes with the program; a fresher one is fetched on start unless the user says otherwise.
    "OPENCODE_DISABLE_MODELS_FETCH": "1",
    "OPENCODE_DISABLE_AUTOUPDATE": "1",
    "OPENCODE_DISABLE_LSP_DOWNLOAD": "1",
    "OPENCODE_DISABLE_TERMINAL_TITLE": "1",
}
_READING: Mapping[str, Any] = {
    "*": "deny",
    # Its own default for these files is to ask, which nobody here can answer.
    "read": {"*": "allow", "*.env": "deny", "*.env.*": "deny", "*.env.example": "allow"},
    **dict.fromkeys(("glob", "grep", "list"), "allow"),
}
"""All that a read-only agent of ours may do.

Rules for every agent would not suffice: what the user's settings allow one agent takes precedence, and tools of MCP
servers have any name (seen with 1.18.33).
"""
_DENIED_WRITES = {"edit": "deny", "bash": "deny", "external_directory": "deny"}


@dataclass(frozen=True, slots=True, kw_only=True)
class OpencodeBackend(BuiltIn):
    """opencode (`npm install -g opencode-ai`)."""

    name = "opencode"
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
        availability = program_availability(self.prefix, environ, install="npm install -g opencode-ai")
        data = Path(environ.get("XDG_DATA_HOME") or home_of(environ) / ".local" / "share") / "opencode"
        if not availability.ready or any(environ.get(name) for name in _KEYS) or holds(data / "auth.json", b'"'):
            return availability
        # A provider of the configuration may need no key at all (a local server).
        if environ.get("OPENCODE_CONFIG_CONTENT") or _configures_a_provider(environ):
            return availability
        return Availability(
            program=availability.program,
            missing="opencode has no login and no key",
            remedy="run `opencode auth login`, or set ANTHROPIC_API_KEY or another provider's key",
        )

    def command(self, request: Request) -> CommandLine:
        auto, permission, warnings = _permissions(request)
        reader = None
        if request.sandbox_mode is SandboxMode.READ_ONLY:
            # A name nobody can know: what the repository's settings allow an agent of this name would be merged in.
            reader = f"reader-{token_hex(8)}"
            warnings += _rewritten(request.worktree)
        # Without a title it would have a second model think of one, and tell nobody what that costs.
        argv = [
            *locate(self.prefix, self.environ),
            "run",
            "--format",
            "json",
            "--title",
            f"worker {request.worker_id}",
        ]
        argv += ["--auto"] if auto else []
        argv += ["--agent", reader] if reader is not None else []
        if request.model is not None:
            if "/" not in request.model:
                raise UsageError(
                    f"opencode needs its model as provider/model, not {request.model!r}",
                    hint=f"for example --models openai/{request.model}; `opencode models` lists them",
                )
            argv += ["-m", request.model]
        if request.session_id is not None:
            argv += ["-s", request.session_id]
        return CommandLine(
            argv=(*argv, *request.extra_argv),
            env={
                **{name: self.environ.get(name) or value for name, value in _QUIET.items()},
                "OPENCODE_DB": os.fspath(request.state_dir / "opencode.db"),
                "OPENCODE_CONFIG_CONTENT": json.dumps(self._config(request, permission, reader)),
                **(self._homes(request) if request.contained else {}),
            },
            stdin_file=request.prompt_file,
            polite_signal=Signals.SIGTERM,
            warnings=warnings,
        )

    def _homes(self, request: Request) -> dict[str, str]:
        """The directories of a contained worker, which are made at the first call: data, state, configuration."""
        user, place = home_of(self.environ), request.state_dir / "opencode"
        data, config = (
            Path(self.environ.get(f"XDG_{name}_HOME") or user / where)
            for name, where in (("DATA", ".local/share"), ("CONFIG", ".config"))
        )
        own_home(place / "data" / "opencode", data / "opencode", ("auth.json", "mcp-auth.json"))
        settings = [path.name for path in (config / "opencode").iterdir()] if (config / "opencode").is_dir() else []
        own_home(place / "config" / "opencode", config / "opencode", settings)
        link_all(place / "config", [config / "git"])  # its commands are git's, too
        return {f"XDG_{name.upper()}_HOME": os.fspath(place / name) for name in ("data", "config", "state")}

    def reader(self, request: Request) -> OpencodeReader:
        return OpencodeReader(model=request.model)

    def interactive(self, request: Request) -> CommandLine | None:
        if request.session_id is None:
            return None
        return self._session_command(self.command(request), "-s", request.session_id)

    def _config(self, request: Request, permission: Mapping[str, str], reader: str | None) -> dict[str, Any]:
        """The configuration that opencode merges over the user's configuration and over the user's own variable."""
        config: dict[str, Any] = dict(read.parse_object(self.environ.get("OPENCODE_CONFIG_CONTENT") or "{}") or {})
        # Its snapshots are a second copy of what git has; `share` could publish a session.
        config |= {"autoupdate": False, "share": "disabled", "snapshot": False}
        if permission:
            given = config.get("permission")
            config["permission"] = (dict(given) if isinstance(given, dict) else {}) | dict(permission)
        if reader is not None:
            given = config.get("agent")
            about = {"mode": "primary", "permission": _READING}
            config["agent"] = (dict(given) if isinstance(given, dict) else {}) | {reader: about}
        if request.system_prompt:
            place = write_private(request.state_dir / "opencode-instructions.md", request.system_prompt)
            given = config.get("instructions")
            config["instructions"] = [*(given if isinstance(given, list) else []), os.fspath(place)]
        return config


def _configures_a_provider(environ: Mapping[str, str]) -> bool:
    place = Path(environ.get("XDG_CONFIG_HOME") or home_of(environ) / ".config") / "opencode"
    named = environ.get("OPENCODE_CONFIG")
    files = [place / name for name in ("opencode.json", "opencode.jsonc", "config.json")]
    return any(holds(path, b'"provider"') for path in [*files, *([Path(named)] if named else [])])


def _rewritten(worktree: Path) -> tuple[str, ...]:
    """Warn about what the program itself changes in a repository when it starts. No option prevents it."""
    files = [f"{place}opencode.{kind}" for place in ("", ".opencode/") for kind in ("json", "jsonc")]
    rewritten = [name for name in files if (worktree / name).is_file() and not holds(worktree / name, b'"$schema"')]
    return tuple(
        f"opencode writes its $schema into the repository's {name}, though it may only read" for name in rewritten
    )


def _permissions(request: Request) -> tuple[bool, dict[str, str], tuple[str, ...]]:
    """Returns whether to approve what it asks for, its rules, and warnings."""
    match request.sandbox_mode:
        case SandboxMode.READ_ONLY:
            return False, _DENIED_WRITES, ()
        case SandboxMode.WORKSPACE:
            warning = "opencode has no sandbox: with sandbox_mode workspace it may edit files, but not run commands"
            return False, _DENIED_WRITES | {"edit": "allow"}, (warning,)
        case SandboxMode.DEFAULT | SandboxMode.FULL:
            pass
    match request.approval_mode:
        case ApprovalMode.NONE:
            return True, {}, ()
        case ApprovalMode.AUTO:
            return False, {"edit": "allow"}, ()
        case ApprovalMode.DEFAULT:
            return False, {}, ()
        case ApprovalMode.ALWAYS:
            warning = f"opencode {CANNOT_ASK}"
            return False, _DENIED_WRITES, (warning,)
