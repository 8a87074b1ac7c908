"""A backend described in YAML: an argv template, how the prompt travels, and what the tool prints.

The template is filled word by word, never by a shell. A nested list is an optional group: it goes as a whole when a
placeholder in it has no value. What the tool reports is read only under the names given in `fields`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from signal import Signals

from architect_parallel.backends import json_output as read
from architect_parallel.backends.base import (
    Availability,
    Capabilities,
    CommandLine,
    Ending,
    Fact,
    Reader,
    Request,
    Session,
    Step,
    Text,
    Tokens,
)
from architect_parallel.backends.json_output import Json
from architect_parallel.backends.program import LONGEST_ARGUMENT_BYTES, locate, plain_amount, program_availability
from architect_parallel.backends.shell import LastLines, OutputReader, by_exit_code
from architect_parallel.domain import ApprovalMode, BackendSettings, CostBasis, Outcome, SandboxMode, Usage
from architect_parallel.errors import UsageError
from architect_parallel.planning.plain_text import one_line, plain_text
from architect_parallel.planning.suggest import nearest

PLACEHOLDERS = (
    *("prompt", "prompt_file", "model", "system_prompt", "max_steps", "budget", "timeout", "session_id"),
    *("worktree", "branch", "worker_id", "run_id"),
)
FIELDS: Mapping[str, str] = {
    "output": "result",
    "cost": "total_cost_usd",
    "steps": "num_turns",
    "session_id": "session_id",
    "is_error": "is_error",
    "error": "error",
    "input_tokens": "usage.input_tokens",
    "cached_tokens": "usage.cached_tokens",
    "output_tokens": "usage.output_tokens",
}
"""Our field → the (dotted) key it is read from when `fields` does not say otherwise."""

_PLACEHOLDER = re.compile(r"\{\{|\}\}|\{([A-Za-z_][A-Za-z0-9_]*)\}")
_JSON_BYTES = 2**20
"""Of stdout, how much is kept to find the last JSON object in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandBackend:
    """A backend from the configuration; made by `command_backend`, which looks at it first."""

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
        """A word that holds the prompt."""
        text = word if values is None else _fill(word, values)
        if len(text.encode(errors="surrogateescape")) > LONGEST_ARGUMENT_BYTES:
            raise UsageError(
                f"the task is too long for an argument of {self.name} (128 KiB)",
                hint=f"use {{prompt_file}} or `prompt: stdin` in backends.{self.name}",
            )
        # A prompt must not become an option; a blank before it changes nothing for a model.
        return f" {text}" if text.startswith("-") and (values is None or word.startswith("{prompt}")) else text


def command_backend(name: str, settings: BackendSettings, environ: Mapping[str, str]) -> CommandBackend:
    """The backend `name` as the configuration describes it.

    Raises:
        UsageError: No command, an unknown placeholder, prompt or output word, or field.
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


class JsonReader:
    """Reads `output: json` (the last JSON object on stdout) or `jsonl` (an object a line; the last word counts)."""

    def __init__(self, *, what: str, fields: Mapping[str, str], lines: bool) -> None:
        self._what = what
        self._fields = fields
        self._lines = lines
        self._tail = LastLines(_JSON_BYTES)
        self._said: dict[str, object] = {}
        self._found = False
        self._object_ended = False

    def line(self, line: bytes) -> Iterable[Fact]:
        self._tail.add(line)
        if not self._lines:
            self._object_ended = self._object_ended or line.rstrip().endswith(b"}")
            return ()
        value = read.parse_object(line) if line.lstrip().startswith(b"{") else None
        return self._take(value) if value is not None else ()

    def poll(self) -> Iterable[Fact]:
        if not self._object_ended:
            return ()
        self._object_ended = False
        value = last_object(self._tail.raw)
        return self._take(value) if value is not None else ()

    def ending(self, exit_code: int | None, stderr_tail: str) -> Ending:
        raw = self._tail.raw
        by_code = by_exit_code(self._what, exit_code, stderr_tail, plain_text(raw[-16384:]).strip())
        if not self._found:
            if by_code.outcome is not Outcome.COMPLETED:
                return by_code
            return Ending(outcome=Outcome.UNREADABLE, text=by_code.text, error=f"{self._what} printed no JSON object")
        text = plain_text(self._words("output"))
        flag = self._said.get("is_error")
        if flag is not None and flag is not False:
            error = one_line(self._words("error") or text) or f"{self._what} reported an error"
            return Ending(outcome=Outcome.ERROR, text=text, error=error)
        return Ending(outcome=by_code.outcome, text=text, error=by_code.error)

    def facts(self) -> Iterable[Fact]:
        """Everything known by now."""
        steps = read.count(self._said.get("steps"))
        if steps is not None:
            yield Step(count=steps)
        session = self._said.get("session_id")
        if isinstance(session, str) and session:
            yield Session(session_id=one_line(session, 200))
        cost = read.money(self._said.get("cost"))
        usage = Usage(
            input_tokens=read.count(self._said.get("input_tokens")),
            cached_tokens=read.count(self._said.get("cached_tokens")),
            output_tokens=read.count(self._said.get("output_tokens")),
            reported_cost=cost,
            cost_basis=CostBasis.UNKNOWN if cost is None else CostBasis.REPORTED,
        )
        if usage != Usage():
            yield Tokens(usage=usage)

    def _take(self, value: Json) -> Iterable[Fact]:
        self._found = True
        for field, path in self._fields.items():
            said = read.dotted(value, path)
            if said is not None:
                self._said[field] = said
        output = self._words("output") if self._lines else ""
        return (*self.facts(), *([Text(text=one_line(output, 200))] if output else []))

    def _words(self, field: str) -> str:
        said = self._said.get(field)
        if said is None or isinstance(said, str):
            return said or ""
        return json.dumps(said, ensure_ascii=False)


def last_object(text: str) -> Json | None:
    """The last JSON object in `text` that begins a line; it may span lines."""
    decoder = json.JSONDecoder()
    found: Json | None = None
    position, tries = 0, 0
    for match in re.finditer(r"^[ \t]*(?=\{)", text, re.MULTILINE):
        if match.end() < position:
            continue
        tries += 1
        if tries > 2_000:  # a flood of braces is no answer
            break
        try:
            value, position = decoder.raw_decode(text, match.end())
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            found = value
    return found


def _words(template: Iterable[str | tuple[str, ...]]) -> Iterable[str]:
    for part in template:
        yield from (part,) if isinstance(part, str) else part


def _names(word: str) -> list[str]:
    return [name for name in _PLACEHOLDER.findall(word) if name]


def _fill(word: str, values: Mapping[str, str | None]) -> str:
    """One pass, so that braces inside a value stay what they are. `{{` and `}}` are single braces."""
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
