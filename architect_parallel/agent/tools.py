"""The tools that a model may use, as data (name, description, JSON schema), and one way to call them.

A tool never raises: a failure is text for the model, so that it can try something else. Only this module decides which
tools a profile has: `plan` and `review` have none that changes anything.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from architect_parallel.agent.conversation import ToolCall, ToolResult
from architect_parallel.agent.progress import PROGRESS_VARIABLE
from architect_parallel.agent.workspace import ToolProblem, WorkingDirectory
from architect_parallel.backends.providers import OTHER_KEYS, PROVIDERS
from architect_parallel.system.shell import ProgramOutcome, run_bounded

SHELL_TIMEOUT_S = 120.0
SHELL_TIMEOUT_MAX_S = 1800.0
OUTPUT_BYTES = 32_768
WITHHELD = frozenset(
    {PROGRESS_VARIABLE, "ARCHITECT_SYSTEM_PROMPT", *OTHER_KEYS}
    | {key for provider in PROVIDERS for key in provider.keys}
)
"""Variables that the model's commands do not get: the key that it runs on, and the progress file, which is trusted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolSpec:
    """A tool as a model sees it."""

    name: str
    description: str
    properties: Mapping[str, tuple[str, str]]
    """Argument → (JSON type, description)."""
    required: tuple[str, ...] = ()

    @property
    def schema(self) -> dict[str, Any]:
        """JSON schema of the arguments."""
        shown = {name: {"type": kind, "description": text} for name, (kind, text) in self.properties.items()}
        return {
            "type": "object",
            "properties": shown,
            "required": list(self.required),
            "additionalProperties": False,
        }


_PATH = ("string", "path relative to the working directory")

READ_ONLY = (
    ToolSpec(
        name="read",
        description="Read a text file; lines come numbered.",
        properties={
            "path": _PATH,
            "offset": ("integer", "first line, from 1"),
            "limit": ("integer", "number of lines, at most 2000"),
        },
        required=("path",),
    ),
    ToolSpec(
        name="list",
        description="List the entries of one directory.",
        properties={"path": _PATH},
    ),
    ToolSpec(
        name="grep",
        description="Search the files git does not ignore for an extended regular expression; gives path:line:text.",
        properties={"pattern": ("string", "extended regular expression"), "path": _PATH},
        required=("pattern",),
    ),
)
CHANGING = (
    ToolSpec(
        name="write",
        description="Create a file or replace its whole content.",
        properties={"path": _PATH, "content": ("string", "the whole new content")},
        required=("path", "content"),
    ),
    ToolSpec(
        name="edit",
        description="Replace text in a file. `old` must occur exactly once, unless replace_all is true.",
        properties={
            "path": _PATH,
            "old": ("string", "text as it stands in the file, without line numbers"),
            "new": ("string", "text to put in its place"),
            "replace_all": ("boolean", "replace every occurrence"),
        },
        required=("path", "old", "new"),
    ),
    ToolSpec(
        name="shell",
        description="Run a command with /bin/sh in the working directory. stdin is empty. Processes that the command "
        "leaves in the background are ended when it ends.",
        properties={
            "command": ("string", "the command"),
            "timeout": ("number", "seconds, 120 unless given, at most 1800"),
        },
        required=("command",),
    ),
)


class ConfirmMode(StrEnum):
    """The actions that the agent may take without asking. Nobody can be asked here, so other actions are withheld."""

    YOLO = "yolo"
    """Everything that the profile may do."""
    SENSITIVE = "confirm-sensitive"
    """Commands would need a question: files may be changed, there is no shell."""
    ALL = "confirm-all"
    """Every change would need a question: read only."""


def tools_of(read_only: bool, mode: ConfirmMode) -> tuple[ToolSpec, ...]:
    """The tools of a profile in a confirm mode."""
    if read_only or mode is ConfirmMode.ALL:
        return READ_ONLY
    return READ_ONLY + tuple(item for item in CHANGING if mode is ConfirmMode.YOLO or item.name != "shell")


