"""Backend `codex`: OpenAI's Codex CLI, `codex exec --json`.

Observed with 0.169.0. stdout has tokens only when a turn completes. Live ones stand in the session's rollout file,
which the reader follows. Each worker has a CODEX_HOME of its own, so that workers share neither sessions nor databases.
The user's login and configuration are linked into it, never copied: a refreshed login is written through the link.
codex reports no money, has no step or budget limit, and neither SIGTERM nor SIGINT makes it report. SIGTERM is quicker
and leaves no children.
"""

from __future__ import annotations

import contextlib
import json
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from signal import Signals
from typing import Any

from architect_parallel.backends.base import Availability, Capabilities, CommandLine, Request
from architect_parallel.backends.codex_reader import CodexReader
from architect_parallel.backends.isolated_home import holds, home_of, link_all, own_home
from architect_parallel.backends.key_routes import codex_provider
from architect_parallel.backends.program import (
    BuiltIn,
    fits_argument,
    locate,
    program_availability,
    require_short,
)
from architect_parallel.domain import ApprovalMode, SandboxMode

_KEYS = ("CODEX_API_KEY", "OPENAI_API_KEY")
_ENVIRONMENT = (*_KEYS, "OPENAI_BASE_URL", "OPENAI_ORGANIZATION", "OPENAI_PROJECT", "CODEX_CA_CERTIFICATE", "RUST_LOG")
_LINKED = ("auth.json", "config.toml", ".credentials.json", "AGENTS.md", "AGENTS.override.md", "rules", "prompts")
"""Entries of the user's CODEX_HOME that are linked into the worker's."""
_QUIET = (
    *("-c", "check_for_update_on_startup=false"),
    *("-c", "analytics.enabled=false"),
    # In a home of its own codex would fetch its plugins anew from github.com for every worker.
    *("-c", "features.plugins=false"),
)
_READ_ONLY = ["-s", "read-only"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CodexBackend(BuiltIn):
    """Codex CLI (`npm install -g @openai/codex`)."""

    name = "codex"
    variables = _ENVIRONMENT
    secrets = _KEYS

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(sandbox_modes=frozenset(SandboxMode), cost=True, sessions=True, sessions_in_state=True)

    def availability(self, environ: Mapping[str, str], *, model: str | None = None) -> Availability:
        availability = program_availability(self.prefix, environ, install="npm install -g @openai/codex")
        home = _user_home(environ)
        # A custom provider in config.toml names its own key variable; whether it is set is codex' to say.
        configured = holds(home / "config.toml", b"model_provider")
        if not availability.ready or any(environ.get(name) for name in _KEYS) or configured or _has_login(home):
            return availability
        return Availability(
            program=availability.program,
            missing="codex has no login and no key",
            remedy="run `codex login`, or set CODEX_API_KEY",
        )

    def command(self, request: Request) -> CommandLine:
        inline = fits_argument(request.prompt)
        home = self._home(request)
        mode, warnings = _sandbox(request)
        if mode == _READ_ONLY or request.sandbox_mode is SandboxMode.READ_ONLY:
            mode = [*mode, *_reading(home, request.worktree)]
        argv = [*locate(self.prefix, self.environ), "exec", "--json", "--skip-git-repo-check", *mode, *_QUIET]
        argv += _address(request, _user_home(self.environ))
        if request.model is not None:
            argv += ["-m", request.model]
        if request.system_prompt:
            prompt = require_short(request.system_prompt, "the system prompt", request)
            argv += ["-c", f"developer_instructions={_toml_string(prompt)}"]
        argv += request.extra_argv
        if request.session_id is not None:
            argv += ["resume", request.session_id]
        return CommandLine(
            argv=(*argv, request.prompt if inline else "-"),
            env={"CODEX_HOME": os.fspath(home)} | self._key(),
            stdin_file=None if inline else request.prompt_file,
            polite_signal=Signals.SIGTERM,
            polite_wait_s=2.0,
            warnings=warnings,
        )

    def reader(self, request: Request) -> CodexReader:
        return CodexReader(home=self._home(request), resumed=request.session_id, model=request.model)

    def interactive(self, request: Request) -> CommandLine | None:
        if request.session_id is None:
            return None
        return self._session_command(self.command(request), "resume", request.session_id)

    def _home(self, request: Request) -> Path:
        """Make the worker's CODEX_HOME and its links at the first call."""
        user_home = _user_home(self.environ)
        if _login_in_keyring(user_home):
            return user_home  # the keyring knows a login by its CODEX_HOME: under another one it is not found
        home = own_home(request.state_dir / "codex", user_home, _LINKED)
        (home / "skills").mkdir(mode=0o700, exist_ok=True)  # codex itself writes skills/.system
        with contextlib.suppress(OSError):
            link_all(
                home / "skills", (entry for entry in (user_home / "skills").iterdir() if not entry.name.startswith("."))
            )
        return home

    def _key(self) -> dict[str, str]:
        """The built-in provider takes only CODEX_API_KEY, but users set OPENAI_API_KEY. A login takes precedence over
        both.
        """
        key = self.environ.get("OPENAI_API_KEY")
        if not key or self.environ.get("CODEX_API_KEY") or _has_login(_user_home(self.environ)):
            return {}
        return {"CODEX_API_KEY": key}


def _user_home(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("CODEX_HOME") or home_of(environ) / ".codex")


def _address(request: Request, home: Path) -> list[str]:
    """Options that send requests to the key proxy. A session cannot change its provider, so only the address does."""
    url, chosen = next(iter(request.addresses.values()), None), codex_provider(home)
    if url is None:
        return []
    # codex takes a quote in a key for a part of the name.
    key = "openai_base_url" if chosen is None else f"model_providers.{chosen[0]}.base_url"
    return ["-c", f"{key}={_toml_string(url)}"]


def _has_login(home: Path) -> bool:
    return (home / "auth.json").is_file() or _login_in_keyring(home)


def _login_in_keyring(home: Path) -> bool:
    return not (home / "auth.json").is_file() and holds(home / "config.toml", b"cli_auth_credentials_store")


def _sandbox(request: Request) -> tuple[list[str], tuple[str, ...]]:
    no_commits = "codex cannot commit under its workspace-write sandbox: what it changes is committed for it"
    match request.sandbox_mode:
        case SandboxMode.READ_ONLY:
            # Under Landlock codex's own sandbox does not start: every command would fail. Ours is read-only too.
            return _READ_ONLY if request.nests else ["-s", "danger-full-access"], ()
        case SandboxMode.WORKSPACE:
            return ["-s", "workspace-write"], (no_commits,)
        case SandboxMode.FULL:
            return ["-s", "danger-full-access"], ()
        case SandboxMode.DEFAULT:
            pass
    match request.approval_mode:
        case ApprovalMode.NONE:
            return ["--dangerously-bypass-approvals-and-sandbox"], ()
        case ApprovalMode.AUTO:
            return ["-s", "workspace-write"], (no_commits,)
        case ApprovalMode.DEFAULT:
            return [], ()
        case ApprovalMode.ALWAYS:
            return _READ_ONLY, ("codex cannot ask: with approval_mode always, it may only read",)


def _reading(home: Path, directory: Path) -> list[str]:
    """Options against what the sandbox does not contain: MCP servers, and commands that a user's rules allow.

    Both were seen to write (0.169.0). No option covers all servers, so those of the user and of the repository are
    switched off by name. Without trust in the repository, its AGENTS.md would not be read.
    """
    places = dict.fromkeys(item for path in (directory, directory.resolve()) for item in (path, *path.parents))
    files = [home / "config.toml", *(place / ".codex" / "config.toml" for place in places)]
    off = {name: _switched_off(server) for path in files for name, server in _servers(path).items()}
    servers = ", ".join(f"{_toml_string(name)} = {{{server}}}" for name, server in off.items())
    return ["--ignore-rules", "-c", "features.apps=false", *(("-c", f"mcp_servers={{{servers}}}") if servers else ())]


def _servers(path: Path) -> dict[str, Any]:
    try:
        servers = tomllib.loads(path.read_text(encoding="utf-8")).get("mcp_servers")
    except (OSError, ValueError):  # codex refuses a file that it cannot read
        return {}
    return servers if isinstance(servers, dict) else {}


def _switched_off(server: Any) -> str:
    """An entry that switches a server off, with its address.

    A server without an address is an error if the file that names it is not read for want of trust.
    """
    known = server if isinstance(server, dict) else {}
    address = next((f"{key} = {_toml_string(str(known[key]))}, " for key in ("command", "url") if key in known), "")
    return f"{address}enabled = false"


def _toml_string(text: str) -> str:
    """A TOML basic string. JSON strings differ from it only for DEL and lone surrogates."""
    clean = text.replace("\x7f", "").encode(errors="replace").decode()
    return json.dumps(clean, ensure_ascii=False)
