"""Backend `codex`: OpenAI's Codex CLI, `codex exec --json`.

Observed with 0.169.0. stdout has tokens only when a turn completes; live ones stand in the session's rollout file,
which the reader follows. Each worker has a CODEX_HOME of its own, so that workers share neither sessions nor databases;
the user's login and configuration are linked into it, never copied: a refreshed login is written through the link.
codex reports no money, has no step or budget limit, and neither SIGTERM nor SIGINT makes it report; SIGTERM is quicker
and leaves no children.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from signal import Signals

from architect_parallel.backends import json_output as read
from architect_parallel.backends.base import (
    Availability,
    Capabilities,
    CommandLine,
    Ending,
    Fact,
    Request,
    Session,
    Step,
    Text,
    Tokens,
)
from architect_parallel.backends.codex_rollout import Rollout, thread_usage, token_usage
from architect_parallel.backends.json_output import Json
from architect_parallel.backends.program import (
    fits_argument,
    locate,
    program_availability,
    program_prefix,
    require_short,
)
from architect_parallel.domain import ApprovalMode, BackendSettings, Outcome, SandboxMode, Usage
from architect_parallel.planning.plain_text import one_line, plain_text

_KEYS = ("CODEX_API_KEY", "OPENAI_API_KEY")
_ENVIRONMENT = (*_KEYS, "OPENAI_BASE_URL", "OPENAI_ORGANIZATION", "OPENAI_PROJECT", "CODEX_CA_CERTIFICATE", "RUST_LOG")
_LINKED = ("auth.json", "config.toml", ".credentials.json", "AGENTS.md", "AGENTS.override.md", "rules", "prompts")
"""What of the user's CODEX_HOME a worker's own one has too."""
_QUIET = (
    *("-c", "check_for_update_on_startup=false"),
    *("-c", "analytics.enabled=false"),
    # In a home of its own codex would fetch its plugins anew from github.com for every worker.
    *("-c", "features.plugins=false"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CodexBackend:
    """Codex CLI (`npm install -g @openai/codex`)."""

    settings: BackendSettings | None = None
    environ: Mapping[str, str]

    @property
    def name(self) -> str:
        return "codex"

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(sandbox_modes=frozenset(SandboxMode), cost=True, sessions=True)

    @property
    def environment(self) -> tuple[str, ...]:
        return (*_ENVIRONMENT, *(self.settings.env if self.settings else ()))

    @property
    def secrets(self) -> tuple[str, ...]:
        return _KEYS

    def availability(self, environ: Mapping[str, str], *, model: str | None = None) -> Availability:
        found = program_availability(self._prefix, environ, install="npm install -g @openai/codex")
        home = _user_home(environ)
        # A custom provider in config.toml names its own key variable; whether it is set is codex' to say.
        configured = _holds(home / "config.toml", b"model_provider")
        if not found.ready or any(environ.get(name) for name in _KEYS) or configured or _has_login(home):
            return found
        return Availability(
            program=found.program,
            missing="codex has no login and no key",
            remedy="run `codex login`, or set CODEX_API_KEY",
        )

    def command(self, request: Request) -> CommandLine:
        inline = fits_argument(request.prompt)
        mode, warnings = _sandbox(request)
        argv = [*locate(self._prefix, self.environ), "exec", "--json", "--skip-git-repo-check", *mode, *_QUIET]
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
            env={"CODEX_HOME": os.fspath(self._home(request))} | self._key(),
            stdin_file=None if inline else request.prompt_file,
            polite_signal=Signals.SIGTERM,
            polite_wait_s=2.0,
            warnings=warnings,
        )

    def reader(self, request: Request) -> CodexReader:
        return CodexReader(home=self._home(request), resumed=request.session_id, model=request.model)

    @property
    def _prefix(self) -> tuple[str, ...]:
        return program_prefix(self.name, "codex", self.settings)

    def _home(self, request: Request) -> Path:
        """The worker's CODEX_HOME, made and linked up at the first call."""
        user_home = _user_home(self.environ)
        if _login_in_keyring(user_home):
            return user_home  # the keyring knows a login by its CODEX_HOME: under another one it is not found
        home = request.state_dir / "codex"
        home.mkdir(mode=0o700, exist_ok=True)
        _link(home, (user_home / name for name in _LINKED))
        (home / "skills").mkdir(mode=0o700, exist_ok=True)  # codex itself writes skills/.system
        with contextlib.suppress(OSError):
            _link(home / "skills", (each for each in (user_home / "skills").iterdir() if not each.name.startswith(".")))
        return home

    def _key(self) -> dict[str, str]:
        """The built-in provider takes CODEX_API_KEY only; users set OPENAI_API_KEY. A login goes before both."""
        key = self.environ.get("OPENAI_API_KEY")
        if not key or self.environ.get("CODEX_API_KEY") or _has_login(_user_home(self.environ)):
            return {}
        return {"CODEX_API_KEY": key}


