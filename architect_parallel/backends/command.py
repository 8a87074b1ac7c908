"""A backend described in YAML: an argument template, how the prompt is passed, and what the tool prints.

The template is filled word by word, never by a shell. A nested list is an optional group: it is left out as a whole if
a placeholder in it has no value. What the tool reports is read only under the names given in `fields`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from signal import Signals

from architect_parallel.backends.base import Availability, Capabilities, CommandLine, Reader, Request
from architect_parallel.backends.command_reader import FIELDS, JsonReader
from architect_parallel.backends.program import LONGEST_ARGUMENT_BYTES, locate, plain_amount, program_availability
from architect_parallel.backends.shell import OutputReader
from architect_parallel.domain import ApprovalMode, BackendSettings, OutputFormat, SandboxMode
from architect_parallel.errors import UsageError
from architect_parallel.text.suggest import nearest

PLACEHOLDERS = (
    *("prompt", "prompt_file", "model", "system_prompt", "max_steps", "budget", "timeout", "session_id"),
    *("worktree", "branch", "worker_id", "run_id"),
)

_PLACEHOLDER = re.compile(r"\{\{|\}\}|\{([A-Za-z_][A-Za-z0-9_]*)\}")

_FORMATS = {"json": OutputFormat.JSON, "jsonl": OutputFormat.STREAM_JSON}


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandBackend:
    """A backend from the configuration. `command_backend` validates the configuration first and then makes it."""

    name: str
    settings: BackendSettings
    environ: Mapping[str, str]

    @property
    def capabilities(self) -> Capabilities:
        used = {name for word in _words(self._template) for name in _names(word)}
        return Capabilities(
            model="model" in used,
            system_prompt="system_prompt" in used,
            approval_modes=frozenset({ApprovalMode.DEFAULT, ApprovalMode.NONE}),
            sandbox_modes=frozenset({SandboxMode.DEFAULT, SandboxMode.FULL}),
            max_steps="max_steps" in used,
            budget="budget" in used,
            cost=self.settings.output != "text",
            sessions="session_id" in used,
            output_format=_FORMATS.get(self.settings.output, OutputFormat.TEXT),
        )

    @property
    def environment(self) -> tuple[str, ...]:
        return self.settings.env

    @property
    def secrets(self) -> tuple[str, ...]:
        return ()

    def availability(self, environ: Mapping[str, str], *, model: str | None = None) -> Availability:
        install = f"install it, or mend backends.{self.name}.command"
        return program_availability(self._prefix, environ, install=install)

    def command(self, request: Request) -> CommandLine:
        values = _values(request)
        argv = [word for part in self._template for word in self._filled(part, values)]
        used = {name for word in _words(self._template) for name in _names(word)}
        by_stdin = False
        if not used & {"prompt", "prompt_file"}:
            by_stdin = self.settings.prompt == "stdin"
            if self.settings.prompt == "file":
                argv.append(str(request.prompt_file))
            elif not by_stdin:
                argv.append(self._argument(request.prompt))
        prefix = locate(argv[:1], self.environ)
        return CommandLine(
            argv=(*prefix, *argv[1:], *request.extra_argv),
            stdin_file=request.prompt_file if by_stdin else None,
            polite_signal=Signals.SIGTERM,
        )

    def reader(self, request: Request) -> Reader:
        if self.settings.output == "text":
            return OutputReader(what=self.name, free=False)
        fields = {**FIELDS, **self.settings.fields}
        return JsonReader(what=self.name, fields=fields, lines=self.settings.output == "jsonl")

    @property
    def _template(self) -> tuple[str | tuple[str, ...], ...]:
        return self.settings.command or ()

    @property
    def _prefix(self) -> tuple[str, ...]:
        first = self._template[0]
        return (first,) if isinstance(first, str) else first

    def _filled(self, part: str | tuple[str, ...], values: Mapping[str, str | None]) -> Iterable[str]:
        words = (part,) if isinstance(part, str) else part
        missing = [name for word in words for name in _names(word) if values[name] is None]
        if missing and isinstance(part, tuple):
            return ()
        if missing:
            raise UsageError(
                f"backends.{self.name}.command needs a value for {{{missing[0]}}}, and there is none",
                hint=f'put it in an optional group: ["{part}"]',
            )
        return [self._argument(word, values) if "prompt" in _names(word) else _fill(word, values) for word in words]

    def _argument(self, word: str, values: Mapping[str, str | None] | None = None) -> str:
        """Fill a word that holds the prompt."""
        text = word if values is None else _fill(word, values)
        if len(text.encode(errors="surrogateescape")) > LONGEST_ARGUMENT_BYTES:
            raise UsageError(
                f"the task is too long for an argument of {self.name} (128 KiB)",
                hint=f"use {{prompt_file}} or `prompt: stdin` in backends.{self.name}",
            )
        # A prompt must not become an option; a blank before it changes nothing for a model.
        return f" {text}" if text.startswith("-") and (values is None or word.startswith("{prompt}")) else text

    def interactive(self, request: Request) -> CommandLine | None:
        return None


def command_backend(name: str, settings: BackendSettings, environ: Mapping[str, str]) -> CommandBackend:
    """Make the backend `name` from its configuration.

    Raises:
        UsageError: There is no command, or an unknown placeholder, prompt mode, output format or field.
    """
    key = f"backends.{name}"
    if not settings.command or not isinstance(settings.command[0], str) or not settings.command[0]:
        raise UsageError(f"{key}.command: a backend needs a command that begins with its program")
    for word in _words(settings.command):
        for used in _names(word):
            _require_known(f"{key}.command: unknown placeholder {{{used}}}", used, PLACEHOLDERS)
    _require_known(f"{key}.prompt: {settings.prompt}", settings.prompt, ("argument", "stdin", "file"))
    _require_known(f"{key}.output: {settings.output}", settings.output, ("text", "json", "jsonl"))
    for field in settings.fields:
        _require_known(f"{key}.fields: unknown field {field}", field, tuple(FIELDS))
    return CommandBackend(name=name, settings=settings, environ=environ)


def _words(template: Iterable[str | tuple[str, ...]]) -> Iterable[str]:
    for part in template:
        yield from (part,) if isinstance(part, str) else part


def _names(word: str) -> list[str]:
    return [name for name in _PLACEHOLDER.findall(word) if name]


def _fill(word: str, values: Mapping[str, str | None]) -> str:
    """Fill the placeholders in one pass, so that braces inside a value stay. `{{` and `}}` are single braces."""
    return _PLACEHOLDER.sub(lambda match: values[match[1]] or "" if match[1] else match[0][0], word)


def _values(request: Request) -> dict[str, str | None]:
    def text(value: object) -> str | None:
        return None if value is None else str(value)

    return {
        "prompt": request.prompt,
        "prompt_file": str(request.prompt_file),
        "model": request.model,
        "system_prompt": request.system_prompt or None,
        "max_steps": text(request.max_steps),
        "budget": None if request.budget_usd is None else plain_amount(request.budget_usd),
        "timeout": None if request.timeout_s is None else plain_amount(request.timeout_s),
        "session_id": request.session_id,
        "worktree": str(request.worktree),
        "branch": request.branch,
        "worker_id": str(request.worker_id),
        "run_id": request.run_id,
    }


def _require_known(message: str, word: str, known: tuple[str, ...]) -> None:
    if word in known:
        return
    near = nearest(word, known)
    raise UsageError(message, hint=f"did you mean {near}?" if near else f"one of: {', '.join(known)}")
