"""One turn of an ACP agent: the prompt, the answers to its requests, and the facts that its notifications hold.

A fact is a word and values, in the shapes of gemini's stream-json: `acp_reader` and the log read them. Unknown
notifications and fields are ignored, and an unknown request gets an error, so that newer agents work.

The package `agent-client-protocol` (0.12.1) is not used. It takes about a second to import, for each worker.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from architect_parallel._version import __version__
from architect_parallel.backends import reader_tools as read
from architect_parallel.backends.acp_connection import AgentError, Connection
from architect_parallel.backends.acp_files import FileAccess, FileRefused
from architect_parallel.backends.reader_tools import Json

PROTOCOL_VERSION = 1
AUTHENTICATION_REQUIRED = -32000
_NO_METHOD = -32601
_READING = frozenset({"read", "search", "think"})
_EDITING = frozenset({"edit", "delete", "move"})
_NO_MODELS = ("", "default", "auto")
"""Names with which agents say that they choose a model."""
_CALL_KEYS = ("toolCallId", "kind", "title", "rawInput")
_LONGEST_OUTPUT = 100_000


class Tell(Protocol):
    """Record a fact."""

    def __call__(self, kind: str, **values: object) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnOptions:
    """The surroundings of a turn."""

    directory: Path
    """The agent's working directory, absolute."""
    approval: str = "none"
    """An `ApprovalMode`."""
    reading: bool = False
    """Nothing but reading is allowed."""
    own_files: bool = False
    """The agent reads and writes files by itself only."""
    model: str | None = None
    """`None` means the agent's default."""
    session: str | None = None
    """The session to go on with. `None` means a new one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """The answer to an agent that asks for permission."""

    mode: str
    """An `ApprovalMode`."""
    reading: bool
    """Nothing but reading is allowed, whatever the mode is."""

    def allows(self, kind: str) -> bool:
        """Tell whether a tool of this ACP kind may run."""
        if self.reading or self.mode in ("default", "always"):
            return kind in _READING
        return self.mode == "none" or kind in _READING or kind in _EDITING

    def answer(self, kind: str, options: Sequence[Json]) -> tuple[bool, Json]:
        """Choose one of the agent's options. `once` comes before `always`, which may be written to settings."""
        allowed = self.allows(kind)
        wanted = ("allow_once", "allow_always") if allowed else ("reject_once", "reject_always")
        for word in wanted:
            for option in options:
                if option.get("kind") == word:
                    return allowed, {"outcome": "selected", "optionId": option.get("optionId")}
        return False, {"outcome": "cancelled"}