def _user_home(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("CODEX_HOME") or Path(environ.get("HOME") or "/nonexistent") / ".codex")


def _has_login(home: Path) -> bool:
    return (home / "auth.json").is_file() or _login_in_keyring(home)


def _login_in_keyring(home: Path) -> bool:
    return not (home / "auth.json").is_file() and _holds(home / "config.toml", b"cli_auth_credentials_store")


def _holds(path: Path, word: bytes) -> bool:
    try:
        return word in path.read_bytes()
    except OSError:
        return False


def _link(directory: Path, targets: Iterable[Path]) -> None:
    for target in targets:
        link = directory / target.name
        if target.exists() and not link.is_symlink() and not link.exists():
            link.symlink_to(target.absolute())


def _sandbox(request: Request) -> tuple[list[str], tuple[str, ...]]:
    no_commits = "codex cannot commit under its workspace-write sandbox: what it changes is committed for it"
    match request.sandbox_mode:
        case SandboxMode.READ_ONLY:
            return ["-s", "read-only"], ()
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
            return ["-s", "read-only"], ("codex cannot ask: with approval_mode always, it may only read",)


def _toml_string(text: str) -> str:
    """A TOML basic string; JSON's is one but for DEL and lone surrogates."""
    clean = text.replace("\x7f", "").encode(errors="replace").decode()
    return json.dumps(clean, ensure_ascii=False)


_TOOLS = frozenset({"command_execution", "file_change", "mcp_tool_call", "web_search", "collab_tool_call"})
_MOST_WARNINGS = 10


