"""Backend `aider`: aider with `--message`, its own edits only.

Observed with 0.86.2. It prints text for people and ends with exit code 0 whatever happened. What it did is told by the
log of events that it writes where it is asked to: a message was answered, and how many tokens that took. It edits by
text blocks, runs no tools, has no sessions, no sandbox, no step or budget limit. History files go to the worker's own
directory, and the repository map is off, because its cache would land in the worktree (`extra: [--map-tokens, "1024"]`
turns it on). It looks up litellm's price list on the network now and then. Nothing but its absence turns that off.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from signal import Signals

from architect_parallel.backends.aider_reader import AiderReader
from architect_parallel.backends.base import Availability, Capabilities, CommandLine, Request
from architect_parallel.backends.isolated_home import holds, home_of, write_private
from architect_parallel.backends.program import BuiltIn, fits_argument, locate, program_availability
from architect_parallel.domain import ApprovalMode, SandboxMode

_KEYS = (
    *("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY", "DEEPSEEK_API_KEY", "OPENROUTER_API_KEY"),
    *("GROQ_API_KEY", "MISTRAL_API_KEY", "XAI_API_KEY", "COHERE_API_KEY", "AZURE_API_KEY"),
)
_ENVIRONMENT = (
    *_KEYS,
    *("AIDER_*", "OPENAI_API_BASE", "OPENAI_BASE_URL", "ANTHROPIC_BASE_URL", "OLLAMA_API_BASE", "AZURE_API_BASE"),
    *("AZURE_API_VERSION", "VERTEXAI_PROJECT", "VERTEXAI_LOCATION", "GOOGLE_APPLICATION_CREDENTIALS"),
)
_OURS = (
    *("--no-pretty", "--no-stream", "--no-fancy-input", "--no-check-update", "--no-analytics", "--no-gitignore"),
    *("--no-show-model-warnings", "--no-show-release-notes", "--no-detect-urls", "--disable-playwright"),
    *("--no-auto-commits", "--no-dirty-commits", "--no-suggest-shell-commands", "--map-tokens", "0"),
)

_READING = ("--chat-mode", "ask", "--dry-run", "--no-auto-lint", "--no-auto-test")
"""Arguments of an agent that may only read.

`--dry-run` alone still accepts edits, and then runs the test command of the user's own settings (seen with 0.86.2).
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class AiderBackend(BuiltIn):
    """aider (`pip install aider-chat`)."""

    name = "aider"
    variables = _ENVIRONMENT
    secrets = (*_KEYS, "AIDER_OPENAI_API_KEY", "AIDER_ANTHROPIC_API_KEY", "AIDER_API_KEY")

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            sandbox_modes=frozenset({SandboxMode.DEFAULT, SandboxMode.READ_ONLY, SandboxMode.FULL}),
            cost=True,
        )

    def availability(self, environ: Mapping[str, str], *, model: str | None = None) -> Availability:
        availability = program_availability(self.prefix, environ, install="uv tool install aider-chat")
        configured = any(holds(home_of(environ) / name, b"key") for name in (".aider.conf.yml", ".env"))
        local = environ.get("OLLAMA_API_BASE") or any(environ.get(name) for name in self.secrets)
        if not availability.ready or local or configured:
            return availability
        return Availability(
            program=availability.program, missing="aider has no key", remedy="set OPENAI_API_KEY or ANTHROPIC_API_KEY"
        )

    def command(self, request: Request) -> CommandLine:
        mode, warnings = _mode(request)
        state = request.state_dir
        argv = [*locate(self.prefix, self.environ), *_OURS, *mode]
        argv += ["--analytics-log", os.fspath(_events_file(request))]
        argv += ["--chat-history-file", os.fspath(state / "aider.chat.md")]
        argv += ["--input-history-file", os.fspath(state / "aider.input")]
        if request.model is not None:
            argv += ["--model", request.model]
        if request.system_prompt:
            argv += ["--read", os.fspath(write_private(state / "aider-conventions.md", request.system_prompt))]
        if request.session_id is not None:
            warnings += ("aider has no sessions: it begins anew",)
        if request.prompt.startswith(("/", "!")):
            # Such a message is a command of aider's, from a file as well, unless a line stands before it.
            argv += ["--message-file", os.fspath(write_private(state / "aider-task.md", "\n" + request.prompt))]
        elif fits_argument(request.prompt):
            argv += ["--message", request.prompt]
        else:
            argv += ["--message-file", os.fspath(request.prompt_file)]
        return CommandLine(
            argv=(*argv, *request.extra_argv),
            env={"LITELLM_LOCAL_MODEL_COST_MAP": "True"},
            polite_signal=Signals.SIGINT,
            warnings=warnings,
        )

    def reader(self, request: Request) -> AiderReader:
        return AiderReader(events_file=_events_file(request), model=request.model)


def _events_file(request: Request) -> Path:
    return request.state_dir / "aider-events.jsonl"


def _mode(request: Request) -> tuple[list[str], tuple[str, ...]]:
    match request.sandbox_mode:
        case SandboxMode.READ_ONLY:
            return [*_READING, "--yes-always"], ()
        case SandboxMode.WORKSPACE:
            return ["--yes-always"], ("aider has no sandbox: with sandbox_mode workspace it still edits any file",)
        case SandboxMode.DEFAULT | SandboxMode.FULL:
            pass
    match request.approval_mode:
        case ApprovalMode.NONE | ApprovalMode.AUTO:
            return ["--yes-always"], ()
        case ApprovalMode.DEFAULT:
            return [], ()
        case ApprovalMode.ALWAYS:
            return [*_READING], ("aider cannot ask: with approval_mode always, it writes nothing",)
