"""Backend `architect`: the embedded agent, or any program with the same interface.

Our own program is started with this interpreter and `-P`: without it `python -m` would import whatever the worktree
calls `architect_parallel`, `typer` or `json`. Another program (`backends.architect.command`) gets the same words and is
read the same way: one JSON object `{status, steps, cost | costs.total_cost_usd, …}` on stdout. Counts before the end
come from the progress file, and whatever the object says, only figures that can be are taken.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from signal import Signals

from architect_parallel.backends.architect_reader import ArchitectReader, _progress_file
from architect_parallel.backends.base import (
    Availability,
    Capabilities,
    CommandLine,
    Request,
)
from architect_parallel.backends.program import (
    BuiltIn,
    fits_argument,
    locate,
    plain_amount,
    program_availability,
    program_prefix,
    require_short,
)
from architect_parallel.backends.providers import (
    INSTALL_AGENT,
    OTHER_KEYS,
    PROVIDERS,
    SCRIPTED,
    choose_model,
    default_model,
    missing_key,
)
from architect_parallel.domain import (
    ApprovalMode,
    OutputFormat,
    SandboxMode,
)

OWN_PROGRAM = (sys.executable, "-P", "-m", "architect_parallel")
BUDGET_FILE = "purse"
"""See `Capabilities.budget_file`. Runs of earlier versions resume with this name."""
SESSIONS = "sessions"
"""Name of the directory with the embedded agent's sessions, in a worker's state directory."""
READ_ONLY_AGENTS = ("plan", "review")
"""Profiles that only read, in every confirm mode."""
BUILT_IN_AGENTS = ("build", *READ_ONLY_AGENTS)

_KEYS = (*(key for provider in PROVIDERS for key in provider.keys), *OTHER_KEYS)
_ENVIRONMENT = (
    *_KEYS,
    *("OPENAI_BASE_URL", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "ANTHROPIC_BASE_URL", "GOOGLE_GEMINI_BASE_URL"),
    *("ARCHITECT_API_BASE", "ARCHITECT_SCRIPTED_MODELS"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchitectBackend(BuiltIn):
    """The embedded agent (`architect run`), or the program configured in its place."""

    name = "architect"
    variables = _ENVIRONMENT
    secrets = _KEYS

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            system_prompt=self._is_own,
            sandbox_modes=frozenset({SandboxMode.DEFAULT, SandboxMode.READ_ONLY, SandboxMode.FULL}),
            max_steps=True,
            budget=True,
            cost=True,
            sessions=self._is_own,
            sessions_in_state=self._is_own,
            budget_file=BUDGET_FILE if self._is_own else None,
            calls_providers=True,
            output_format=OutputFormat.JSON,
        )

    def availability(self, environ: Mapping[str, str], *, model: str | None = None) -> Availability:
        prefix = self.prefix
        availability = program_availability(
            prefix, environ, install="set backends.architect.command in the configuration"
        )
        if not availability.ready or not self._is_own:
            return availability
        missing = _missing(environ, model)
        return (
            availability
            if missing is None
            else Availability(program=availability.program, missing=missing[0], remedy=missing[1])
        )

    def command(self, request: Request) -> CommandLine:
        inline = fits_argument(request.prompt)
        mode, warnings = _confirm_mode(request)
        agent = request.agent if request.agent in BUILT_IN_AGENTS or not self._is_own else "build"
        argv = [*locate(self.prefix, self.environ), "run", request.prompt if inline else "-", "--json"]
        argv += ["--confirm-mode", mode, "--agent", agent]
        if request.max_steps is not None:
            argv += ["--max-steps", str(request.max_steps)]
        if request.model is not None:
            argv += ["--model", request.model]
        if request.budget_usd is not None:
            argv += ["--budget", plain_amount(request.budget_usd)]
        if request.timeout_s is not None:
            argv += ["--timeout", plain_amount(request.timeout_s)]
        progress = _progress_file(request)
        progress.unlink(missing_ok=True)  # an earlier attempt's
        env = {"ARCHITECT_PROGRESS_FILE": str(progress)}
        budget_file = request.state_dir.parent / BUDGET_FILE
        if self._is_own and budget_file.is_file():
            env["ARCHITECT_PURSE"] = str(budget_file)
        if self._is_own:
            env["ARCHITECT_SESSION_DIR"] = str(request.state_dir / SESSIONS)
            if request.session_id is not None:
                argv += ["--resume", request.session_id]
        if request.system_prompt:
            if self._is_own:
                env["ARCHITECT_SYSTEM_PROMPT"] = require_short(request.system_prompt, "the system prompt", request)
            elif request.agent not in BUILT_IN_AGENTS:
                warnings += ("the program of backend architect takes no system prompt",)
        return CommandLine(
            argv=(*argv, *request.extra_argv),
            env=env,
            stdin_file=None if inline else request.prompt_file,
            polite_signal=Signals.SIGINT,
            warnings=warnings,
        )

    def reader(self, request: Request) -> ArchitectReader:
        return ArchitectReader(_progress_file(request), is_own=self._is_own)

    @property
    def _is_own(self) -> bool:
        return self.settings is None or self.settings.command is None

    @property
    def prefix(self) -> tuple[str, ...]:
        return OWN_PROGRAM if self._is_own else program_prefix(self.name, "", self.settings)


def _missing(environ: Mapping[str, str], model: str | None) -> tuple[str, str] | None:
    """The requirement of the model that is missing, and the remedy. `None` means that nothing is known to be
    missing.
    """
    variables = {name for name, value in environ.items() if value}
    name = model or default_model(variables)
    if name is None:
        keys = ", ".join(provider.keys[0] for provider in PROVIDERS)
        return "no model is named and no provider's key is set", f"set one of {keys}, or name a model"
    choice = choose_model(name, environ.get("ARCHITECT_API_BASE"))
    if choice is None:
        return f"no provider is known for model {name!r}", "write provider:model, or set ARCHITECT_API_BASE"
    if choice.provider.name == SCRIPTED:
        return None
    if find_spec("pydantic_ai") is None or (choice.provider.module and not _has(choice.provider.module)):
        return "the embedded agent's extra is not installed", INSTALL_AGENT
    key = missing_key(choice, variables)
    return None if key is None else (f"model {name} needs {key}", f"export {key}=…")


def _has(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # the parent package of `google.genai`
        return False


def _confirm_mode(request: Request) -> tuple[str, tuple[str, ...]]:
    match request.sandbox_mode:
        case SandboxMode.READ_ONLY if request.agent not in READ_ONLY_AGENTS:
            return "confirm-all", ()
        case SandboxMode.WORKSPACE:
            warning = "the embedded agent has no sandbox: with sandbox_mode workspace it changes files, runs nothing"
            return "confirm-sensitive", (warning,)
        case SandboxMode.READ_ONLY | SandboxMode.DEFAULT | SandboxMode.FULL:
            pass
    match request.approval_mode:
        case ApprovalMode.NONE:
            return "yolo", ()
        case ApprovalMode.AUTO | ApprovalMode.DEFAULT:
            return "confirm-sensitive", ()
        case ApprovalMode.ALWAYS:
            warning = "the embedded agent cannot ask: with approval_mode always it only reads"
            return "confirm-all", (warning,)