class CodexReader:
    """Reads `--json` events and, beside them, the rollout file.

    A step is a model reply. stdout does not show replies: there each finished tool call and the completed turn count,
    in the rollout each growth of the thread's tokens; the larger number is nearer to the truth.
    """

    def __init__(self, *, home: Path, resumed: str | None, model: str | None) -> None:
        self._model = model
        self._rollout = Rollout(home)
        self._before = self._rollout.skip(resumed) if resumed is not None else None
        self._session: str | None = None
        self._steps = 0
        self._stdout_steps = 0
        self._rollout_steps = 0
        self._total: Usage | None = None
        self._rollout_total: Usage | None = self._before
        self._text = ""
        self._understood = False
        self._completed = False
        self._failure: str | None = None
        self._last_error: str | None = None
        self._warnings: list[str] = []
        self._raw: list[bytes] = []
        self._raw_room = 16 * 1024

    def line(self, line: bytes) -> Iterable[Fact]:
        if not line.startswith(b"{") or b'"type"' not in line:
            self._keep_raw(line)
            return ()
        if line.startswith(b'{"type":"item.updated"'):  # the output so far, again and again
            return ()
        event = read.parse_object(line)
        if event is None:
            self._keep_raw(line)
            return ()
        match event.get("type"):
            case "thread.started":
                return self._started(event)
            case "item.started":
                return self._shown(read.child(event, "item"))
            case "item.completed":
                return self._item(read.child(event, "item"))
            case "turn.started":
                self._understood, self._completed, self._failure = True, False, None
            case "turn.completed":
                return self._turn_completed(event)
            case "turn.failed":
                self._understood, self._completed = True, False
                self._failure = one_line(read.text(read.child(event, "error"), "message")) or "codex' turn failed"
            case "error":
                # Also "Reconnecting... 1/5": nothing is over before turn.failed.
                self._last_error = one_line(read.text(event, "message"))
                return (Text(text=self._last_error),)
        return ()

    def poll(self) -> Iterable[Fact]:
        if self._session is None:
            return ()
        latest: Usage | None = None
        for entry in self._rollout.entries(self._session):
            if entry.get("type") == "turn_context":
                self._model = one_line(read.text(read.child(entry, "payload"), "model"), 200) or self._model
                continue
            usage = thread_usage(entry)
            if usage is not None and usage != self._rollout_total:  # each total is written twice
                self._rollout_total = latest = usage
                self._rollout_steps += 1
        if latest is None:
            return ()
        # The rollout may be read after stdout already told the turn's total: never go back.
        known = self._total.output_tokens if self._total is not None else None
        newer = (latest.output_tokens or 0) >= (known or 0)
        return (*self._steps_grew(), *(self._tokens(latest) if newer else ()))

    def ending(self, exit_code: int | None, stderr_tail: str) -> Ending:
        warnings = tuple(self._warnings)
        if self._failure is not None:
            limited = re.search(r"\b429\b|usage limit|rate limit", self._failure, re.IGNORECASE) is not None
            outcome = Outcome.RATE_LIMITED if limited else Outcome.ERROR
            return Ending(outcome=outcome, text=self._text, error=self._failure, warnings=warnings)
        if self._completed:
            return Ending(outcome=Outcome.COMPLETED, text=self._text, warnings=warnings)
        raw = plain_text(b"\n".join(self._raw).decode(errors="replace")).strip()
        if not self._understood and exit_code == 0 and raw:
            error = "codex printed nothing in its own format"
            return Ending(outcome=Outcome.UNREADABLE, text=raw, error=error, warnings=warnings)
        said = self._last_error or _stderr_word(stderr_tail) or one_line(raw)
        error = "codex ended before its turn did" + (f": {said}" if said else "")
        return Ending(outcome=Outcome.NO_FINAL_EVENT, text=self._text, error=error, warnings=warnings)

    def _started(self, event: Json) -> Iterable[Fact]:
        self._understood = True
        session = one_line(read.text(event, "thread_id"), 200)
        if not session or session == self._session:
            return ()
        self._session = session
        return (Session(session_id=session, model=self._model),)

    def _item(self, item: Json) -> Iterable[Fact]:
        self._understood = True
        kind = read.text(item, "type")
        if kind == "agent_message":
            self._text = plain_text(read.text(item, "text"))
            return (Text(text=one_line(self._text, 200)),)
        if kind == "error":
            warning = one_line(read.text(item, "message"))
            if warning not in self._warnings and len(self._warnings) < _MOST_WARNINGS:
                self._warnings.append(warning)
            return (Text(text=warning),)
        if kind in _TOOLS:
            self._stdout_steps += 1
            return self._steps_grew()
        return ()

    def _shown(self, item: Json) -> Iterable[Fact]:
        match item.get("type"):
            case "command_execution":
                return (Text(text=one_line(read.text(item, "command"), 200)),)
            case "file_change":
                paths = " ".join(read.text(each, "path") for each in read.children(item, "changes"))
                return (Text(text=one_line(f"change {paths}", 200)),)
            case _:
                return ()

    def _turn_completed(self, event: Json) -> Iterable[Fact]:
        self._understood, self._completed = True, True
        self._stdout_steps += 1
        usage = token_usage(read.child(event, "usage"))
        return (*self._steps_grew(), *(self._tokens(usage) if usage is not None else ()))

    def _steps_grew(self) -> Iterable[Fact]:
        steps = max(self._stdout_steps, self._rollout_steps)
        if steps <= self._steps:
            return ()
        self._steps = steps
        return (Step(count=steps),)

    def _tokens(self, total: Usage) -> Iterable[Fact]:
        self._total = total
        return (Tokens(usage=_since(total, self._before), model=self._model),)

    def _keep_raw(self, line: bytes) -> None:
        if not self._understood and self._raw_room > 0:
            self._raw.append(line[: self._raw_room])
            self._raw_room -= len(line) + 1


def _since(total: Usage, before: Usage | None) -> Usage:
    """A resumed thread counts on from its earlier turns; those were paid for by an earlier attempt."""
    if before is None:
        return total

    def less(now: int | None, then: int | None) -> int | None:
        return None if now is None else max(0, now - (then or 0))

    return Usage(
        input_tokens=less(total.input_tokens, before.input_tokens),
        cached_tokens=less(total.cached_tokens, before.cached_tokens),
        cache_write_tokens=less(total.cache_write_tokens, before.cache_write_tokens),
        output_tokens=less(total.output_tokens, before.output_tokens),
    )


def _stderr_word(stderr: str) -> str:
    noise = ("Reading additional input from stdin", "WARNING: proceeding")
    lines = [one_line(line) for line in stderr.splitlines() if line.strip() and not line.startswith(noise)]
    # A usage error is followed by advice; anything else says last what was wrong.
    return next((line for line in lines if line.startswith("error:")), lines[-1] if lines else "")