class Turn:
    """One turn of one agent."""

    def __init__(self, connection: Connection, options: TurnOptions, tell: Tell) -> None:
        self._connection = connection
        self._options = options
        self._tell = tell
        self._approval = Approval(mode=options.approval, reading=options.reading)
        self._files = FileAccess(options.directory, can_write=not options.reading)
        self._tools: dict[str, dict[str, Any]] = {}
        """Kind, title and input of the open calls, by id."""
        self._shown: set[str] = set()
        """The calls of which the log knows."""
        self._words = ""
        self._is_live = False
        """The agent works on the prompt. What comes before is the history of a loaded session."""
        self._session = ""
        self._cancelled = False

    def run(self, prompt: str) -> str:
        """Hold the conversation and return the agent's reason to stop.

        Raises:
            AgentError: The agent cannot do it.
            AgentEnded: The agent ended.
        """
        files = not self._options.own_files
        started = self._call(
            "initialize",
            protocolVersion=PROTOCOL_VERSION,
            clientCapabilities={
                "fs": {"readTextFile": files, "writeTextFile": files and self._files.can_write},
                "terminal": False,
            },
            clientInfo={"name": "architect-parallel", "version": __version__},
        )
        self._open_session(started)
        self._is_live = True
        if self._cancelled:
            return "cancelled"
        ended = self._call("session/prompt", sessionId=self._session, prompt=[{"type": "text", "text": prompt}])
        self._say_words()
        self._tell_usage(ended)
        return read.text(ended, "stopReason")

    def cancel(self) -> None:
        """Ask the agent to stop. It answers the prompt with the reason `cancelled`."""
        self._cancelled = True
        if self._session:
            self._connection.send(method="session/cancel", params={"sessionId": self._session})

    def _call(self, method: str, **params: object) -> Json:
        return self._connection.call(method, params, self._message)

    def _open_session(self, started: Json) -> None:
        place = {"cwd": os.fspath(self._options.directory), "mcpServers": []}
        resumed = self._options.session
        if resumed is None:
            opened = self._authenticated(started, lambda: self._call("session/new", **place))
            self._session = read.text(opened, "sessionId")
        elif read.child(started, "agentCapabilities").get("loadSession") is not True:
            raise AgentError("this agent cannot load a session: only a new worker can go on")
        else:
            opened = self._authenticated(started, lambda: self._call("session/load", sessionId=resumed, **place))
            self._session = resumed
        self._tell("init", session_id=self._session, model=self._choose_model(opened))

    def _authenticated(self, started: Json, open_: Callable[[], Json]) -> Json:
        """Open a session. If the agent wants a login, try the methods that take a key from the environment."""
        try:
            return open_()
        except AgentError as error:
            if error.code != AUTHENTICATION_REQUIRED:
                raise
        methods = [read.text(method, "id") for method in read.children(started, "authMethods")]
        for method in methods:
            if "key" in method.lower():
                with suppress(AgentError):
                    self._call("authenticate", methodId=method)
                    return open_()
        raise AgentError("the agent wants a login: log in with its own program, or set its key")

    def _choose_model(self, opened: Json) -> str | None:
        """Choose the requested model where the agent lets its client choose. Return the model that is used."""
        wanted, models = self._options.model, read.child(opened, "models")
        option = next((item for item in read.children(opened, "configOptions") if item.get("category") == "model"), {})
        current = read.text(models, "currentModelId") or read.text(option, "currentValue")
        if wanted is None or wanted == current:
            return current if current not in _NO_MODELS else None
        try:
            if option:
                name = option.get("id")
                self._call("session/set_config_option", sessionId=self._session, configId=name, value=wanted)
            elif models:
                self._call("session/set_model", sessionId=self._session, modelId=wanted)
            else:
                self._tell("warning", message=f"this agent has no choice of models: {wanted} is not used")
                return None
        except AgentError as error:
            names = [read.text(model, "modelId") for model in read.children(models, "availableModels")]
            known = f"; it offers {', '.join(names)}" if names else ""
            raise AgentError(f"the agent does not take model {wanted}: {error}{known}") from None
        return str(wanted)

    def _message(self, message: Json) -> None:
        params = read.child(message, "params")
        if "id" not in message:
            if message["method"] == "session/update" and self._is_live:
                self._update(read.child(params, "update"))
            return
        try:
            result = self._answer(message["method"], params)
        except FileRefused as refused:
            self._connection.send(id=message["id"], error={"code": refused.code, "message": str(refused)})
        else:
            self._connection.send(id=message["id"], result=result)

    def _answer(self, method: object, params: Json) -> object:
        match method:
            case "session/request_permission":
                return {"outcome": self._permission(params)}
            case "fs/read_text_file":
                return {"content": self._files.read(params)}
            case "fs/write_text_file":
                self._files.write(params)
                return {}
            case _:
                raise FileRefused(f"Method not found: {method}", code=_NO_METHOD)

    def _permission(self, params: Json) -> Json:
        if self._cancelled:
            return {"outcome": "cancelled"}
        call = self._known_call(read.child(params, "toolCall"))
        self._show(call)
        kind = read.text(call, "kind") or "other"
        allowed, outcome = self._approval.answer(kind, read.children(params, "options"))
        if not allowed:
            self._tell("denied", tool=kind if kind != "other" else read.text(call, "title") or kind)
        return outcome

    def _update(self, update: Json) -> None:
        kind = update.get("sessionUpdate")
        if kind == "agent_message_chunk":
            self._words += read.text(read.child(update, "content"), "text")
            if "\n" in self._words:
                self._say_words()
            return
        self._say_words()
        match kind:
            case "agent_thought_chunk":
                self._tell("thought")
            case "tool_call" | "tool_call_update":
                self._tool(update)
            case "usage_update":
                cost = read.child(update, "cost")
                self._tell("usage", cost=cost.get("amount") if cost.get("currency") == "USD" else None)

    def _tool(self, update: Json) -> None:
        call = self._known_call(update)
        status = read.text(update, "status")
        # Some agents announce a call before they know its input.
        if status not in ("", "pending") or read.child(update, "rawInput"):
            self._show(call)
        if status in ("completed", "failed"):
            output = "\n".join(_texts(update))[:_LONGEST_OUTPUT]
            name = read.text(call, "toolCallId")
            self._tell("tool_result", tool_id=name, status="error" if status == "failed" else "success", output=output)
            self._tools.pop(name, None)

    def _known_call(self, update: Json) -> Json:
        """A call with all that was said about it so far: an update holds only what is new."""
        call = self._tools.setdefault(read.text(update, "toolCallId"), {})
        call.update({key: value for key, value in update.items() if key in _CALL_KEYS and value})
        return call

    def _show(self, call: Json) -> None:
        name = read.text(call, "toolCallId")
        if name not in self._shown:
            self._shown.add(name)
            self._say_words()
            command = read.text(read.child(call, "rawInput"), "command") or read.text(call, "title")
            # The log shows the argument `command` whatever the others are.
            self._tell("tool_use", tool_id=name, tool_name=call.get("kind") or "other", parameters={"command": command})

    def _tell_usage(self, ended: Json) -> None:
        usage, quota = read.child(ended, "usage"), read.child(read.child(ended, "_meta"), "quota")
        if usage:
            out, total = read.count(usage.get("outputTokens")), read.count(usage.get("totalTokens"))
            # The total has the cached tokens, which `inputTokens` of some agents has not.
            given = total - out if total is not None and out is not None else usage.get("inputTokens")
            cached, written = usage.get("cachedReadTokens"), usage.get("cachedWriteTokens")
            self._tell("usage", input_tokens=given, output_tokens=out, cached_tokens=cached, cache_write_tokens=written)
        elif counts := read.child(quota, "token_count"):  # gemini's
            names = [read.text(model, "model") for model in read.children(quota, "model_usage")]
            model = next((name for name in names if name not in _NO_MODELS), None)
            self._tell("usage", **{key: counts.get(key) for key in ("input_tokens", "output_tokens")}, model=model)

    def _say_words(self) -> None:
        if self._words:
            self._tell("message", role="assistant", content=self._words)
            self._words = ""


def _texts(update: Json) -> list[str]:
    """The output of a tool call: the texts of its content, else what it printed."""
    texts = [read.text(read.child(item, "content"), "text") for item in read.children(update, "content")]
    raw = update.get("rawOutput")
    return list(filter(None, texts)) or [read.text(raw, "stdout") if isinstance(raw, dict) else str(raw or "")]