class Toolbox:
    """Calls tools in one working directory."""

    def __init__(self, workspace: WorkingDirectory, specs: tuple[ToolSpec, ...], environ: Mapping[str, str]) -> None:
        self.specs = specs
        self.withheld: set[str] = set()
        """Tools that the model asked for and did not get."""
        self._workspace = workspace
        self._env = {name: value for name, value in environ.items() if name not in WITHHELD}

    async def call(self, call: ToolCall) -> ToolResult:
        """Return the result of a call. Failures are text too. Cancelling the call ends what it started."""
        spec = next((candidate for candidate in self.specs if candidate.name == call.tool), None)
        try:
            if spec is None:
                names = ", ".join(item.name for item in self.specs)
                if any(entry.name == call.tool for entry in CHANGING):
                    self.withheld.add(call.tool)
                    raise ToolProblem(f"{call.tool} is not allowed in this run; there are {names}")
                raise ToolProblem(f"there is no tool {call.tool!r}; there are {names}")
            return ToolResult(call=call, text=await self._dispatch(spec, _checked(spec, call.arguments)))
        except ToolProblem as problem:
            return ToolResult(call=call, text=f"error: {problem}", failed=True)
        except (OSError, ValueError) as error:  # ValueError: surrogates or NUL in a path
            text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            return ToolResult(call=call, text=f"error: {text}", failed=True)

    async def _dispatch(self, spec: ToolSpec, given: dict[str, Any]) -> str:
        if spec.name == "shell":
            timeout_s = min(max(0.1, float(given.get("timeout", SHELL_TIMEOUT_S))), SHELL_TIMEOUT_MAX_S)
            return _told(await self._run(("/bin/sh", "-c", given["command"]), timeout_s), timeout_s)
        if spec.name == "grep":
            return await self._grep(given["pattern"], given.get("path", "."))
        # read, write, edit, list: as named in the workspace.
        text: str = getattr(self._workspace, spec.name)(**given)
        return text

    async def _grep(self, pattern: str, path: str) -> str:
        root = self._workspace.root
        place = self._workspace.locate(path).relative_to(root)
        # Asked beforehand: outside a repository, git 2.39 answers --untracked with a BUG line and an abort.
        in_repository = any((item / ".git").exists() for item in (root, *root.parents))
        argv = ("git", "--literal-pathspecs", "-c", "core.fsmonitor=false", "grep", "-nIE", "--no-color")
        scope = "--untracked" if in_repository else "--no-index"
        outcome = await self._run((*argv, scope, "-e", pattern, "--", str(place)), SHELL_TIMEOUT_S)
        if outcome.exit_code == 1 and not outcome.output:
            return "(no match)"
        return outcome.output.decode("utf-8", "replace")

    async def _run(self, argv: tuple[str, ...], timeout_s: float) -> ProgramOutcome:
        stop = threading.Event()
        running = asyncio.create_task(
            asyncio.to_thread(
                run_bounded,
                argv,
                cwd=self._workspace.root,
                env=self._env | {"PWD": os.fspath(self._workspace.root)},
                timeout_s=timeout_s,
                output_bytes=OUTPUT_BYTES,
                stop=stop,
            )
        )
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            stop.set()
            await running
            raise


def _told(outcome: ProgramOutcome, timeout_s: float) -> str:
    text = outcome.output.decode("utf-8", "replace")
    if outcome.timed_out:
        return f"{text}\n[stopped after {timeout_s:g} s]"
    return text if outcome.exit_code == 0 and text else f"{text}\n[exit code {outcome.exit_code}]"


_KINDS: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
}


def _checked(spec: ToolSpec, given: Mapping[str, Any] | None) -> dict[str, Any]:
    if given is None:
        raise ToolProblem("the arguments are not a JSON object; perhaps the reply was cut off: use smaller pieces")
    missing = [name for name in spec.required if given.get(name) is None]
    unknown = [name for name in given if name not in spec.properties]
    if missing or unknown:
        expected = ", ".join(spec.properties)
        raise ToolProblem(f"{spec.name} takes {expected}; missing: {missing}, unknown: {unknown}")
    for name, value in given.items():
        kinds = _KINDS[spec.properties[name][0]]
        if value is not None and (not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds)):
            raise ToolProblem(f"{name} must be a {spec.properties[name][0]}")
    return {name: value for name, value in given.items() if value is not None}
